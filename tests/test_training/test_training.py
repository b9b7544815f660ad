"""Training: who is in which part, the same curve after a kill, a bundle at the end."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_precimed.errors import BundleError, DatasetError, InputError
from napari_precimed.models import catalogue
from napari_precimed.models.search import outlines_of
from napari_precimed.training import lung_nodule, recipes
from napari_precimed.training.fit import FitOptions, fit
from napari_precimed.training.lidc import FILE_NAME, read_lidc
from napari_precimed.training.publish import seen_patients
from napari_precimed.training.scores import dice
from napari_precimed.training.slabs import SlabSampler, prepare_nodule
from napari_precimed.training.split import split_of


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty patients with a ball each, in the format of the LIDC crops."""
    return write_crops(tmp_path_factory.mktemp("crops"), 60)


@pytest.fixture(scope="module")
def few_crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fourteen of them, for what takes long per nodule: one for validation, six for testing."""
    return write_crops(tmp_path_factory.mktemp("few"), 14)


def write_crops(folder: Path, n: int) -> Path:
    rng = np.random.default_rng(0)
    depth = 6
    z, y, x = np.mgrid[:depth, :96, :96]
    image = np.zeros((n * depth, 96, 96), np.uint8)
    bits = np.zeros_like(image)
    rating = rng.choice([1.5, 2.0, 4.0, 4.5], n)
    for k in range(n):
        radius = 4 + 3 * (rating[k] > 3) + rng.uniform(-1, 1)
        distance = np.sqrt(((z - 2.5) * 2) ** 2 + (y - 48) ** 2 + (x - 48) ** 2)
        part = slice(k * depth, (k + 1) * depth)
        image[part] = np.clip(60 + 120 * (distance < radius) + rng.normal(0, 8, z.shape), 0, 255)
        bits[part] = 7 * (distance < radius) + 8 * (distance < radius + 1)
    np.savez(
        folder / FILE_NAME,
        image=image,
        reader_bits=bits,
        offset=np.arange(n + 1, dtype=np.int32) * depth,
        name=np.array([f"P-{k:03d}/nodule-0" for k in range(n)]),
        malignancy=rating.astype(np.float32),
        n_readers=np.full(n, 4, np.int8),
        spacing_zyx_mm=np.tile(np.float32([2, 0.7, 0.7]), (n, 1)),
    )
    return folder


def test_no_patient_stands_in_two_parts_and_each_part_has_its_share():
    parts = [split_of(f"LIDC-IDRI-{k:04d}") for k in range(1000)]
    assert [split_of(f"LIDC-IDRI-{k:04d}") for k in range(1000)] == parts
    assert 0.15 < parts.count("test") / 1000 < 0.25
    assert 0.08 < parts.count("validation") / 1000 < 0.16


def test_reader_masks_are_read_bit_by_bit(crops):
    nodule = read_lidc(crops)[0]
    assert nodule.reader_masks.shape == (4, 6, 96, 96)
    assert set(np.unique(nodule.reader_share)) == {0.0, 0.25, 1.0}
    assert (nodule.consensus == (nodule.reader_share == 1.0)).all()


def test_a_missing_or_strange_file_is_refused_by_name(tmp_path):
    with pytest.raises(DatasetError, match=r"No lidc_nodules\.npz at"):
        read_lidc(tmp_path)
    strange = tmp_path / FILE_NAME
    strange.write_text("not an archive")
    with pytest.raises(DatasetError, match="not a readable"):
        read_lidc(tmp_path)
    np.savez(strange, image=np.zeros(3))
    with pytest.raises(DatasetError, match="lacks the array 'reader_bits'"):
        read_lidc(tmp_path)


def test_a_batch_depends_on_its_step_alone(crops):
    sampler = SlabSampler(
        [prepare_nodule(n) for n in read_lidc(crops).part("train")[:5]], batch_size=4
    )
    first = sampler(3)
    sampler(7)
    again = sampler(3)
    assert torch.equal(first["image"], again["image"])
    assert not torch.equal(first["image"], sampler(4)["image"])
    assert first["image"].shape == first["share"].shape
    assert first["share"].max() <= 1


def test_a_nodule_is_painted_out_where_slabs_go_on_past_it(crops):
    nodule = read_lidc(crops)[0]
    prepared = prepare_nodule(nodule)
    inside = nodule.consensus
    assert prepared.image[inside].mean() > 2
    assert abs(prepared.without[inside].astype(float).mean()) < 0.5


def test_a_killed_run_goes_on_along_the_same_curve(tmp_path):
    def batch(step: int) -> dict[str, torch.Tensor]:
        x = torch.from_numpy(np.random.default_rng(step).normal(size=(8, 3)).astype(np.float32))
        return {"x": x, "y": x.sum(1, keepdim=True)}

    def loss(network, b):
        return ((network(b["x"]) - b["y"]) ** 2).mean()

    def run(folder: Path, steps: int, resume: bool = False):
        torch.manual_seed(1)
        network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Dropout(0.3),
                                      torch.nn.Linear(4, 1))  # fmt: skip
        held_out = batch(10_000)
        options = FitOptions(steps=steps, validate_every=5, patience=100, warmup_steps=2)
        if steps == 10:  # the schedule looks at all steps: a killed run had all of them in mind
            options = FitOptions(steps=20, validate_every=5, patience=100, warmup_steps=2)
            stop = iter([False] * 11 + [True] * 9)
            with pytest.raises(Exception, match="stopped"):
                fit(network, batch, loss, lambda n: -float(loss(n, held_out)), options, folder,
                    cancelled=lambda: next(stop))  # fmt: skip
            return None
        return fit(network, batch, loss, lambda n: -float(loss(n, held_out)), options, folder,
                   resume=resume)  # fmt: skip

    whole = run(tmp_path / "whole", 20)
    run(tmp_path / "killed", 10)
    resumed = run(tmp_path / "killed", 20, resume=True)
    assert [h["score"] for h in resumed.history] == [h["score"] for h in whole.history]
    assert resumed.best_step == whole.best_step


def test_nothing_to_resume_is_said(tmp_path):
    with pytest.raises(DatasetError, match="start without --resume"):
        fit(torch.nn.Linear(1, 1), lambda s: {}, lambda n, b: torch.zeros(()), lambda n: 0.0,
            FitOptions(), tmp_path, resume=True)  # fmt: skip


def test_training_stops_early_and_keeps_the_best(tmp_path):
    scores = iter([0.1, 0.9, 0.5, 0.4, 0.3, 0.2])
    network = torch.nn.Linear(1, 1)
    state = fit(network, lambda s: {"x": torch.ones(2, 1)}, lambda n, b: n(b["x"]).mean(),
                lambda n: next(scores), FitOptions(steps=100, validate_every=1, patience=3),
                tmp_path)  # fmt: skip
    assert (state.step, state.best_step) == (5, 2)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("name", "data"), [("lung-nodule", "few_crops"), ("lung-nodule-malignancy", "crops")]
)
def test_a_trained_bundle_is_listed_at_once_and_evaluates_on_the_patients_it_never_saw(
    tmp_path, name, data, request
):
    crops, lines = request.getfixturevalue(data), []
    wanted = recipes.TrainRequest(crops, tmp_path, epochs=1, device="cpu")
    folder = recipes.train(name, wanted, lines.append)
    entry = catalogue.find(str(folder))
    seen = seen_patients(entry)
    data = read_lidc(crops)
    unseen = {p for p in data.patients if split_of(p) == "test"}
    assert seen == set(data.patients) - unseen
    figures = recipes.evaluate(str(folder), crops, "cpu", lines.append)
    assert figures["n"]["patients"] == len(unseen)
    for figure in figures["metrics"].values():
        low, high = figure["ci95"]
        if figure["n"]:  # after one pass it may mark nothing, and then no surface is measured
            assert low <= figure["value"] <= high
    assert any("left out" in line for line in lines)


def test_evaluating_only_on_seen_patients_is_refused(crops):
    data = read_lidc(crops)
    with pytest.raises(DatasetError, match="were seen in training or validation"):
        data.without(set(data.patients))


@pytest.mark.slow
def test_what_the_starting_bundle_saw_counts_as_seen(crops, tmp_path):
    """A model that starts from ours has seen our patients too, whatever it is then trained on."""
    request = recipes.TrainRequest(crops, tmp_path, epochs=1, init="lung-nodule-malignancy",
                                   device="cpu")  # fmt: skip
    folder = recipes.train("lung-nodule-malignancy", request, lambda line: None)
    ours = seen_patients(catalogue.find("lung-nodule-malignancy"))
    assert ours < seen_patients(catalogue.find(str(folder)))


def test_a_bundle_that_does_not_say_what_it_saw_is_not_evaluated(tmp_path, crops):
    silent = tmp_path / "silent"
    shutil.copytree(catalogue.find("lung-nodule-malignancy").folder, silent)
    (silent / "configs" / "split.json").unlink()
    with pytest.raises(BundleError, match="which patients its training saw"):
        recipes.evaluate(str(silent), crops, "cpu", print)


def test_an_unknown_recipe_lists_those_there_are(tmp_path):
    with pytest.raises(InputError, match=r"no recipe for 'x'\. Recipes: lung-nodule"):
        recipes.train("x", recipes.TrainRequest(tmp_path, tmp_path), print)


@pytest.mark.data
@pytest.mark.slow
def test_the_shipped_network_reaches_the_floor_on_patients_it_never_saw(shared_data):
    """Mean Dice over 0.74 from one click; an eighth of the test nodules, so that it stays quick."""
    entry = catalogue.find("lung-nodule")
    nodules = read_lidc(shared_data).without(seen_patients(entry))[::8]
    assert len({n.patient for n in nodules}) > 20
    network, engine = recipes.load_network(entry), recipes.choose_engine("cpu")
    outlines = outlines_of(entry.settings, network, engine)
    dices = [
        dice(
            lung_nodule.drawn(outlines.from_click(n.image, lung_nodule.clicked(n)), n), n.consensus
        )
        for n in nodules
    ]
    assert np.mean(dices) > 0.74
