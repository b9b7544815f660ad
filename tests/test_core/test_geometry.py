from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_grids import ORDERS_AND_FLIPS, grids

from napari_precimed.core.geometry import AxisOrder, Geometry
from napari_precimed.errors import GeometryError


def numbered(geometry: Geometry) -> np.ndarray:
    return np.arange(np.prod(geometry.shape)).reshape(geometry.shape)


def test_there_are_48_orders_and_flips():
    assert len({(o.order, o.flipped) for o in ORDERS_AND_FLIPS}) == 48


@pytest.mark.parametrize("order", ORDERS_AND_FLIPS, ids=str)
def test_undo_gives_the_stored_array_back(order):
    stored = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    assert np.array_equal(order.undo(order.apply(stored)), stored)


@pytest.mark.parametrize("order", ORDERS_AND_FLIPS, ids=str)
def test_a_grid_stored_in_any_order_is_brought_to_the_canonical_axes(order):
    canonical = Geometry.from_parts((3, 4, 5), (2.5, 0.7, 0.8), (1, -2, 3))
    stored = canonical.as_stored(order)
    found = stored.canonical_order()
    assert (found.order, found.flipped) == (order.order, order.flipped)
    assert np.allclose(stored.reordered(found).affine, canonical.affine)


@given(grids(max_shear=0.2))
def test_every_voxel_keeps_its_place_in_the_patient(stored):
    order = stored.canonical_order()
    canonical = stored.reordered(order)
    array = numbered(stored)
    moved = order.apply(array)
    assert moved.shape == canonical.shape
    for index in ((0, 0, 0), tuple(n - 1 for n in stored.shape)):
        there = order.apply_to_index(index, stored.shape).astype(int)
        assert moved[tuple(there)] == array[index]
        assert np.allclose(canonical.index_to_world(there), stored.index_to_world(index))


@given(grids(max_shear=0.2))
def test_reordering_is_undone_exactly(stored):
    order = stored.canonical_order()
    assert stored.matches(stored.reordered(order).as_stored(order), tolerance_mm=1e-9)


@given(grids(max_shear=0.1))
def test_canonical_axes_run_to_superior_posterior_left(stored):
    canonical = stored.reordered(stored.canonical_order())
    nearest = [int(np.abs(column).argmax()) for column in canonical.direction.T]
    if canonical.obliquity_deg < 30:
        assert nearest == [2, 1, 0]
    assert all(canonical.direction[world, axis] > 0 for axis, world in enumerate((2, 1, 0)))
    again = canonical.canonical_order()
    assert again == AxisOrder()


@given(grids(max_shear=0.3), st.lists(st.floats(-50, 50), min_size=3, max_size=3))
def test_index_to_world_and_back(geometry, index):
    assert np.allclose(geometry.world_to_index(geometry.index_to_world(index)), index, atol=1e-6)


@given(grids())
def test_parts_make_the_same_grid_again(geometry):
    again = Geometry.from_parts(
        geometry.shape, geometry.spacing_mm, geometry.origin_mm, geometry.direction
    )
    assert np.allclose(again.affine, geometry.affine)
    assert geometry.voxel_volume_mm3 == pytest.approx(np.prod(geometry.spacing_mm))


@given(grids(), st.integers(0, 2))
@settings(max_examples=30)
def test_grids_match_within_a_thousandth_of_a_millimetre(geometry, axis):
    for shift, same in ((0.0009, True), (0.0011, False)):
        affine = geometry.affine.copy()
        affine[axis, 3] += shift
        assert geometry.matches(Geometry(geometry.shape, affine)) is same


def test_a_small_turn_is_told_by_its_effect_on_the_corners():
    small = Geometry.from_parts((2, 2, 2))
    large = Geometry.from_parts((2, 2, 2000))
    for geometry, same in ((small, True), (large, False)):
        affine = geometry.affine.copy()
        affine[1, 2] += 1e-5
        assert geometry.matches(Geometry(geometry.shape, affine)) is same


def test_the_difference_is_named():
    one = Geometry.from_parts((3, 4, 5), (2, 1, 1))
    assert one.difference(one) is None
    assert "shape (3, 4, 6)" in one.difference(Geometry.from_parts((3, 4, 6), (2, 1, 1)))
    assert "spacing" in one.difference(Geometry.from_parts((3, 4, 5), (2.5, 1, 1)))
    assert "origin" in one.difference(Geometry.from_parts((3, 4, 5), (2, 1, 1), (0, 0, 9)))


@given(grids(max_shear=0.1))
@settings(max_examples=30)
def test_a_crop_stays_where_it_was(geometry):
    start = (-1, 2, 3)
    crop = geometry.cropped(start, (2, 3, 4))
    assert crop.shape == (2, 3, 4)
    assert np.allclose(crop.index_to_world((1, 1, 1)), geometry.index_to_world((0, 3, 4)))


@pytest.mark.parametrize(
    ("shape", "affine", "message"),
    [
        ((3, 4), np.eye(4), "three axes"),
        ((3, 0, 4), np.eye(4), "three axes"),
        ((3, 4, 5), np.diag([1, 0, 1, 1]), "singular"),
        ((3, 4, 5), np.full((4, 4), np.nan), "finite"),
        ((3, 4, 5), np.eye(3), "4x4"),
    ],
)
def test_what_is_no_grid_is_refused(shape, affine, message):
    with pytest.raises(GeometryError, match=message):
        Geometry(shape, affine)


def test_a_micrometre_grid_is_a_grid():
    geometry = Geometry.from_parts((3, 4, 5), (5e-4, 5e-4, 5e-4))
    assert geometry.spacing_mm == pytest.approx((5e-4, 5e-4, 5e-4))


def test_a_geometry_cannot_be_changed():
    geometry = Geometry.from_parts((3, 4, 5))
    with pytest.raises(ValueError, match="read-only"):
        geometry.affine[0, 0] = 2
