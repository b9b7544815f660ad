"""What was saved comes back; what cannot be trusted is said, not shown."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from napari_precimed.core.lesion import LesionSet
from napari_precimed.core.patient import Case, Patient
from napari_precimed.errors import StoreError
from napari_precimed.io import read_volume
from napari_precimed.store import CaseStore


def _database(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///").partition("?")[0])


def test_a_saved_case_comes_back_whole_in_a_new_store(store, url: str, case: Case) -> None:
    store.save(case)
    store.close()
    back = CaseStore(url).load(case.id)
    assert (back.id, back.patient, back.sample_link) == (case.id, case.patient, case.sample_link)
    assert dict(back.notes) == {"reader": "AB"}
    assert np.array_equal(back.volumes[0].array, case.volumes[0].array)
    assert back.volumes[0].geometry.matches(case.volumes[0].geometry)
    mine, theirs = case.lesion_sets[0], back.lesion_sets[0]
    assert theirs.lesions == mine.lesions
    assert [run.to_dict() for run in theirs.runs] == [run.to_dict() for run in mine.runs]
    assert np.array_equal(theirs.labels, mine.labels)
    assert theirs.labels.dtype == mine.labels.dtype
    assert back.lesions_of(back.volumes[0]) is theirs
    assert back.variants == case.variants


@pytest.mark.parametrize("value", [0, 1, 255, 256, 70_000, -5])
def test_labels_of_any_size_come_back(store, case: Case, value: int) -> None:
    labels = np.zeros(case.volumes[0].geometry.shape, np.int32)
    labels[3:5, 118:, 0] = value
    lesions = replace(case.lesion_sets[0], labels=labels)
    store.save(case.attach_lesions(lesions))
    assert np.array_equal(store.load(case.id).lesion_sets[0].labels, labels)


def test_unknown_stays_unknown(store, case: Case) -> None:
    bare = [
        replace(lesion, long_axis_mm=None, long_axis_ends_mm=None, mean_intensity=None)
        for lesion in case.lesion_sets[0]
    ]
    lesions = case.lesion_sets[0].with_lesions(bare)
    store.save(replace(case.attach_lesions(lesions), patient=Patient(None), sample_link=None))
    back = store.load(case.id)
    assert back.patient == Patient(None)
    assert back.lesion_sets[0].lesions == tuple(bare)


def test_numbers_of_numpy_are_numbers_in_the_database(store, url: str, case: Case) -> None:
    first = replace(
        case.lesion_sets[0].lesions[0],
        label=np.int64(1),
        volume_mm3=np.float32(2.5),
        probabilities={"malignant": np.float32(0.5)},
        touches_border=np.bool_(True),
    )
    store.save(case.attach_lesions(case.lesion_sets[0].with_lesions([first])))
    with sqlite3.connect(_database(url)) as connection:
        found = connection.execute(
            "select typeof(label), typeof(volume_mm3), touches_border from precimed_lesion"
        ).fetchall()
    assert found == [("integer", "real", 1)]
    assert store.load(case.id).lesion_sets[0].lesions[0].probabilities == {"malignant": 0.5}


def test_saving_again_replaces_every_row(store, url: str, case: Case) -> None:
    store.save(case)
    fewer = case.lesion_sets[0].with_lesions(case.lesion_sets[0].lesions[:1])
    store.save(replace(case.attach_lesions(fewer), variants=None, sample_link=None))
    (summary,) = store.summaries()
    assert (summary.n_volumes, summary.n_lesions, summary.n_variants) == (1, 1, 0)
    with sqlite3.connect(_database(url)) as connection:
        for table, rows in (("precimed_lesion", 1), ("precimed_variant", 0)):
            assert connection.execute(f"select count(*) from {table}").fetchone() == (rows,)


def test_summaries_are_newest_first(store, case: Case) -> None:
    other = Case(Patient("P-02"))
    store.save(case)
    store.save(other)
    assert [each.patient_id for each in store.summaries()] == ["P-02", "P-01"]
    store.save(case)
    newest = store.summaries()[0]
    assert (newest.id, newest.sample_id, newest.n_lesions, newest.n_variants) == (
        case.id,
        "P-01",
        3,
        len(case.variants.scored),
    )
    assert newest.saved_at.utcoffset().total_seconds() == 0


def test_lesions_and_variants_can_be_searched(store, url: str, case: Case) -> None:
    store.save(case)
    with sqlite3.connect(_database(url)) as connection:
        large = connection.execute("select label from precimed_lesion where long_axis_mm > 10")
        assert large.fetchall() == [(1,)]
        high = connection.execute("select gene from precimed_variant where score >= 0.6")
        assert sorted(high.fetchall()) == [("GENE6",), ("GENE7",)]


def test_delete_forgets_everything_and_only_that_case(store, url: str, case: Case) -> None:
    store.save(case)
    store.save(replace(case, id="other"))
    store.delete(case.id)
    assert [each.id for each in store.summaries()] == ["other"]
    with sqlite3.connect(_database(url)) as connection:
        assert connection.execute("select count(*) from precimed_lesion").fetchone() == (3,)
    with pytest.raises(StoreError, match=case.id):
        store.delete(case.id)


def test_an_unknown_case_is_named(store) -> None:
    with pytest.raises(StoreError, match="no case 'nobody'"):
        store.load("nobody")


def test_a_case_is_not_overwritten_with_another_patient(store, case: Case) -> None:
    store.save(case)
    with pytest.raises(StoreError, match=r"P-01.*P-02"):
        store.save(replace(case, patient=Patient("P-02")))
    assert store.load(case.id).patient.id == "P-01"


def test_two_patients_do_not_mix(store, case: Case) -> None:
    store.save(case)
    store.save(Case(Patient("P-02")))
    (other,) = (each.id for each in store.summaries() if each.patient_id == "P-02")
    assert store.load(other).lesion_sets == ()
    assert store.load(other).variants is None


def test_lesions_stay_with_their_scan_among_several_on_one_grid(store, case: Case, scan) -> None:
    other = scan.with_name("second.nii")
    other.write_bytes(scan.read_bytes())
    both = replace(case, volumes=(read_volume(other), *case.volumes))
    store.save(both)
    second, first = store.load(case.id).volumes
    assert store.load(case.id).lesions_of(second) is None
    assert len(store.load(case.id).lesions_of(first)) == 3


def test_a_scan_that_is_gone_is_missed_aloud_and_not_forgotten(store, case: Case, scan) -> None:
    store.save(case)
    kept = scan.read_bytes()
    scan.unlink()
    back = store.load(case.id)
    assert back.volumes == ()
    assert back.lesion_sets[0].lesions == case.lesion_sets[0].lesions
    assert back.variants == case.variants
    assert [str(scan) in warning for warning in back.notes["warnings"]] == [True]

    store.save(back)
    assert [str(scan) in warning for warning in store.load(case.id).notes["warnings"]] == [True]
    scan.write_bytes(kept)
    again = store.load(case.id)
    assert len(again.volumes) == 1
    assert dict(again.notes) == {"reader": "AB"}


def test_a_scan_on_another_grid_is_not_shown(store, case: Case, scan: Path) -> None:
    store.save(case)
    image = SimpleITK.ReadImage(str(scan))
    image.SetSpacing((0.8, 0.8, 2.0))
    SimpleITK.WriteImage(image, str(scan))
    back = store.load(case.id)
    assert back.volumes == ()
    assert "spacing" in back.notes["warnings"][0]
    assert str(scan) in back.notes["warnings"][0]


def test_a_scan_with_other_voxels_is_shown_with_a_warning(store, case: Case, scan: Path) -> None:
    store.save(case)
    image = SimpleITK.ReadImage(str(scan))
    image[75, 60, 12] = 1234
    SimpleITK.WriteImage(image, str(scan))
    back = store.load(case.id)
    assert len(back.volumes) == 1
    assert "voxels" in back.notes["warnings"][0]
    store.save(back)
    assert back.notes["warnings"] == store.load(case.id).notes["warnings"]


def test_a_volume_without_a_file_says_so(store, case: Case) -> None:
    drawn = replace(case, volumes=(replace(case.volumes[0], source=None),))
    store.save(drawn)
    assert "never in a file" in store.load(case.id).notes["warnings"][0]


def test_an_empty_lesion_set_comes_back(store, case: Case) -> None:
    geometry = case.volumes[0].geometry
    empty = LesionSet(np.zeros(geometry.shape, np.uint8), geometry)
    store.save(replace(case, lesion_sets=(empty,)))
    (back,) = store.load(case.id).lesion_sets
    assert not back.labels.any()
    assert back.labels.shape == geometry.shape
