"""Who is in which part: one rule for every imaging recipe."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

PARTS = ("train", "validation", "test")
SPLIT_PERCENT = {"test": 20, "validation": 12}  # the rest is training


def split_of(patient: str, salt: str = "lidc") -> str:
    """Which part of the split a patient belongs to: 'train', 'validation' or 'test'.

    The rule is a hash of the patient's id, so a patient can never stand in two parts, whatever
    else is in the file, and all that is known of a patient goes together.

    Parameters
    ----------
    patient : str
    salt : str
        The data set: patients of two data sets are divided independently.
    """
    percent = int(hashlib.sha256(f"{salt}:{patient}".encode()).hexdigest()[:8], 16) % 100
    if percent < SPLIT_PERCENT["test"]:
        return "test"
    if percent < SPLIT_PERCENT["test"] + SPLIT_PERCENT["validation"]:
        return "validation"
    return "train"


def split_patients(patients: Iterable[str], salt: str) -> dict[str, list[str]]:
    """Part -> the ids of its patients, sorted."""
    names: dict[str, list[str]] = {part: [] for part in PARTS}
    for patient in sorted(set(patients)):
        names[split_of(patient, salt)].append(patient)
    return names
