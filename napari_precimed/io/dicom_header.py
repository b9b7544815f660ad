"""One DICOM file: is it one, is it an image, and what does its header say.

A damaged header is refused here, so that what comes after may rely on its values.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import UID, MediaStorageDirectoryStorage

from napari_precimed.errors import ReadError

# fmt: off
_NO_IMAGE = frozenset({
    "SEG", "RTSTRUCT", "RTDOSE", "RTPLAN", "RTRECORD", "SR", "PR", "KO", "REG", "FID", "DOC",
    "PLAN", "AU", "ECG", "SMR", "RWV",
})
# fmt: on
# fmt: off
_TEXTS = (
    "Modality", "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID",
    "SOPClassUID", "FrameOfReferenceUID", "StudyDate", "SeriesDescription", "ImageType",
)
_NUMBERS = (
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope",
    "RescaleIntercept", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "SeriesNumber",
)
# fmt: on
_DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")


def is_dicom(path: Path) -> bool:
    """Whether a file carries the DICOM mark after its preamble (PS3.10)."""
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def looks_like_dicom(file: Path) -> bool:
    """Whether a file is DICOM; refuses one that is only named so, as it may be a lost slice."""
    try:
        if is_dicom(file):
            return True
    except OSError as error:
        raise ReadError(f"{file} cannot be opened ({error.strerror}); check its rights.") from error
    if file.suffix.lower() in _DICOM_SUFFIXES:
        raise ReadError(
            f"{file} is named as DICOM but is none ({file.stat().st_size} bytes, no DICM mark); it "
            "may be a damaged slice. Export the series again, or remove the file."
        )
    return False


def is_image(header: Dataset, file: Path) -> bool:
    """Whether an object has pixels to be read as part of a scan.

    Raises
    ------
    ReadError
        If it lacks them because it is cut short.
    """
    if text(header, "Modality") in _NO_IMAGE:
        return False
    if "Rows" in header:
        return True
    kind = UID(str(header.file_meta.get("MediaStorageSOPClassUID", "")))
    if kind == MediaStorageDirectoryStorage:
        return False
    if kind != text(header, "SOPClassUID") or "Image Storage" in kind.name:
        raise ReadError(f"{file} is a truncated DICOM file; export the series again.")
    return False


def read_header(file: Path) -> Dataset:
    """The header of a file, with every value that is used here decoded and checked."""
    try:
        header = pydicom.dcmread(file, stop_before_pixels=True)
        for keyword in _TEXTS:
            header.get(keyword)
        numbers = [float(v) for keyword in _NUMBERS for v in _values(header, keyword)]
        known = UID(header.file_meta.TransferSyntaxUID).is_transfer_syntax
    except Exception as error:  # on a damaged file pydicom raises a dozen kinds
        raise ReadError(
            f"{file} is a damaged or truncated DICOM file ({first_line(error)}); export it again."
        ) from error
    if not known or not np.isfinite(numbers).all():
        raise ReadError(f"{file} has a damaged header; export the series again.")
    return header


def _values(header: Dataset, keyword: str) -> Iterable[Any]:
    value = header.get(keyword)
    if value is None or value == "":
        return ()
    return value if isinstance(value, MultiValue) else (value,)


def first_line(error: Exception) -> str:
    """What an error says, on one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def text(header: Dataset, keyword: str) -> str | None:
    """The value as text; None where it is missing or empty."""
    value: Any = header.get(keyword)
    stripped = "" if value is None else str(value).strip()
    return stripped or None


def number(header: Dataset, keyword: str, default: float) -> float:
    """The value as a number; `default` where it is missing or empty."""
    value = header.get(keyword)
    return default if value is None or value == "" else float(value)
