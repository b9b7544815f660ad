"""Reading, writing and samples as napari calls them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from napari import Viewer
from napari.utils.notifications import notification_manager
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication
from ui_scans import small_scan

from napari_precimed.io import read_volume
from napari_precimed.io.itk import read_labels, write_volume
from napari_precimed.ui import reader
from napari_precimed.ui.dialogs import SeriesDialog
from napari_precimed.ui.session import Session

pytestmark = pytest.mark.gui


@pytest.fixture
def scan_file(tmp_path: Path) -> Path:
    path = tmp_path / "chest.nii.gz"
    write_volume(path, small_scan())
    return path


@pytest.fixture
def shown() -> list[str]:
    messages: list[str] = []
    notification_manager.notification_ready.connect(lambda n: messages.append(n.message))
    return messages


def test_a_scan_opens_in_millimetres_and_labels_drawn_on_it_are_saved(
    viewer: Viewer, scan_file: Path, tmp_path: Path
) -> None:
    (image,) = viewer.open(scan_file, plugin="napari-precimed")
    assert viewer.dims.axis_labels == ("z", "y", "x")
    assert image.scale[0] == pytest.approx(-2.5)
    viewer.layers.selection.active = image
    labels = viewer.add_labels(
        np.zeros(image.data.shape, np.uint8), scale=image.scale, translate=image.translate
    )
    labels.data_setitem((np.array([3]), np.array([30]), np.array([4])), 1)
    out = tmp_path / "drawn.nii.gz"
    assert labels.save(str(out), plugin="napari-precimed")
    scan = read_volume(scan_file)
    assert np.argwhere(read_labels(out, scan)).tolist() == [[3, 30, 4]]
    copy = tmp_path / "copy.nrrd"
    assert image.save(str(copy), plugin="napari-precimed")
    assert np.array_equal(read_volume(copy).array, scan.array)
    assert read_volume(copy).geometry.matches(scan.geometry)


def test_a_slice_without_a_series_is_not_taken_for_a_scan_that_has_none_either(
    viewer: Viewer, scan_file: Path, tmp_path: Path
) -> None:
    viewer.open(scan_file, plugin="napari-precimed")
    header = Dataset()
    header.SOPClassUID, header.SOPInstanceUID = CTImageStorage, generate_uid()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dcmwrite(tmp_path / "slice.dcm", header, enforce_file_format=True)
    assert not reader._already_open(str(tmp_path / "slice.dcm"))


@pytest.mark.parametrize("name", ["missing.nii.gz", "text.nii.gz"])
def test_a_bad_file_gives_one_notification_and_no_layer(
    viewer: Viewer, tmp_path: Path, shown: list[str], name: str
) -> None:
    path = tmp_path / name
    if name.startswith("text"):
        path.write_text("This is no image.")
    assert reader.read(str(path)) == reader.NOTHING
    assert len(shown) == 1
    assert name in shown[0]
    assert "Traceback" not in shown[0]


def test_the_samples_open_a_patient(viewer: Viewer) -> None:
    session = Session.of(viewer)
    viewer.open_sample("napari-precimed", "phantom_ct")
    assert session.case.patient.id == "PHANTOM-01"
    viewer.open_sample("napari-precimed", "phantom_mr")
    assert [volume.modality for volume in session.volumes] == ["CT", "MR"]


@pytest.mark.parametrize("accept", [True, False])
def test_a_folder_with_two_series_asks(
    viewer: Viewer, tmp_path: Path, accept: bool, wait: Callable
) -> None:
    folder = two_series(tmp_path)
    asked: list[int] = []

    def choose() -> None:
        dialog = QApplication.activeModalWidget()
        if not isinstance(dialog, SeriesDialog):
            QTimer.singleShot(20, choose)
            return
        asked.append(dialog.table.rowCount())
        dialog.table.selectRow(1)
        dialog.accept() if accept else dialog.reject()

    QTimer.singleShot(0, choose)
    layers = viewer.open(folder, plugin="napari-precimed")
    assert asked == [2]
    assert [layer.name for layer in layers] == (["CT second"] if accept else [])


def two_series(folder: Path) -> Path:
    """A folder with two small CT series of one patient."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    study = generate_uid()
    for number, name in enumerate(("first", "second"), start=1):
        series = generate_uid()
        for k in range(3):
            meta = FileMetaDataset()
            meta.TransferSyntaxUID = ExplicitVRLittleEndian
            meta.MediaStorageSOPClassUID = CTImageStorage
            meta.MediaStorageSOPInstanceUID = generate_uid()
            one = Dataset()
            one.file_meta = meta
            one.SOPClassUID = CTImageStorage
            one.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
            one.PatientID, one.Modality, one.SeriesDescription = "P-1", "CT", name
            one.StudyInstanceUID, one.SeriesInstanceUID = study, series
            one.FrameOfReferenceUID, one.SeriesNumber, one.InstanceNumber = study, number, k
            one.Rows = one.Columns = 8
            one.PixelSpacing = [1, 1]
            one.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
            one.ImagePositionPatient = [0, 0, 2.0 * k]
            one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
            one.BitsAllocated, one.BitsStored, one.HighBit = 16, 16, 15
            one.PixelRepresentation, one.RescaleSlope, one.RescaleIntercept = 0, 1, -1024
            one.PixelData = np.full((8, 8), 100 * k, np.uint16).tobytes()
            one.save_as(folder / f"{name}{k}.dcm", enforce_file_format=True)
    return folder
