"""Whether a score says more than the consequence does, class by class; and MPRA correlations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from genomics.metrics import (
    BOOTSTRAPS,
    Floats,
    GeneBootstrap,
    Statistic,
    auroc,
    expected_calibration_error,
    fit_substitution_baseline,
    spearman,
    substitution_scores,
)

FEWEST_GENES = 3
"""Genes with pathogenic changes, below which an interval over genes says nothing."""
_NO_INTERVAL: list[float | None] = [None, None]


def fit_consequence_baseline(terms: Sequence[str], labels: Sequence[int]) -> dict[str, float]:
    """Return the pathogenic fraction of each set of terms, and of all ("").

    Shrunk as :func:`genomics.metrics.fit_substitution_baseline` shrinks a substitution's.
    """
    return fit_substitution_baseline(terms, [""] * len(terms), labels)


def consequence_scores(fractions: Mapping[str, float], terms: Sequence[str]) -> Floats:
    """Return the consequence-only baseline's score of each change, shape (n,)."""
    return substitution_scores(fractions, terms, [""] * len(terms))


def auroc_within(
    groups: npt.NDArray[Any], labels: npt.NDArray[Any], scores: Floats, weights: Floats
) -> float:
    """Return the AUROC over the pairs of a positive and a negative of one group; nan without any.

    Scores of different networks have no common zero, so pairs across them would measure the
    networks and not the changes.
    """
    won, pairs = 0.0, 0.0
    for group in np.unique(groups):
        own = groups == group
        count = float(weights[own & (labels == 1)].sum() * weights[own & (labels == 0)].sum())
        if count > 0:
            won += count * auroc(labels[own], scores[own], weights[own])
            pairs += count
    return won / pairs if pairs else float("nan")


def class_measures(
    rows: pd.DataFrame,
    log_odds: Floats,
    baseline: Floats,
    groups: npt.ArrayLike | None = None,
    probability: Floats | None = None,
) -> dict[str, Any]:
    """Measure a score inside one consequence class, beside the consequence-only baseline.

    Parameters
    ----------
    rows : DataFrame
        Of one class, with ``label`` and ``unit``.
    log_odds, baseline : ndarray, shape (n,)
        The score, and what the whole set of consequence terms and the biotype say alone.
    groups : array_like, shape (n,), optional
        The network that scored each row, where it was not the same for all; see
        :func:`auroc_within`.
    probability : ndarray, shape (n,), optional
        Where given, its expected calibration error is measured too.

    Returns
    -------
    dict
        ``n``, ``pathogenic``, ``genes``, ``genes_with_pathogenic``; ``auroc``,
        ``auroc_consequence_only`` and ``difference`` as ``{value, ci95}`` (bootstrapped by gene,
        None where not defined), and ``better``: whether the difference's interval is above 0, with
        at least ``FEWEST_GENES`` genes that have pathogenic changes. The difference is from the
        baseline or from chance (0.5), whichever is larger: a baseline that misleads on other genes
        is no standard.
    """
    labels = rows["label"].to_numpy()
    measures: dict[str, Any] = {
        "n": len(rows),
        "pathogenic": int(labels.sum()),
        "genes": int(rows["unit"].nunique()),
        "genes_with_pathogenic": int(rows.loc[rows["label"] == 1, "unit"].nunique()),
        "better": False,
    }
    if len(rows) == 0 or len(np.unique(labels)) < 2:
        nothing = {"value": None, "ci95": _NO_INTERVAL}
        names = ("auroc", "auroc_consequence_only", "difference", "ece")
        return measures | dict.fromkeys(names, nothing)
    resample = GeneBootstrap(rows["unit"].to_numpy())
    network = np.zeros(len(rows)) if groups is None else np.asarray(groups)

    def within(scores: Floats) -> Statistic:
        return lambda weights: auroc_within(network, labels, scores, weights)

    model, alone = within(log_odds), within(baseline)
    statistics: dict[str, Statistic] = {
        "auroc": model,
        "auroc_consequence_only": alone,
        "difference": lambda weights: model(weights) - max(alone(weights), 0.5),
    }
    if probability is not None:
        statistics["ece"] = lambda weights: expected_calibration_error(labels, probability, weights)
    every = np.ones(len(labels))
    for name, statistic in statistics.items():
        measures[name] = {"value": statistic(every), "ci95": resample.interval(statistic)}
    low = measures["difference"]["ci95"][0]
    # Of one gene or two, resampling shows no spread: the interval would be next to a point.
    several = measures["genes_with_pathogenic"] >= FEWEST_GENES
    return measures | {"better": bool(several and low is not None and low > 0)}


def base_change_effects(table: pd.DataFrame) -> dict[str, float]:
    """Return the mean MPRA effect of each base change ("C>T")."""
    changes = table["ref"] + ">" + table["alt"]
    return {
        str(name): float(mean) for name, mean in table["effect"].groupby(changes).mean().items()
    }


def base_change_scores(effects: Mapping[str, float], table: pd.DataFrame) -> Floats:
    """Return the mean effect of each row's base change, shape (n,); 0 for one never seen."""
    changes = table["ref"] + ">" + table["alt"]
    return np.array([effects.get(change, 0.0) for change in changes])


def mpra_measures(
    table: pd.DataFrame, predicted: Floats, base_change: Floats
) -> dict[str, dict[str, Any]]:
    """Return the rank correlation of predicted and measured effects, element by element.

    Parameters
    ----------
    table : DataFrame
        Of elements that training has not seen, see
        :func:`genomics.nucleotide.dataset.read_mpra`.
    predicted, base_change : ndarray, shape (n,)
        The model's effect, and the baseline's: the mean effect of the base change (C>T) in the
        training elements.

    Returns
    -------
    dict
        ``mpra_spearman`` and ``mpra_spearman_base_change`` of the signed effect,
        ``mpra_spearman_size`` and ``mpra_spearman_size_distance`` of its size (the baseline: the
        nearer to the element's middle, the larger), and the differences from the baselines; each
        the mean over elements as ``{value, ci95, n, per_element}``, bootstrapped by locus.
    """
    measured = table["effect"].to_numpy()
    scores = {
        "mpra_spearman": (measured, predicted),
        "mpra_spearman_base_change": (measured, base_change),
        "mpra_spearman_size": (np.abs(measured), np.abs(predicted)),
        "mpra_spearman_size_distance": (np.abs(measured), -table["distance"].to_numpy()),
    }
    elements = {
        str(name): rows for name, rows in table.reset_index().groupby("element").indices.items()
    }
    units = np.array([table["unit"].iloc[rows[0]] for rows in elements.values()])
    found = {
        name: np.array([spearman(truth[rows], score[rows]) for rows in elements.values()])
        for name, (truth, score) in scores.items()
    }
    for model, baseline in (("", "_base_change"), ("_size", "_size_distance")):
        found[f"mpra{model}_difference"] = (
            found[f"mpra_spearman{model}"] - found[f"mpra_spearman{baseline}"]
        )
    return {name: _mean_over(values, units, list(elements)) for name, values in found.items()}


def _mean_over(values: Floats, units: npt.NDArray[Any], names: list[str]) -> dict[str, Any]:
    resample = GeneBootstrap(units, repeats=BOOTSTRAPS)
    return {
        "value": float(values.mean()),
        "ci95": resample.interval(lambda weights: float(np.average(values, weights=weights))),
        "n": len(values),
        "per_element": {name: float(value) for name, value in zip(names, values, strict=True)},
    }
