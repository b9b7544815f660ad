"""Open the window on one scan: ``python -m napari_precimed.ui SCAN``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import napari

from napari_precimed.ui.desk import open_desk
from napari_precimed.ui.reader import read


def main(paths: Sequence[str]) -> None:
    """Open a viewer with all panels and the scans at `paths`, and stay until it is closed."""
    viewer = napari.Viewer(title="napari-precimed")
    open_desk(viewer)
    for path in paths:
        for layer in read(path):
            if layer[0] is not None:
                viewer.add_layer(napari.layers.Layer.create(*layer))
    napari.run()


if __name__ == "__main__":
    main(sys.argv[1:])
