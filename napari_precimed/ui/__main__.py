"""Open the window: ``python -m napari_precimed.ui [SCAN ...] [--case ID]``."""

from __future__ import annotations

import argparse

import napari

from napari_precimed.ui.desk import open_desk
from napari_precimed.ui.reader import read
from napari_precimed.ui.saving import case_store
from napari_precimed.ui.session import Session


def main() -> None:
    """Open a viewer with all panels, on scans or on a stored case, and stay until it is closed."""
    parser = argparse.ArgumentParser(prog="napari_precimed.ui", description=main.__doc__)
    parser.add_argument("scan", nargs="*", help="file or folder")
    parser.add_argument("--case", help="id of a stored case")
    wanted = parser.parse_args()
    viewer = napari.Viewer(title="napari-precimed")
    open_desk(viewer)
    if wanted.case:
        with case_store() as store:
            Session.of(viewer).open_case(store.load(wanted.case))
    for path in wanted.scan:
        for layer in read(path):
            if layer[0] is not None:
                viewer.add_layer(napari.layers.Layer.create(*layer))
    napari.run()


if __name__ == "__main__":
    main()
