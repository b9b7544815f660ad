"""Nested cross-validation of regularised logistic regression, for few patients and many questions.

Every row is one patient. The inner folds choose the penalty, the outer folds measure, and chance is
measured in the same way: with the features dealt out to the wrong patients. All of it is solved as
one batch of Newton steps, so that two hundred such deals take seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_precimed.training.scores import auroc

PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
_NEWTON_STEPS = 8
_OUTER, _INNER = 5, 4


@dataclass(frozen=True)
class NestedResult:
    """What nested cross-validation of one question found.

    Attributes
    ----------
    chance : ndarray, shape (n,)
        Each patient's logit by models that had not seen her, mean over the repeats.
    auroc : float
        Of `chance`.
    p : float
        Share of the deals to wrong patients that reach this AUROC.
    """

    chance: NDArray[np.float64]
    auroc: float
    p: float


def nested_cross_validation(
    features: NDArray[np.float64],
    positive: NDArray[np.bool_],
    *,
    repeats: int = 3,
    permutations: int,
    seed: int = 0,
) -> NestedResult:
    """Measure how well the features tell the positive patients, and whether that is chance.

    Parameters
    ----------
    features : ndarray, shape (n, features)
        NaN where unknown.
    positive : ndarray of bool, shape (n,)
        At least five of each kind.
    repeats : int
        How often the patients are divided anew.
    permutations : int
        How many deals of the features to wrong patients chance is measured with.
    """
    rng = np.random.default_rng(seed)
    n = len(positive)
    deals = np.stack([np.arange(n), *(rng.permutation(n) for _ in range(permutations))])
    dealt = features[deals]  # (deal, patient, feature); the first deal is the truth
    total = np.zeros((len(deals), n))
    for _ in range(repeats):
        for fold in stratified_folds(positive, _OUTER, rng):
            rest = np.setdiff1d(np.arange(n), fold)
            penalty = choose_penalty(dealt[:, rest], positive[rest], rng)
            weights = fit_logistic(dealt[:, rest], positive[rest], penalty)
            total[:, fold] += apply_logistic(weights, dealt[:, fold])
    scores = np.array([auroc(row, positive) for row in total])
    p = (1 + int((scores[1:] >= scores[0]).sum())) / (1 + permutations)
    return NestedResult(total[0] / repeats, float(scores[0]), float(p))


def stratified_folds(
    positive: NDArray[np.bool_], folds: int, rng: np.random.Generator
) -> list[NDArray[np.int_]]:
    """Divide the cases, each kind as evenly as can be; `folds` arrays of indices."""
    order = np.concatenate(
        [rng.permutation(np.flatnonzero(positive == kind)) for kind in (True, False)]
    )
    return [np.sort(order[k::folds]) for k in range(folds)]


def choose_penalty(
    features: NDArray[np.float64], positive: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.float64]:
    """The penalty with the lowest cross-validated loss, for each deal.

    Parameters
    ----------
    features : ndarray, shape (deal, n, features)

    Returns
    -------
    ndarray, shape (deal,)
    """
    loss = np.zeros((len(PENALTIES), len(features)))
    for fold in stratified_folds(positive, _INNER, rng):
        rest = np.setdiff1d(np.arange(len(positive)), fold)
        for k, penalty in enumerate(PENALTIES):
            every = np.full(len(features), penalty)
            weights = fit_logistic(features[:, rest], positive[rest], every)
            logit = apply_logistic(weights, features[:, fold])
            loss[k] += (np.logaddexp(0, logit) - positive[fold] * logit).sum(axis=1)
    return np.asarray(PENALTIES)[loss.argmin(axis=0)]


@dataclass(frozen=True)
class Logistic:
    """Standardisation and weights of a batch of models.

    Attributes
    ----------
    mean, spread : ndarray, shape (deal, features)
    weight : ndarray, shape (deal, features)
        Of the standardised features.
    bias : ndarray, shape (deal,)
    """

    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    weight: NDArray[np.float64]
    bias: NDArray[np.float64]


def fit_logistic(
    features: NDArray[np.float64], positive: NDArray[np.bool_], penalty: NDArray[np.float64]
) -> Logistic:
    """Logistic regression with a quadratic penalty on all weights but the bias.

    Parameters
    ----------
    features : ndarray, shape (deal, n, features)
        NaN is taken as the mean of the known.
    positive : ndarray of bool, shape (n,)
    penalty : ndarray, shape (deal,)
        Times half the sum of squared weights, beside the mean loss.
    """
    mean, spread = np.nanmean(features, axis=1), np.nanstd(features, axis=1) + 1e-9
    x = _standardised(features, mean, spread)
    x = np.concatenate([x, np.ones((*x.shape[:2], 1))], axis=2)
    deals, n, width = x.shape
    weights = np.zeros((deals, width))
    ridge = penalty[:, None] * np.append(np.ones(width - 1), 1e-6)
    for _ in range(_NEWTON_STEPS):
        chance = 1 / (1 + np.exp(-np.clip((x @ weights[:, :, None])[:, :, 0], -30, 30)))
        gradient = ((chance - positive)[:, None, :] @ x)[:, 0] / n + ridge * weights
        curvature = np.swapaxes(x * (chance * (1 - chance))[:, :, None], 1, 2) @ x / n
        curvature[:, np.arange(width), np.arange(width)] += ridge
        weights -= np.linalg.solve(curvature, gradient[:, :, None])[:, :, 0]
    return Logistic(mean, spread, weights[:, :-1], weights[:, -1])


def apply_logistic(model: Logistic, features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logits, shape (deal, n), of features of shape (deal, n, features)."""
    x = _standardised(features, model.mean, model.spread)
    return np.asarray((x @ model.weight[:, :, None])[:, :, 0] + model.bias[:, None])


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for asking several questions (Holm 1979)."""
    order = np.argsort(p)
    corrected = np.zeros(len(p))
    highest = 0.0
    for rank, k in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - rank) * p[int(k)]))
        corrected[k] = highest
    return [float(value) for value in corrected]


def _standardised(
    features: NDArray[np.float64], mean: NDArray[np.float64], spread: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.nan_to_num((features - mean[:, None]) / spread[:, None])
