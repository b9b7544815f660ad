"""Numbers and places as a clinician reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from napari_precimed.core.lesion import Lesion, Point

UNKNOWN = "–"
"""Printed where nothing is known; never 0."""


def number(value: float | None, digits: int = 1) -> str:
    """A number with a real minus sign and grouped thousands; a dash where it is unknown."""
    if value is None:
        return UNKNOWN
    return f"{value:,.{digits}f}".replace("-", "−")


def place(point: Point) -> str:
    """A world position by the patient's sides: ``L 12.3, P 45.0, S 200.1`` in mm.

    The letter and its number are held together by a no-break space.
    """
    sides = zip(point, ("LR", "PA", "SI"), strict=True)
    return ", ".join(f"{pair[int(mm < 0)]}\u00a0{abs(mm):,.1f}" for mm, pair in sides)


def diameters(lesion: Lesion) -> str:
    """Long by short axis."""
    if lesion.long_axis_mm is None:
        return UNKNOWN
    return f"{number(lesion.long_axis_mm)} × {number(lesion.short_axis_mm)}"


def probabilities(values: Mapping[str, float] | None) -> str:
    """Class probabilities, the most likely first."""
    if not values:
        return UNKNOWN
    ranked = sorted(values.items(), key=lambda item: -item[1])
    return shortened(", ".join(f"{name} {probability(value)}" for name, value in ranked))


def probability(value: float) -> str:
    """A probability; the ends as bounds, because 1.00 would claim certainty."""
    if value >= 0.995:
        return ">0.99"
    return "<0.01" if value < 0.005 else f"{value:.2f}"


def evidence_words(code: str | None) -> str:
    """``PP3_very_strong`` as ``PP3, very strong (for pathogenic)``; nothing where there is none."""
    if not code:
        return ""
    rule, _, strength = code.partition("_")
    side = {"PP3": " (for pathogenic)", "BP4": " (for benign)"}.get(rule, "")
    return f"{rule}, {strength.replace('_', ' ')}{side}"


def attributes(values: Mapping[str, float] | None) -> str:
    """What readers would probably write, in the order of the model's outputs."""
    if not values:
        return UNKNOWN
    return ", ".join(f"{name} {value:.1f}" for name, value in values.items())


def date(text: str | None) -> str:
    """A DICOM date as ISO 8601; what is none stays as it is."""
    if not text:
        return UNKNOWN
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 and text.isdigit() else text


def count(n: int, singular: str, plural: str | None = None) -> str:
    """``1 lesion``, ``3 lesions``."""
    return f"{n:,} {singular if n == 1 else plural or singular + 's'}"


def listed(items: Sequence[Any]) -> str:
    """``1, 2 and 3``."""
    words = [str(item) for item in items]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def shortened(text: Any, limit: int = 120) -> str:
    """A text that fits a cell; a dash where there is none."""
    if text is None or text != text or text == "":
        return UNKNOWN
    words = str(text)
    return words if len(words) <= limit else f"{words[: limit - 1]}…"


def allele(bases: str) -> str:
    """An allele; a long one by its beginning and its length."""
    return bases if len(bases) <= 12 else f"{bases[:6]}… ({len(bases)} bases)"


def seconds(timings: Mapping[str, float]) -> str:
    """How long each stage took; empty where nothing was timed."""
    return ", ".join(f"{stage} {value:.1f} s" for stage, value in timings.items())
