"""A scan that cannot be used: one line, exit code 2, nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from endings import Command, tree
from pydicom.data import get_testdata_file

from napari_precimed.core.volume import Volume
from napari_precimed.io.itk import write_volume

pytestmark = pytest.mark.usefixtures("no_computing")


def _nifti(path: Path, array: np.ndarray) -> Path:
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=False), str(path))
    return path


def _nothing(folder: Path) -> Path:
    return folder / "absent.nii.gz"


def _empty_folder(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def _text_named_nifti(folder: Path) -> Path:
    (folder / "notes.nii.gz").write_text("Dear colleague, the scan is attached.\n")
    return folder / "notes.nii.gz"


def _text(folder: Path) -> Path:
    (folder / "notes.txt").write_text("Dear colleague\n")
    return folder / "notes.txt"


def _four_dimensional(folder: Path) -> Path:
    return _nifti(folder / "film.nii.gz", np.zeros((3, 8, 8, 8), np.int16))


def _nan_voxels(folder: Path) -> Path:
    array = np.zeros((8, 8, 8), np.float32)
    array[3, 4, 5] = np.nan
    return _nifti(folder / "holes.nii.gz", array)


def _write_series(folder: Path, uid: str = "1.2.3.1", number: int = 1) -> None:
    folder.mkdir(exist_ok=True)
    for k in range(3):
        one = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
        one.SeriesInstanceUID, one.SeriesNumber = uid, number
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = f"{uid}.{k}"
        one.ImagePositionPatient = [0, 0, 5 * k]
        one.save_as(folder / f"{uid}-{k}.dcm")


def _truncated_dicom(folder: Path) -> Path:
    _write_series(folder / "series")
    last = max((folder / "series").iterdir())
    last.write_bytes(last.read_bytes()[:-8000])
    return folder / "series"


def _cut_nifti(folder: Path) -> Path:
    whole = _nifti(folder / "whole.nii", np.ones((8, 8, 8), np.int16)).read_bytes()
    (folder / "cut.nii").write_bytes(whole[:600])
    return folder / "cut.nii"


def _unknown_phantom(folder: Path) -> str:
    return "phantom:pet"


BAD_SCANS = {
    _nothing: "no file or folder",
    _empty_folder: "is empty",
    _text_named_nifti: "notes.nii.gz",
    _text: "in no format",
    _four_dimensional: "4-D image",
    _nan_voxels: "NaN",
    _truncated_dicom: "truncated",
    _cut_nifti: "cut.nii",
    _unknown_phantom: "no built-in phantom 'pet'",
}


@pytest.mark.parametrize(
    ("make", "says"), BAD_SCANS.items(), ids=lambda v: getattr(v, "__name__", "")
)
@pytest.mark.parametrize("task", ["analyse", "segment", "classify"])
def test_a_bad_scan(
    precimed: Command,
    tmp_path: Path,
    small_ct: Path,
    make: Callable[[Path], Path],
    says: str,
    task: str,
) -> None:
    scan = make(tmp_path)
    before = tree(tmp_path)
    options = {
        "analyse": ("--out", tmp_path / "new" / "results"),
        "segment": ("--model", "lung-nodule", "-o", tmp_path / "labels.nii.gz"),
        "classify": (small_ct, "--model", "lung-nodule-malignancy"),
    }[task]
    ended = precimed(task, scan, *options)
    assert ended.code == 2
    assert ended.said.startswith("precimed: ")
    assert says in ended.said
    assert tree(tmp_path) == before


def test_a_bad_scan_leaves_an_existing_folder_as_it_was(precimed: Command, tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    (results / "report.html").write_text("an earlier patient")
    before = tree(tmp_path)
    assert precimed("analyse", tmp_path / "absent.nii", "--out", results).code == 2
    assert tree(tmp_path) == before


def test_several_series_are_listed(precimed: Command, tmp_path: Path) -> None:
    folder, uids = tmp_path / "dicom", ("1.2.3.1", "1.2.3.2")
    for number, uid in enumerate(uids, start=1):
        _write_series(folder, uid, number)
    before = tree(tmp_path)
    ended = precimed("analyse", folder, "--out", tmp_path / "results")
    assert ended.code == 2
    assert "--series" in ended.err.splitlines()[0]
    listed = ended.err.splitlines()[1:]
    assert len(listed) == 2
    assert all(uid in line and "3 slices" in line for uid, line in zip(uids, listed, strict=True))
    other = precimed("analyse", folder, "--out", tmp_path / "results", "--series", "9")
    assert other.code == 2
    assert "No single series '9'" in other.said
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda labels: labels[:-1], "grid"),
        (lambda labels: labels + np.float32(0.5), "fractions"),
        (lambda labels: labels - np.int16(1), "expected 0 up"),
    ],
)
def test_labels_that_do_not_fit(
    precimed: Command,
    tmp_path: Path,
    small_ct: Path,
    small_volume: Volume,
    spoil: Callable[[np.ndarray], np.ndarray],
    says: str,
) -> None:
    array = spoil(np.zeros(small_volume.array.shape, np.int16))
    geometry = small_volume.geometry.cropped((0, 0, 0), array.shape)
    write_volume(tmp_path / "labels.nii.gz", Volume(array=array, geometry=geometry))
    before = tree(tmp_path)
    ended = precimed(
        "classify", small_ct, tmp_path / "labels.nii.gz", "--model", "lung-nodule-malignancy"
    )
    assert ended.code == 2
    assert says in ended.said
    assert tree(tmp_path) == before


def test_labels_that_are_not_there(precimed: Command, small_ct: Path, tmp_path: Path) -> None:
    ended = precimed("classify", small_ct, tmp_path / "no.nii", "--model", "lung-nodule-malignancy")
    assert ended.code == 2
    assert "no.nii" in ended.said


def test_a_scan_of_another_modality(precimed: Command, tmp_path: Path) -> None:
    ended = precimed("segment", "phantom:mr", "--model", "lung-nodule", "-o", tmp_path / "l.nii.gz")
    assert ended.code == 2
    assert "is for CT, this scan is MR" in ended.said
    assert tree(tmp_path) == {}


def test_a_scan_of_another_patient_than_said(precimed: Command, tmp_path: Path) -> None:
    ended = precimed("analyse", "phantom:ct", "--patient", "P9", "--out", tmp_path / "results")
    assert ended.code == 2
    assert "'PHANTOM-01'" in ended.said
    assert "'P9'" in ended.said
    assert tree(tmp_path) == {}
