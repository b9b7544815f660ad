"""Lungs, lesions and classes on the phantom, whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_precimed.core.geometry import Geometry
from napari_precimed.core.measure import measure
from napari_precimed.core.volume import Volume
from napari_precimed.errors import GeometryError, InputError
from napari_precimed.io.phantom import phantom_ct, phantom_mr, phantom_truth
from napari_precimed.models.catalogue import find
from napari_precimed.models.classify import attributes_of, classify
from napari_precimed.models.labelling import label_lesions
from napari_precimed.models.lungs import lung_mask
from napari_precimed.models.segment import segment


@pytest.fixture(scope="module")
def chest() -> Volume:
    return phantom_ct()


@pytest.fixture(scope="module")
def chest_part(chest: Volume) -> Volume:
    """The slices around the largest nodule: quick to search."""
    middle = chest.geometry.world_to_index(phantom_truth("ct")[2].centre_mm)
    low = [round(middle[0]) - 14, 40, 60]
    shape = (28, 240, 240)
    box = tuple(slice(a, a + n) for a, n in zip(low, shape, strict=True))
    array = chest.array[box]
    return replace(chest, array=array, geometry=chest.geometry.cropped(low, array.shape))


def test_the_lungs_hold_every_nodule_and_not_the_body(chest):
    lungs = lung_mask(chest.array, chest.geometry.spacing_mm)
    for lesion in phantom_truth("ct"):
        assert lungs[tuple(np.rint(chest.geometry.world_to_index(lesion.centre_mm)).astype(int))]
    assert lungs[chest.array < -700].sum() > 0.25 * lungs.sum()
    assert 0.02 < lungs.mean() < 0.35
    assert not lungs[:, :5].any()  # the room around the patient


def test_a_lung_cut_by_a_narrow_field_of_view_is_still_a_lung(chest):
    middle = chest.array.shape[2] // 2
    cut = chest.array[:, 130:200, 40:middle]
    assert lung_mask(cut, chest.geometry.spacing_mm).mean() > 0.3


def test_a_scan_without_lungs_has_none():
    assert not lung_mask(np.full((20, 64, 64), 40, np.int16), (3, 1, 1)).any()
    assert not lung_mask(np.full((20, 64, 64), -1000, np.int16), (3, 1, 1)).any()


def test_lesions_are_numbered_by_suspicion_and_small_or_doubtful_ones_left_out():
    probability = np.zeros((10, 20, 20), np.float32)
    probability[2:4, 2:4, 2:4] = 0.9
    probability[5:9, 5:9, 5:9] = 0.8
    probability[1, 15, 15] = 0.99
    probability[8, 15:18, 15:18] = 0.6
    labels, confidence = label_lesions(
        probability, None, 1.0, threshold=0.5, least_confidence=0.7, least_mm3=2.0
    )
    assert labels.max() == 2
    assert labels[6, 6, 6] == 1
    assert labels[2, 2, 2] == 2
    assert confidence == {1: pytest.approx(0.8), 2: pytest.approx(0.9)}


def test_only_lesions_that_meet_the_region_count():
    probability = np.zeros((4, 20, 20), np.float32)
    probability[:, 2:5, 2:5] = probability[:, 12:15, 12:15] = 0.9
    region = np.zeros(probability.shape, bool)
    region[0, 2, 2] = True
    labels, _ = label_lesions(
        probability, region, 1.0, threshold=0.5, least_confidence=0.5, least_mm3=0
    )
    assert labels[3, 4, 4] == 1
    assert labels[2, 13, 13] == 0


@pytest.mark.slow
def test_the_shipped_models_outline_and_class_the_phantoms_nodule(chest_part):
    found = segment(chest_part)
    truth = phantom_truth("ct")[2]
    label = found.labels[
        tuple(np.rint(chest_part.geometry.world_to_index(truth.centre_mm)).astype(int))
    ]
    assert label > 0
    lesions = measure(found.labels, chest_part, confidence=found.confidence, runs=(found.run,))
    lesion = lesions.lesion(int(label))
    assert lesion.volume_mm3 == pytest.approx(truth.volume_mm3, rel=0.3)
    assert np.linalg.norm(np.subtract(lesion.centroid_mm, truth.centre_mm)) < 2
    classified = classify(chest_part, lesions)
    for each in classified:
        if each.probabilities is None:
            assert f"lesion {each.label} (" in classified.runs[2].warnings[-1]  # it abstained
        else:
            assert sum(each.probabilities.values()) == pytest.approx(1)
        assert all(1 <= value <= 6 for value in each.attributes.values())
    assert [run.task for run in classified.runs] == ["segment", "measure", "classify"]
    assert classified.runs[0].weights_sha256 != classified.runs[2].weights_sha256


def test_attributes_lie_on_the_readers_own_scale():
    entry = find("lung-nodule-malignancy")
    logits = np.array([9.0, -30.0, 30.0, 0.0, 0.0, np.log(3), 0.0])
    found = attributes_of(entry, logits)
    assert list(found) == [
        "subtlety", "calcification", "margin", "lobulation", "spiculation", "texture"
    ]  # fmt: skip
    assert found["subtlety"] == pytest.approx(1)
    assert found["calcification"] == pytest.approx(6)
    assert found["margin"] == pytest.approx(3)
    assert found["spiculation"] == pytest.approx(1 + 4 * 0.75)


def test_a_model_without_such_outputs_says_nothing_of_attributes():
    entry = find("lung-nodule-malignancy")
    bare = replace(entry, settings={k: v for k, v in entry.settings.items() if k != "attributes"})
    assert attributes_of(bare, np.zeros(7)) is None


def test_a_ct_model_refuses_an_mr():
    with pytest.raises(InputError, match="'lung-nodule' is for CT, this scan is MR"):
        segment(phantom_mr())


def test_a_ct_without_lungs_has_no_lesions_and_says_why():
    geometry = Geometry.from_parts((20, 100, 100), (2, 1, 1))
    rng = np.random.default_rng(0)
    head = Volume(rng.normal(40, 20, geometry.shape).astype(np.int16), geometry, modality="CT")
    found = segment(head)
    assert found.labels.max() == 0
    assert "No lungs were found" in found.run.warnings[0]


def test_a_scan_of_unknown_kind_without_lungs_is_refused():
    """A brain MR from NIfTI names no modality; it must not come back full of lung nodules."""
    brain = replace(phantom_mr(), modality=None)
    with pytest.raises(InputError, match=r"No lungs were found.*needs a chest CT in Hounsfield"):
        segment(brain)


def test_a_model_of_the_other_task_is_refused(chest_part):
    with pytest.raises(InputError, match="'lung-nodule-malignancy' is a classification model"):
        segment(chest_part, "lung-nodule-malignancy")
    lesions = measure(np.zeros(chest_part.array.shape, np.int32), chest_part)
    with pytest.raises(InputError, match="'lung-nodule' is a segmentation model"):
        classify(chest_part, lesions, "lung-nodule")


def test_lesions_of_another_grid_are_not_classified(chest_part):
    moved = replace(
        chest_part,
        geometry=chest_part.geometry.cropped((0, 0, 1), chest_part.geometry.shape),
    )
    labels = np.zeros(chest_part.array.shape, np.int32)
    labels[5:8, 20:30, 20:30] = 1
    with pytest.raises(GeometryError, match="not on the grid of the scan"):
        classify(moved, measure(labels, chest_part))
