"""Scores, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from napari_precimed.training.scores import (
    auprc,
    auroc,
    dice,
    expected_calibration_error,
    mean_metric,
    metric,
    reliability,
    subgroups,
    surface_scores,
)


def test_dice():
    a, b = np.zeros((2, 4, 4), bool), np.zeros((2, 4, 4), bool)
    assert dice(a, b) == 1
    a[0, 0, :2] = b[0, 0, 1:3] = True
    assert dice(a, b) == 0.5


def test_auroc_counts_ties_half():
    assert auroc([0.1, 0.4, 0.4, 0.8], [0, 1, 0, 1]) == pytest.approx(3.5 / 4)
    assert np.isnan(auroc([1, 2], [1, 1]))


def test_auprc():
    assert auprc([0.9, 0.8, 0.7], [1, 0, 1]) == pytest.approx((1 + 2 / 3) / 2)


def test_calibration_error_of_a_forecaster_who_says_70_percent_and_is_right_half_the_time():
    chance = np.full(100, 0.7)
    assert expected_calibration_error(chance, np.arange(100) % 2) == pytest.approx(0.2, abs=0.01)


def test_reliability_counts_every_case_once_the_surest_too():
    rows = reliability([0.1, 0.1, 0.9, 1.0], [0, 1, 1, 1])
    assert [row["n"] for row in rows] == [2, 0, 0, 0, 2]
    assert rows[0]["mean_probability"] == pytest.approx(0.1)
    assert rows[0]["share_positive"] == 0.5
    assert rows[1]["share_positive"] is None
    assert (rows[4]["mean_probability"], rows[4]["share_positive"]) == (0.95, 1.0)


def test_surfaces_one_slice_apart():
    a, b = np.zeros((8, 16, 16), bool), np.zeros((8, 16, 16), bool)
    a[2:6, 4:12, 4:12] = True
    b[3:7, 4:12, 4:12] = True
    hd95, nsd = surface_scores(a, b, (2.0, 1.0, 1.0))
    assert hd95 == pytest.approx(2.0)
    assert 0 < nsd < 1
    assert surface_scores(a, a, (2.0, 1.0, 1.0)) == (0.0, 1.0)
    assert surface_scores(a, np.zeros_like(a), (2.0, 1.0, 1.0)) == (None, None)


def test_the_interval_draws_patients_not_cases():
    values = np.array([0.0] * 50 + [1.0] * 50)
    few = mean_metric(list(values), ["a"] * 50 + ["b"] * 50)
    many = metric(lambda i: float(values[i].mean()), [str(k) for k in range(100)])
    assert few["ci95"] == [0.0, 1.0]
    assert many["ci95"][1] - many["ci95"][0] < 0.25
    assert few["n"] == many["n"] == 100


def test_unknown_values_are_left_out_and_not_counted():
    assert mean_metric([1.0, None, 0.5], ["a", "b", "c"])["n"] == 2


def test_a_small_subgroup_says_so_instead_of_a_number():
    patients = [str(k) for k in range(30)]
    groups = {"few": np.arange(30) < 5, "none": [False] * 30, "all": [True] * 30}
    rows = subgroups("dice", lambda k: 0.8, patients, groups)
    assert rows[0]["note"] == "insufficient evidence"
    assert "value" not in rows[0]
    assert rows[1]["note"] == "insufficient evidence"
    assert rows[2]["value"] == 0.8


def test_what_cannot_be_computed_is_null_not_nan():
    one_class = metric(lambda k: auroc(np.ones(len(k)), np.ones(len(k))), ["a", "b", "c"])
    assert one_class["value"] is None
    assert one_class["ci95"] == [None, None]
    assert mean_metric([None, None], ["a", "b"]) == {
        "value": None,
        "ci95": [None, None],
        "n": 0,
        "patients": 0,
    }
