"""Left is left: pixels of real screenshots, in every plane and in 3D."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from napari import Viewer
from napari.layers import Layer
from qtpy.QtWidgets import QApplication

from napari_precimed.core.geometry import Geometry
from napari_precimed.core.volume import Volume
from napari_precimed.ui import layers

pytestmark = pytest.mark.gui

_SIDE = 32
_MIDDLE = (16, 16, 16)
MARKS = {"centre": _MIDDLE, "left": (16, 16, 28), "anterior": (16, 4, 16), "head": (22, 16, 16)}


@pytest.fixture
def viewer(make_napari_viewer: Callable[..., Viewer]) -> Viewer:
    """A window on the screen: one that is hidden draws nothing."""
    return make_napari_viewer(show=True)


@pytest.fixture
def marks(viewer: Viewer) -> dict[str, Layer]:
    """Four scans on one grid, each with one bright mark, shown one at a time."""
    geometry = Geometry.from_parts((_SIDE,) * 3, (2.0, 1.0, 1.0), (-15.5, -15.5, -31.0))
    shown = {}
    for name, (z, y, x) in MARKS.items():
        array = np.zeros(geometry.shape, np.float32)
        array[z - 2 : z + 3, y - 2 : y + 3, x - 2 : x + 3] = 1
        shown[name] = viewer.add_layer(Layer.create(*layers.image_layer(Volume(array, geometry))))
    return shown


def place(viewer: Viewer, marks: dict[str, Layer], name: str) -> np.ndarray:
    """Where a mark is on the screen: (right, up) in pixels from the top left corner."""
    for other, layer in marks.items():
        layer.visible = other == name
    QApplication.processEvents()
    picture = viewer.screenshot(canvas_only=True, flash=False)[..., :3].max(-1)
    rows, columns = np.nonzero(picture > 128)
    assert rows.size, f"the mark '{name}' is not on the screen"
    return np.array([columns.mean(), -rows.mean()])


@pytest.mark.parametrize(
    ("order", "plane", "right", "up"),
    [
        ((0, 1, 2), "axial", "left", "anterior"),
        ((1, 0, 2), "coronal", "left", "head"),
    ],
)
def test_planes_are_shown_as_radiologists_read_them(
    viewer: Viewer, marks: dict[str, Layer], order: tuple, plane: str, right: str, up: str
) -> None:
    viewer.dims.order = order
    viewer.dims.set_point(range(3), marks["centre"].data_to_world(_MIDDLE))
    viewer.reset_view()
    centre = place(viewer, marks, "centre")
    assert (place(viewer, marks, right) - centre)[0] > 20
    assert (place(viewer, marks, up) - centre)[1] > 20


def test_sagittal_has_the_head_up_and_the_face_to_the_left(
    viewer: Viewer, marks: dict[str, Layer]
) -> None:
    viewer.dims.order = (2, 0, 1)
    viewer.dims.set_point(range(3), marks["centre"].data_to_world(_MIDDLE))
    viewer.reset_view()
    centre = place(viewer, marks, "centre")
    assert (place(viewer, marks, "anterior") - centre)[0] < -20
    assert (place(viewer, marks, "head") - centre)[1] > 20


@pytest.mark.parametrize("angles", [(0, 0, 90), (20, 35, 60), (-100, 10, 5)])
def test_3d_is_not_mirrored(viewer: Viewer, marks: dict[str, Layer], angles: tuple) -> None:
    """Screen right × screen up, measured in the patient, must point out of the screen."""
    viewer.dims.ndisplay = 3
    viewer.reset_view()
    viewer.scene.camera.angles = angles
    centre = place(viewer, marks, "centre")
    anterior, left, head = (place(viewer, marks, n) - centre for n in ("anterior", "left", "head"))
    right, up = np.stack([left / 12, -anterior / 12, head / 12], axis=1)
    minus_z, y, x = viewer.scene.camera.view_direction
    into_screen = np.array([x, y, -minus_z])
    out = np.cross(right, up)
    assert np.dot(out, -into_screen) / np.linalg.norm(out) > 0.95
