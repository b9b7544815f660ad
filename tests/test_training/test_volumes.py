"""Training on scans of one's own, from a folder to a bundle that is listed and measured."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_scans import SHAPE, write_scans

from napari_precimed.errors import DatasetError, InputError
from napari_precimed.models import catalogue
from napari_precimed.training import recipes, volumes
from napari_precimed.training.cases import read_cases
from napari_precimed.training.crops import CropSampler, cut
from napari_precimed.training.lesions import match_lesions
from napari_precimed.training.plan import inference, plan_for
from napari_precimed.training.prepared import make_ready
from napari_precimed.training.preprocessing import Preprocessing
from napari_precimed.training.publish import install_bundle, seen_patients
from napari_precimed.training.recipes import TrainRequest
from napari_precimed.training.volume_scores import labels_of, metrics_of, scores_of, subgroups_of

NAMES = tuple(f"p{k}" for k in range(6))


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scans(tmp_path_factory.mktemp("mine"), NAMES)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    options = replace(volumes.Volumes().OPTIONS, steps=6, batch_size=2, validate_every=3,
                      warmup_steps=2, device="cpu")  # fmt: skip
    monkeypatch.setitem(recipes.RECIPES, "unet", volumes.Volumes(None, options))


def test_the_plan_follows_the_scans(scans):
    cases = read_cases(scans).cases
    plan = plan_for(cases, {}, None)
    assert plan.spacing_mm == (2.0, 1.0, 1.0)
    assert plan.strides[0] == (2, 2, 2)
    assert all(p % 8 == 0 for p in plan.patch)
    assert plan.label_names == {1: "lesion"}
    assert plan.intensity["_target_"] == "NormalizeIntensityd"
    ct = plan_for(cases, {1: "tumour"}, "CT")
    assert ct.intensity["a_min"] < 160 < ct.intensity["a_max"]
    assert inference(ct)["network_def"]["out_channels"] == 2


def test_what_is_made_ready_can_be_undone(scans, tmp_path):
    case = read_cases(scans).cases[0]
    scan = case.read()
    steps = [
        {"_target_": "Orientationd", "axcodes": "SPL"},
        {"_target_": "Spacingd", "pixdim": [1.0, 2.0, 2.0], "mode": "bilinear"},
        {"_target_": "NormalizeIntensityd"},
    ]
    preprocessing = Preprocessing(steps, "toy")
    image = preprocessing.image(scan)
    assert image.shape[1] > SHAPE[0]
    assert image.shape[2] < SHAPE[1]
    assert float(image.mean()) == pytest.approx(0, abs=1e-4)
    labels = preprocessing.labels(scan)
    back = preprocessing.undo(torch.from_numpy(labels[None].astype(np.float32)), image)
    assert back.shape == (1, *SHAPE)
    assert scan.labels is not None
    overlap = ((back[0] > 0.5) & (scan.labels > 0)).sum() * 2
    assert overlap / ((back[0] > 0.5).sum() + (scan.labels > 0).sum()) > 0.85


def test_crops_are_drawn_by_class_and_depend_on_the_step_alone(scans, tmp_path):
    cases = read_cases(scans).cases
    ready = make_ready(cases, Preprocessing([{"_target_": "NormalizeIntensityd"}], "toy"), tmp_path)
    sampler = CropSampler(ready, (8, 8, 8), batch_size=16, labelled_share=1.0)
    first = sampler(3)
    sampler(4)
    again = sampler(3)
    assert torch.equal(first["image"], again["image"])
    assert torch.equal(first["labels"], again["labels"])
    assert first["image"].shape == first["labels"].shape == (16, 1, 8, 8, 8)
    anywhere = CropSampler(ready, (8, 8, 8), batch_size=16, labelled_share=0.0)(3)["labels"]
    assert first["labels"].mean() > 2 * anywhere.mean()
    assert set(first["labels"].unique().tolist()) <= {0.0, 1.0}
    touched = [(r.folder / "image.npy").stat().st_mtime_ns for r in ready]
    make_ready(cases, Preprocessing([{"_target_": "NormalizeIntensityd"}], "toy"), tmp_path)
    assert [(r.folder / "image.npy").stat().st_mtime_ns for r in ready] == touched


def test_a_crop_that_reaches_past_the_scan_continues_its_edge():
    array = np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2)
    assert cut(array, (-1, 0, 0), (4, 2, 2))[0, :, 0, 0].tolist() == [0, 0, 4, 4]
    assert cut(array, (5, 0, 0), (2, 2, 2))[0, :, 0, 0].tolist() == [4, 4]


@pytest.mark.slow
def test_own_scans_become_a_model_that_is_listed_and_measured(scans, tmp_path, quick, monkeypatch):
    lines: list[str] = []
    extra = write_scans(tmp_path / "more", ("q0", "q1"))
    request = TrainRequest(scans, tmp_path / "out", device="cpu", name="my-lesion",
                           semi_supervised=extra / "images")  # fmt: skip
    folder = recipes.train("unet", request, lines.append)
    split = json.loads((tmp_path / "out" / "split.json").read_text())
    assert seen_patients(catalogue.read_entry(folder)) == {*split["train"], *split["validation"]}
    assert any("left" in line and "validation" in line for line in lines)
    assert any("without labels" in line for line in lines)

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(catalogue, "user_models", lambda: tmp_path / "home" / "models")
    monkeypatch.setattr("napari_precimed.training.publish.user_models", catalogue.user_models)
    assert install_bundle(folder) == tmp_path / "home" / "models" / "my-lesion"
    assert "my-lesion" in {entry.name for entry in catalogue.models()}

    figures = recipes.evaluate(str(folder), scans, "cpu", lines.append)
    assert figures["n"]["patients"] == len(split["test"])
    assert {"dice", "nsd", "hd95_mm", "lesion_sensitivity", "false_positives_per_scan"} <= set(
        figures["metrics"]
    )
    assert all(row["note"] == "insufficient evidence" for row in figures["subgroups"])

    again = replace(request, resume=True, semi_supervised=None)
    with pytest.raises(DatasetError, match=r"had unlabelled = .*, this one has None"):
        recipes.train("unet", again, print)
    (scans / "images" / "p0.nii.gz").touch()
    with pytest.raises(DatasetError, match="The data changed since the run was stopped"):
        recipes.train("unet", replace(request, resume=True), print)


@pytest.mark.slow
def test_a_new_model_starts_from_the_weights_of_another(scans, tmp_path, quick):
    request = TrainRequest(scans, tmp_path / "first", device="cpu", name="first")
    first = recipes.train("unet", request, lambda line: None)
    shutil.move(first / "configs" / "split.json", tmp_path / "split.json")
    lines: list[str] = []
    second = replace(request, out=tmp_path / "second", name="second", init=str(first),
                     split=tmp_path / "split.json")  # fmt: skip
    recipes.train("unet", second, lines.append)
    n = len(torch.load(first / "models" / "model.pt", weights_only=True))
    assert f"{n} of {n} weight tensors taken over from '{first}'" in lines
    assert any("does not say whom its training saw" in line for line in lines)


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("unet", {"resume": True}, "nothing to resume"),
        ("unet", {"name": "lung-nodule"}, "is taken"),
        ("unet", {"name": "a/b"}, "cannot name a model"),
        ("lung-nodule-malignancy", {}, "is a classification model"),
        ("unet", {"split": Path("none.json")}, "cannot be read"),
    ],
)
def test_a_mistake_is_said_before_anything_is_written(scans, tmp_path, name, change, told):
    request = replace(TrainRequest(scans, tmp_path / "out", device="cpu"), **change)
    with pytest.raises(InputError, match=told):
        recipes.train(name, request, print)
    assert not (tmp_path / "out" / "fit" / "run.json").exists()


def test_lesions_are_matched_by_touch():
    truth, found = np.zeros((4, 10, 10), bool), np.zeros((4, 10, 10), bool)
    truth[1, 1:3, 1:3] = truth[1, 6:8, 6:8] = True
    found[1, 2:4, 2:4] = found[3, 9, 0] = True
    match = match_lesions(found, truth, voxel_mm3=2.0)
    assert match.found.tolist() == [True, False]
    assert match.volumes.tolist() == [8.0, 8.0]
    assert (match.false_positives, match.sensitivity) == (1, 0.5)
    nothing = match_lesions(np.zeros_like(found), np.zeros_like(truth))
    assert nothing.sensitivity is None


def test_scores_label_by_label_and_by_subgroup(scans):
    truth = np.zeros(SHAPE, np.int32)
    truth[2:6, 2:8, 2:8], truth[8:12, 12:20, 12:20] = 1, 2
    found = truth.astype(np.uint8)
    found[8:12, 12:16, 12:20] = 0
    rows = [scores_of(found, truth, (2.0, 1.0, 1.0), f"p{k}") for k in range(12)]
    metrics = metrics_of(rows, {1: "liver", 2: "tumour mass"})
    assert metrics["dice_liver"]["value"] == 1
    assert metrics["dice_tumour_mass"]["value"] == pytest.approx(2 / 3, abs=1e-3)
    assert metrics["dice"]["value"] == pytest.approx((1 + 2 / 3) / 2, abs=1e-3)
    assert metrics["lesion_sensitivity"] == {"value": 1.0, "ci95": [1.0, 1.0], "n": 24,
                                             "patients": 12}  # fmt: skip
    rows_by_group = subgroups_of(rows, read_cases(scans).patients)
    by_size = {row["group"]: row for row in rows_by_group if row["metric"] == "lesion_sensitivity"}
    assert sum(row["n"] for row in by_size.values()) == 24
    assert all("value" in row for row in rows_by_group)


def test_a_built_in_model_is_followed_only_where_it_fits(tmp_path):
    data = write_scans(tmp_path / "mine", NAMES, value=2)
    request = TrainRequest(data, tmp_path / "out", device="cpu")
    with pytest.raises(DatasetError, match=r"outlines one kind of thing.*Train `unet`"):
        recipes.train("lung-nodule", request, print)


def test_labels_lie_on_the_scan_again(scans, tmp_path):
    """A network that tells bright from dark finds the ball, through a coarser grid and back."""
    cases = read_cases(scans).cases
    plan = replace(plan_for(cases, {}, None), spacing_mm=(2.0, 1.5, 1.5))
    folder = tmp_path / "bright"
    (folder / "models").mkdir(parents=True)
    volumes.write_template(plan, folder, "bright")
    file = folder / "configs" / "inference.json"
    config = json.loads(file.read_text())
    config["network_def"] = {"_target_": "torch.nn.Conv3d", "in_channels": 1, "out_channels": 2,
                             "kernel_size": 1}  # fmt: skip
    file.write_text(json.dumps(config))
    torch.save({"weight": torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1, 1),
                "bias": torch.tensor([0.0, -1.5])}, folder / "models" / "model.pt")  # fmt: skip
    scan = cases[0].read()
    found = labels_of(catalogue.read_entry(folder), scan, recipes.choose_engine("cpu"))
    assert scan.labels is not None
    assert scores_of(found, scan.labels, (2.0, 1.0, 1.0), "p").dices[1] > 0.85
