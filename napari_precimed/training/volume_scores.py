"""Measuring a segmentation model on whole labelled scans, each on its own grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_precimed.core.run import RunRecord
from napari_precimed.errors import InputError
from napari_precimed.models.bundle import weights_sha256
from napari_precimed.models.catalogue import ModelEntry
from napari_precimed.models.inference import Engine
from napari_precimed.models.segment import segment
from napari_precimed.training.cases import CaseSet, Scan
from napari_precimed.training.lesions import LesionMatch, match_lesions
from napari_precimed.training.patients import PatientTable
from napari_precimed.training.scores import dice, mean_metric, subgroups, surface_scores

TOLERANCE_MM = 1.0
_DIAMETERS_MM = (0, 6, 10, 20, 1e9)
_SLICES_MM = (0, 1.5, 3, 1e9)


@dataclass(frozen=True)
class ScanScores:
    """What was measured on one scan.

    Attributes
    ----------
    patient : str
    dices : mapping of int to float
        Label -> Dice, for labels in the truth or the prediction; label 1 always.
    hd95_mm, nsd : float or None
        Means over labels; None where no label has two surfaces.
    lesions : LesionMatch
        Of all labels together.
    slice_mm : float
        Distance between slices.
    """

    patient: str
    dices: Mapping[int, float]
    hd95_mm: float | None
    nsd: float | None
    lesions: LesionMatch
    slice_mm: float

    @property
    def dice(self) -> float:
        """Mean over labels."""
        return float(np.mean(list(self.dices.values())))


def evaluate(entry: ModelEntry, cases: CaseSet, engine: Engine) -> dict[str, Any]:
    """Measure a model on scans.

    Parameters
    ----------
    entry : ModelEntry
    cases : CaseSet
        Of patients whom the model never saw.
    engine : Engine

    Returns
    -------
    dict
        "n", "metrics", "subgroups", "run".

    Raises
    ------
    InputError
        If the scans have other channels or labels than the model.
    """
    _check(entry, cases)
    rows = []
    for case in cases.cases:
        scan = case.read()
        found = labels_of(entry, scan, engine)
        rows.append(scores_of(found, scan.truth, scan.volume.geometry.spacing_mm, case.patient))
    return {
        "n": {"patients": len({row.patient for row in rows}), "cases": len(rows)},
        "metrics": metrics_of(rows, _names(entry)),
        "subgroups": subgroups_of(rows, cases.patients),
        "run": RunRecord(
            task="evaluate",
            model=f"{entry.name} {entry.version}",
            weights_sha256=weights_sha256(entry),
            options={"nsd_tolerance_mm": TOLERANCE_MM},
            device=engine.device.type,
            precision=engine.precision,
        ).to_dict(),
    }


def labels_of(entry: ModelEntry, scan: Scan, engine: Engine) -> NDArray[np.uint8]:
    """What `segment` outlines in a scan; shape (z, y, x), on the scan's grid.

    A model that numbers its lesions has one kind of them, and all become 1.
    """
    others = {
        name: scan.volume.with_array(channel)
        for name, channel in zip(entry.channels[1:], scan.channels[1:], strict=True)
    }
    found = segment(
        scan.volume, str(entry.folder), channels=others or None, device=engine.device.type
    )
    numbered = not entry.runs_itself or entry.settings.get("instances", entry.built_in)
    labels = found.labels > 0 if numbered else found.labels
    return labels.astype(np.uint8)


def scores_of(
    found: NDArray[np.uint8],
    truth: NDArray[np.int32],
    spacing_mm: Sequence[float],
    patient: str,
) -> ScanScores:
    """Compare labels with the truth; both of shape (z, y, x)."""
    labels = sorted({1, *np.unique(truth).tolist(), *np.unique(found).tolist()} - {0})
    surfaces = [surface_scores(found == v, truth == v, spacing_mm, TOLERANCE_MM) for v in labels]
    return ScanScores(
        patient=patient,
        dices={v: dice(found == v, truth == v) for v in labels},
        hd95_mm=_mean([hd95 for hd95, _ in surfaces]),
        nsd=_mean([nsd for _, nsd in surfaces]),
        lesions=match_lesions(found > 0, truth > 0, float(np.prod(spacing_mm))),
        slice_mm=float(spacing_mm[0]),
    )


def metrics_of(rows: Sequence[ScanScores], names: Mapping[int, str]) -> dict[str, Any]:
    """Each metric with its interval; Dice label by label too where there are several."""
    patients = [row.patient for row in rows]
    metrics = {
        "dice": mean_metric([row.dice for row in rows], patients),
        "nsd": mean_metric([row.nsd for row in rows], patients),
        "hd95_mm": mean_metric([row.hd95_mm for row in rows], patients),
        "lesion_sensitivity": mean_metric(*_lesions(rows)[:2]),
        "false_positives_per_scan": mean_metric(
            [float(row.lesions.false_positives) for row in rows], patients
        ),
    }
    if len(names) > 1:
        for label, name in names.items():
            values = [row.dices.get(label) for row in rows]
            metrics[f"dice_{name.replace(' ', '_')}"] = mean_metric(values, patients)
    return metrics


def subgroups_of(rows: Sequence[ScanScores], table: PatientTable) -> list[dict[str, Any]]:
    """Dice by age, gender, race and slice spacing; lesion sensitivity by the lesion's size."""
    patients = [row.patient for row in rows]
    dices = np.array([row.dice for row in rows])
    slices = np.array([row.slice_mm for row in rows])
    groups = {**table.groups(patients), **_bands("slices", slices, _SLICES_MM)}
    by_scan = subgroups("dice", lambda k: float(dices[k].mean()), patients, groups)
    found, owners, diameters = _lesions(rows)
    hits = np.array(found, float)
    sizes = _bands("diameter", np.array(diameters), _DIAMETERS_MM)
    return by_scan + subgroups("lesion_sensitivity", lambda k: float(hits[k].mean()), owners, sizes)


def _lesions(rows: Sequence[ScanScores]) -> tuple[list[float | None], list[str], list[float]]:
    """Of all true lesions: whether found, whose, and the diameter of the sphere of its volume."""
    found: list[float | None] = []
    owners, diameters = [], []
    for row in rows:
        found += [float(hit) for hit in row.lesions.found]
        owners += [row.patient] * len(row.lesions.found)
        diameters += [float((6 * v / np.pi) ** (1 / 3)) for v in row.lesions.volumes]
    return found, owners, diameters


def _bands(
    name: str, values: NDArray[np.float64], limits: Sequence[float]
) -> dict[str, NDArray[np.bool_]]:
    """Values by band, in millimetres; bands without any are left out."""
    groups = {}
    for low, high in pairwise(limits):
        text = f"{name} {low:g} to {high:g} mm" if low else f"{name} < {high:g} mm"
        groups[f"{name} ≥ {low:g} mm" if high == limits[-1] else text] = (values >= low) & (
            values < high
        )
    return {text: chosen for text, chosen in groups.items() if chosen.any()}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and np.isfinite(value)]
    return float(np.mean(known)) if known else None


def _names(entry: ModelEntry) -> dict[int, str]:
    """Label -> name; a model with one output has one label."""
    if len(entry.labels) <= 1:
        return {1: entry.labels.get(0, "lesion")}
    return {label: name for label, name in entry.labels.items() if label}


def _check(entry: ModelEntry, cases: CaseSet) -> None:
    most = max(cases.label_names, default=1)
    if most > len(_names(entry)):
        raise InputError(
            f"The data have labels up to {most}, '{entry.name}' outlines {len(_names(entry))}; "
            "give labels that mean the same."
        )
