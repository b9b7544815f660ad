"""Explain and Doubt in a real window: one layer of each, in its place, gone when closed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from napari import Viewer
from napari.layers import Image, Labels, Layer
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from ui_scans import small_scan

from napari_precimed.core.lesion import LesionSet
from napari_precimed.core.measure import measure
from napari_precimed.core.run import RunRecord
from napari_precimed.core.volume import Volume
from napari_precimed.models.doubt import Doubt, LesionDoubt
from napari_precimed.models.explain import Explanation
from napari_precimed.ui import layers
from napari_precimed.ui.desk import LESIONS, PLUGIN
from napari_precimed.ui.session import Session
from napari_precimed.ui.trust_row import doubt_line, explanation_line, model_of

pytestmark = pytest.mark.gui
TILTED = np.array([[0, np.sin(0.2), np.cos(0.2)], [0, np.cos(0.2), -np.sin(0.2)], [1, 0, 0]])


def classified(scan: Volume) -> LesionSet:
    """Two dense lesions, as if the shipped models had outlined and classed them."""
    labels = np.zeros(scan.geometry.shape, np.int32)
    labels[3:7, 8:14, 22:30] = 3
    labels[8:10, 30:33, 3:7] = 5
    scan.array[labels > 0] = 40
    runs = (RunRecord("segment", "lung-nodule 0.1.0"),)
    lesions = measure(labels, scan, finding="lung nodule", runs=runs)
    return lesions.with_lesions(
        lesions.lesions, RunRecord("classify", "lung-nodule-malignancy 0.1.0")
    )


def explanation(scan: Volume, hottest: tuple[int, int, int], **more) -> Explanation:
    """A map of 4 x 9 x 10 voxels with one hot voxel."""
    start = (2, 6, 21)
    values = np.full((4, 9, 10), -0.01, np.float32)
    values[tuple(np.subtract(hottest, start))] = 0.5
    geometry = scan.geometry.cropped(start, values.shape)
    given = {"method": "integrated-gradients", "agreement": 0.62, **more}
    return Explanation(
        values, start, geometry, 3, "likely malignant", given["method"], 1.0, 0.0, 0.0,
        given["agreement"], RunRecord("explain"),
    )  # fmt: skip


@pytest.fixture
def opened(viewer: Viewer, wait: Callable):
    scan = small_scan(direction=TILTED)
    table = viewer.window.add_plugin_dock_widget(PLUGIN, LESIONS)[1]
    lesions = classified(scan)
    viewer.add_layer(Layer.create(*layers.image_layer(scan)))
    session = Session.of(viewer)
    session.set_lesions(scan, lesions)
    yield session, scan, table
    wait(lambda: not session.saver.busy)


def test_the_maps_hottest_voxel_lies_on_the_lesion_of_an_oblique_scan(opened) -> None:
    session, scan, _ = opened
    hottest = (4, 10, 26)
    assert session.show_map(scan, layers.saliency_layer(explanation(scan, hottest), scan))
    layer = session.map_layer_of(scan, layers.SALIENCY)
    place = np.unravel_index(layer.data.argmax(), layer.data.shape)
    shown = layer.data_to_world(place)
    picture = session.layer_of(scan, Image)
    assert np.allclose(shown, picture.data_to_world(hottest))
    world_mm = layers.to_world(scan.geometry, shown)
    assert np.allclose(world_mm, scan.geometry.index_to_world(hottest))
    labels = session.layer_of(scan, Labels)
    assert labels.get_value(shown, world=True) == 3
    assert layer.units == picture.units
    assert layer.contrast_limits[0] == -layer.contrast_limits[1]


def test_there_is_one_map_of_a_kind_and_it_is_no_scan(opened) -> None:
    session, scan, _ = opened
    before = len(session.volumes)
    session.show_map(scan, layers.saliency_layer(explanation(scan, (4, 10, 26)), scan))
    first = session.map_layer_of(scan, layers.SALIENCY)
    first.name = "renamed by the user"
    first.visible = False
    session.show_map(scan, layers.saliency_layer(explanation(scan, (3, 9, 23)), scan))
    assert session.map_layer_of(scan, layers.SALIENCY) is first
    assert np.unravel_index(first.data.argmax(), first.data.shape) == (1, 3, 2)
    assert first.visible
    assert len(session.volumes) == before
    assert session.layer_of(scan, Image) is not first
    assert layers.volume_from(first.data, first.metadata).geometry.matches(
        scan.geometry.cropped((2, 6, 21), (4, 9, 10))
    )


def test_a_map_that_the_user_removed_comes_back_new(opened) -> None:
    session, scan, _ = opened
    drawn = layers.saliency_layer(explanation(scan, (4, 10, 26)), scan)
    session.show_map(scan, drawn)
    gone = session.map_layer_of(scan, layers.SALIENCY)
    session._remove(gone)
    assert session.map_layer_of(scan, layers.SALIENCY) is None
    assert session.show_map(scan, drawn)
    assert session.map_layer_of(scan, layers.SALIENCY) is not gone


def test_maps_go_with_their_scan_and_do_not_come_after_it(viewer: Viewer, opened) -> None:
    session, scan, _ = opened
    drawn = layers.saliency_layer(explanation(scan, (4, 10, 26)), scan)
    session.show_map(scan, drawn)
    session.close_case()
    assert len(viewer.layers) == 0
    assert not session.show_map(scan, drawn)
    assert len(viewer.layers) == 0


def test_doubt_of_all_lesions_is_one_layer(opened) -> None:
    session, scan, _ = opened
    one = LesionDoubt(3, np.full((2, 4, 4), 0.3, np.float32), (3, 8, 22), 0.91)
    two = LesionDoubt(5, np.full((2, 3, 4), 0.9, np.float32), (8, 30, 3), 0.55)
    found = Doubt((one, two), scan.geometry, RunRecord("doubt"))
    session.show_map(scan, layers.doubt_layer(found, scan))
    layer = session.map_layer_of(scan, layers.DOUBT)
    picture = session.layer_of(scan, Image)
    world = picture.data_to_world((9, 31, 4))
    assert layer.get_value(world, world=True) == pytest.approx(0.9)
    assert tuple(layer.contrast_limits) == (0, 1)
    assert "lesion 5 55%, lesion 3 91%" in doubt_line(found)


def test_the_line_names_method_class_and_agreement() -> None:
    scan = small_scan()
    line = explanation_line(explanation(scan, (4, 10, 26)))
    assert line == (
        "Integrated gradients, lesion 3, “likely malignant”: orange speaks for it, blue against. "
        "Agreement with occlusion: 0.62."
    )
    assert "unknown" in explanation_line(explanation(scan, (4, 10, 26), agreement=None))


def test_what_cannot_be_explained_is_not_offered(viewer: Viewer, wait: Callable) -> None:
    scan = small_scan()
    table = viewer.window.add_plugin_dock_widget(PLUGIN, LESIONS)[1]
    viewer.add_layer(Layer.create(*layers.image_layer(scan)))
    assert not table.trust.explain.isEnabled()
    labels = np.zeros(scan.geometry.shape, np.int32)
    labels[3:7, 8:14, 22:30] = 3
    session = Session.of(viewer)
    session.set_lesions(scan, measure(labels, scan))  # drawn by hand
    table.table.selectRow(0)
    assert not table.trust.explain.isEnabled()
    assert "No classifier" in table.trust.explain.toolTip()
    assert not table.trust.doubt.isEnabled()
    session.set_lesions(scan, classified(scan))
    assert not table.trust.explain.isEnabled()
    assert "Choose a lesion" in table.trust.explain.toolTip()
    table.table.selectRow(0)
    assert table.trust.explain.isEnabled()
    assert model_of(table.lesions, "classify") == "lung-nodule-malignancy"
    wait(lambda: not session.saver.busy)


@pytest.mark.slow
def test_a_click_explains_the_selected_lesion(opened, qtbot: QtBot, wait: Callable) -> None:
    session, scan, table = opened
    table.table.selectRow(0)
    qtbot.mouseClick(table.trust.explain, Qt.LeftButton)
    qtbot.mouseClick(table.trust.explain, Qt.LeftButton)  # one at a time
    assert table.progress.running
    wait(lambda: not table.progress.running, 280)
    assert "Integrated gradients, lesion 3, “likely malignant”" in table.trust.told.text()
    layer = session.map_layer_of(scan, layers.SALIENCY)
    hottest = layer.data_to_world(np.unravel_index(np.abs(layer.data).argmax(), layer.data.shape))
    gap = hottest - layers.to_viewer(scan.geometry, table.lesions.lesion(3).centroid_mm)
    assert np.linalg.norm(gap) < 24  # within the patch that the network saw


@pytest.mark.slow
def test_explaining_can_be_cancelled(opened, qtbot: QtBot, wait: Callable) -> None:
    session, scan, table = opened
    table.table.selectRow(0)
    qtbot.mouseClick(table.trust.explain, Qt.LeftButton)
    wait(lambda: table.progress.bar.maximum() > 0 or not table.progress.running, 200)
    table.progress.cancel.click()
    wait(lambda: not table.progress.running, 120)
    assert "cancelled" in table.progress.text.text()
    assert session.map_layer_of(scan, layers.SALIENCY) is None
