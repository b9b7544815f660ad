"""Files to core values: one module per format, and one door."""

from __future__ import annotations

from pathlib import Path

from napari_precimed.core.volume import Volume
from napari_precimed.errors import ReadError

__all__ = ["read_volume"]


def read_volume(path: str | Path, *, series: str | None = None) -> Volume:
    """Read a scan from a file, from a folder of DICOM files, or a built-in phantom.

    Parameters
    ----------
    path : str or Path
        A NIfTI, NRRD or MetaImage file; a DICOM folder, or one file of a DICOM series; or
        ``phantom:ct``, ``phantom:mr``.
    series : str, optional
        SeriesInstanceUID or series number, where a folder holds several DICOM series.

    Returns
    -------
    Volume
        Canonical (z, y, x), with the exact transform of the file.

    Raises
    ------
    SeriesChoiceError
        If a folder holds several series and none was chosen.
    ReadError
        If the path cannot be read without guessing; the message says why.
    """
    from napari_precimed.io import dicom, itk, phantom

    if str(path).startswith(phantom.PHANTOM_PATH_PREFIX):
        return phantom.read_phantom(str(path))
    path = Path(path)
    if not path.exists():
        raise ReadError(f"There is no file or folder {path}; check the path.")
    if path.is_file() and itk.suffix_of(path) is not None:
        return itk.read_itk(path)
    if path.is_dir() or dicom.is_dicom(path):
        return dicom.read_series(path, series=series)
    raise ReadError(
        f"{path} is in no format that can be read. NIfTI (.nii, .nii.gz), NRRD (.nrrd, .nhdr), "
        "MetaImage (.mha, .mhd) and DICOM can."
    )
