"""RECIST 1.1: the sum of diameters of the target lesions, and the response it stands for.

Source: Eisenhauer et al., "New response evaluation criteria in solid tumours: revised RECIST
guideline (version 1.1)", European Journal of Cancer 45 (2009), sections 3 and 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from napari_precimed.core.compare import Change, Comparison
from napari_precimed.core.lesion import Lesion

Category = Literal["CR", "PR", "SD", "PD", "NE"]

LEAST_TARGET_MM = 10.0
"""Long axis from which a lesion can be a target (CT with slices of 5 mm or less)."""
MOST_TARGETS, MOST_PER_ORGAN = 5, 2
_PARTIAL, _PROGRESS, _PROGRESS_MM = -0.30, 0.20, 5.0


@dataclass(frozen=True)
class Response:
    """The response of the target lesions.

    Attributes
    ----------
    category : {"CR", "PR", "SD", "PD", "NE"}
        Complete or partial response, stable disease, progression; not evaluable.
    rule : str
        The rule that gave it, with the figures it was given.
    targets : tuple of Change
    sum_before_mm, sum_after_mm : float or None
        Of the targets' long axes; None where one of them could not be measured.
    """

    category: Category
    rule: str
    targets: tuple[Change, ...]
    sum_before_mm: float | None
    sum_after_mm: float | None


def choose_targets(changes: Sequence[Change]) -> tuple[Change, ...]:
    """The largest measurable lesions of the earlier scan: five in all, two of a kind ("finding").

    The finding stands for the organ, which is not known otherwise.
    """
    measurable = [c for c in changes if c.before and (_long(c.before) or 0) >= LEAST_TARGET_MM]
    chosen: list[Change] = []
    for change in sorted(measurable, key=lambda c: -(_long(c.before) or 0)):
        same = sum(c.before[0].finding == change.before[0].finding for c in chosen)
        if len(chosen) < MOST_TARGETS and same < MOST_PER_ORGAN:
            chosen.append(change)
    return tuple(chosen)


def respond(comparison: Comparison, targets: Sequence[Change] | None = None) -> Response:
    """The response between two dates, the earlier one being both baseline and nadir.

    Parameters
    ----------
    comparison : Comparison
    targets : sequence of Change, optional
        By default those of `choose_targets`. Lymph nodes, which are measured by their short axis,
        are not told apart.
    """
    chosen = choose_targets(comparison.changes) if targets is None else tuple(targets)
    before, after = (_sum(chosen, "before"), _sum(chosen, "after"))
    category, rule = _category(comparison, chosen, before, after)
    return Response(category, rule, chosen, before, after)


def _category(
    comparison: Comparison,
    targets: tuple[Change, ...],
    before: float | None,
    after: float | None,
) -> tuple[Category, str]:
    new = comparison.of_kind("new")
    if new:
        labels = ", ".join(str(c.after[0].label) for c in new)
        return "PD", f"a new lesion is progression: number {labels} of the later scan"
    if not targets:
        return "NE", f"no lesion of {LEAST_TARGET_MM:g} mm or more in the earlier scan"
    if before is None or after is None:
        return "NE", "a target lesion could not be measured in both scans"
    sums = f"sum of diameters {before:.1f} mm, then {after:.1f} mm"
    if all(c.kind == "gone" for c in targets):
        if all(c.kind == "gone" for c in comparison.changes):
            return "CR", f"every lesion is gone; {sums}"
        return "PR", f"every target is gone, other lesions are not; {sums}"
    change = (after - before) / before
    if change >= _PROGRESS and after - before >= _PROGRESS_MM:
        return "PD", f"{sums}: {change:+.0%}, at least +20 % and +5 mm"
    if change <= _PARTIAL:
        return "PR", f"{sums}: {change:+.0%}, at least -30 %"
    return "SD", f"{sums}: {change:+.0%}, neither -30 % nor +20 % and +5 mm"


def _sum(targets: Sequence[Change], date: Literal["before", "after"]) -> float | None:
    """Total of the long axes, mm: 0 for what is gone; None where one is unknown."""
    total = 0.0
    for change in targets:
        lesions = change.before if date == "before" else change.after
        length = _long(lesions) if lesions else 0.0
        if length is None or any(s.touches_border for s in lesions):
            return None
        total += length
    return total


def _long(lesions: Sequence[Lesion]) -> float | None:
    """The long axis of a target, mm: of one that has split, the sum of its parts (section 3.3)."""
    axes = [lesion.long_axis_mm for lesion in lesions]
    return None if any(a is None for a in axes) else sum(a for a in axes if a is not None)
