"""Scans that a stored case refers to: read again from their files, or missed aloud.

The database keeps where a scan is, not its voxels. A scan that cannot be read again stays on record
in the case's notes, so that saving the case does not forget it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_precimed.core.geometry import Geometry
from napari_precimed.core.patient import Case, Patient
from napari_precimed.core.volume import Volume
from napari_precimed.errors import PrecimedError
from napari_precimed.io import read_volume
from napari_precimed.store.rows import volume_values, voxels_sha256

WARNINGS = "warnings"
UNREAD = "unread_scans"
"""Keys of a case's notes: what the reader must know, and scans that were not read again."""


@dataclass(frozen=True)
class Reopened:
    """A scan on record: read again, or the reason why not.

    Attributes
    ----------
    reference : mapping
        What the database keeps of it.
    volume : Volume or None
    warning : str or None
    """

    reference: Mapping[str, Any]
    volume: Volume | None
    warning: str | None = None


def references(case: Case) -> list[dict[str, Any]]:
    """What to keep of a case's scans, those that were not read again among them."""
    held = [volume_values(volume) for volume in case.volumes]
    keys = {_key(reference) for reference in held}
    missing = [each["reference"] for each in case.notes.get(UNREAD, ())]
    return held + [dict(each) for each in missing if _key(each) not in keys]


def lasting_notes(case: Case) -> dict[str, Any]:
    """The notes without what `notes_with` adds at each load."""
    passing = {each["warning"] for each in case.notes.get(UNREAD, ())}
    notes = {key: value for key, value in case.notes.items() if key not in (UNREAD, WARNINGS)}
    warnings = [each for each in case.notes.get(WARNINGS, ()) if each not in passing]
    return {**notes, WARNINGS: warnings} if warnings else notes


def notes_with(notes: Mapping[str, Any], scans: list[Reopened]) -> dict[str, Any]:
    """The stored notes, with a warning for each scan that is missing or has changed."""
    found = dict(notes)
    warnings = [each.warning for each in scans if each.warning]
    unread = [
        {"reference": dict(each.reference), "warning": each.warning}
        for each in scans
        if each.volume is None
    ]
    if warnings:
        found[WARNINGS] = [*found.get(WARNINGS, ()), *warnings]
    if unread:
        found[UNREAD] = unread
    return found


def reopen(reference: Mapping[str, Any], patient: Patient) -> Reopened:
    """Read a scan again from its file and check that it is still the one that was saved."""
    path, uid = reference["path"], reference["series_uid"]
    if path is None:
        return Reopened(
            reference, None, "A scan of this case was never in a file, so it is not shown."
        )
    try:
        is_dicom = (reference["format"] or "").startswith("DICOM")
        volume = read_volume(path, series=uid if is_dicom else None)
    except PrecimedError as error:
        return Reopened(
            reference,
            None,
            f"The scan '{path}' of this case cannot be read, so it is not shown: {error}",
        )
    why = _unlike(volume, reference, patient)
    if why:
        warning = f"The file '{path}' is no longer the scan of this case, so it is not shown: {why}"
        return Reopened(reference, None, warning)
    if voxels_sha256(volume.array) != reference["voxels_sha256"]:
        return Reopened(
            reference,
            volume,
            f"The voxels of '{path}' have changed since this case was saved; its lesions were "
            "measured on the earlier ones. Analyse it again.",
        )
    return Reopened(reference, volume)


def _unlike(volume: Volume, reference: Mapping[str, Any], patient: Patient) -> str | None:
    """What makes the volume another one than was saved, in words; None if it is the same."""
    if volume.patient_id and patient.id and volume.patient_id != patient.id:
        return f"it is of patient '{volume.patient_id}', this case is of '{patient.id}'."
    if volume.series_uid != reference["series_uid"]:
        return f"its series is {volume.series_uid}, the saved one {reference['series_uid']}."
    z, y, x = reference["shape_zyx"]
    difference = Geometry((z, y, x), np.array(reference["affine"])).difference(volume.geometry)
    return f"it has {difference}." if difference else None


def _key(reference: Mapping[str, Any]) -> tuple[Any, ...]:
    return reference["path"], reference["series_uid"]
