"""Slice models: the grid they look at, the slice they speak of, when they say nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_precimed.core.geometry import AxisOrder, Geometry
from napari_precimed.core.lesion import LesionSet
from napari_precimed.core.volume import Source, Volume
from napari_precimed.errors import GeometryError, InputError
from napari_precimed.models.catalogue import find
from napari_precimed.models.classify import classify
from napari_precimed.models.slice_grid import in_plane, scale_sequence
from napari_precimed.models.slices import call_of, classify_slices, slice_stack


def scan(spacing_mm: float = 0.9375, side: int = 256, order: AxisOrder | None = None) -> Volume:
    """Six slices of a bright ellipse, brighter from slice to slice."""
    z, y, x = np.mgrid[:6, :side, :side]
    middle = (side - 1) / 2
    inside = np.hypot((y - middle) / 90, (x - middle) / 70) < 0.9375 / spacing_mm
    array = (inside * (200 + 20 * z)).astype(np.float32)
    geometry = Geometry.from_parts(array.shape, (5.0, spacing_mm, spacing_mm), (0.0, 0.0, 0.0))
    return Volume(array, geometry, "MR", source=Source("scan", "NIfTI", order or AxisOrder()))


def test_slices_come_on_the_training_grid_whatever_the_spacing():
    fine, coarse = slice_stack(scan(0.9375)), slice_stack(scan(1.25, side=192))
    assert fine.shape == coarse.shape == (6, 3, 256, 256)
    assert np.abs(fine - coarse).mean() < 0.02
    assert np.array_equal(fine[:, 0], fine[:, 2])  # FLAIR stands in


def test_the_middle_of_the_field_of_view_stays_in_the_middle():
    array = np.zeros((1, 101, 101), np.float32)
    array[0, 50, 50] = 1
    placed = in_plane(array, (0.9375, 0.9375))[0]
    assert placed[127:129, 127:129].sum() == pytest.approx(1, abs=1e-3)


def test_grey_is_scaled_by_the_scans_own_range():
    array = np.random.default_rng(0).normal(1000, 50, (4, 32, 32))
    assert scale_sequence(array) == pytest.approx(scale_sequence(3 * array - 200), abs=1e-4)


def test_a_slice_is_named_as_it_is_stored():
    flipped = AxisOrder((2, 0, 1), (True, False, False))
    straight, run = classify_slices(scan())
    turned, _ = classify_slices(scan(order=flipped))
    assert [f.index for f in straight] == [0, 1, 2, 3, 4, 5]
    assert [f.index for f in turned] == [5, 4, 3, 2, 1, 0]
    assert {f.axis for f in turned} == {2}
    assert [f.probability for f in straight] == [f.probability for f in turned]
    assert all(0 <= f.probability <= 1 for f in straight)
    assert any("FLAIR stood in" in warning for warning in run.warnings)


def test_in_the_abstain_band_nothing_is_called():
    entry = replace(find("tumour-slice"), settings={"abstain_band": [0.2, 0.6],
                                                    "negative_label": "no tumour"})  # fmt: skip
    assert [call_of(entry, p) for p in (0.1, 0.2, 0.59, 0.6)] == ["no tumour", None, None, "tumour"]


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="classifies outlined lesions, not slices"):
        classify_slices(replace(scan(), modality="CT"), "lung-nodule-malignancy")
    volume = scan()
    nothing = LesionSet(np.zeros(volume.array.shape, int), volume.geometry)
    with pytest.raises(InputError, match="classifies whole slices"):
        classify(volume, nothing, "tumour-slice")
    with pytest.raises(GeometryError, match="post-contrast T1 is not on the grid"):
        slice_stack(scan(), post=scan(1.25, side=192))
