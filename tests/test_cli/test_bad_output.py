"""A place that cannot be written: refused before anything is read, and left as it was."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from endings import Command, Mount, tree
from toy_case import toy_case

from genomics.synthetic import SyntheticCase
from napari_precimed.core.volume import Volume
from napari_precimed.errors import OutputError
from napari_precimed.io.itk import write_labels
from napari_precimed.pipeline import RESULT_FILES, write_results

pytestmark = pytest.mark.usefixtures("no_computing")
ABSENT = "absent.nii.gz"
"""A scan that is not there: where the output is complained of instead, it was checked first."""


def _segment(precimed: Command, output: Path) -> str:
    ended = precimed("segment", ABSENT, "--model", "lung-nodule", "-o", output)
    assert ended.code == 2
    return ended.said


def _analyse(precimed: Command, out: Path) -> str:
    ended = precimed("analyse", ABSENT, "--out", out)
    assert ended.code == 2
    return ended.said


@pytest.mark.parametrize("name", ["labels.png", "labels", "labels.dcm", "labels.nhdr"])
def test_an_unknown_suffix(precimed: Command, tmp_path: Path, name: str) -> None:
    said = _segment(precimed, tmp_path / name)
    assert f"'{name}' names no image format" in said
    assert ".nii.gz" in said
    assert tree(tmp_path) == {}


def test_a_folder_that_is_missing(precimed: Command, tmp_path: Path) -> None:
    assert "create it first" in _segment(precimed, tmp_path / "none" / "labels.nii.gz")
    assert tree(tmp_path) == {}


def test_a_place_below_a_file(precimed: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    before = tree(tmp_path)
    below = tmp_path / "file" / "results"
    assert "part of the path is a file" in _analyse(precimed, below)
    assert "part of the path is a file" in _segment(precimed, below / "labels.nii.gz")
    assert "a file of that name is there" in _analyse(precimed, tmp_path / "file")
    assert tree(tmp_path) == before


def test_a_folder_where_a_file_is_to_be(precimed: Command, tmp_path: Path) -> None:
    (tmp_path / "results" / "report.pdf").mkdir(parents=True)
    (tmp_path / "labels.nii.gz").mkdir()
    before = tree(tmp_path)
    assert "report.pdf' is a folder" in _analyse(precimed, tmp_path / "results")
    assert "a folder of that name is there" in _segment(precimed, tmp_path / "labels.nii.gz")
    assert tree(tmp_path) == before


def test_a_read_only_disk(precimed: Command, genomics: Command, read_only_disk: Path) -> None:
    assert "read-only" in _analyse(precimed, read_only_disk)
    assert "read-only" in _analyse(precimed, read_only_disk / "a" / "b")
    assert "read-only" in _segment(precimed, read_only_disk / "labels.nii.gz")
    ended = genomics("score", "absent.vcf", "-o", read_only_disk / "scored.tsv")
    assert ended.code == 2
    assert "ead-only" in ended.said
    assert tree(read_only_disk) == {}


def test_a_full_disk(precimed: Command, genomics: Command, full_disk: Path) -> None:
    before = tree(full_disk)
    assert "the disk is full" in _analyse(precimed, full_disk)
    assert "the disk is full" in _analyse(precimed, full_disk / "a" / "b")
    assert "the disk is full" in _segment(precimed, full_disk / "labels.nii.gz")
    ended = genomics("score", "absent.vcf", "-o", full_disk / "scored.tsv")
    assert ended.code == 2
    assert "No space left" in ended.said
    assert tree(full_disk) == before


@pytest.mark.parametrize("left", [0, 4_000, 12_000, 30_000, 80_000])
def test_a_disk_that_fills_while_results_are_written(mount_tmpfs: Mount, left: int) -> None:
    disk = mount_tmpfs("size=1m")
    results = disk / "results"
    results.mkdir()
    for name in RESULT_FILES:
        (results / name).write_text("of an earlier run")
    (disk / "ballast").write_bytes(bytes(shutil.disk_usage(disk).free - left))
    before = tree(disk)
    with pytest.raises(OutputError, match="the disk is full") as refused:
        write_results(toy_case(), results)
    assert ".draft" not in str(refused.value)
    assert tree(disk) == before


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_a_disk_that_fills_while_labels_are_written(
    full_disk: Path, small_volume: Volume, suffix: str
) -> None:
    path = full_disk / f"labels{suffix}"
    path.write_text("of an earlier run")
    before = tree(full_disk)
    labels = np.random.default_rng(5).integers(0, 2**20, small_volume.array.shape, np.int32)
    with pytest.raises(OutputError, match="disk is full"):
        write_labels(path, labels, small_volume)
    assert tree(full_disk) == before


@pytest.mark.parametrize("task", ["analyse", "segment"])
def test_an_input_is_never_written_over(
    precimed: Command, tmp_path: Path, small_ct: Path, task: str
) -> None:
    scan = tmp_path / "labels.nii.gz"
    shutil.copy(small_ct, scan)
    before = tree(tmp_path)
    options = {
        "analyse": ("--out", tmp_path),
        "segment": ("--model", "lung-nodule", "-o", tmp_path / "." / "labels.nii.gz"),
    }[task]
    ended = precimed(task, scan, *options)
    assert ended.code == 2
    assert "is an input" in ended.said
    assert tree(tmp_path) == before


def test_the_vcf_is_never_written_over(
    precimed: Command, tmp_path: Path, small_ct: Path, genome: SyntheticCase
) -> None:
    vcf = tmp_path / "variants.tsv"
    shutil.copy(genome.vcf, vcf)
    before = tree(tmp_path)
    ended = precimed("analyse", small_ct, "--vcf", vcf, "--out", tmp_path)
    assert ended.code == 2
    assert "is an input" in ended.said
    assert tree(tmp_path) == before
