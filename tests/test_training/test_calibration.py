"""Calibration: temperatures that are known, and a diagram of what was said and what came true."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from napari_precimed.errors import OutputError
from napari_precimed.training.calibration import (
    draw_reliability,
    fit_class_temperature,
    fit_platt,
    fit_temperature,
)
from napari_precimed.training.scores import auroc, expected_calibration_error, reliability

RNG = np.random.default_rng(5)


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


@pytest.fixture(scope="module")
def overconfident() -> tuple[np.ndarray, np.ndarray]:
    """True logits, said three times too loudly; and what came true."""
    true = RNG.normal(0, 1.5, 8000)
    return 3 * true, RNG.random(8000) < sigmoid(true)


def test_the_temperature_that_was_put_in_is_found(overconfident):
    logits, positive = overconfident
    found = fit_temperature(logits, positive)
    assert 1 / found["scale"] == pytest.approx(3, rel=0.08)
    assert found["shift"] == 0


def test_calibrating_mends_the_error_and_leaves_the_order(overconfident):
    logits, positive = overconfident
    calibrated = sigmoid(fit_temperature(logits, positive)["scale"] * logits)
    assert expected_calibration_error(sigmoid(logits), positive) > 0.1
    assert expected_calibration_error(calibrated, positive) < 0.03
    assert auroc(calibrated, positive) == auroc(logits, positive)


def test_platt_finds_scale_and_shift():
    true = RNG.normal(0, 1.5, 8000)
    positive = RNG.random(8000) < sigmoid(true)
    found = fit_platt((true + 0.8) / 2, positive)
    assert found["scale"] == pytest.approx(2, rel=0.08)
    assert found["shift"] == pytest.approx(-0.8, abs=0.1)


def test_a_few_separable_cases_do_not_stretch_the_logits_without_end():
    found = fit_temperature([-1.0, -0.5, 0.5, 1.0], [False, False, True, True])
    assert 1 < found["scale"] <= 20


def test_the_temperature_of_several_classes_is_found():
    true = RNG.normal(0, 1.5, (6000, 3))
    share = np.exp(true) / np.exp(true).sum(1, keepdims=True)
    classes = (RNG.random((6000, 1)) > share.cumsum(1)).sum(1)
    assert fit_class_temperature(2.5 * true, classes) == pytest.approx(2.5, rel=0.08)


def test_the_diagram_is_a_picture_and_empty_bins_are_no_points(tmp_path: Path):
    path = tmp_path / "reliability.png"
    draw_reliability(path, reliability([0.05, 0.1, 0.9, 0.95], [0, 0, 1, 1]), "toy 1.0")
    picture = imread(path)
    assert picture.shape[0] > 400
    assert picture[..., :3].std() > 0.05  # something is drawn
    with pytest.raises(OutputError, match="nowhere"):
        draw_reliability(tmp_path / "nowhere" / "r.png", [], "toy")
