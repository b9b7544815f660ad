"""The toy patient, whole and in parts."""

from __future__ import annotations

import pytest
from toy_case import toy_case

from genomics.report import VariantReport
from napari_precimed.core.lesion import LesionSet
from napari_precimed.core.patient import Case
from napari_precimed.core.volume import Volume


@pytest.fixture
def case() -> Case:
    return toy_case()


@pytest.fixture
def volume(case: Case) -> Volume:
    return case.volumes[0]


@pytest.fixture
def lesions(case: Case) -> LesionSet:
    return case.lesion_sets[0]


@pytest.fixture
def variants(case: Case) -> VariantReport:
    return case.variants
