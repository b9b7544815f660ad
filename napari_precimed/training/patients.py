"""What a table says of the patients: ``patients.csv``, or the ``clinical.csv`` of the LGG data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_precimed.errors import DatasetError

_FILES = ("patients.csv", "clinical.csv")
_ALSO = {
    "patient": ("patient", "patient_id"),
    "case": ("case", "scan", "image"),
    "age": ("age", "age_at_initial_pathologic"),
    "gender": ("gender", "sex"),
    "race": ("race", "ethnic_group"),
}
_AGES = ((0, 40), (40, 60), (60, 200))
_GIVEN = ("gender", "race")


@dataclass(frozen=True)
class PatientTable:
    """Facts of patients, for subgroups.

    Attributes
    ----------
    of_case : mapping of str to str
        Case -> patient.
    facts : mapping of str to mapping
        "age", "gender", "race" -> patient -> value, None where unknown.
    """

    of_case: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Mapping[str, str | float | None]] = field(default_factory=dict)

    def patient_of_case(self, case: str) -> str | None:
        """Whose a scan is, if the table says."""
        return self.of_case.get(case)

    def groups(self, patients: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
        """Subgroup -> which of `patients`, one after another, belong to it.

        By age in three bands, by gender and by race, as far as the table has them; those of whom
        it says nothing form a group "unknown".
        """
        found: dict[str, NDArray[np.bool_]] = {}
        ages = self.facts.get("age")
        if ages:
            years = np.array([_number(ages.get(p)) for p in patients], float)
            for low, high in _AGES:
                name = f"age ≥ {low}" if high == 200 else f"age {low} to {high - 1}"
                found[name] = (years >= low) & (years < high)
            found["age unknown"] = np.isnan(years)
        for fact in _GIVEN:
            if fact in self.facts:
                values = [_word(self.facts[fact].get(p)) for p in patients]
                for value in sorted(set(values)):
                    found[f"{fact} {value}"] = np.array([v == value for v in values])
        return {name: chosen for name, chosen in found.items() if chosen.any()}


def read_patients(folder: Path) -> PatientTable:
    """The table in a folder; an empty one where there is no file.

    Raises
    ------
    DatasetError
        If the file cannot be read or has no column of patients.
    """
    file = next((folder / name for name in _FILES if (folder / name).is_file()), None)
    if file is None:
        return PatientTable()
    try:
        table = pd.read_csv(file, dtype=str)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{file} is not a readable table: {error}") from error
    columns = {c.strip().lower(): c for c in table.columns}
    of = {
        fact: next((columns[name] for name in names if name in columns), None)
        for fact, names in _ALSO.items()
    }
    if of["patient"] is None:
        raise DatasetError(f"{file} has no column 'patient'; it has {', '.join(table.columns)}.")
    patients = [str(p).strip() for p in table[of["patient"]]]
    cases = {} if of["case"] is None else dict(zip(table[of["case"]], patients, strict=True))
    facts = {
        fact: dict(zip(patients, (_value(v) for v in table[of[fact]]), strict=True))
        for fact in ("age", *_GIVEN)
        if of[fact] is not None
    }
    return PatientTable({str(case).strip(): p for case, p in cases.items()}, facts)


def _value(text: object) -> str | None:
    word = "" if text is None or text != text else str(text).strip()
    return word or None


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return float("nan")


def _word(value: object) -> str:
    """A code that a table holds as 2.0 is the code 2."""
    return "unknown" if value is None else str(value).removesuffix(".0")
