"""Nested cross-validation: it finds what is there, and does not find what is not."""

from __future__ import annotations

import numpy as np
import pytest

from napari_precimed.training.nested import (
    apply_logistic,
    fit_logistic,
    holm,
    nested_cross_validation,
    stratified_folds,
)


def test_the_fit_is_where_the_gradient_of_the_penalised_loss_vanishes():
    rng = np.random.default_rng(0)
    x = rng.normal(5, 3, (1, 40, 3))
    positive = x[0, :, 0] + rng.normal(0, 2, 40) > 5
    model = fit_logistic(x, positive, np.array([0.1]))
    logit = apply_logistic(model, x)[0]
    miss = 1 / (1 + np.exp(-logit)) - positive
    standard = (x[0] - x[0].mean(0)) / x[0].std(0)
    assert standard.T @ miss / 40 + 0.1 * model.weight[0] == pytest.approx(0, abs=1e-6)
    assert miss.mean() == pytest.approx(0, abs=1e-5)


def test_an_unknown_feature_counts_as_its_mean():
    x = np.array([[[0.0, 1], [1, 2], [2, np.nan], [3, 3]]])
    positive = np.array([False, False, True, True])
    filled = np.nan_to_num(x, nan=2.0)
    penalty = np.array([0.1])
    first = apply_logistic(fit_logistic(x, positive, penalty), x)
    assert np.isfinite(first).all()
    assert (
        first[0].argmax() == apply_logistic(fit_logistic(filled, positive, penalty), x)[0].argmax()
    )


def test_folds_hold_each_case_once_and_each_kind_evenly():
    positive = np.arange(30) < 10
    folds = stratified_folds(positive, 5, np.random.default_rng(0))
    assert sorted(np.concatenate(folds)) == list(range(30))
    assert {int(positive[fold].sum()) for fold in folds} == {2}


def test_a_real_difference_is_found_and_noise_is_not():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(60, 8))
    positive = np.arange(60) % 2 == 0
    signal = noise.copy()
    signal[:, 3] += 2.5 * positive
    found = nested_cross_validation(signal, positive, repeats=1, permutations=40)
    assert found.auroc > 0.75
    assert found.p == pytest.approx(1 / 41)
    nothing = nested_cross_validation(noise, positive, repeats=1, permutations=40)
    assert nothing.auroc < 0.7
    assert nothing.p > 0.05


def test_holm_corrects_as_the_paper_does():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
