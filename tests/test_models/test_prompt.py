"""Points on the phantom's nodules, and points that are wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_precimed.core.geometry import AxisOrder
from napari_precimed.core.volume import Source, Volume
from napari_precimed.errors import InputError
from napari_precimed.io.phantom import phantom_ct, phantom_mr, phantom_truth
from napari_precimed.models.prompt import prompt


@pytest.fixture(scope="module")
def chest() -> Volume:
    return phantom_ct()


def centre(volume: Volume, lesion: int) -> tuple[int, ...]:
    place = volume.geometry.world_to_index(phantom_truth("ct")[lesion].centre_mm)
    return tuple(round(v) for v in place)


@pytest.mark.slow
def test_a_click_outlines_the_nodule_and_a_second_one_in_it_adds_none(chest):
    first, second = centre(chest, 2), centre(chest, 1)
    found = prompt(chest, [first, (first[0], first[1] + 1, first[2]), second])
    assert set(found.confidence) == {1, 2}
    for label, lesion in ((1, 2), (2, 1)):
        volume_mm3 = (found.labels == label).sum() * chest.geometry.voxel_volume_mm3
        assert volume_mm3 == pytest.approx(phantom_truth("ct")[lesion].volume_mm3, rel=0.35)
    assert found.labels[first] == 1
    assert found.run.options["points"][2] == list(second)


def test_a_click_on_nothing_says_so(chest):
    found = prompt(chest, [(2, 3, 3)])
    assert found.labels.max() == 0
    assert "sees no lesion at the point 2,3,3" in found.run.warnings[0]


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([], "No point was given"),
        ([(0, 0, 10_000)], r"The point \(0, 0, 10000\) lies outside the scan"),
        ([(-1, 0, 0)], "lies outside the scan"),
    ],
)
def test_points_that_cannot_be_meant_are_refused(chest, points, words):
    with pytest.raises(InputError, match=words):
        prompt(chest, points)


def test_a_model_for_another_modality_is_refused():
    with pytest.raises(InputError, match="is for CT, this scan is MR"):
        prompt(phantom_mr(), [(1, 1, 1)])


def test_a_model_that_takes_no_points_is_refused():
    with pytest.raises(InputError, match="'brain-flair-lesion' takes no points"):
        prompt(phantom_mr(), [(1, 1, 1)], "brain-flair-lesion")


def test_a_stored_index_is_that_of_the_file(chest):
    order = AxisOrder((2, 0, 1), (True, False, True))
    stored = order.undo(chest.array)
    volume = replace(chest, source=Source("file.nrrd", "NRRD", order))
    for index in ((0, 0, 0), (3, 5, 7), tuple(n - 1 for n in stored.shape)):
        assert chest.array[volume.stored_to_canonical(index)] == stored[index]
    assert np.shape(stored) != chest.array.shape
