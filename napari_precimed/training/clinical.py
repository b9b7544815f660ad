"""What `clinical.csv` of the gliomas says, decoded, and the subgroups made of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_precimed.training.lgg import Glioma

# The codes number the categories of TCGA in the order of the alphabet.
_GRADE = {1: "grade II", 2: "grade III"}
_GENDER = {1: "female", 2: "male"}
_RACE = {2: "Black or African American", 3: "White"}


def age_of(case: Glioma) -> float | None:
    """Age at the first diagnosis, years."""
    return case.clinical.get("age_at_initial_pathologic")


def grade_of(case: Glioma) -> str | None:
    """ "grade II" or "grade III", of the WHO classification of TCGA's time."""
    return _decoded(case, "neoplasm_histologic_grade", _GRADE)


def patient_groups(cases: Sequence[Glioma]) -> dict[str, NDArray[np.bool_]]:
    """Cases by gender, age, race and grade; who has no entry is in no group of that kind."""
    age = np.array([np.nan if age_of(case) is None else age_of(case) for case in cases], float)
    groups = {
        description: np.array([_decoded(case, column, names) == description for case in cases])
        for column, names in (
            ("gender", _GENDER),
            ("race", _RACE),
            ("neoplasm_histologic_grade", _GRADE),
        )
        for description in names.values()
    }
    return groups | {"age < 45 years": age < 45, "age ≥ 45 years": age >= 45}


def _decoded(case: Glioma, column: str, names: dict[int, str]) -> str | None:
    code = case.clinical.get(column)
    return None if code is None else names.get(int(code))
