"""A mistyped command line, a model or a device that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from endings import Command, tree

pytestmark = pytest.mark.usefixtures("no_computing")

SEGMENT = ("segment", "scan.nii.gz", "--model", "lung-nodule", "-o", "labels.nii.gz")
ANALYSE = ("analyse", "scan.nii.gz", "--out", "results")

MISTYPED = {
    ("segment", "scan.nii.gz", "--model", "lung-nodule"): "Missing option",
    (*SEGMENT, "--colour", "red"): "No such option: --colour",
    (*SEGMENT, "--device"): "requires an argument",
    (*SEGMENT, "another.nii.gz"): "unexpected extra argument",
    ("train", "lung-nodule", "--data", ".", "--out", "o", "--epochs", "0"): "--epochs",
    ("train", "lung-nodule", "--data", ".", "--out", "o", "--epochs", "many"): "--epochs",
    ("analyze", "scan.nii.gz"): "No such command 'analyze'",
}


@pytest.mark.parametrize(("line", "says"), MISTYPED.items())
def test_a_mistyped_command_line_is_one_line(
    precimed: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    line: tuple[str, ...],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = precimed(*line)
    assert ended.code == 2
    assert says in ended.said
    assert "--help" in ended.said
    assert tree(tmp_path) == {}


def test_a_mistyped_line_to_genomics_is_one_line(genomics: Command) -> None:
    ended = genomics("score", "a.vcf", "-o", "b.tsv", "--colour", "red")
    assert ended.code == 2
    assert "No such option: --colour" in ended.said


NO_SUCH_MODEL = {
    ("segment", "phantom:ct", "--model", "lung-module", "-o", "l.nii.gz"): "no model 'lung-module'",
    ("analyse", "phantom:ct", "--model", "lung-module", "--out", "r"): "no model 'lung-module'",
    ("classify", "phantom:ct", "l.nii.gz", "--model", "lung-module"): "no model 'lung-module'",
    ("evaluate", "lung-module", "--data", "."): "no model 'lung-module'",
    ("train", "lung-module", "--data", ".", "--out", "o"): "lung-module",
    (
        *("segment", "phantom:ct", "--model", "lung-nodule-malignancy", "-o", "l.nii.gz"),
    ): "is a classification model",
    ("classify", "phantom:ct", "l.nii.gz", "--model", "lung-nodule"): "is a segmentation model",
    ("classify", "phantom:ct", "l.nii.gz", "--model", "tumour-slice"): "classifies whole slices",
    ("classify", "phantom:ct", "--model", "lung-nodule-malignancy"): "name their LABELS",
    (
        *("analyse", "phantom:ct", "--model", "lung-nodule", "--model", "lung-nodule"),
        *("--out", "r"),
    ): "one of each task",
    (
        *("analyse", "phantom:ct", "--model", "lung-nodule-malignancy", "--out", "r"),
    ): "needs outlined lesions",
}


@pytest.mark.parametrize(("line", "says"), NO_SUCH_MODEL.items())
def test_a_model_that_is_not_there_or_not_for_this(
    precimed: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    line: tuple[str, ...],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = precimed(*line)
    assert ended.code == 2
    assert says in ended.said
    assert tree(tmp_path) == {}


def test_a_model_of_genomics_that_is_not_there(genomics: Command, tmp_path: Path) -> None:
    vcf = tmp_path / "a.vcf"
    vcf.write_text("##fileformat=VCFv4.3\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")
    before = tree(tmp_path)
    ended = genomics("score", vcf, "--model", "no-lstm", "-o", tmp_path / "b.tsv")
    assert ended.code == 2
    assert "no-lstm" in ended.said
    assert tree(tmp_path) == before


@pytest.mark.parametrize("device", ["cuda", "mps", "gpu"])
@pytest.mark.parametrize("task", ["analyse", "segment", "classify", "train", "evaluate"])
def test_a_device_that_is_not_there(
    precimed: Command, tmp_path: Path, small_ct: Path, small_labels: Path, device: str, task: str
) -> None:
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    if device == "mps" and torch.backends.mps.is_available():
        pytest.skip("this machine has an Apple GPU")
    line = {
        "analyse": (small_ct, "--out", tmp_path / "results"),
        "segment": (small_ct, "--model", "lung-nodule", "-o", tmp_path / "l.nii.gz"),
        "classify": (small_ct, small_labels, "--model", "lung-nodule-malignancy"),
        "train": ("lung-nodule", "--data", tmp_path, "--out", tmp_path / "trained"),
        "evaluate": ("lung-nodule", "--data", tmp_path),
    }[task]
    ended = precimed(task, *line, "--device", device)
    assert ended.code == 2
    assert "--device" in ended.said or "choose one of auto, cpu, cuda, mps" in ended.said
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("task", ["train", "evaluate"])
def test_data_that_are_not_there(precimed: Command, tmp_path: Path, task: str) -> None:
    out = ("--out", tmp_path / "trained") if task == "train" else ()
    ended = precimed(task, "lung-nodule", "--data", tmp_path / "absent", *out)
    assert ended.code == 2
    assert "absent" in ended.said
    assert tree(tmp_path) == {}
