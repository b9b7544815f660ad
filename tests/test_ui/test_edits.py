"""Edits in the labels layer: none is missing from what is written, none is lost without a word."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from napari import Viewer
from napari.layers import Labels, Layer
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QMessageBox
from ui_scans import small_scan

from napari_precimed.core.measure import measure
from napari_precimed.core.patient import Case
from napari_precimed.core.volume import Volume
from napari_precimed.io import read_volume
from napari_precimed.io.itk import write_volume
from napari_precimed.store import CaseStore
from napari_precimed.ui import layers
from napari_precimed.ui.desk import LESIONS, PATIENT, PLUGIN
from napari_precimed.ui.session import Session

pytestmark = pytest.mark.gui

MEASURE, DISCARD, CANCEL = "Measure and save", "Discard the edits", "Cancel"


def panel(viewer: Viewer, name: str):
    return viewer.window.add_plugin_dock_widget(PLUGIN, name)[1]


def one_lesion(scan: Volume) -> np.ndarray:
    labels = np.zeros(scan.geometry.shape, np.int32)
    labels[2:6, 8:18, 10:20] = 1
    return labels


def paint(labels: Labels) -> None:
    """Draw a lesion of two voxels, label 4, at (7, 3, 5) and (7, 4, 5)."""
    labels.data_setitem((np.array([7, 7]), np.array([3, 4]), np.array([5, 5])), 4)


@pytest.fixture
def edited(viewer: Viewer, tmp_path: Path, wait: Callable):
    """A patient with one lesion, which the reader has just wiped away; the case is saved."""
    write_volume(tmp_path / "chest.nii.gz", small_scan())
    scan, session = read_volume(tmp_path / "chest.nii.gz"), Session.of(viewer)
    scan = replace(scan, patient_id="P-1")  # a NIfTI file names nobody
    viewer.add_layer(Layer.create(*layers.image_layer(scan)))
    session.set_lesions(scan, measure(one_lesion(scan), scan))
    drawn = session.layer_of(scan, Labels)
    drawn.data_setitem(np.nonzero(drawn.data), 0)
    wait(lambda: not session.saver.busy)
    yield viewer, scan, session
    wait(lambda: not session.saver.busy)


def stored_lesions(url: str) -> int:
    store = CaseStore(url)
    try:
        return next(iter(store.summaries())).n_lesions
    finally:
        store.close()


def answer(button: str) -> list[str]:
    """Click a button of the message box that is about to open; the list gets what it asked."""
    asked: list[str] = []

    def click() -> None:
        box = QApplication.activeModalWidget()
        if not isinstance(box, QMessageBox):
            QTimer.singleShot(20, click)
            return
        asked.append(box.text())
        next(b for b in box.buttons() if b.text().replace("&", "") == button).click()

    QTimer.singleShot(0, click)
    return asked


def test_a_lesion_that_was_wiped_away_is_not_in_the_report(
    edited, tmp_path: Path, wait: Callable
) -> None:
    viewer, scan, session = edited
    widget, out = panel(viewer, LESIONS), tmp_path / "report"
    assert widget.report.isEnabled()
    assert not widget.measure.isHidden()
    widget.write_report(out)
    wait(lambda: not widget.progress.running, 180)
    assert (out / "lesions.csv").read_text().count("\n") == 1
    assert len(session.lesions_of(scan)) == 0
    assert "edited by hand" in (out / "report.html").read_text()
    assert "edited by hand" in json.dumps(json.loads((out / "run.json").read_text()))
    assert widget.measure.isHidden()


def test_a_lesion_that_was_drawn_is_in_the_saved_table(
    edited, tmp_path: Path, wait: Callable
) -> None:
    viewer, scan, session = edited
    widget = panel(viewer, LESIONS)
    paint(session.layer_of(scan, Labels))
    widget.export_csv(tmp_path / "lesions.csv")
    wait(lambda: not widget.progress.running)
    assert [lesion.label for lesion in session.lesions_of(scan)] == [4]
    assert (tmp_path / "lesions.csv").read_text().count("\n") == 2
    assert "lesions.csv" in widget.written.text()


def test_what_is_painted_while_measuring_stays_and_waits_for_the_next_time(
    edited, wait: Callable
) -> None:
    viewer, scan, session = edited
    widget, drawn = panel(viewer, LESIONS), session.layer_of(scan, Labels)
    widget.measure_again()
    paint(drawn)
    wait(lambda: not widget.progress.running)
    assert len(session.lesions_of(scan)) == 0
    assert drawn.data[7, 3, 5] == 4
    assert session.edited_scans() == (scan,)
    assert not widget.measure.isHidden()


def test_undoing_the_edit_leaves_nothing_to_measure(edited) -> None:
    _, scan, session = edited
    session.layer_of(scan, Labels).undo()
    assert session.edited_scans() == ()


def test_a_place_that_cannot_be_written_is_told_before_measuring(
    edited, tmp_path: Path, wait: Callable
) -> None:
    viewer, scan, session = edited
    widget, file = panel(viewer, LESIONS), tmp_path / "a file"
    file.write_text("in the way")
    for write in (widget.write_report, widget.export_csv):
        told = len(notification_manager.records)
        write(file / "inside")
        wait(lambda: not widget.progress.running)
        (note,) = list(notification_manager.records)[told:]
        assert str(file) in note.message
        assert "file, not a folder" in note.message
    assert len(session.lesions_of(scan)) == 1
    assert widget.written.isHidden()


@pytest.mark.parametrize(("button", "open_after", "kept"), [
    (CANCEL, True, 1), (DISCARD, False, 1), (MEASURE, False, 0),
])  # fmt: skip
def test_closing_a_patient_asks_about_edits(
    edited, private_database: str, wait: Callable, button: str, open_after: bool, kept: int
) -> None:
    viewer, _, session = edited
    asked = answer(button)
    panel(viewer, PATIENT).close_case.click()
    assert "P-1" in asked[0]
    wait(lambda: (session.case is not None) == open_after)
    assert stored_lesions(private_database) == kept
    assert bool(session.edited_scans()) == open_after


def test_reopening_asks_and_brings_back_what_was_measured(edited, wait: Callable) -> None:
    viewer, scan, session = edited
    widget, before = panel(viewer, PATIENT), session.case
    answer(CANCEL)
    widget.reopen_case(before.id)
    assert session.case is before
    answer(MEASURE)
    widget.reopen_case(before.id)
    wait(lambda: session.case is not None and session.volumes[0] is not scan)
    assert session.case.id == before.id
    assert len(session.lesions_of(session.volumes[0])) == 0


def test_no_question_without_edits(edited, wait: Callable) -> None:
    viewer, scan, session = edited
    session.layer_of(scan, Labels).undo()
    panel(viewer, PATIENT).close_case.click()
    assert session.case is None


def test_edits_are_kept_if_the_case_cannot_be_saved(
    edited, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait: Callable
) -> None:
    viewer, _, session = edited
    states: list[str] = []
    session.saver.state_changed.connect(states.append)
    (tmp_path / "no folder").write_text("in the way")
    monkeypatch.setenv("PRECIMED_DATABASE", f"sqlite:///{tmp_path / 'no folder' / 'cases.sqlite'}")
    answer(MEASURE)
    panel(viewer, PATIENT).close_case.click()
    wait(lambda: "Not saved" in states and not session.saver.busy)
    assert session.case is not None


def test_another_patients_scan_waits_for_the_answer_about_edits(edited, wait: Callable) -> None:
    _, _, session = edited
    answer(MEASURE)
    session.leave(lambda: session.open_case(Case.of(small_scan("P-2", name="other"))))
    wait(lambda: session.case.patient.id == "P-2")
    assert len(session.volumes) == 1
