from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from napari_precimed.core.geometry import AxisOrder, Geometry
from napari_precimed.core.measure import acquisition_axis, measure, surface_area_mm2
from napari_precimed.core.run import RunRecord
from napari_precimed.core.volume import Source, Volume
from napari_precimed.errors import GeometryError, InputError

UPRIGHT = np.eye(3)[::-1]
OBLIQUE = Rotation.from_euler("xyz", [25, -15, 30], degrees=True).as_matrix() @ UPRIGHT


def around(radii_mm, spacing_mm, direction=UPRIGHT, shift=(0.0, 0.0, 0.0)):
    """A grid with an ellipsoid in its middle; half axes along the array axes (z, y, x)."""
    shape = [int(2 * r / s) + 9 for r, s in zip(radii_mm, spacing_mm, strict=True)]
    geometry = Geometry.from_parts(shape, spacing_mm, (11.0, -7.0, 130.0), direction)
    middle = (np.array(shape) - 1) / 2 + shift
    centre_mm = geometry.index_to_world(middle)
    offset = geometry.index_to_world(np.stack(np.indices(shape), -1)) - centre_mm
    # An ellipsoid of the patient, not of the grid: right also where the grid is sheared.
    own = np.linalg.qr(geometry.direction)[0]
    own = own * np.sign(np.sum(own * geometry.direction, axis=0))
    inside = ((offset @ own / radii_mm) ** 2).sum(-1) <= 1
    return inside, Volume(np.zeros(shape, np.int16), geometry), centre_mm


def only(labels, volume, **options):
    found = measure(labels.astype(np.uint8), volume, **options)
    assert len(found) == 1
    return found.lesions[0]


@pytest.mark.parametrize("direction", [UPRIGHT, OBLIQUE], ids=["upright", "oblique"])
@pytest.mark.parametrize(
    ("radii_mm", "spacing_mm"),
    [
        ((10, 10, 10), (1, 1, 1)),
        ((9, 14, 8), (1, 1, 1)),
        ((20, 13, 17), (2.5, 0.8, 0.8)),
        ((12, 6, 9), (1, 0.5, 0.7)),
        ((30, 11, 15), (5, 0.7, 0.7)),
    ],
)
def test_an_ellipsoid_is_measured_right(radii_mm, spacing_mm, direction):
    inside, volume, centre_mm = around(radii_mm, spacing_mm, direction)
    lesion = only(inside, volume)
    assert lesion.volume_mm3 == pytest.approx(4 / 3 * np.pi * np.prod(radii_mm), rel=0.02)
    assert np.allclose(lesion.centroid_mm, centre_mm, atol=0.02)
    short, long = sorted(2 * r for r in radii_mm[1:])
    voxel = max(spacing_mm[1:])
    assert lesion.long_axis_mm == pytest.approx(long, abs=voxel)
    assert lesion.short_axis_mm == pytest.approx(short, abs=voxel)
    assert not lesion.touches_border


@settings(max_examples=40, deadline=None)
@given(
    radii_mm=st.tuples(*[st.floats(4, 12)] * 3),
    spacing_mm=st.tuples(st.floats(0.6, 1.5), st.floats(0.5, 1), st.floats(0.5, 1)),
    turn=st.tuples(*[st.floats(-0.6, 0.6)] * 3),
    shift=st.tuples(*[st.floats(-0.5, 0.5)] * 3),
)
def test_any_ellipsoid_anywhere(radii_mm, spacing_mm, turn, shift):
    direction = Rotation.from_rotvec(turn).as_matrix() @ UPRIGHT
    inside, volume, centre_mm = around(radii_mm, spacing_mm, direction, shift)
    volume = replace(volume, source=Source("", "DICOM"))  # slices across axis 0
    lesion = only(inside, volume)
    assert lesion.volume_mm3 == pytest.approx(4 / 3 * np.pi * np.prod(radii_mm), rel=0.06)
    assert np.allclose(lesion.centroid_mm, centre_mm, atol=0.3)
    short, long = sorted(2 * r for r in radii_mm[1:])
    voxel = float(np.hypot(*spacing_mm[1:]))
    assert lesion.long_axis_mm == pytest.approx(long, abs=voxel)
    # A disc has no long axis: there the perpendicular of any diameter is as right.
    assert lesion.short_axis_mm == pytest.approx(short, abs=voxel + 0.1 * (long - short))


def test_an_ellipsoid_on_a_sheared_grid():
    sheared = UPRIGHT.copy()
    sheared[:, 0] = (0, np.sin(0.35), np.cos(0.35))  # slices 20 degrees off their normal
    sheared[:, 1] = (np.sin(0.1), np.cos(0.1), 0)
    inside, volume, centre_mm = around((12, 9, 9), (1, 0.8, 0.8), sheared)
    lesion = only(inside, volume)
    true = 4 / 3 * np.pi * 12 * 9 * 9
    assert lesion.volume_mm3 == pytest.approx(true, rel=0.02)
    assert np.allclose(lesion.centroid_mm, centre_mm, atol=0.05)


@pytest.mark.parametrize("direction", [UPRIGHT, OBLIQUE], ids=["upright", "oblique"])
def test_the_axes_end_on_the_outline_and_cross_at_right_angles(direction):
    inside, volume, _ = around((10, 15, 7), (2, 0.8, 0.8), direction)
    lesion = only(inside, volume)
    long = np.subtract(*np.array(lesion.long_axis_ends_mm))
    short = np.subtract(*np.array(lesion.short_axis_ends_mm))
    assert np.linalg.norm(long) == pytest.approx(lesion.long_axis_mm)
    assert np.linalg.norm(short) == pytest.approx(lesion.short_axis_mm)
    assert abs(long @ short) < 1e-6
    ends = volume.geometry.world_to_index([*lesion.long_axis_ends_mm, *lesion.short_axis_ends_mm])
    assert np.ptp(ends[:, 0]) < 1e-6, "the axes lie in one slice"
    for end in ends:
        near = np.clip(np.rint(end).astype(int), 1, None)
        z, y, x = near
        around_it = inside[z, y - 1 : y + 2, x - 1 : x + 2]
        assert around_it.any()
        assert not around_it.all()


def test_a_row_of_voxels_is_as_long_as_its_voxels():
    labels = np.zeros((5, 9, 20), int)
    labels[2, 4, 3:13] = 1
    volume = Volume(np.zeros(labels.shape), Geometry.from_parts(labels.shape, (3, 0.5, 0.7)))
    lesion = only(labels, volume)
    assert lesion.long_axis_mm == pytest.approx(10 * 0.7)
    assert lesion.short_axis_mm == pytest.approx(0.5)
    assert lesion.bbox == ((2, 3), (4, 5), (3, 13))


def test_a_single_voxel_has_a_volume_but_no_axes():
    labels = np.zeros((5, 5, 5), int)
    labels[2, 2, 2] = 1
    volume = Volume(np.full(labels.shape, 7.0), Geometry.from_parts(labels.shape, (2, 1, 1)))
    lesion = only(labels, volume)
    assert lesion.volume_mm3 == 2
    assert lesion.long_axis_mm is None
    assert lesion.long_axis_ends_mm is None
    assert lesion.short_axis_mm is None
    assert lesion.mean_intensity == 7
    assert lesion.sd_intensity is None
    assert lesion.surface_mm2 == pytest.approx(np.pi ** (1 / 3) * (6 * 2) ** (2 / 3))


def test_the_short_axis_is_across_the_long_one_not_the_longest_left():
    labels = np.zeros((3, 40, 40), int)
    labels[1, 5:11, 5:35] = 1
    labels[1, 5:30, 5:11] = 1  # an L: its hull is a right triangle with its corner cut off
    volume = Volume(np.zeros(labels.shape), Geometry.from_parts(labels.shape, (3, 1, 1)))
    lesion = only(labels, volume)
    assert lesion.long_axis_mm == pytest.approx(np.hypot(30, 25), abs=2)
    height = 30 * 25 / np.hypot(30, 25)
    assert lesion.short_axis_mm == pytest.approx(height, abs=6 / np.sqrt(2) + 1)
    assert lesion.short_axis_mm < 25


@pytest.mark.parametrize("at", [(0, 4, 4), (8, 4, 4), (4, 0, 4), (4, 8, 4), (4, 4, 0), (4, 4, 8)])
def test_a_lesion_at_any_face_touches_the_border(at):
    labels = np.zeros((9, 9, 9), int)
    labels[4, 4, 4] = 1
    labels[at] = 2
    volume = Volume(np.zeros(labels.shape), Geometry.from_parts(labels.shape))
    inner, outer = measure(labels, volume)
    assert not inner.touches_border
    assert outer.touches_border


@pytest.mark.parametrize(
    ("radii_mm", "spacing_mm", "tolerance"),
    [((3, 3, 3), (1, 1, 1), 0.05), ((8, 8, 8), (1, 1, 1), 0.03), ((9, 9, 9), (2, 0.8, 0.8), 0.03)],
)
def test_the_surface_of_a_sphere(radii_mm, spacing_mm, tolerance):
    inside, volume, _ = around(radii_mm, spacing_mm, OBLIQUE, (0.2, -0.3, 0.4))
    area = surface_area_mm2(inside, volume.geometry)
    assert area == pytest.approx(4 * np.pi * radii_mm[0] ** 2, rel=tolerance)


def test_intensity_is_that_of_the_lesion_alone():
    labels = np.zeros((6, 6, 6), int)
    labels[2:4, 2:4, 2:4] = 3
    array = np.full(labels.shape, -900, np.int16)
    array[2:4, 2:4, 2] = 10
    array[2:4, 2:4, 3] = 30
    lesion = only(labels, Volume(array, Geometry.from_parts(labels.shape)))
    assert lesion.label == 3
    assert lesion.mean_intensity == pytest.approx(20)
    assert lesion.sd_intensity == pytest.approx(10)


def test_intensity_that_is_not_a_number_is_unknown():
    labels = np.zeros((4, 4, 4), int)
    labels[1:3, 1:3, 1:3] = 1
    array = np.full(labels.shape, np.nan)
    lesion = only(labels, Volume(array, Geometry.from_parts(labels.shape)))
    assert lesion.mean_intensity is None
    assert lesion.volume_mm3 == 8


def test_what_is_known_of_the_labels_is_kept():
    labels = np.zeros((9, 9, 9), np.int32)
    labels[1:3, 1:3, 1:3] = 2
    labels[5:8, 5:8, 5:8] = 7
    volume = Volume(
        np.zeros(labels.shape), Geometry.from_parts(labels.shape), series_uid="1.2.3", modality="CT"
    )
    segmented = RunRecord("segment", model="toy 1")
    found = measure(labels, volume, finding="lung nodule", confidence={7: 0.9}, runs=(segmented,))
    assert [lesion.label for lesion in found] == [2, 7]
    assert [lesion.confidence for lesion in found] == [None, 0.9]
    assert {lesion.finding for lesion in found} == {"lung nodule"}
    assert [run.task for run in found.runs] == ["segment", "measure"]
    assert found.series_uid == "1.2.3"
    assert found.labels.dtype == np.int32


def test_small_lesions_are_left_out_of_table_and_labels_and_counted():
    labels = np.zeros((9, 9, 9), int)
    labels[1, 1, 1] = 1
    labels[4:7, 4:7, 4:7] = 2
    given_labels = labels.copy()
    volume = Volume(np.zeros(labels.shape), Geometry.from_parts(labels.shape))
    found = measure(labels, volume, min_voxels=5)
    assert [lesion.label for lesion in found] == [2]
    assert set(np.unique(found.labels)) == {0, 2}
    assert "1 lesion" in found.runs[-1].warnings[0]
    assert np.array_equal(labels, given_labels), "the caller's labels stay as they were"


def test_a_lesion_in_pieces_is_measured_and_said():
    labels = np.zeros((9, 9, 9), int)
    labels[1:3, 1:3, 1:3] = 1
    labels[3, 3, 3] = 1  # touches by a corner
    labels[5:8, 5:8, 1:3] = labels[5:8, 5:8, 6:8] = 4
    volume = Volume(np.zeros(labels.shape), Geometry.from_parts(labels.shape))
    found = measure(labels, volume)
    assert found.runs[-1].warnings == ("Lesion 4 is in 2 separate pieces, measured as one.",)
    assert found.lesion(4).volume_mm3 == 36


def test_no_lesion_at_all():
    volume = Volume(np.zeros((3, 4, 5)), Geometry.from_parts((3, 4, 5)))
    found = measure(np.zeros((3, 4, 5), int), volume)
    assert len(found) == 0
    assert found.runs[-1].task == "measure"


@pytest.mark.parametrize(
    ("value", "message"),
    [(0.5, "fractions or NaN"), (np.nan, "fractions or NaN"), (-1, "from -1"), (2e9, "Renumber")],
)
def test_values_that_are_no_labels_are_refused(value, message):
    labels = np.zeros((4, 4, 4))
    labels[1, 1, 1] = value
    volume = Volume(np.zeros(labels.shape), Geometry.from_parts(labels.shape))
    with pytest.raises(InputError, match=message):
        measure(labels, volume)


def test_whole_numbers_stored_as_floats_are_labels():
    labels = np.zeros((4, 4, 4))
    labels[1:3, 1:3, 1:3] = 2.0
    volume = Volume(np.zeros(labels.shape), Geometry.from_parts(labels.shape))
    assert measure(labels, volume).lesions[0].label == 2


def test_labels_of_another_shape_are_refused():
    volume = Volume(np.zeros((4, 4, 4)), Geometry.from_parts((4, 4, 4)))
    with pytest.raises(GeometryError, match=r"\(4, 4, 5\)"):
        measure(np.zeros((4, 4, 5), int), volume)


def test_the_plane_of_acquisition():
    thick_y = Volume(np.zeros((3, 3, 3)), Geometry.from_parts((3, 3, 3), (1, 4, 1)))
    assert acquisition_axis(thick_y) == 1
    cube = Volume(np.zeros((3, 3, 3)), Geometry.from_parts((3, 3, 3)))
    assert acquisition_axis(cube) == 0
    sagittal = AxisOrder((1, 2, 0), (False, False, False))
    stored_sagittal = replace(cube, source=Source("", "NIfTI", sagittal))
    assert acquisition_axis(stored_sagittal) == 2
    thin_slices = replace(thick_y, source=Source("", "DICOM", sagittal))
    assert acquisition_axis(thin_slices) == 2


def test_axes_are_taken_in_the_plane_of_acquisition():
    inside, volume, _ = around((16, 6, 9), (1, 1, 1))
    axial = only(inside, volume)
    sagittal_slices = Source("", "DICOM", AxisOrder((1, 2, 0), (False, False, False)))
    sagittal = only(inside, replace(volume, source=sagittal_slices))
    assert axial.long_axis_mm == pytest.approx(18, abs=1)
    assert sagittal.long_axis_mm == pytest.approx(32, abs=1)
