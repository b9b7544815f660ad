"""A DICOM series that each test may spoil in its own way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

Spoil = Callable[[int, Dataset], None]


def ct_slice(k: int, n: int, step_mm: float, series_uid: str) -> Dataset:
    """Slice k of n: 6 rows, 5 columns, 0.5 x 0.75 mm, values 100 k + column, in HU less 1024."""
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = CTImageStorage
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    header.PatientID, header.PatientName = "P-7", "Toy^Patient"
    header.StudyInstanceUID, header.SeriesInstanceUID = "1.2.3.4", series_uid
    header.FrameOfReferenceUID = "1.2.3.5"
    header.StudyDate, header.SeriesDescription, header.SeriesNumber = "20240229", "Thorax", 4
    header.Modality, header.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    header.InstanceNumber = n - k  # against the positions, which are what counts
    header.ImagePositionPatient = [-20.0, 30.0, -100.0 + step_mm * k]
    header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    header.PixelSpacing, header.SliceThickness = [0.5, 0.75], 9.0  # the thickness is no spacing
    header.Rows, header.Columns = 6, 5
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, 16, 15
    header.PixelRepresentation = 1
    header.RescaleSlope, header.RescaleIntercept = 1, -1024
    plane = np.arange(5, dtype=np.int16) + np.int16(100 * k) + np.zeros((6, 1), np.int16)
    header.PixelData = plane.tobytes()
    return header


@pytest.fixture
def write_series(tmp_path: Path) -> Callable[..., Path]:
    """Write a series of `n` slices; `spoil(k, header)` may change each first."""

    def write(
        n: int = 5,
        spoil: Spoil = lambda k, header: None,
        *,
        step_mm: float = 2.5,
        folder: str = "series",
        series_uid: str = "1.2.3.4.1",
        leave_out: tuple[int, ...] = (),
    ) -> Path:
        place = tmp_path / folder
        place.mkdir(parents=True, exist_ok=True)
        for k in range(n):
            header = ct_slice(k, n, step_mm, series_uid)
            spoil(k, header)
            if k not in leave_out:
                # Named so that neither the name nor the instance number gives the order.
                name = f"{(k * 7) % 11:02d}-{series_uid}.dcm"
                pydicom.dcmwrite(place / name, header, enforce_file_format=True)
        return place

    return write
