"""How good a slice model is on patients it never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_precimed.core.run import RunRecord
from napari_precimed.models.bundle import load_network, weights_sha256
from napari_precimed.models.catalogue import ModelEntry
from napari_precimed.models.classify import calibrated, calibration_of
from napari_precimed.models.inference import Engine
from napari_precimed.models.slices import slice_logits
from napari_precimed.training.clinical import patient_groups
from napari_precimed.training.lgg import Glioma
from napari_precimed.training.scores import (
    auprc,
    auroc,
    expected_calibration_error,
    metric,
    reliability,
    subgroups,
)
from napari_precimed.training.slices import SliceStack, stack_of

MIDDLE = 0.56
"""Where, from the lowest slice to the highest, the training patients' lesions lie on average."""


@dataclass(frozen=True)
class Slices:
    """What is known of each slice of some patients; arrays of shape (n,).

    Attributes
    ----------
    logit, logit_flair_only : ndarray
        Of the model, on all three sequences and on FLAIR alone.
    position : ndarray
        0 for the lowest slice, 1 for the highest.
    mean_flair : ndarray
        Mean scaled grey of FLAIR.
    positive : ndarray of bool
    patient : ndarray of str
    case : ndarray of int
        Index of the patient.
    """

    logit: NDArray[np.float64]
    logit_flair_only: NDArray[np.float64]
    position: NDArray[np.float64]
    mean_flair: NDArray[np.float64]
    positive: NDArray[np.bool_]
    patient: NDArray[np.str_]
    case: NDArray[np.int_]


def gather(entry: ModelEntry, cases: Sequence[Glioma], engine: Engine) -> Slices:
    """Run the model over all slices of these patients."""
    network = load_network(entry).to(engine.device)
    rows = []
    for k, case in enumerate(cases):
        stack = stack_of(case)
        image = stack.scaled()
        n = len(image)
        rows.append(
            (
                slice_logits(network, image, engine),
                slice_logits(network, flair_only(stack).scaled(), engine),
                np.arange(n) / max(1, n - 1),
                image[:, 0].mean(axis=(1, 2)),
                stack.target >= 0.5,
                np.full(n, case.patient),
                np.full(n, k),
            )
        )
    return Slices(*(np.concatenate(column) for column in zip(*rows, strict=True)))


def flair_only(stack: SliceStack) -> SliceStack:
    """The same patient as if only FLAIR had been taken: copies of it stand in for the others."""
    return replace(stack, image=stack.image[:, [0, 0, 0]], levels=stack.levels[[0, 0, 0]])


def evaluate_slices(entry: ModelEntry, cases: Sequence[Glioma], engine: Engine) -> dict[str, Any]:
    """The figures of a slice model's card, per slice; intervals by bootstrap over patients."""
    found = gather(entry, cases, engine)
    chance = calibrated(entry, found.logit)
    groups = {name: chosen[found.case] for name, chosen in patient_groups(cases).items()}
    return {
        "n": {"patients": len(set(found.patient)), "cases": len(chance)},
        "metrics": _ranking(found) | _calibration(found, chance) | _decisions(entry, found, chance),
        "subgroups": subgroups(
            "auroc",
            lambda k: auroc(found.logit[k], found.positive[k]),
            found.patient,
            groups,
        ),
        "reliability": reliability(chance, found.positive),
        "run": RunRecord(
            task="evaluate",
            model=f"{entry.name} {entry.version}",
            weights_sha256=weights_sha256(entry),
            options={
                "calibration": calibration_of(entry),
                "threshold": entry.settings.get("threshold", 0.5),
                "abstain_band": entry.settings.get("abstain_band"),
            },
            device=engine.device.type,
            precision="float32",
        ).to_dict(),
    }


def _ranking(found: Slices) -> dict[str, Any]:
    """How well the slices are put in order, by the model and by what needs none."""
    scores = {
        "auroc": found.logit,
        "auroc_flair_only": found.logit_flair_only,
        "auroc_position_only": -np.abs(found.position - MIDDLE),
        "auroc_mean_flair_only": found.mean_flair,
    }
    figures = {name: _figure(auroc, score, found) for name, score in scores.items()}
    return figures | {
        "auprc": _figure(auprc, found.logit, found),
        "prevalence": metric(lambda k: float(found.positive[k].mean()), found.patient),
    }


def _calibration(found: Slices, chance: NDArray[np.float64]) -> dict[str, Any]:
    return {"ece": _figure(expected_calibration_error, chance, found)}


def _decisions(entry: ModelEntry, found: Slices, chance: NDArray[np.float64]) -> dict[str, Any]:
    """Sensitivity and specificity at the threshold, and of what is decided outside the band."""
    threshold = float(entry.settings.get("threshold", 0.5))
    low, high = entry.settings.get("abstain_band", (threshold, threshold))
    decided = (chance < low) | (chance >= high)
    everything = np.ones(len(chance), bool)
    return {
        "sensitivity": _share(chance >= threshold, found.positive, found),
        "specificity": _share(chance < threshold, ~found.positive, found),
        "coverage": _share(decided, everything, found),
        "sensitivity_decided": _share(chance >= high, found.positive & decided, found),
        "specificity_decided": _share(chance < low, ~found.positive & decided, found),
    }


def _figure(score: Any, values: NDArray, found: Slices) -> dict[str, Any]:
    return metric(lambda k: score(values[k], found.positive[k]), found.patient)


def _share(right: NDArray[np.bool_], among: NDArray[np.bool_], found: Slices) -> dict[str, Any]:
    """The share of `right` in `among`."""
    index = np.flatnonzero(among)
    return metric(lambda k: float(right[index[k]].mean()), found.patient[index])
