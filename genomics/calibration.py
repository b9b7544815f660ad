"""From raw log-odds to a probability, and from a probability to "say nothing"."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

ABSTENTION_ACCURACY = 0.9
_ENOUGH = 50
"""Fewer variants than this beyond a bound say nothing about the share that is right there."""
_RELIABILITY_BINS = 10
_COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)


def sigmoid(log_odds: Floats) -> Floats:
    """Return the probability of each log-odds."""
    return np.asarray(0.5 * (1 + np.tanh(log_odds / 2)))


def fit_platt(log_odds: Floats, labels: npt.ArrayLike, prevalence: float) -> tuple[float, float]:
    """Return Platt's slope and intercept for a given share of pathogenic variants.

    The classes are weighted so that pathogenic ones have that share: the labels of a few hundred
    validation genes agree within each gene, so that their own share says little of other genes,
    and the share among all genes at hand says more (Saerens et al., Neural Computation 2002).

    Platt, Probabilistic Outputs for Support Vector Machines, 1999; fitted by Newton's method.

    Parameters
    ----------
    log_odds, labels : array_like, shape (n,)
    prevalence : float
        In 0..1, exclusive.
    """
    label = np.asarray(labels, dtype=np.float64)
    share = label.mean()
    weight = np.where(label == 1, prevalence / share, (1 - prevalence) / (1 - share))
    design = np.stack([log_odds, np.ones_like(log_odds)], axis=1)
    line = np.array([1.0, 0.0])
    for _ in range(50):
        guess = sigmoid(design @ line)
        gradient = design.T @ (weight * (guess - label))
        curvature = (design * (weight * guess * (1 - guess))[:, None]).T @ design
        # A ridge too small to matter, but for scores that are all the same.
        step = np.linalg.solve(curvature + 1e-9 * np.eye(2), gradient)
        line -= step
        if np.abs(step).max() < 1e-9:
            break
    slope, intercept = (float(value) for value in line)
    if not (np.isfinite(line).all() and slope > 0):
        # A slope of zero or less means that nothing was learnt; say so through the raw log-odds.
        return 1.0, 0.0
    return slope, intercept


def abstention_band(
    labels: npt.ArrayLike, probability: Floats, accuracy: float = ABSTENTION_ACCURACY
) -> tuple[float, float]:
    """Return the widest scores at which to say nothing: (low, high) around one half.

    Outside it, at or below ``low`` and at or above ``high``, calling the more likely class is
    right in at least ``accuracy`` of the variants on either side. Where a side never reaches
    that, its bound is 0 or 1: nothing is said there.
    """
    label = np.asarray(labels)
    low = _bound(label == 0, -probability, accuracy, limit=-0.5)
    high = _bound(label == 1, probability, accuracy, limit=0.5)
    return (0.0 if low is None else -low, 1.0 if high is None else high)


def _bound(right: npt.NDArray[Any], score: Floats, accuracy: float, limit: float) -> float | None:
    """Return the least score, not below ``limit``, above which a share ``accuracy`` is right."""
    order = np.argsort(-score, kind="stable")
    share = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    enough = np.flatnonzero((share >= accuracy) & (score[order] >= limit))
    enough = enough[enough >= _ENOUGH - 1]
    return float(score[order][enough[-1]]) if len(enough) else None


def reliability_table(labels: npt.ArrayLike, probability: Floats) -> list[dict[str, float | int]]:
    """Return, per tenth of probability, how many variants there are and how many are pathogenic."""
    label = np.asarray(labels, dtype=np.float64)
    bins = np.minimum((probability * _RELIABILITY_BINS).astype(int), _RELIABILITY_BINS - 1)
    return [
        {
            "from": which / _RELIABILITY_BINS,
            "to": (which + 1) / _RELIABILITY_BINS,
            "n": int((bins == which).sum()),
            "mean_probability": float(probability[bins == which].mean()),
            "pathogenic": float(label[bins == which].mean()),
        }
        for which in range(_RELIABILITY_BINS)
        if (bins == which).any()
    ]


def coverage_table(
    labels: npt.ArrayLike, probability: Floats, certainty: Floats
) -> list[dict[str, float | int]]:
    """Return the accuracy among the most certain variants, for a row of coverages.

    Parameters
    ----------
    certainty : ndarray, shape (n,)
        Higher is surer: the distance of the probability from one half, less the doubt.
    """
    right = (probability >= 0.5) == (np.asarray(labels) == 1)
    order = np.argsort(-certainty, kind="stable")
    counts = [max(1, round(coverage * len(order))) for coverage in _COVERAGES]
    return [
        {"coverage": coverage, "n": count, "accuracy": float(right[order[:count]].mean())}
        for coverage, count in zip(_COVERAGES, counts, strict=True)
    ]
