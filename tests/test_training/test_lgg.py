"""The glioma folders: read by name, in order, and each patient in one part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_precimed.errors import DatasetError
from napari_precimed.training.lgg import read_lgg
from napari_precimed.training.split import split_of


def write_patient(folder: Path, flair: np.ndarray, mask: np.ndarray, parts: int = 1) -> Path:
    """A patient's folder; `pre` is another picture, `post` a copy of FLAIR."""
    folder.mkdir(parents=True)
    pre = np.random.default_rng(0).integers(0, 255, flair.shape, np.uint8)
    for name, image in (("flair", flair), ("pre", pre), ("post", flair)):
        for k, strip in enumerate(np.array_split(image, parts)):
            file = f"{name}_{k}.webp" if parts > 1 else f"{name}.webp"
            Image.fromarray(strip.reshape(-1, 256)).convert("RGB").save(folder / file, quality=95)
    Image.fromarray(mask.reshape(-1, 256)).save(folder / "mask.png")
    return folder


@pytest.fixture
def one(tmp_path):
    """One patient of three slices, of which the second holds a lesion."""
    levels = np.uint8([40, 120, 200])[:, None, None]
    flair = np.broadcast_to(levels, (3, 256, 256)).copy()
    flair[:, 100:120, 30:60] = 250
    mask = np.zeros((3, 256, 256), bool)
    mask[1, 100:120, 30:60] = True
    write_patient(tmp_path / "lgg" / "TCGA_XX_0001_20000101", flair, mask, parts=2)
    (tmp_path / "lgg" / "clinical.csv").write_text(
        "Patient,neoplasm_histologic_grade,race\nTCGA_XX_0001,1.0,\nTCGA_XX_0002,2.0,3.0\n"
    )
    return tmp_path


def test_strips_are_read_slice_by_slice_with_the_clinical_row(one):
    cases = read_lgg(one)
    assert len(cases) == 1
    case = cases[0]
    assert (case.patient, len(case)) == ("TCGA_XX_0001", 3)
    assert case.clinical == {"neoplasm_histologic_grade": 1.0, "race": None}
    assert np.abs(case.flair[:, 10, 200].astype(int) - [40, 120, 200]).max() < 5
    assert case.mask.any(axis=(1, 2)).tolist() == [False, True, False]
    assert case.mask[1, 110, 45]
    assert case.copies == ("post",)


def test_the_folder_itself_may_be_named(one):
    assert read_lgg(one / "lgg").patients == ["TCGA_XX_0001"]


def test_what_is_missing_or_strange_is_named(one, tmp_path):
    with pytest.raises(DatasetError, match=r"No patient's folder with a mask\.png at"):
        read_lgg(tmp_path / "elsewhere")
    folder = one / "lgg" / "TCGA_XX_0001_20000101"
    (folder / "pre_1.webp").unlink()
    with pytest.raises(DatasetError, match=r"pre has 2 slices, mask\.png 3"):
        read_lgg(one)
    (folder / "pre_0.webp").unlink()
    with pytest.raises(DatasetError, match=r"has no pre\.webp"):
        read_lgg(one)
    (folder / "pre.webp").write_text("no picture")
    with pytest.raises(DatasetError, match=r"pre\.webp is no readable image"):
        read_lgg(one)


def test_a_broken_table_is_named(one):
    (one / "lgg" / "clinical.csv").write_text("Patient,race\nTCGA_XX_0001,white\n")
    with pytest.raises(DatasetError, match=r"clinical\.csv is no table of patients"):
        read_lgg(one)


def test_a_scan_of_another_day_is_the_same_patient(one):
    source = one / "lgg" / "TCGA_XX_0001_20000101"
    again = one / "lgg" / "TCGA_XX_0001_20010101"
    again.mkdir()
    for file in source.iterdir():
        (again / file.name).write_bytes(file.read_bytes())
    cases = read_lgg(one)
    assert cases.patients == ["TCGA_XX_0001"] * 2
    assert len(cases.part(split_of("TCGA_XX_0001", "lgg"))) == 2
    with pytest.raises(DatasetError, match="were seen in training or validation"):
        cases.without({"TCGA_XX_0001"})


@pytest.mark.data
def test_the_shared_gliomas(shared_data):
    cases = read_lgg(shared_data)
    assert len(set(cases.patients)) == 85
    split = cases.split()
    assert sum(map(len, split.values())) == 85
    assert all(case.clinical for case in cases)
    by_name = {case.patient: case for case in cases}
    assert by_name["TCGA_HT_A61B"].copies == ("pre", "post")  # in two strips
    assert by_name["TCGA_DU_6407"].copies == ("post",)
    assert by_name["TCGA_HT_7680"].copies == ()  # the most alike that is not a copy
    assert len(by_name["TCGA_HT_A61B"].flair) == len(by_name["TCGA_HT_A61B"].mask) == 88
