"""What the text header of an NRRD or MetaImage says, since ITK fills in what it leaves out.

Without a spacing ITK takes 1 mm, without an orientation the patient's axes; neither with a word.
Formats: teem.sourceforge.net/nrrd/format.html; MetaIO documentation, ITK wiki.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from napari_precimed.errors import ReadError

_LONGEST_HEADER = 1_000_000  # bytes; detached headers list one file per slice
_ANATOMICAL_SPACES = {
    "left-posterior-superior", "lps", "right-anterior-superior", "ras",
    "left-anterior-superior", "las",
}  # fmt: skip


def orientation_notes(path: Path) -> tuple[str, ...]:
    """What must be said about the place of the image in the patient.

    Raises
    ------
    ReadError
        If the header gives no spacing, or one that is not above 0.
    """
    if path.suffix.lower() in (".nrrd", ".nhdr"):
        fields = _fields(path, ":", last=None)
        vectors = re.findall(r"\(([^)]*)\)", fields.get("space directions", ""))
        spacing = [float(np.linalg.norm(_numbers(vector))) for vector in vectors]
        spacing = spacing or _numbers(fields.get("spacings", ""))
        known = fields.get("space", "").lower() in _ANATOMICAL_SPACES
        _refuse_other_units(fields.get("space units", ""), path)
    else:
        fields = _fields(path, "=", last="ElementDataFile")
        spacing = _numbers(fields.get("ElementSpacing") or fields.get("ElementSize", ""))
        known = bool({"TransformMatrix", "Orientation", "Rotation"} & fields.keys())
    if fields and not spacing:
        raise ReadError(
            f"{path} gives no spacing, so nothing in it can be measured; save it again with its "
            "spacing in mm."
        )
    if not (np.isfinite(spacing).all() and np.all(np.array(spacing) != 0)):
        raise ReadError(
            f"{path} has a spacing of {spacing} mm; all must be above 0. Export it again with its "
            "spacing."
        )
    if known or not fields:
        return ()
    return (
        "The file names no orientation in the patient: which side is left is not known, the axes "
        "are taken as left, posterior, superior.",
    )


def _refuse_other_units(units: str, path: Path) -> None:
    named = set(re.findall(r'"([^"]+)"', units))
    if named - {"mm", "millimeter", "millimeters"}:
        raise ReadError(
            f"{path} gives its lengths in {', '.join(sorted(named))}; save it again in mm."
        )


def _fields(path: Path, separator: str, last: str | None) -> dict[str, str]:
    """The lines "key separator value" up to the blank line, or to the key `last`."""
    with path.open("rb") as stream:
        text = stream.read(_LONGEST_HEADER).decode("latin-1")
    fields: dict[str, str] = {}
    for line in text.splitlines():
        if not line.strip() and last is None:
            break
        key, found, value = line.partition(separator)
        if found:
            fields[key.strip()] = value.strip()
        if last is not None and key.strip() == last:
            break
    return fields


def _numbers(text: str) -> list[float]:
    try:
        return [float(word) for word in text.replace(",", " ").split()]
    except ValueError:
        return [float("nan")]
