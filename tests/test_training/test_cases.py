"""The forms of a researcher's own data, whose scans they are, and how they are divided."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from toy_scans import SHAPE, SPACING_MM, ball, write_scans

from napari_precimed.core.geometry import Geometry
from napari_precimed.core.volume import Volume
from napari_precimed.errors import DatasetError, GeometryError, ReadError
from napari_precimed.io.itk import write_labels, write_volume
from napari_precimed.training.cases import check_labels, patient_of, read_cases, read_unlabelled
from napari_precimed.training.patients import read_patients
from napari_precimed.training.split import checked, divide, read_split, restricted, write_split

NAMES = ("case_0001", "case_0002", "case_0003")


def msd(root: Path) -> Path:
    write_scans(root, NAMES, folders=("imagesTr", "labelsTr"))
    listed = [{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in NAMES]
    (root / "dataset.json").write_text(
        json.dumps(
            {
                "modality": {"0": "CT"},
                "labels": {"0": "background", "1": "liver"},
                "training": listed,
            }
        )
    )
    return root / "dataset.json"


def nnunet(root: Path) -> Path:
    write_scans(root, NAMES, folders=("imagesTr", "labelsTr"), channels=2)
    (root / "dataset.json").write_text(
        json.dumps(
            {"channel_names": {"0": "FLAIR", "1": "T1"}, "labels": {"background": 0, "tumour": 1}}
        )
    )
    return root


@pytest.mark.parametrize(
    ("write", "modality", "names", "channels"),
    [
        (lambda root: write_scans(root, NAMES), None, {}, 1),
        (msd, "CT", {1: "liver"}, 1),
        (nnunet, "MR", {1: "tumour"}, 2),
    ],
)
def test_each_form_gives_the_same_scans(tmp_path, write, modality, names, channels):
    cases = read_cases(write(tmp_path))
    assert [case.name for case in cases.cases] == list(NAMES)
    assert (cases.modality, cases.label_names, cases.n_channels) == (modality, names, channels)
    scan = cases.cases[1].read()
    image, labels = ball(1)
    assert scan.channels.shape == (channels, *SHAPE)
    np.testing.assert_allclose(scan.channels[-1], image, atol=1e-3)
    assert scan.labels is not None
    assert (scan.labels == labels).all()
    assert scan.volume.geometry.spacing_mm == pytest.approx(SPACING_MM)


def test_an_image_without_labels_is_named(tmp_path):
    write_scans(tmp_path, NAMES)
    (tmp_path / "labels" / "case_0002.nii.gz").unlink()
    with pytest.raises(DatasetError, match=r"case_0002.* has no partner"):
        read_cases(tmp_path)


def test_labels_on_another_grid_are_named(tmp_path):
    write_scans(tmp_path, NAMES)
    image, labels = ball(0)
    shifted = Volume(image, Geometry.from_parts(SHAPE, SPACING_MM, origin_mm=(3, 0, 0)))
    write_labels(tmp_path / "labels" / "case_0001.nii.gz", labels, shifted)
    with pytest.raises(GeometryError, match=r"case_0001.* grid of the scan: origin"):
        read_cases(tmp_path).cases[0].read()


def test_negative_labels_and_voxels_that_are_no_number_are_named(tmp_path):
    write_scans(tmp_path, NAMES)
    image, labels = ball(0)
    volume = Volume(image, Geometry.from_parts(SHAPE, SPACING_MM))
    write_volume(tmp_path / "labels" / "case_0001.nii.gz",
                 volume.with_array(labels.astype(np.int16) - 1))  # fmt: skip
    with pytest.raises(ReadError, match=r"case_0001.*from -1"):
        read_cases(tmp_path).cases[0].read()
    image[0, 0, 0] = np.nan
    write_volume(tmp_path / "images" / "case_0002.nii.gz", volume.with_array(image))
    with pytest.raises(ReadError, match=r"case_0002"):
        read_cases(tmp_path).cases[1].read()


@pytest.mark.parametrize(
    ("about", "told"),
    [
        ({"training": [{"image": "imagesTr/no.nii.gz", "label": "x"}]}, "which does not exist"),
        ({"labels": {"0": "background", "2": "a"}}, "without a gap"),
        ({"labels": {"background": 0, "whole": [1, 2]}}, "one whole number"),
    ],
)
def test_a_dataset_json_that_does_not_fit_is_refused(tmp_path, about, told):
    write_scans(tmp_path, NAMES, folders=("imagesTr", "labelsTr"))
    (tmp_path / "dataset.json").write_text(json.dumps(about))
    with pytest.raises(DatasetError, match=told):
        read_cases(tmp_path)


def test_an_empty_folder_says_what_belongs_there(tmp_path):
    with pytest.raises(DatasetError, match=r"images/ and labels/, an MSD dataset\.json"):
        read_cases(tmp_path)
    with pytest.raises(DatasetError, match="no scans"):
        read_unlabelled(tmp_path, 1)


def test_a_folder_of_images_is_enough_without_labels(tmp_path):
    write_scans(tmp_path, NAMES)
    cases = read_unlabelled(tmp_path / "images", 1)
    assert [case.name for case in cases.cases] == list(NAMES)
    assert cases.cases[0].read().labels is None


def test_labels_must_be_there_and_leave_no_gap():
    assert check_labels({"a": [0, 1], "b": [0, 2]}, {}) == 2
    with pytest.raises(DatasetError, match="Not one voxel is labelled in 1 scans"):
        check_labels({"a": [0]}, {})
    with pytest.raises(DatasetError, match="1, 3 but no 2"):
        check_labels({"a": [0, 1, 3]}, {})
    with pytest.raises(DatasetError, match=r"'a' hold 3, but dataset\.json names labels up to 1"):
        check_labels({"a": [0, 3]}, {1: "tumour"})


def test_whose_a_scan_is(tmp_path):
    assert patient_of("sub-01_ses-02_T1w") == "sub-01"
    assert patient_of("P7__follow-up") == "P7"
    assert patient_of("case_0001") == "case_0001"
    write_scans(tmp_path, NAMES)
    (tmp_path / "patients.csv").write_text(
        "case,patient,age,sex\ncase_0001,A,34,F\ncase_0002,A,34,F\ncase_0003,B,,M\n"
    )
    cases = read_cases(tmp_path)
    assert [case.patient for case in cases.cases] == ["A", "A", "B"]
    groups = cases.patients.groups(["A", "A", "B"])
    assert groups["age 0 to 39"].tolist() == [True, True, False]
    assert groups["age unknown"].tolist() == [False, False, True]
    assert groups["gender M"].tolist() == [False, False, True]


def test_the_clinical_table_of_the_gliomas_is_read(tmp_path):
    (tmp_path / "clinical.csv").write_text(
        "Patient,gender,age_at_initial_pathologic,race\nTCGA_1,1.0,44.0,2.0\nTCGA_2,2.0,,\n"
    )
    groups = read_patients(tmp_path).groups(["TCGA_1", "TCGA_2"])
    assert set(groups) == {
        "age 40 to 59", "age unknown", "gender 1", "gender 2", "race 2", "race unknown",
    }  # fmt: skip


@pytest.mark.parametrize("n", [2, 3, 5, 8, 20, 59, 60, 300])
def test_patients_are_divided_whole_and_no_part_is_empty(n):
    kinds = {f"p{k}": "labelled" if k % 3 else "nothing labelled" for k in range(n)}
    split = divide(kinds)
    assert sorted(p for names in split.values() for p in names) == sorted(kinds)
    assert split == divide(dict(reversed(kinds.items())))
    assert split["train"]
    assert split["validation"]
    assert bool(split["test"]) == (n > 2)
    if n >= 5:
        assert any(kinds[p] == "labelled" for p in split["validation"])


def test_one_patient_is_not_enough():
    with pytest.raises(DatasetError, match="of 1 patient; training needs two"):
        divide({"p": "labelled"})


def test_a_split_is_kept_in_a_file_and_checked(tmp_path):
    split = {"train": ["b", "a"], "validation": ["c"], "test": []}
    write_split(tmp_path / "split.json", split)
    assert read_split(tmp_path / "split.json") == {**split, "train": ["a", "b"]}
    with pytest.raises(DatasetError, match="'a' both in train and in test"):
        checked({"train": ["a"], "validation": ["b"], "test": ["a"]}, "split.json")
    with pytest.raises(DatasetError, match="no patient in validation"):
        checked({"train": ["a"]}, "split.json")
    with pytest.raises(DatasetError, match="names a part 'val'"):
        checked({"train": ["a"], "val": ["b"]}, "split.json")
    with pytest.raises(DatasetError, match="its ids and those of the data"):
        restricted(split, {"x", "c"}, "split.json")
    (tmp_path / "split.json").write_text("[1]")
    with pytest.raises(DatasetError, match="is no split"):
        read_split(tmp_path / "split.json")
