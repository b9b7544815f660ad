"""One open patient per viewer: opening, asking, refusing, closing, and keeping."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import numpy as np
import pytest
from napari import Viewer
from napari.layers import Image, Labels, Layer, Vectors
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QMessageBox
from ui_scans import small_scan

from genomics.report import VariantReport
from napari_precimed.core.lesion import LesionSet
from napari_precimed.core.measure import measure
from napari_precimed.core.volume import Volume
from napari_precimed.errors import PatientMismatchError
from napari_precimed.store import CaseStore
from napari_precimed.ui import layers
from napari_precimed.ui.session import Session

pytestmark = pytest.mark.gui


def add(viewer: Viewer, scan: Volume) -> Layer:
    return viewer.add_layer(Layer.create(*layers.image_layer(scan)))


def two_lesions(scan: Volume) -> LesionSet:
    labels = np.zeros(scan.geometry.shape, np.int32)
    labels[2:5, 4:12, 5:10] = 1
    labels[8:11, 25:33, 28:34] = 2
    return measure(labels, scan)


def answer(*buttons: str) -> None:
    """Click a button of each of the message boxes that are about to open."""
    waiting = list(buttons)

    def click() -> None:
        box = QApplication.activeModalWidget()
        offered = box.buttons() if isinstance(box, QMessageBox) else []
        wanted = [b for b in offered if b.text().replace("&", "") == waiting[0]]
        if wanted:
            waiting.pop(0)
        if waiting:
            QTimer.singleShot(20, click)
        if wanted:
            wanted[0].click()

    QTimer.singleShot(0, click)


def test_each_viewer_has_one_session_that_sees_what_is_already_open(viewer: Viewer) -> None:
    add(viewer, small_scan())
    session = Session.of(viewer)
    assert Session.of(viewer) is session
    assert session.case.patient.id == "P-1"
    assert len(session.volumes) == 1


def test_a_second_scan_of_the_patient_extends_the_case(viewer: Viewer) -> None:
    session = Session.of(viewer)
    add(viewer, small_scan(name="before"))
    add(viewer, small_scan(name="after"))
    assert [v.series_description for v in session.volumes] == ["before", "after"]


def test_the_same_series_read_twice_is_one_scan(viewer: Viewer) -> None:
    session = Session.of(viewer)
    add(viewer, small_scan())
    add(viewer, small_scan())
    assert len(session.volumes) == 1


@pytest.mark.parametrize(
    ("button", "patients", "layers_left"),
    [("Do not open it", "P-1", 1), ("Open as another patient", "P-2", 1)],
)
def test_another_patients_scan_is_asked_about(
    viewer: Viewer, wait: Callable, button: str, patients: str, layers_left: int
) -> None:
    session = Session.of(viewer)
    add(viewer, small_scan("P-1"))
    answer(button)
    foreign = add(viewer, small_scan("P-2", name="other"))
    wait(lambda: foreign not in viewer.layers)
    assert session.case.patient.id == patients
    assert len(session.volumes) == len(viewer.layers) == layers_left


def test_a_scan_without_a_name_joins_only_if_the_user_says_so(
    viewer: Viewer, wait: Callable
) -> None:
    session = Session.of(viewer)
    add(viewer, small_scan("P-1"))
    answer("Same patient")
    add(viewer, small_scan(None, name="anonymous"))
    wait(lambda: len(session.volumes) == 2)
    assert session.case.patient.id == "P-1"


@pytest.mark.parametrize(
    ("button", "patient"), [("They are the same person", "P-1"), ("Do not link", None)]
)
def test_an_id_that_becomes_known_needs_a_yes_for_the_sample_too(
    viewer: Viewer, wait: Callable, button: str, patient: str | None
) -> None:
    session = Session.of(viewer)
    add(viewer, small_scan(None, name="anonymous"))
    session.set_variants(VariantReport("EVE", ()), mapped=True)
    answer("Same patient", button)
    named = add(viewer, small_scan("P-1", name="named"))
    wait(lambda: session.case.patient.id == "P-1" or named not in viewer.layers)
    assert session.case.patient.id == session.case.sample_link.patient_id == patient
    assert len(session.volumes) == (2 if patient else 1)
    wait(lambda: not session.saver.busy)


def test_lesions_become_layers_and_are_kept(viewer: Viewer, wait: Callable) -> None:
    session, scan = Session.of(viewer), small_scan()
    add(viewer, scan)
    session.set_lesions(scan, two_lesions(scan))
    assert [type(layer) for layer in viewer.layers] == [Image, Labels, Vectors]
    wait(lambda: not session.saver.busy)
    store = CaseStore()
    assert [s.n_lesions for s in store.summaries()] == [2]
    store.close()


def test_new_lesions_are_one_step_that_can_be_undone(viewer: Viewer, wait: Callable) -> None:
    session, scan = Session.of(viewer), small_scan()
    add(viewer, scan)
    first = two_lesions(scan)
    session.set_lesions(scan, first)
    labels = session.layer_of(scan, Labels)
    axes = session.layer_of(scan, Vectors)
    other = first.labels.copy()
    other[other == 2] = 0
    session.set_lesions(scan, measure(other, scan))
    assert session.layer_of(scan, Labels) is labels
    assert np.array_equal(labels.data, other)
    assert len(axes.data) == len(axes.edge_color) == 2
    labels.undo()
    assert np.array_equal(labels.data, first.labels)
    assert len(viewer.layers) == 3
    wait(lambda: not session.saver.busy)


def test_a_result_for_a_patient_closed_meanwhile_is_dropped(viewer: Viewer) -> None:
    session, scan = Session.of(viewer), small_scan()
    add(viewer, scan)
    lesions = two_lesions(scan)
    session.close_case()
    session.set_lesions(scan, lesions)
    assert session.case is None
    assert len(viewer.layers) == 0


def test_jumping_brings_the_lesion_to_the_middle(viewer: Viewer, wait: Callable) -> None:
    session, scan = Session.of(viewer), small_scan()
    add(viewer, scan)
    lesions = two_lesions(scan)
    session.set_lesions(scan, lesions)
    session.jump_to(scan, 2)
    x, y, z = lesions.lesion(2).centroid_mm
    assert np.allclose(viewer.scene.camera.center, (-z, y, x))
    step = abs(viewer.dims.point[0] + z)
    assert step <= scan.geometry.spacing_mm[0] / 2
    assert session.layer_of(scan, Labels).selected_label == 2
    wait(lambda: not session.saver.busy)


def test_removed_layers_break_nothing(viewer: Viewer, wait: Callable) -> None:
    session, scan = Session.of(viewer), small_scan()
    add(viewer, scan)
    session.set_lesions(scan, two_lesions(scan))
    viewer.layers.clear()
    session.jump_to(scan, 1)
    session.set_lesions(scan, two_lesions(scan))
    assert session.layer_of(scan, Labels) is not None
    session.close_case()
    wait(lambda: not session.saver.busy)


def test_variants_of_another_sample_are_refused_until_mapped(
    viewer: Viewer, wait: Callable
) -> None:
    session = Session.of(viewer)
    add(viewer, small_scan("P-1"))
    report = VariantReport("NA-7", ())
    with pytest.raises(PatientMismatchError, match=r"P-1.*NA-7"):
        session.set_variants(report)
    assert session.case.variants is None
    session.set_variants(report, mapped=True)
    assert session.case.sample_link.reason == "mapped by the user"
    wait(lambda: not session.saver.busy)


def test_the_session_goes_with_its_viewer(make_napari_viewer: Callable[..., Viewer]) -> None:
    viewer = make_napari_viewer()
    kept = weakref.ref(Session.of(viewer))
    viewer.close()
    del viewer
    gc.collect()
    assert kept() is None or kept()._viewer() is None
