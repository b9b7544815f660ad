"""Measuring lesions after the user has edited their labels; runs in the computing process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from numpy.typing import NDArray

from napari_precimed.core.lesion import LesionSet
from napari_precimed.core.measure import measure
from napari_precimed.core.run import RunRecord
from napari_precimed.core.volume import Volume


def measure_edited(
    labels: NDArray,
    volume: Volume,
    finding: str | None,
    confidence: Mapping[int, float],
    runs: Sequence[RunRecord],
) -> LesionSet:
    """Measure edited labels, shape (z, y, x); the record says that a person edited them.

    Class probabilities are not carried over: they were for other outlines.
    """
    edited = RunRecord("edit labels", warnings=("The labels were edited by hand.",))
    kept = tuple(run for run in runs if run.task == "segment")
    return measure(labels, volume, finding=finding, confidence=confidence, runs=(*kept, edited))


def finding_of(lesions: LesionSet | None) -> str | None:
    """What the lesions are, if they all are the same."""
    found = {lesion.finding for lesion in lesions} if lesions else set()
    return found.pop() if len(found) == 1 else None


def confidence_by_label(lesions: LesionSet | None) -> dict[int, float]:
    """The segmenting model's confidence by label, where it gave one."""
    return {s.label: s.confidence for s in lesions or () if s.confidence is not None}
