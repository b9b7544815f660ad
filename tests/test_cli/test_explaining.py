"""What `explain`, `segment --doubt` and `evaluate --reliability` write, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from endings import Command, tree

from napari_precimed.core.volume import Volume
from napari_precimed.io.itk import read_itk, read_labels

MALIGNANCY = "lung-nodule-malignancy"


def test_explain_writes_a_map_on_the_grid_of_the_scan(
    precimed: Command, tmp_path: Path, small_ct: Path, small_labels: Path, small_volume: Volume
) -> None:
    output = tmp_path / "saliency.nii.gz"
    line = ("explain", small_ct, small_labels, "--model", MALIGNANCY, "-o", output)
    ended = precimed(*line, "--method", "grad-cam", "--target", "spiculation", "--json")
    assert (ended.code, ended.err) == (0, "")
    printed = json.loads(ended.out)
    saliency = read_itk(output)
    assert saliency.geometry.matches(small_volume.geometry)
    assert saliency.array.dtype == np.float32
    assert saliency.array.max() > 0
    labels = read_labels(small_labels, small_volume)
    hottest = np.unravel_index(saliency.array.argmax(), saliency.array.shape)
    centre = np.argwhere(labels == printed["lesion"]).mean(0)
    assert np.linalg.norm((hottest - centre) * small_volume.geometry.spacing_mm) < 40  # the patch
    assert (printed["method"], printed["target"]) == ("grad-cam", "spiculation")
    assert -1 <= printed["agreement"] <= 1
    assert printed["completeness_error"] is None
    assert printed["run"]["model"].startswith(MALIGNANCY)
    assert list(tree(tmp_path)) == ["saliency.nii.gz"]


def test_segment_writes_the_doubt_beside_the_labels(
    precimed: Command, tmp_path: Path, small_ct: Path, small_volume: Volume
) -> None:
    labels, doubt = tmp_path / "labels.nii.gz", tmp_path / "doubt.nii.gz"
    line = ("segment", small_ct, "--model", "lung-nodule", "-o", labels, "--doubt", doubt)
    ended = precimed(*line, "--json")
    assert (ended.code, ended.err) == (0, "")
    printed = json.loads(ended.out)
    drawn, written = read_labels(labels, small_volume), read_itk(doubt)
    assert written.geometry.matches(small_volume.geometry)
    assert 0 <= written.array.min() < 0.1
    assert 0.5 < written.array.max() <= 1
    agreement = printed["doubt"]["agreement"]
    assert sorted(map(int, agreement)) == sorted(set(np.unique(drawn)) - {0})
    assert all(0 <= share <= 1 for share in agreement.values())


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (("--lesion", 77, "-o", "s.nii.gz"), "no lesion 77"),
        (("--method", "shap", "-o", "s.nii.gz"), "no method 'shap'"),
        (("--target", "colour", "-o", "s.nii.gz"), "no output 'colour'"),
        (("-o", "s.jpg"), "names no image format"),
    ],
)
def test_what_cannot_be_explained(
    precimed: Command, tmp_path: Path, small_ct: Path, small_labels: Path, more, expected
) -> None:
    given = [tmp_path / each if str(each).startswith("s.") else each for each in more]
    ended = precimed("explain", small_ct, small_labels, "--model", MALIGNANCY, *given)
    assert ended.code == 2
    assert expected in ended.err
    assert not list(tree(tmp_path))


@pytest.mark.usefixtures("no_computing")
def test_labels_and_doubt_are_two_files(precimed: Command, tmp_path: Path, small_ct: Path) -> None:
    output = tmp_path / "labels.nii.gz"
    ended = precimed("segment", small_ct, "--model", "lung-nodule", "-o", output, "--doubt", output)
    assert ended.code == 2
    assert "name two files" in ended.err
    ended = precimed(
        "segment", small_ct, "--model", "lung-nodule", "-o", output, "--doubt", small_ct
    )
    assert ended.code == 2
    assert "is an input of this command" in ended.err


def test_a_diagram_that_cannot_be_drawn_is_refused_first(precimed: Command, tmp_path: Path) -> None:
    line = ("evaluate", MALIGNANCY, "--data", tmp_path, "--reliability")
    ended = precimed(*line, tmp_path / "r.svg")
    assert ended.code == 2
    assert "end it in .png" in ended.err
    ended = precimed(
        "evaluate", "lung-nodule", "--data", tmp_path, "--reliability", tmp_path / "r.png"
    )
    assert ended.code == 2
    assert "no probability of a class" in ended.err
