"""Scores, each with its 95 % interval by bootstrap over patients and its sample size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.metrics import compute_hausdorff_distance, compute_surface_dice
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

_RESAMPLES = 1000
_NOTHING = {"value": None, "ci95": [None, None], "n": 0, "patients": 0}
LEAST_PATIENTS = 10
"""A subgroup of fewer patients says "insufficient evidence" instead of a number."""


def dice(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """2|A∩B| / (|A| + |B|); 1 where both are empty."""
    total = int(predicted.sum()) + int(truth.sum())
    return 1.0 if total == 0 else 2 * float((predicted & truth).sum()) / total


def surface_scores(
    predicted: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    spacing_mm: Sequence[float],
    tolerance_mm: float = 1.0,
) -> tuple[float | None, float | None]:
    """95th percentile Hausdorff distance in mm, and normalised surface Dice at a tolerance.

    Both masks have shape (z, y, x). None where a mask is empty and there is no surface to measure.
    """
    if not predicted.any() or not truth.any():
        return None, None
    pair = [torch.from_numpy(m[None, None].astype(np.float32)) for m in (predicted, truth)]
    hd95 = compute_hausdorff_distance(pair[0], pair[1], percentile=95, spacing=list(spacing_mm))
    nsd = compute_surface_dice(
        pair[0],
        pair[1],
        class_thresholds=[tolerance_mm],
        include_background=True,
        spacing=list(spacing_mm),
    )
    return float(hd95), float(nsd)


def auroc(scores: ArrayLike, positive: ArrayLike) -> float:
    """Area under the ROC curve, by ranks; nan where one class is missing."""
    scores, positive = np.asarray(scores, float), np.asarray(positive, bool)
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        return float("nan")
    rank_sum = rankdata(scores)[positive].sum()
    return float((rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def auprc(scores: ArrayLike, positive: ArrayLike) -> float:
    """Average precision, ties broken by order; nan without a positive."""
    positive = np.asarray(positive, bool)[np.argsort(-np.asarray(scores, float), kind="stable")]
    if not positive.any():
        return float("nan")
    precision = np.cumsum(positive) / np.arange(1, len(positive) + 1)
    return float(precision[positive].mean())


def expected_calibration_error(chance: ArrayLike, positive: ArrayLike, bins: int = 10) -> float:
    """Mean gap between chance and frequency over equally filled bins (Naeini et al. 2015)."""
    chance, positive = np.asarray(chance, float), np.asarray(positive, float)
    groups = np.array_split(np.argsort(chance, kind="stable"), bins)
    gaps = [abs(chance[g].mean() - positive[g].mean()) * len(g) for g in groups if len(g)]
    return float(sum(gaps) / len(chance))


def reliability(chance: ArrayLike, positive: ArrayLike, bins: int = 5) -> list[dict[str, Any]]:
    """What a reliability diagram draws: per equally wide bin, the mean chance and the frequency."""
    chance, positive = np.asarray(chance, float), np.asarray(positive, bool)
    place = np.minimum((chance * bins).astype(int), bins - 1)
    rows = []
    for k in range(bins):
        inside = place == k
        rows.append(
            {
                "from": k / bins,
                "to": (k + 1) / bins,
                "n": int(inside.sum()),
                "mean_probability": _known(chance[inside].mean()) if inside.any() else None,
                "share_positive": _known(positive[inside].mean()) if inside.any() else None,
            }
        )
    return rows


def metric(
    statistic: Callable[[NDArray[np.int_]], float],
    patients: Sequence[str] | NDArray[np.str_],
    seed: int = 0,
) -> dict[str, Any]:
    """One figure: its value, its 95 % interval and the number of cases.

    Parameters
    ----------
    statistic : callable
        Case indices (with repeats) -> value.
    patients : sequence of str
        The patient of each case; whole patients are drawn, since cases of one are alike.
    """
    if not len(patients):
        return dict(_NOTHING)
    names = np.asarray(patients)
    members = [np.flatnonzero(names == name) for name in np.unique(names)]
    rng = np.random.default_rng(seed)
    draws = [
        statistic(
            np.concatenate([members[k] for k in rng.integers(len(members), size=len(members))])
        )
        for _ in range(_RESAMPLES)
    ]
    drawn = np.array(draws)[np.isfinite(draws)]
    low, high = np.percentile(drawn, [2.5, 97.5]) if len(drawn) else (np.nan, np.nan)
    value = statistic(np.arange(len(names)))
    return {
        "value": _known(value),
        "ci95": [_known(low), _known(high)],
        "n": len(names),
        "patients": len(members),
    }


def _known(value: float) -> float | None:
    """JSON has no nan; what could not be computed is null."""
    return round(float(value), 4) if np.isfinite(value) else None


def mean_metric(values: Sequence[float | None], patients: Sequence[str]) -> dict[str, Any]:
    """The mean of what is known, as `metric` gives it; `n` counts the known."""
    known = [k for k, value in enumerate(values) if value is not None]
    if not known:
        return dict(_NOTHING)
    array = np.array([values[k] for k in known], float)
    return metric(lambda index: float(array[index].mean()), [patients[k] for k in known])


def subgroups(
    name: str,
    statistic: Callable[[NDArray[np.int_]], float],
    patients: Sequence[str] | NDArray[np.str_],
    groups: Mapping[str, ArrayLike],
) -> list[dict[str, Any]]:
    """A statistic in each group, or why it is not given.

    Parameters
    ----------
    name : str
        Of the metric.
    statistic : callable
        Case indices -> value, as for `metric`.
    groups : mapping of str to array_like of bool
        Description -> which cases.
    """
    rows = []
    for description, chosen in groups.items():
        index = np.flatnonzero(np.asarray(chosen))
        figure = metric(_within(statistic, index), [patients[int(k)] for k in index])
        if figure["patients"] < LEAST_PATIENTS:
            figure = {key: figure[key] for key in ("n", "patients")}
            figure["note"] = "insufficient evidence"
        rows.append({"group": description, "metric": name, **figure})
    return rows


def _within(
    statistic: Callable[[NDArray[np.int_]], float], index: NDArray[np.int_]
) -> Callable[[NDArray[np.int_]], float]:
    return lambda k: statistic(index[k])
