"""One case, one patient; and each lesion with the scan that it was found in."""

from __future__ import annotations

import numpy as np

from napari_precimed.core.geometry import Geometry
from napari_precimed.core.lesion import LesionSet
from napari_precimed.core.measure import measure
from napari_precimed.core.patient import Case, Patient
from napari_precimed.core.volume import Source, Volume


def nifti(name: str, patient_id: str | None = None) -> Volume:
    """A small scan on the grid that all of them share; like every NIfTI it has no series UID."""
    grid = Geometry.from_parts((6, 8, 8), (2.0, 1.0, 1.0))
    source = Source(f"/scans/{name}.nii.gz", "NIfTI")
    return Volume(np.zeros(grid.shape, np.int16), grid, patient_id=patient_id, source=source)


def lesions_in(volume: Volume, label: int = 1) -> LesionSet:
    """One lesion of eight voxels."""
    labels = np.zeros(volume.geometry.shape, np.int32)
    labels[2:4, 3:5, 3:5] = label
    return measure(labels, volume)


def test_lesions_belong_to_their_scan_not_to_every_scan_on_its_grid() -> None:
    flair, t1 = nifti("flair"), nifti("t1")
    case = Case().attach_volume(flair).attach_volume(t1).attach_lesions(lesions_in(t1))
    assert case.lesions_of(flair) is None
    case = case.attach_lesions(lesions_in(flair, label=2))
    assert [each.label for each in case.lesions_of(t1)] == [1]
    assert [each.label for each in case.lesions_of(flair)] == [2]


def test_new_lesions_take_the_place_of_earlier_ones_in_the_same_scan() -> None:
    flair = nifti("flair")
    case = Case().attach_volume(flair).attach_lesions(lesions_in(flair))
    case = case.attach_lesions(lesions_in(nifti("flair"), label=3))
    (only,) = case.lesion_sets
    assert [each.label for each in only] == [3]


def test_voxels_from_no_file_keep_their_lesions() -> None:
    grid = Geometry.from_parts((6, 8, 8))
    drawn = Volume(np.zeros(grid.shape, np.int16), grid)
    case = Case(Patient()).attach_volume(drawn).attach_lesions(lesions_in(drawn))
    assert len(case.lesions_of(drawn)) == 1
