"""The manifest's reader: a file or folder becomes an image layer in the patient's place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from napari_precimed.ui.layers import LayerData

PathOrPaths = str | Sequence[str]
NOTHING = [(None,)]
"""What napari takes for "read, but no layer"."""


def get_reader(path: PathOrPaths) -> Callable[[PathOrPaths], list] | None:
    """The function that reads `path`, or None where the folder holds no scan we know."""
    if isinstance(path, str) and path.lower().endswith(".zarr"):
        return None
    return read


def read(path: PathOrPaths) -> list[LayerData] | list[tuple[None]]:
    """Read scans; a folder with several series asks which one, a bad file says what is wrong."""
    from napari_precimed.errors import PrecimedError
    from napari_precimed.ui.worker import show_problem

    try:
        found = [_read_one(one) for one in _scans(path)]
    except PrecimedError as error:
        show_problem(error, "Reading")
        return NOTHING
    return [layer for layer in found if layer is not None] or NOTHING


def _scans(path: PathOrPaths) -> list[str]:
    """The paths to read one by one; several files of one folder that are DICOM are one series."""
    from napari_precimed.io.dicom import is_dicom

    paths = [path] if isinstance(path, str) else list(path)
    if len(paths) > 1 and all(is_dicom(Path(one)) for one in paths):
        return list(dict.fromkeys(str(Path(one).parent) for one in paths))
    return paths


def _read_one(path: str) -> LayerData | None:
    from napari_precimed.errors import SeriesChoiceError
    from napari_precimed.io import read_volume
    from napari_precimed.ui.layers import image_layer

    if _already_open(path):
        return None
    try:
        return image_layer(read_volume(path))
    except SeriesChoiceError as choice:
        from napari_precimed.ui.dialogs import choose_series

        series = choose_series(choice.series)
        return image_layer(read_volume(path, series=series)) if series else None


def _already_open(path: str) -> bool:
    """Whether `path` is a DICOM file of a series that the viewer shows.

    napari reads dropped files one by one; each slice would bring the whole series again.
    """
    from napari import current_viewer
    from pydicom import dcmread

    from napari_precimed.io.dicom import is_dicom
    from napari_precimed.ui.layers import layer_scan

    viewer, file = current_viewer(), Path(path)
    if viewer is None or not file.is_file() or not is_dicom(file):
        return False
    series = dcmread(file, specific_tags=["SeriesInstanceUID"]).get("SeriesInstanceUID")
    if not series:
        return False
    shown = (layer_scan(layer) for layer in viewer.layers)
    return any(scan is not None and scan.series_uid == series for scan in shown)
