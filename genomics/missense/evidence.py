"""PP3 and BP4: which scores are evidence, and how strong, by Pejaver's method.

Pejaver et al., Calibration of computational tools for missense variant pathogenicity
classification, Am J Hum Genet 2022; 109: 2163. Tavtigian et al., Genet Med 2018, gives the odds
that each strength stands for.

The local posterior of a score is the share of pathogenic variants among those of about that score
(a window that holds at least 100 variants and 3 % of them all), corrected for a prior of 0.0441.
A strength is supported where the one-sided 95 % bound of the posterior, over bootstraps, reaches
what the strength asks for, at that score and at all beyond it. Three differences from the paper:
the 3 % are of the variants that calibrate, where the paper took unlabelled ones from gnomAD; whole
genes are drawn, because the labels of one gene are not independent of each other; and half a
variant of each class is added to every window, so that a hundred pathogenic variants without a
benign one are not taken for an infinite likelihood ratio.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

PRIOR = 0.0441
ODDS_VERY_STRONG = 1124.0
STRENGTHS: Mapping[str, float] = {
    "supporting": ODDS_VERY_STRONG ** (1 / 8),
    "moderate": ODDS_VERY_STRONG ** (1 / 4),
    "strong": ODDS_VERY_STRONG ** (1 / 2),
    "very_strong": ODDS_VERY_STRONG,
}
"""The likelihood ratio of each strength; for benign evidence its inverse."""
WINDOW_VARIANTS, WINDOW_SHARE = 100, 0.03
BOOTSTRAPS = 1000
_GRID = 200
_ONE_SIDED = 5.0


@dataclass(frozen=True)
class Calibration:
    """Scores with labels, from genes that no training saw.

    Attributes
    ----------
    genes : ndarray of str, shape (n,)
    labels : ndarray of 0 or 1, shape (n,)
    scores : ndarray of float, shape (n,)
        Higher means more likely pathogenic.
    """

    genes: npt.NDArray[Any]
    labels: npt.NDArray[Any]
    scores: Floats


def local_likelihood_ratio(scores: Floats, labels: Floats, weights: Floats, at: Floats) -> Floats:
    """Return the likelihood ratio of pathogenic around each score of ``at``, shape (m,).

    The window around a score grows on both sides alike until it holds ``WINDOW_VARIANTS`` variants
    and ``WINDOW_SHARE`` of them all.

    Parameters
    ----------
    scores : ndarray, shape (n,)
        Ascending.
    labels, weights : ndarray, shape (n,)
    """
    pathogenic = np.r_[0, np.cumsum(weights * labels)]
    benign = np.r_[0, np.cumsum(weights * (1 - labels))]
    total = pathogenic + benign
    needed = max(WINDOW_VARIANTS, WINDOW_SHARE * total[-1])
    reach = _half_widths(scores, total, at, needed)
    first = np.searchsorted(scores, at - reach, "left")
    last = np.searchsorted(scores, at + reach, "right")
    inside = (pathogenic[last] - pathogenic[first] + 0.5) / (benign[last] - benign[first] + 0.5)
    return np.asarray(inside * (benign[-1] + 0.5) / (pathogenic[-1] + 0.5))


def _half_widths(scores: Floats, total: Floats, at: Floats, needed: float) -> Floats:
    """Return half the width of the narrowest window around each of ``at`` that holds ``needed``."""
    low = np.zeros(len(at))
    high = float(scores[-1] - scores[0]) + np.abs(at)
    for _ in range(30):
        middle = (low + high) / 2
        first = np.searchsorted(scores, at - middle, "left")
        last = np.searchsorted(scores, at + middle, "right")
        enough = total[last] - total[first] >= needed
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return high


def evidence_thresholds(
    data: Calibration, repeats: int = BOOTSTRAPS, seed: int = 0
) -> dict[str, dict[str, float | None]]:
    """Return the score from which on each strength of PP3, and up to which of BP4, is supported.

    Returns
    -------
    dict
        ``{"PP3": {strength: score or None}, "BP4": {...}}``; None where the data support none.
    """
    order = np.argsort(data.scores, kind="stable")
    scores, labels = data.scores[order], data.labels[order].astype(np.float64)
    _, gene = np.unique(data.genes[order], return_inverse=True)
    grid = np.unique(np.quantile(scores, np.linspace(0, 1, _GRID)))
    count = int(gene.max()) + 1
    draw = np.random.default_rng(seed)
    ratios = np.stack(
        [
            local_likelihood_ratio(scores, labels, drawn[gene].astype(np.float64), grid)
            for drawn in draw.multinomial(count, np.full(count, 1 / count), size=repeats)
        ]
    )
    lower = np.percentile(ratios, _ONE_SIDED, axis=0)
    upper = np.percentile(ratios, 100 - _ONE_SIDED, axis=0)
    return {
        "PP3": {name: _from_above(grid, lower >= odds) for name, odds in STRENGTHS.items()},
        "BP4": {name: _from_below(grid, upper <= 1 / odds) for name, odds in STRENGTHS.items()},
    }


def _from_above(grid: Floats, supported: npt.NDArray[np.bool_]) -> float | None:
    """Return the least score from which on every one is supported."""
    gaps = np.flatnonzero(~supported)
    first = int(gaps[-1]) + 1 if len(gaps) else 0
    return float(grid[first]) if first < len(grid) else None


def _from_below(grid: Floats, supported: npt.NDArray[np.bool_]) -> float | None:
    gaps = np.flatnonzero(~supported)
    last = int(gaps[0]) - 1 if len(gaps) else len(grid) - 1
    return float(grid[last]) if last >= 0 else None


def evidence_code(thresholds: Mapping[str, Mapping[str, float | None]], score: float) -> str | None:
    """Return the strongest code that a score carries, as ``PP3_moderate``, or None.

    >>> evidence_code({"PP3": {"supporting": 0.7, "moderate": None}, "BP4": {}}, 0.8)
    'PP3_supporting'
    """
    for code, beyond in (("PP3", score.__ge__), ("BP4", score.__le__)):
        for strength in reversed(tuple(STRENGTHS)):
            bound = thresholds.get(code, {}).get(strength)
            if bound is not None and beyond(bound):
                return f"{code}_{strength}"
    return None


def observed_evidence(
    data: Calibration, thresholds: Mapping[str, Mapping[str, float | None]]
) -> list[dict[str, Any]]:
    """Return, for each code, the variants that carry it and their likelihood ratio.

    On genes other than those that set the thresholds this says whether they hold. The ratio is
    None where the variants of a code are all of one class.
    """
    codes = np.array([evidence_code(thresholds, float(score)) or "" for score in data.scores])
    pathogenic, benign = data.labels.sum(), (1 - data.labels).sum()
    rows = []
    for code in sorted(set(codes) - {""}):
        here = data.labels[codes == code]
        positive, negative = int(here.sum()), int(len(here) - here.sum())
        ratio = None
        if positive and negative and pathogenic and benign:
            ratio = float(positive / pathogenic / (negative / benign))
        rows.append(
            {"code": code, "n": len(here), "pathogenic": positive, "likelihood_ratio": ratio}
        )
    return rows
