"""Viewer coordinates: nothing is lost on the way to a layer and back to a file."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
from napari.layers import Layer
from ui_scans import small_scan

from napari_precimed.core.geometry import Geometry
from napari_precimed.core.lesion import LesionSet
from napari_precimed.core.measure import measure
from napari_precimed.core.volume import Source, Volume
from napari_precimed.errors import GeometryError, InputError
from napari_precimed.io import read_volume
from napari_precimed.io.itk import read_labels, write_labels, write_volume
from napari_precimed.ui import layers

ORDERS = [
    np.eye(3)[:, list(order)] * signs
    for order in permutations(range(3))
    for signs in product((1, -1), repeat=3)
]
_ANGLE = np.radians(17)
TILT = np.array(
    [
        [1, 0, 0],
        [0, np.cos(_ANGLE), -np.sin(_ANGLE)],
        [0, np.sin(_ANGLE), np.cos(_ANGLE)],
    ]
)


def stored_scan(direction: np.ndarray) -> tuple[np.ndarray, Geometry]:
    """An array as a file would hold it, with unequal sides and steps."""
    geometry = Geometry.from_parts((4, 5, 6), (3.0, 0.7, 1.1), (12.5, -80.25, 33.0), direction)
    return np.arange(120, dtype=np.int16).reshape(4, 5, 6), geometry


@pytest.mark.parametrize("tilt", [np.eye(3), TILT], ids=["straight", "oblique"])
def test_a_scan_passes_through_a_layer_unchanged(tmp_path: Path, tilt: np.ndarray) -> None:
    for number, direction in enumerate(ORDERS):
        array, geometry = stored_scan(tilt @ direction)
        order = geometry.canonical_order()
        path, copy = tmp_path / f"{number}.nii.gz", tmp_path / f"{number}-copy.nii.gz"
        write_volume(
            path,
            Volume(
                order.apply(array),
                geometry.reordered(order),
                source=Source("made", "NIfTI", order),
            ),
        )
        read = read_volume(path)
        layer = Layer.create(*layers.image_layer(read))
        back = layers.volume_from(layer.data, layer.metadata)
        write_volume(copy, back)
        again = read_volume(copy)
        assert np.array_equal(again.array, read.array)
        assert np.abs(again.geometry.affine - geometry.reordered(order).affine).max() < 1e-3
        assert again.source is not None
        assert again.source.axis_order == read.source.axis_order


@pytest.mark.parametrize("tilt", [np.eye(3), TILT], ids=["straight", "oblique"])
def test_labels_are_written_where_they_were_drawn(tmp_path: Path, tilt: np.ndarray) -> None:
    scan = small_scan(direction=tilt @ np.eye(3)[::-1])
    empty = LesionSet(np.zeros(scan.geometry.shape, np.uint8), scan.geometry)
    layer = Layer.create(*layers.labels_layer(empty, scan))
    layer.data_setitem((np.array([3]), np.array([7]), np.array([30])), 5)
    drawn = layers.volume_from(layer.data, layer.metadata)
    write_labels(tmp_path / "labels.nii.gz", drawn.array, drawn)
    labels = read_labels(tmp_path / "labels.nii.gz", scan)
    assert np.argwhere(labels).tolist() == [[3, 7, 30]]
    assert not empty.labels.any(), "painting must not change the lesions that were measured"


def test_a_layer_shows_a_straight_scan_at_minus_z_y_x() -> None:
    scan = small_scan()
    layer = Layer.create(*layers.image_layer(scan))
    x, y, z = scan.geometry.index_to_world((2, 5, 9))
    assert np.allclose(layer.data_to_world((2, 5, 9)), (-z, y, x))
    assert [str(unit) for unit in layer.units] == ["millimeter"] * 3
    assert layer.axis_labels == ("z", "y", "x")


@pytest.mark.parametrize("tilt", [np.eye(3), TILT], ids=["straight", "oblique"])
def test_world_points_go_where_their_voxel_is_drawn(tilt: np.ndarray) -> None:
    scan = small_scan(direction=tilt @ np.eye(3)[::-1])
    layer = Layer.create(*layers.image_layer(scan))
    world = scan.geometry.index_to_world((3, 20, 11))
    assert np.allclose(layers.to_viewer(scan.geometry, world), layer.data_to_world((3, 20, 11)))
    assert np.allclose(layers.to_world(scan.geometry, layer.data_to_world((3, 20, 11))), world)


def test_an_oblique_scan_is_drawn_about_its_true_centre_and_says_so() -> None:
    scan = small_scan(direction=TILT @ np.eye(3)[::-1])
    _, attributes, _ = layers.image_layer(scan)
    middle = (np.asarray(scan.geometry.shape) - 1) / 2
    x, y, z = scan.geometry.index_to_world(middle)
    assert np.allclose(middle * attributes["scale"] + attributes["translate"], (-z, y, x))
    assert "oblique 17°" in attributes["name"]


def test_axes_are_drawn_between_their_end_points() -> None:
    scan = small_scan()
    labels = np.zeros(scan.geometry.shape, np.int32)
    labels[4:8, 10:20, 12:15] = 1
    lesions = measure(labels, scan)
    data, attributes, kind = layers.axes_layer(lesions, scan)
    layer = Layer.create(data, attributes, kind)
    start, end = lesions.lesion(1).long_axis_ends_mm
    drawn = layer.data[0]
    world = [
        layers.to_world(scan.geometry, layer.data_to_world(p)) for p in (drawn[0], drawn.sum(0))
    ]
    assert np.allclose(world, [start, end])


def test_a_cropped_or_foreign_layer_is_refused() -> None:
    scan = small_scan()
    layer = Layer.create(*layers.image_layer(scan))
    with pytest.raises(GeometryError, match="cropped or resampled"):
        layers.volume_from(layer.data[:5], layer.metadata)
    with pytest.raises(InputError, match="napari-precimed"):
        layers.volume_from(layer.data, {})
