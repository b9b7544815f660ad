"""The folder of results: every scan's lesions, one patient only, all of it or nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from toy_case import ct_volume, lesions_in, toy_case

from napari_precimed.core.patient import Case
from napari_precimed.core.volume import Source
from napari_precimed.errors import OutputError
from napari_precimed.io.itk import read_labels, write_volume
from napari_precimed.pipeline import RESULT_FILES, write_results


def second_scan(case: Case) -> Case:
    """The case with another scan on the same grid, in which one of the lesions is left."""
    volume = replace(ct_volume(), series_uid="1.2.3.5", series_description="a year later")
    lesions = replace(lesions_in(volume), series_uid="1.2.3.5")
    labels = np.where(lesions.labels == 2, 2, 0)
    lesions = replace(lesions, labels=labels, lesions=(lesions.lesion(2),))
    return case.attach_volume(volume).attach_lesions(lesions)


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder; None for a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def test_the_lesions_of_every_scan_are_written(tmp_path: Path) -> None:
    case = second_scan(toy_case())
    files = write_results(case, tmp_path)
    assert set(files) == {*RESULT_FILES, "labels-2.nii.gz"} == {p.name for p in tmp_path.iterdir()}
    for name, lesions, volume in zip(
        ("labels.nii.gz", "labels-2.nii.gz"), case.lesion_sets, case.volumes, strict=True
    ):
        assert np.array_equal(read_labels(tmp_path / name, volume), lesions.labels)
    table = pd.read_csv(tmp_path / "lesions.csv")
    assert table["labels_file"].tolist() == ["labels.nii.gz"] * 3 + ["labels-2.nii.gz"]
    sets = json.loads((tmp_path / "lesions.json").read_text())["lesion_sets"]
    assert [each["labels_file"] for each in sets] == ["labels.nii.gz", "labels-2.nii.gz"]


def test_lesions_of_the_second_scan_alone_are_written(tmp_path: Path) -> None:
    case = second_scan(toy_case())
    case = replace(case, lesion_sets=case.lesion_sets[1:])
    assert set(write_results(case, tmp_path)) == set(RESULT_FILES)
    assert len(pd.read_csv(tmp_path / "lesions.csv")) == 1
    labels = read_labels(tmp_path / "labels.nii.gz", case.volumes[1])
    assert np.unique(labels).tolist() == [0, 2]


def test_lesions_whose_scan_is_not_at_hand_are_in_the_tables(tmp_path: Path) -> None:
    files = write_results(replace(toy_case(), volumes=()), tmp_path)
    assert "labels.nii.gz" not in files
    assert len(pd.read_csv(tmp_path / "lesions.csv")) == 3


def test_the_second_scans_labels_of_an_earlier_run_do_not_stay(tmp_path: Path) -> None:
    mine = tmp_path / "labels-old.nii.gz"
    mine.write_text("mine")
    write_results(second_scan(toy_case()), tmp_path)
    write_results(toy_case(), tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {*RESULT_FILES, mine.name}


@pytest.mark.parametrize("blocked", ["labels.nii.gz", "report.pdf", "variants.tsv"])
def test_a_result_that_cannot_be_replaced_leaves_the_folder_as_it_was(
    tmp_path: Path, blocked: str
) -> None:
    for name in (*RESULT_FILES, "labels-2.nii.gz"):
        (tmp_path / name).write_text(f"{name} of another patient")
    (tmp_path / blocked).unlink()
    (tmp_path / blocked).mkdir()
    (tmp_path / blocked / "inside.txt").write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(OutputError, match=f"{blocked}.*folder"):
        write_results(toy_case(), tmp_path)
    assert contents(tmp_path) == before


def test_a_scan_is_not_replaced_by_its_results(tmp_path: Path) -> None:
    scan = tmp_path / "labels-2.nii.gz"
    volume = ct_volume()
    write_volume(scan, volume)
    before = contents(tmp_path)
    case = Case.of(replace(volume, source=Source(str(scan), "NIfTI")))
    with pytest.raises(OutputError, match=r"labels-2\.nii\.gz' is a scan of this case"):
        write_results(case, tmp_path)
    assert contents(tmp_path) == before
