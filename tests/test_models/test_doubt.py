"""Doubt: entropy and agreement by hand, and where a network's answers differ."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_precimed.core.geometry import Geometry
from napari_precimed.core.lesion import LesionSet
from napari_precimed.core.measure import measure
from napari_precimed.core.volume import Volume
from napari_precimed.errors import CancelledError, GeometryError, InputError
from napari_precimed.models.agreement import agreement_of, outlines
from napari_precimed.models.doubt import doubt, entropy_bits
from napari_precimed.models.looks import dropped_out, mirrored
from napari_precimed.models.preprocess import MIRRORINGS


def test_entropy_is_that_of_the_mean_probability():
    stack = np.array([[0.0, 1.0, 0.0, 0.2], [0.0, 1.0, 1.0, 0.3]])
    expected = -0.25 * np.log2(0.25) - 0.75 * np.log2(0.75)
    assert entropy_bits(stack).tolist() == pytest.approx([0, 0, 1, expected])


def test_agreement_is_the_mean_dice_of_all_pairs():
    a, b, c = np.zeros((3, 10), bool)
    a[:4] = b[:4] = True
    c[2:8] = True  # Dice with either: 2 * 2 / (4 + 6)
    assert agreement_of([a, b]) == 1
    assert agreement_of([a, b, c]) == pytest.approx((1 + 0.4 + 0.4) / 3)
    empty = np.zeros(10, bool)
    assert agreement_of([a, empty]) == 0
    assert agreement_of([a, empty, empty]) == 0  # nothing seen twice is no agreement
    assert agreement_of([empty, empty]) is None
    assert agreement_of([a]) is None


def test_a_neighbour_does_not_count_as_the_lesions_outline():
    probability = np.zeros((1, 5, 20, 20))
    probability[0, 1:4, 2:6, 2:6] = 0.9
    probability[0, 1:4, 12:18, 12:18] = 0.9
    lesion = np.zeros((5, 20, 20), bool)
    lesion[2, 4, 4] = True
    (mask,) = outlines(probability, lesion, 0.5)
    assert mask.sum() == 3 * 4 * 4


def test_mirrorings_come_back_to_their_place():
    part = np.random.default_rng(0).random((3, 4, 5)).astype(np.float32)
    stack = mirrored(lambda box: box, part)
    assert len(MIRRORINGS) == len(set(MIRRORINGS)) == 8
    assert all(np.array_equal(each, part) for each in stack)
    lopsided = mirrored(lambda box: np.where(np.arange(5) < 2, box, 0), part)
    assert (lopsided[:, :, :, 2] == 0).all()
    assert (lopsided[:, :, :, 0] > 0).sum(0).max() == 4  # half of the mirrorings


def test_dropout_differs_where_it_acts_and_is_off_again_afterwards():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.BatchNorm3d(1)).eval()

    def predict(part):
        with torch.inference_mode():
            return network(torch.from_numpy(part)[None, None])[0, 0].numpy()

    part = np.zeros((2, 4, 4), np.float32)
    part[:, 1:3, 1:3] = 1
    stack = dropped_out(predict, network, part, passes=6)
    assert (stack.std(0)[part == 1] > 0).any()
    assert (stack.std(0)[part == 0] == 0).all()
    assert not any(module.training for module in network)
    with pytest.raises(InputError, match="no dropout; test it by mirroring"):
        dropped_out(predict, torch.nn.Sequential(torch.nn.Conv3d(1, 1, 1)), part)


@pytest.fixture(scope="module")
def two_lesions() -> tuple[Volume, LesionSet]:
    geometry = Geometry.from_parts((40, 120, 130), (1.5, 0.8, 0.8), (10.0, -20.0, 5.0))
    labels = np.zeros(geometry.shape, np.int32)
    labels[8:14, 20:30, 20:32] = 1
    labels[25:31, 80:92, 95:107] = 2
    volume = Volume(np.where(labels > 0, 40, -850).astype(np.int16), geometry, modality="CT")
    return volume, measure(labels, volume)


def sees_what_is_dense(part: np.ndarray) -> np.ndarray:
    """Sees all that is dense, and nothing else."""
    return np.where(part > -400, 0.98, 0.02).astype(np.float32)


def test_what_looks_the_same_from_all_sides_is_sure(two_lesions):
    volume, lesions = two_lesions
    found = doubt(volume, lesions, predict=sees_what_is_dense)
    assert found.agreement == {1: 1.0, 2: 1.0}
    inside, flat = entropy_bits(np.array([[0.98]]))[0], found.on_grid()
    assert flat.shape == volume.geometry.shape
    assert flat[10, 25, 25] == pytest.approx(inside)
    assert found.run.task == "doubt"
    assert found.run.model.startswith("lung-nodule ")


def test_doubt_lies_where_the_answers_differ(two_lesions):
    """A network that is blind to whatever has no tissue at a smaller x: the edge there wavers."""
    volume, lesions = two_lesions

    def loses_the_first_columns(part):
        dense = part > -400
        seen = dense & np.roll(dense, 3, axis=2)
        return np.where(seen, 0.99, 0.01).astype(np.float32)

    found = doubt(volume, lesions, predict=loses_the_first_columns)
    assert all(0.5 < each < 1 for each in found.agreement.values())
    whole = found.on_grid()
    (z0, z1), (y0, y1), (x0, x1) = lesions.lesion(2).bbox
    edges = np.r_[x0 : x0 + 3, x1 - 3 : x1]
    assert (whole[z0:z1, y0:y1, edges] > 0.9).all()
    assert (whole[z0:z1, y0:y1, x0 + 3 : x1 - 3] < 0.1).all()
    box, start = found.cropped()
    place = tuple(slice(s, s + n) for s, n in zip(start, box.shape, strict=True))
    assert np.array_equal(whole[place], box)
    assert box.sum() == pytest.approx(whole.sum(), rel=1e-5)


def test_only_the_surroundings_of_lesions_are_computed(two_lesions):
    volume, lesions = two_lesions
    seen: list[tuple[int, ...]] = []

    def watching(part):
        seen.append(part.shape)
        return np.zeros(part.shape, np.float32)

    found = doubt(volume, lesions, predict=watching)
    assert len(seen) == 2 * 8
    assert max(int(np.prod(shape)) for shape in seen) < volume.array.size / 2
    assert found.agreement == {1: None, 2: None}


def test_wrong_requests_and_cancelling(two_lesions):
    volume, lesions = two_lesions
    with pytest.raises(InputError, match="no way 'noise' of testing; choose one of mirror"):
        doubt(volume, lesions, ways="noise", predict=sees_what_is_dense)
    with pytest.raises(InputError, match="is a classification model"):
        doubt(volume, lesions, "lung-nodule-malignancy")
    moved = replace(volume, geometry=volume.geometry.cropped((1, 0, 0), volume.geometry.shape))
    with pytest.raises(GeometryError, match="not on the grid"):
        doubt(moved, lesions, predict=sees_what_is_dense)
    told: list[int] = []
    with pytest.raises(CancelledError):
        doubt(
            volume, lesions, predict=sees_what_is_dense,
            progress=lambda _stage, done, _total: told.append(done),
            cancelled=lambda: bool(told),
        )  # fmt: skip
    assert told == [0]


@pytest.mark.slow
def test_the_shipped_network_is_run_on_a_box(two_lesions):
    volume, lesions = two_lesions
    one = lesions.with_lesions(lesions.lesions[:1])
    found = doubt(volume, one)
    box = found.lesions[0]
    for start, size, (low, high) in zip(box.start, box.map.shape, one.lesions[0].bbox, strict=True):
        assert start <= low < high <= start + size  # what the finder sees around the lesion
    assert found.lesions[0].map.min() >= 0
    assert found.lesions[0].map.max() <= 1
