"""Which consequence classes ``nucleotide-lstm`` may speak about, and its calibration there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize

from genomics.calibration import sigmoid
from genomics.metrics import Floats
from genomics.nucleotide.dataset import SCORABLE
from genomics.nucleotide.metrics import (
    class_measures,
    consequence_scores,
    fit_consequence_baseline,
)

_FEWEST_TO_CALIBRATE = 10


def judge_classes(
    rows: pd.DataFrame, folds: Mapping[str, int], out_of_fold: Floats, test: Floats
) -> dict[str, dict[str, Any]]:
    """Measure each class on unseen genes, and say whether the model may speak there.

    Parameters
    ----------
    rows : DataFrame
        With ``class``, ``terms``, ``unit`` and ``label``.
    folds : mapping
        The fold of every unit outside the test part.
    out_of_fold : ndarray, shape (n,)
        Log-odds by the member that had not seen the unit; nan in the test part.
    test : ndarray, shape (n,)
        Log-odds by the whole ensemble in the test part; nan outside it.

    Returns
    -------
    dict
        By class ``validation``, ``test`` and ``unseen`` (both together), see
        :func:`genomics.nucleotide.metrics.class_measures`; ``calibration`` (Platt's ``slope`` and
        ``intercept``, from validation; None with too few of either label); and ``scores``: whether
        the difference from the consequence is above 0 with its whole interval, both on the test
        genes alone and on all unseen genes, and there is a calibration.
    """
    fractions = baseline_fractions(rows, folds)
    known = np.isfinite(out_of_fold)
    baseline = np.where(
        known, out_of_fold_baseline(rows, folds), consequence_scores(fractions, list(rows["terms"]))
    )
    log_odds = np.where(known, out_of_fold, test)
    # -1: the whole ensemble, which scores the test part.
    network = rows["unit"].map(dict(folds)).fillna(-1).to_numpy()
    verdicts: dict[str, dict[str, Any]] = {}
    for name in SCORABLE:
        own = (rows["class"] == name).to_numpy()
        parts = {"validation": own & known, "test": own & ~known, "unseen": own}
        line = _calibration(log_odds[own & known], rows["label"].to_numpy()[own & known])
        verdict: dict[str, Any] = {
            part: class_measures(rows[chosen], log_odds[chosen], baseline[chosen], network[chosen])
            for part, chosen in parts.items()
        }
        # Stopping was chosen on the validation genes, so alone they would flatter the model.
        better = all(verdict[part]["better"] for part in ("test", "unseen"))
        verdicts[name] = verdict | {"calibration": line, "scores": better and line is not None}
    return verdicts


def test_measures(
    rows: pd.DataFrame,
    log_odds: Floats,
    fractions: Mapping[str, float],
    verdicts: Mapping[str, Mapping[str, Any]],
) -> dict[str, dict[str, Any]]:
    """Measure each class on genes of which nothing was used; see :func:`judge_classes`."""
    baseline = consequence_scores(fractions, list(rows["terms"]))
    measures = {}
    for name, verdict in verdicts.items():
        members = (rows["class"] == name).to_numpy()
        line, own = verdict["calibration"], log_odds[members]
        probability = None if line is None else probabilities(own, line)
        measures[name] = class_measures(
            rows[members], own, baseline[members], probability=probability
        )
    return measures


def probabilities(log_odds: Floats, line: Mapping[str, float]) -> Floats:
    """Return the calibrated probability of each log-odds."""
    return sigmoid(line["slope"] * log_odds + line["intercept"])


def baseline_fractions(rows: pd.DataFrame, folds: Mapping[str, int]) -> dict[str, float]:
    """Return the pathogenic fraction of each set of terms outside the test part."""
    known = rows[rows["unit"].isin(list(folds))]
    return fit_consequence_baseline(list(known["terms"]), list(known["label"]))


def out_of_fold_baseline(rows: pd.DataFrame, folds: Mapping[str, int]) -> Floats:
    """Return the consequence-only score of each row by the other folds; nan in the test part."""
    fold = rows["unit"].map(dict(folds))
    scores = np.full(len(rows), np.nan)
    for index in sorted(set(folds.values())):
        held = (fold == index).to_numpy()
        rest = rows[fold.notna().to_numpy() & ~held]
        fractions = fit_consequence_baseline(list(rest["terms"]), list(rest["label"]))
        scores[held] = consequence_scores(fractions, list(rows["terms"][held]))
    return scores


def _calibration(log_odds: Floats, labels: Floats) -> dict[str, float] | None:
    """Return Platt's line; None where one label is too rare to fit it, or the order is wrong.

    Platt, Probabilistic Outputs for Support Vector Machines, 1999.
    """
    positives = int(labels.sum())
    if min(positives, len(labels) - positives) < _FEWEST_TO_CALIBRATE:
        return None

    def loss(line: Floats) -> float:
        margin = (line[0] * log_odds + line[1]) * (2 * labels - 1)
        return float(np.logaddexp(0, -margin).mean())

    slope, intercept = minimize(loss, np.array([1.0, 0.0]), method="BFGS").x
    return {"slope": float(slope), "intercept": float(intercept)} if slope > 0 else None
