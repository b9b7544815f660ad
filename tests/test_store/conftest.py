"""A store in a file of its own, and a patient whose scan is a real file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import SimpleITK
from toy_case import ct_volume, lesions_in, nine_variants

from napari_precimed.core.lesion import LesionSet
from napari_precimed.core.patient import Case, Patient
from napari_precimed.io import read_volume
from napari_precimed.store import CaseStore


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{(tmp_path / 'store' / 'cases.sqlite').as_posix()}?timeout=0.2"


@pytest.fixture
def store(url: str):
    opened = CaseStore(url)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def chest(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, LesionSet]:
    """The toy chest as the bytes of a NIfTI file, and its lesions."""
    volume = ct_volume()
    lesions = lesions_in(volume)
    image = SimpleITK.GetImageFromArray(volume.array)
    image.SetSpacing(volume.geometry.spacing_mm[::-1])
    image.SetOrigin(volume.geometry.origin_mm)
    path = tmp_path_factory.mktemp("chest") / "chest.nii"
    SimpleITK.WriteImage(image, str(path))
    return path.read_bytes(), lesions


@pytest.fixture
def scan(tmp_path: Path, chest: tuple[bytes, LesionSet]) -> Path:
    path = tmp_path / "chest.nii"
    path.write_bytes(chest[0])
    return path


@pytest.fixture
def case(scan: Path, chest: tuple[bytes, LesionSet]) -> Case:
    volume = read_volume(scan)
    lesions = replace(
        chest[1], geometry=volume.geometry, series_uid=None, source_path=volume.source.path
    )
    held = Case(Patient("P-01", "Ødegård 山田", "F", "19610204"), notes={"reader": "AB"})
    held = held.attach_volume(volume, mapped=True).attach_lesions(lesions)
    return held.attach_variants(nine_variants())
