"""Outlining from a point, on images and networks whose answer is plain."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_precimed.errors import CancelledError
from napari_precimed.models.inference import choose_engine
from napari_precimed.models.labelling import CandidateRules, outline_candidates
from napari_precimed.models.outline import Outlines
from napari_precimed.models.tile import PATCH, mirrored, point_map


class Bright(torch.nn.Module):
    """Marks what is five spreads brighter than its slice; an outliner only what is pointed at."""

    def __init__(self, near_point: bool = False) -> None:
        super().__init__()
        self.near_point = near_point

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits = 4 * (image[:, :1] - 5)
        if not self.near_point:
            return logits
        pointed = (image[:, 1:] * (image[:, :1] > 5)).amax((2, 3, 4), keepdim=True) > 0.5
        return torch.where(pointed, logits, torch.full_like(logits, -8.0))


def two_balls(shape=(30, 120, 140)):
    """Balls of radius 5 at (10, 40, 50) and of radius 3 at (20, 90, 8), in noise."""
    z, y, x = np.mgrid[: shape[0], : shape[1], : shape[2]]
    image = np.random.default_rng(0).normal(0, 10, shape).astype(np.float32)
    first = (z - 10) ** 2 + (y - 40) ** 2 + (x - 50) ** 2 <= 25
    second = (z - 20) ** 2 + (y - 90) ** 2 + (x - 8) ** 2 <= 9
    image[first | second] += 400
    return image, first, second


@pytest.fixture
def outlines() -> Outlines:
    return Outlines(Bright(), Bright(near_point=True), choose_engine("cpu"))


def drawn(outlines: Outlines, image, point):
    mask = np.zeros(image.shape, bool)
    outlines.around(image, point).draw(mask, True)
    return mask


@pytest.mark.parametrize("point", [(10, 40, 50), (8, 38, 51), (13, 41, 49)])
def test_any_point_inside_a_ball_gives_that_ball_alone(outlines, point):
    image, first, _ = two_balls()
    assert (drawn(outlines, image, point) == first).all()


def test_a_point_near_the_edge_of_the_scan_gives_its_ball(outlines):
    image, _, second = two_balls()
    assert (drawn(outlines, image, (20, 90, 8)) == second).all()


def test_a_point_just_beside_a_ball_means_it_and_one_far_off_means_nothing(outlines):
    image, first, _ = two_balls()
    assert (drawn(outlines, image, (10, 40, 57)) == first).all()
    far = outlines.around(image, (10, 80, 100))
    assert not far.mask.any()
    assert far.peak == 0


def test_a_lesion_longer_than_the_tile_is_outlined_to_its_ends(outlines):
    image, *_ = two_balls((60, 120, 140))
    rod = np.zeros(image.shape, bool)
    rod[5:50, 58:66, 68:76] = True
    image[rod] += 400
    assert (drawn(outlines, image, (30, 61, 71)) == rod).all()


def test_a_scan_of_few_slices_is_outlined(outlines):
    image, first, _ = two_balls()
    assert (drawn(outlines, image[8:12], (2, 40, 50)) == first[8:12]).all()


def test_the_spot_stands_where_the_point_is():
    spot = point_map(PATCH, (3, 20, 30))
    assert spot.shape == PATCH
    assert np.unravel_index(spot.argmax(), PATCH) == (3, 20, 30)
    assert spot.max() == 1


def test_indices_past_an_end_are_counted_back():
    assert mirrored(np.arange(-3, 7), 4).tolist() == [2, 1, 0, 0, 1, 2, 3, 3, 2, 1]
    assert mirrored(np.arange(-9, -5), 2).tolist() == [0, 0, 1, 1]


def test_candidates_are_outlined_and_those_that_are_denied_on_a_second_look_are_dropped(outlines):
    image, first, second = two_balls()
    probability = np.where(first | second, 0.9, 0.0).astype(np.float32)
    probability[25, 20:23, 100:103] = 0.9  # nothing is there
    labels, confidence = outline_candidates(
        image, probability, None, outlines, 1.0, CandidateRules()
    )
    assert ((labels == 1) == first).all()
    assert ((labels == 2) == second).all()
    assert labels.max() == 2
    assert all(0.5 < value <= 1 for value in confidence.values())
    small, _ = outline_candidates(
        image, probability, None, outlines, 1.0, CandidateRules(least_mm3=200.0)
    )
    assert set(np.unique(small)) == {0, 1}


def test_two_candidates_in_one_lesion_give_one_lesion(outlines):
    image, first, _ = two_balls()
    probability = np.zeros(image.shape, np.float32)
    probability[7:9, 39:42, 49:52] = probability[12:14, 39:42, 49:52] = 0.9
    labels, confidence = outline_candidates(
        image, probability, None, outlines, 1.0, CandidateRules()
    )
    assert list(confidence) == [1]
    assert ((labels == 1) == first).all()


def test_outlining_can_be_cancelled(outlines):
    image, first, _ = two_balls()
    with pytest.raises(CancelledError):
        outline_candidates(
            image, first.astype(np.float32), None, outlines, 1.0, CandidateRules(),
            cancelled=lambda: True,
        )  # fmt: skip
