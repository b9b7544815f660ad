"""One case, one patient; and each lesion with the scan that it was found in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from napari_precimed.core.geometry import Geometry
from napari_precimed.core.lesion import LesionSet
from napari_precimed.core.measure import measure
from napari_precimed.core.patient import Case, Patient
from napari_precimed.core.volume import Source, Volume
from napari_precimed.errors import InputError, PatientMismatchError


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


@dataclass
class Variants:
    """As much of a variant report as a case looks at."""

    sample_id: str | None


def test_another_patients_scan_is_refused_even_if_mapped() -> None:
    with pytest.raises(InputError, match=r"'BOB'.*'ALICE'"):
        Case(Patient("ALICE")).attach_volume(nifti("ct", "BOB"), mapped=True)


def test_a_scan_without_a_name_joins_a_named_patient_only_if_mapped() -> None:
    case = Case.of(nifti("before", "ALICE"))
    with pytest.raises(InputError, match=r"names no patient.*'ALICE'"):
        case.attach_volume(nifti("after"))
    assert len(case.attach_volume(nifti("after"), mapped=True).volumes) == 2


def test_a_patient_named_by_the_user_needs_no_further_mapping() -> None:
    assert Case.of(nifti("ct"), "ALICE").patient.id == "ALICE"


def test_a_sample_linked_before_the_id_was_known_is_checked_again() -> None:
    case = Case.of(nifti("anonymous")).attach_variants(Variants("EVE"), mapped=True)
    assert case.sample_link.patient_id is None
    with pytest.raises(PatientMismatchError, match=r"'ALICE'.*'EVE'"):
        case.attach_volume(nifti("named", "ALICE"))
    link = case.attach_volume(nifti("named", "ALICE"), mapped=True).sample_link
    assert (link.sample_id, link.patient_id) == ("EVE", "ALICE")
    assert link.reason == "mapped by the user"


def test_an_id_that_becomes_known_may_confirm_the_link() -> None:
    case = Case.of(nifti("anonymous")).attach_variants(Variants("ALICE"), mapped=True)
    link = case.attach_volume(nifti("named", "ALICE")).sample_link
    assert (link.sample_id, link.patient_id, link.reason) == ("ALICE", "ALICE", "same id")
