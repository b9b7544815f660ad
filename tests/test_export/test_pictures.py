"""Pictures show the patient as radiologists read, in true proportions."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from napari_precimed.core.geometry import AxisOrder, Geometry
from napari_precimed.core.lesion import Lesion, LesionSet
from napari_precimed.core.volume import Volume
from napari_precimed.export.pictures import (
    Section,
    edge_letters,
    grey_window,
    lesion_jpeg,
    section_of,
)

CANONICAL = Geometry.from_parts((20, 90, 100), (3.0, 1.0, 0.5))
MIRRORED = CANONICAL.reordered(AxisOrder((0, 1, 2), (True, True, True)))
"""The same voxels, every axis running the other way."""

MARK_MM = tuple(CANONICAL.index_to_world((6, 25, 28)))
"""A place to the right, in front of and below the middle."""

_IN_PLANE = {"axial": "xy", "coronal": "xz", "sagittal": "yz"}


def _marked(grid: Geometry, plane: str) -> tuple[Volume, LesionSet]:
    """A bright block on black at the mark, and a lesion there whose axes lie in a plane."""
    index = np.rint(grid.world_to_index(MARK_MM)).astype(int)
    away = np.abs(np.moveaxis(np.indices(grid.shape), 0, -1) - index)
    volume = Volume(np.where((away <= (1, 2, 4)).all(-1), 1000, 0).astype(np.int16), grid)
    labels = (away <= 1).all(-1).astype(np.uint8)
    ends = []
    for axis in _IN_PLANE[plane]:
        step = np.eye(3)["xyz".index(axis)]
        ends.append((tuple(MARK_MM - step), tuple(MARK_MM + step)))
    box = tuple((int(n) - 1, int(n) + 2) for n in index)
    lesion = Lesion(1, 9.0, 9.0, MARK_MM, box, 2.0, ends[0], 2.0, ends[1])
    return volume, LesionSet(labels, grid, (lesion,))


def _whole_slice(picture: bytes) -> np.ndarray:
    """The left half as grey values, without letters, scale bar and frame."""
    grey = np.asarray(Image.open(io.BytesIO(picture)).convert("L")).astype(float)
    return grey[:, : grey.shape[1] // 2 - 4]


def _brightest(picture: bytes) -> tuple[float, float]:
    """Where the bright block is, as fractions (down, right) of the whole-slice view."""
    view = _whole_slice(picture)
    box = np.argwhere(view > 200)
    inner = box[(np.abs(box / view.shape - 0.5) < 0.42).all(1)]
    return tuple(np.median(inner, axis=0) / view.shape)


@pytest.mark.parametrize("grid", [CANONICAL, MIRRORED], ids=["canonical", "mirrored"])
@pytest.mark.parametrize(
    ("plane", "in_upper_half"),
    [("axial", True), ("coronal", False), ("sagittal", False)],
)
def test_the_patient_lies_as_radiologists_read(grid, plane, in_upper_half) -> None:
    """Anterior or superior is up; the patient's right, or anterior, is on the viewer's left."""
    volume, lesions = _marked(grid, plane)
    (lesion,) = lesions
    assert section_of(lesions, lesion).name == plane
    down, right = _brightest(lesion_jpeg(volume, lesions, lesion))
    assert (down < 0.5) == in_upper_half
    assert right < 0.5


@pytest.mark.parametrize(
    ("axis", "letters"),
    [
        (0, {"left": "R", "right": "L", "top": "A", "bottom": "P"}),
        (1, {"left": "R", "right": "L", "top": "S", "bottom": "I"}),
        (2, {"left": "A", "right": "P", "top": "S", "bottom": "I"}),
    ],
)
@pytest.mark.parametrize("grid", [CANONICAL, MIRRORED], ids=["canonical", "mirrored"])
def test_letters_name_the_patients_sides(grid, axis, letters) -> None:
    assert edge_letters(grid, Section(axis, 5)) == letters


def test_a_ball_is_round_although_its_pixels_are_not() -> None:
    """Pixels of 3 by 0.5 mm in a coronal slice: the ball's picture is as tall as wide."""
    grid = Geometry.from_parts((40, 120, 240), (3.0, 1.0, 0.5))
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), -1)
    ball = np.linalg.norm((index - (20, 60, 120)) * grid.spacing_mm, axis=-1) < 30
    volume = Volume(np.where(ball, 1000, 0).astype(np.int16), grid)
    x, y, z = grid.index_to_world((20, 60, 120))
    lesion = Lesion(
        1, 1.0, 1.0, (x, y, z), ((10, 31), (30, 91), (60, 181)),
        60.0, ((x - 30, y, z), (x + 30, y, z)), 60.0, ((x, y, z - 30), (x, y, z + 30)),
    )  # fmt: skip
    lesions = LesionSet(ball.astype(np.uint8), grid, (lesion,))
    assert section_of(lesions, lesion).name == "coronal"
    view = _whole_slice(lesion_jpeg(volume, lesions, lesion))
    rows, columns = np.nonzero(view > 200)
    central = (np.abs(rows / view.shape[0] - 0.5) < 0.42) & (
        np.abs(columns / view.shape[1] - 0.5) < 0.42
    )
    height, width = np.ptp(rows[central]), np.ptp(columns[central])
    assert height == pytest.approx(width, rel=0.07)


def test_a_lesion_of_one_voxel_is_shown_in_its_axial_slice(volume) -> None:
    labels = np.zeros(volume.geometry.shape, np.uint8)
    labels[7, 40, 60] = 1
    point = tuple(volume.geometry.index_to_world((7, 40, 60)))
    lesion = Lesion(1, 1.6, 6.0, point, ((7, 8), (40, 41), (60, 61)))
    lesions = LesionSet(labels, volume.geometry, (lesion,))
    section = section_of(lesions, lesion)
    assert (section.name, section.index) == ("axial", 7)
    assert Image.open(io.BytesIO(lesion_jpeg(volume, lesions, lesion))).size == (1008, 504)


def test_windows_are_those_of_the_modality(volume, lesions) -> None:
    section = section_of(lesions, lesions.lesions[0])
    assert grey_window(volume, section, "lung nodule")[:2] == (-1350, 150)
    assert grey_window(volume, section, "liver lesion")[:2] == (-150, 250)
    flat = replace(volume, modality="MR", array=np.full(volume.array.shape, 7.0, np.float32))
    low, high, name = grey_window(flat, section, None)
    assert high > low == 7.0
    assert "percentile" in name
