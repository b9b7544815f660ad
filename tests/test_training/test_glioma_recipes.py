"""The glioma recipes from the folder of patients to the bundle that is evaluated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_lgg import write_patient

from napari_precimed.models.catalogue import find
from napari_precimed.training import glioma_grade, recipes
from napari_precimed.training.lgg import read_lgg
from napari_precimed.training.publish import seen_patients


@pytest.fixture(scope="module")
def gliomas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty patients of three slices; a dark lesion is grade III, a bright one grade II."""
    folder = tmp_path_factory.mktemp("gliomas")
    rng = np.random.default_rng(0)
    rows = ["Patient,neoplasm_histologic_grade,COCCluster,RNASeqCluster,gender,race"]
    y, x = np.mgrid[:256, :256]
    for k in range(40):
        grade = 1 + k % 2
        flair = np.zeros((3, 256, 256), np.uint8)
        flair[:, 30:220, 50:210] = 110
        mask = np.zeros(flair.shape, bool)
        mask[1:2] = np.hypot(y - rng.uniform(90, 150), x - rng.uniform(90, 150)) < 18
        flair[mask] = 60 if grade == 2 else 220
        flair = np.clip(flair + rng.normal(0, 4, flair.shape), 0, 255).astype(np.uint8)
        write_patient(folder / f"P_{k:03d}_20000101", flair, mask)
        rows.append(f"P_{k:03d},{grade}.0,{1 + k % 3},{1 + (k // 2) % 4}.0,{1 + k % 2}.0,3.0")
    (folder / "clinical.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.mark.slow
def test_what_the_picture_tells_is_answered_and_what_it_does_not_is_not(
    gliomas, tmp_path, monkeypatch
):
    monkeypatch.setattr(glioma_grade, "PERMUTATIONS", 99)
    monkeypatch.setattr(glioma_grade, "QUESTIONS", glioma_grade.QUESTIONS[:2])
    folder = recipes.train("glioma-grade", recipes.TrainRequest(gliomas, tmp_path / "new"), print)
    entry = find(str(folder))
    assert list(entry.settings["abstains"]) == ["COC cluster 1"]
    assert "no better than chance" in entry.settings["abstains"]["COC cluster 1"]
    figures = recipes.evaluate(str(folder), gliomas, "cpu", print)
    metrics = figures["metrics"]
    assert figures["n"]["patients"] == len(read_lgg(gliomas).split()["test"])
    assert metrics["auroc_grade"]["value"] > 0.95
    assert metrics["auroc_grade_nested_cv"]["value"] > 0.95
    assert metrics["coverage"]["value"] == 0.5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tumour-slice", "article-cnn"])
def test_a_slice_model_is_trained_and_evaluated_on_the_patients_it_never_saw(
    gliomas, tmp_path, monkeypatch, name
):
    options = recipes.RECIPES[name].OPTIONS
    short = type(options)(**{**vars(options), "batch_size": 2})
    monkeypatch.setattr(recipes.RECIPES[name], "OPTIONS", short.for_epochs(1, 2))
    data = read_lgg(gliomas)
    few = {part: data.part(part)[:2] for part in ("train", "validation", "test")}
    monkeypatch.setattr("napari_precimed.training.lgg.Gliomas.part", lambda self, part: few[part])
    folder = recipes.train(name, recipes.TrainRequest(gliomas, tmp_path, device="cpu"), print)
    entry = find(str(folder))
    assert entry.settings["recipe"] == name
    assert entry.classifies_slices
    assert seen_patients(entry).isdisjoint(data.split()["test"])
    figures = recipes.RECIPES[name].evaluate(entry, few["test"], recipes.choose_engine("cpu"))
    assert figures["n"] == {"patients": len(few["test"]), "cases": 3 * len(few["test"])}
    assert 0 <= figures["metrics"]["auroc"]["value"] <= 1
    assert figures["metrics"]["prevalence"]["value"] == pytest.approx(1 / 3, abs=1e-3)
