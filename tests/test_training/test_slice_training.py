"""Slices: what a batch holds, what a network learns from it, what the figures say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_precimed.models.bundle import build_network
from napari_precimed.models.catalogue import find
from napari_precimed.training import article_cnn, recipes, tumour_slice
from napari_precimed.training.calibration import abstain_band, fit_platt
from napari_precimed.training.slice_scores import flair_only
from napari_precimed.training.slices import SliceSampler, SliceStack


def toy_stack(seed: int, slices: int = 8) -> SliceStack:
    """Grey noise; every other slice holds a bright square in FLAIR."""
    rng = np.random.default_rng(seed)
    image = rng.integers(20, 60, (slices, 3, 256, 256), np.uint8)
    mask = np.zeros((slices, 64, 64), np.uint8)
    for z in range(0, slices, 2):
        y, x = rng.integers(16, 40, 2)
        image[z, 0, 4 * y : 4 * y + 48, 4 * x : 4 * x + 48] = 200
        mask[z, y : y + 12, x : x + 12] = 1
    target = mask.any(axis=(1, 2)).astype(np.float32)
    return SliceStack(image, np.tile(np.float32([0, 200]), (3, 1)), target, mask)


def test_the_articles_cnn_has_as_many_parameters_as_the_article_says():
    network = build_network(recipes.template("article-cnn").folder, trusted=False)
    parameters = sum(p.numel() for p in network.parameters())
    assert parameters == article_cnn.PARAMETERS == 31_509_697
    layers = [type(layer).__name__ for layer in network]
    assert layers == ["Conv2d", "ReLU", "MaxPool2d", "Conv2d", "ReLU", "MaxPool2d", "Flatten",
                      "Linear", "ReLU", "Linear"]  # fmt: skip
    assert network(torch.zeros(1, 3, 256, 256)).shape == (1, 1)
    assert article_cnn.OPTIONS.weight_decay == 0


def test_a_batch_depends_on_its_step_alone_and_is_balanced():
    sampler = SliceSampler([toy_stack(0), toy_stack(1)], batch_size=32, seed=0)
    first, other, again = sampler(3), sampler(4), sampler(3)
    assert torch.equal(first["image"], again["image"])
    assert not torch.equal(first["image"], other["image"])
    assert 8 <= first["target"].sum() <= 24
    assert first["image"].shape == (32, 3, 256, 256)


def test_the_map_moves_with_the_slice():
    """The brightest place of a turned, zoomed, shifted slice is where its map says."""
    sampler = SliceSampler([toy_stack(0)], batch_size=16, seed=0)
    batch = sampler(0)
    bright = torch.nn.functional.adaptive_avg_pool2d(batch["image"][:, :1], 16)
    for image, where, target in zip(bright, batch["map"], batch["target"], strict=True):
        assert bool(where.max() > 0.5) == bool(target)
        if target:
            assert where.flatten()[image.argmax()] > 0.5


def test_without_augmentation_slices_come_as_they_are():
    stack = toy_stack(0)
    batch = SliceSampler([stack], batch_size=4, seed=0, augment=False)(0)
    slices = torch.from_numpy(stack.scaled())
    assert all(any(torch.equal(one, known) for known in slices) for one in batch["image"])


def test_flair_stands_in_for_what_is_missing():
    batch = SliceSampler([toy_stack(0)], batch_size=64, seed=0)(0)["image"]
    copies = [(batch[:, 0] == batch[:, k]).flatten(1).all(1) for k in (1, 2)]
    assert 0 < int(copies[0].sum()) < 64
    assert int((copies[0] & copies[1]).sum()) > 0
    alone = flair_only(toy_stack(0)).scaled()
    assert np.array_equal(alone[:, 0], alone[:, 2])


def test_the_network_learns_to_tell_toy_slices():
    """A bright square or none: six steps on one batch must bring the loss down a lot."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = build_network(find("tumour-slice").folder, trusted=True)
    batch = SliceSampler([toy_stack(0)], batch_size=8, seed=0, augment=False)(0)
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3)
    losses = []
    for _ in range(6):
        optimiser.zero_grad()
        loss = tumour_slice.loss_of(network, batch)
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]
    activation = tumour_slice.activation_map(network, network[:-4](batch["image"]))
    assert activation.shape == batch["map"].shape


def test_platt_finds_the_scale_and_shift_that_the_labels_were_drawn_with():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 20_000)
    positive = rng.random(20_000) < 1 / (1 + np.exp(-(0.5 * logits - 1)))
    found = fit_platt(logits, positive)
    assert found["scale"] == pytest.approx(0.5, abs=0.03)
    assert found["shift"] == pytest.approx(-1, abs=0.06)


def test_the_abstain_band_leaves_out_the_tails_it_was_told_to():
    positive = np.arange(200) >= 100
    chance = np.concatenate([np.linspace(0, 0.7, 100), np.linspace(0.3, 1, 100)])
    low, high = abstain_band(chance, positive, wrong=0.1)
    assert (chance[positive] < low).mean() == pytest.approx(0.1, abs=0.01)
    assert (chance[~positive] >= high).mean() == pytest.approx(0.1, abs=0.01)
    apart = abstain_band(np.where(positive, 0.9, 0.1), positive)
    assert apart == (0.5, 0.5)


def test_decisions_come_from_the_validation_logits():
    rng = np.random.default_rng(1)
    positive = rng.random(500) < 0.4
    settings = tumour_slice.decide(rng.normal(np.where(positive, 2.0, -2.0), 1.0), positive)
    low, high = settings["abstain_band"]
    assert 0 < low <= high < 1
    assert 0.2 < settings["threshold"] < 0.8
    assert settings["calibration"]["scale"] > 0
