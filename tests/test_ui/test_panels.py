"""The panels in a real window: what they show, and what clicks and keys do."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from heartbeat import Heartbeat, longest_pause_when_idle
from napari import Viewer
from napari.layers import Labels, Layer
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication, QMessageBox, QPushButton
from toy_bundles import metadata, organ_config, unet, write_bundle
from ui_scans import small_scan

from genomics.synthetic import write_synthetic_case
from napari_precimed.core.lesion import LesionSet
from napari_precimed.core.measure import measure
from napari_precimed.core.volume import Volume
from napari_precimed.io import read_volume
from napari_precimed.io.itk import write_volume
from napari_precimed.io.phantom import phantom_ct
from napari_precimed.models.catalogue import find
from napari_precimed.ui import layers
from napari_precimed.ui.desk import LESIONS, PATIENT, PLUGIN, SEGMENT, open_desk
from napari_precimed.ui.session import Session

pytestmark = pytest.mark.gui


def panel(viewer: Viewer, name: str):
    return viewer.window.add_plugin_dock_widget(PLUGIN, name)[1]


def add(viewer: Viewer, scan: Volume) -> None:
    viewer.add_layer(Layer.create(*layers.image_layer(scan)))


def three_lesions(scan: Volume) -> LesionSet:
    """Labels 2, 9 and 10, whose volumes go the other way."""
    labels = np.zeros(scan.geometry.shape, np.int32)
    labels[1:5, 4:14, 5:15] = 2
    labels[6:9, 20:26, 28:34] = 9
    labels[10:12, 30:33, 3:6] = 10
    return measure(labels, scan, confidence={2: 0.5, 9: 0.9})


def column(table, name: str) -> list[str]:
    model = table.model()
    titles = [model.headerData(k, Qt.Horizontal) for k in range(model.columnCount())]
    return [model.index(row, titles.index(name)).data() for row in range(model.rowCount())]


def part_of_phantom() -> Volume:
    """A slab of the phantom with a lesion in it: enough for the model, and quick."""
    whole = phantom_ct()
    slab = np.ascontiguousarray(whole.array[40:56])
    return replace(whole, array=slab, geometry=whole.geometry.cropped((40, 0, 0), slab.shape))


@pytest.fixture
def lesions_open(viewer: Viewer, wait: Callable):
    scan, table = small_scan(), panel(viewer, LESIONS)
    add(viewer, scan)
    session = Session.of(viewer)
    session.set_lesions(scan, three_lesions(scan))
    yield viewer, scan, table
    wait(lambda: not session.saver.busy)


def test_the_lesion_table_sorts_by_number_and_unknown_is_last(lesions_open) -> None:
    _, _, widget = lesions_open
    table = widget.table
    assert column(table, "No.") == ["2", "9", "10"]
    table.sortByColumn(1, Qt.AscendingOrder)
    assert column(table, "No.") == ["10", "9", "2"]
    table.sortByColumn(0, Qt.DescendingOrder)
    assert column(table, "No.") == ["10", "9", "2"]
    for order in (Qt.AscendingOrder, Qt.DescendingOrder):
        table.sortByColumn(4, order)
        assert column(table, "Sure")[-1] == "–"


def test_a_click_and_the_arrow_keys_jump_to_the_lesion(lesions_open, qtbot: QtBot) -> None:
    viewer, scan, widget = lesions_open
    table = widget.table
    lesions = widget.lesions
    cell = table.visualRect(table.model().index(1, 1)).center()
    qtbot.mouseClick(table.viewport(), Qt.LeftButton, pos=cell)
    x, y, z = lesions.lesion(9).centroid_mm
    assert np.allclose(viewer.scene.camera.center, (-z, y, x))
    qtbot.keyClick(table, Qt.Key_Down)
    x, y, z = lesions.lesion(10).centroid_mm
    assert np.allclose(viewer.scene.camera.center, (-z, y, x))
    assert abs(viewer.dims.point[0] + z) <= scan.geometry.spacing_mm[0] / 2


def test_painting_offers_to_measure_again(lesions_open, wait: Callable) -> None:
    viewer, scan, widget = lesions_open
    assert widget.measure.isHidden()
    labels = Session.of(viewer).layer_of(scan, Labels)
    labels.data_setitem((np.array([11]), np.array([0]), np.array([0])), 33)
    assert not widget.measure.isHidden()
    assert len(widget.lesions) == 3
    widget.measure.click()
    wait(lambda: not widget.progress.running)
    assert [lesion.label for lesion in widget.lesions] == [2, 9, 10, 33]
    assert widget.lesions.lesion(33).touches_border
    assert "edit labels" in [run.task for run in widget.lesions.runs]
    assert widget.measure.isHidden()


def test_the_table_is_saved_as_csv(lesions_open, tmp_path: Path, wait: Callable) -> None:
    _, _, widget = lesions_open
    widget.export_csv(tmp_path / "lesions.csv")
    wait(lambda: not widget.progress.running)
    assert (tmp_path / "lesions.csv").read_text().count("\n") == 4
    assert "lesions.csv" in widget.written.text()


def test_the_report_is_written_from_the_window(
    lesions_open, tmp_path: Path, wait: Callable
) -> None:
    _, _, widget = lesions_open
    widget.write_report(tmp_path / "report")
    wait(lambda: not widget.progress.running, 180)
    written = {path.name for path in (tmp_path / "report").iterdir()}
    assert {"report.html", "report.pdf", "lesions.csv", "labels.nii.gz", "run.json"} <= written


def test_segmenting_needs_a_scan_and_says_so(viewer: Viewer) -> None:
    widget = panel(viewer, SEGMENT)
    assert not widget.run.isEnabled()
    assert "Open a scan first" in widget.about.text()
    add(viewer, small_scan())
    assert widget.run.isEnabled()
    assert widget.model.currentText()
    assert [widget.device.itemData(k) for k in range(4)] == ["auto", "cpu", "cuda", "mps"]


def test_a_model_of_several_channels_asks_for_each_scan(
    viewer: Viewer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels = metadata({0: "background", 1: "tumour"}, {0: "T1", 1: "FLAIR"}, "MR")
    write_bundle(tmp_path / "two", organ_config(network_def=unet(inputs=2)), channels)
    monkeypatch.setenv("PRECIMED_MODELS", str(tmp_path))
    widget = panel(viewer, SEGMENT)
    first = replace(small_scan(), series_description="FLAIR axial", series_uid="1.1")
    second = replace(small_scan(), series_description="T1 native", series_uid="1.2")
    add(viewer, first)
    add(viewer, second)
    assert widget.channels.isHidden()
    assert widget.channels.chosen() == {}
    widget.model.setCurrentIndex(widget.model.findText("two"))
    assert not widget.channels.isHidden()
    chosen = widget.channels.chosen()
    assert [chosen[name].series_uid for name in ("T1", "FLAIR")] == ["1.2", "1.1"]
    widget.channels.boxes["T1"].setCurrentIndex(0)
    assert widget.channels.chosen()["T1"].series_uid == "1.1"
    widget.model.setCurrentIndex(0)
    assert widget.channels.isHidden()


@pytest.mark.slow
def test_a_model_that_wants_code_asks_once_and_runs_nothing_on_no(
    viewer: Viewer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait: Callable
) -> None:
    folder = write_bundle(tmp_path / "odd", organ_config(), metadata())
    config = organ_config(network_def={**unet(), "channels": "$[c for c in (4, 8)]"})
    (folder / "configs" / "inference.json").write_text(json.dumps(config))
    monkeypatch.setenv("PRECIMED_MODELS", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    widget = panel(viewer, SEGMENT)
    add(viewer, small_scan())
    widget.model.setCurrentIndex(widget.model.findText("odd"))
    seen = click("Do not run it")
    widget.run.click()
    wait(lambda: not widget.result.isHidden(), 280)  # the computing process imports torch
    assert "odd" in seen[0]
    assert "not trusted" in widget.result.text()
    assert Session.of(viewer).case.lesion_sets == ()


@pytest.mark.slow
@pytest.mark.skipif(
    not find("lung-nodule").weights.exists(), reason="the lung-nodule weights are not here"
)
def test_the_phantom_is_segmented_while_the_window_answers(viewer: Viewer, wait: Callable) -> None:
    widget, table = panel(viewer, SEGMENT), panel(viewer, LESIONS)
    add(viewer, part_of_phantom())
    session = Session.of(viewer)
    arrived: list[float] = []
    session.lesions_changed.connect(lambda: arrived.append(time.perf_counter()))
    idle_s = longest_pause_when_idle()
    heart = Heartbeat()
    widget.run.click()
    widget.run.click()
    assert widget.progress.running
    assert not widget.run.isEnabled()
    wait(lambda: not widget.progress.running, 280)
    assert heart.longest_s(before=arrived[0]) < 0.1 + idle_s
    assert table.table.model().rowCount() == len(session.case.lesion_sets[0])
    assert session.case.lesion_sets[0].runs[0].model
    assert widget.run.isEnabled()
    wait(lambda: not session.saver.busy)


@pytest.mark.slow
@pytest.mark.skipif(
    not find("lung-nodule").weights.exists(), reason="the lung-nodule weights are not here"
)
def test_segmenting_can_be_cancelled(viewer: Viewer, wait: Callable) -> None:
    widget = panel(viewer, SEGMENT)
    add(viewer, part_of_phantom())
    widget.run.click()
    wait(lambda: widget.progress.bar.maximum() > 0, 200)
    widget.progress.cancel.click()
    wait(lambda: not widget.progress.running, 60)
    assert "cancelled" in widget.progress.text.text()
    assert Session.of(viewer).case.lesion_sets == ()
    assert widget.run.isEnabled()


def test_the_banner_names_the_patient(viewer: Viewer) -> None:
    widget = panel(viewer, PATIENT)
    assert widget.who.text() == "No patient is open"
    add(viewer, small_scan("P-1"))
    assert widget.who.text() == "Patient P-1"
    assert "CT · 2024-01-31 · 1 scan" in widget.what.text()
    widget.close_case.click()
    assert widget.who.text() == "No patient is open"
    assert len(viewer.layers) == 0


def test_closing_and_reopening_brings_all_back(
    viewer: Viewer, make_napari_viewer: Callable[..., Viewer], tmp_path: Path, wait: Callable
) -> None:
    path = tmp_path / "chest.nii.gz"
    write_volume(path, small_scan())
    files = write_synthetic_case(tmp_path, "S-1")
    session, widget = Session.of(viewer), panel(viewer, PATIENT)
    add(viewer, read_volume(path))
    session.set_lesions(session.volumes[0], three_lesions(session.volumes[0]))
    widget.variants.reference.choose(files.fasta)
    widget.variants.genes.choose(files.gff3)
    click("They are the same person")
    widget.variants.load_vcf(files.vcf)
    wait(lambda: not widget.variants.progress.running, 180)
    wait(lambda: not session.saver.busy)
    ranked = [column(widget.variants.table, name) for name in ("Gene", "Change", "Score")]
    viewer.close()

    other = make_napari_viewer()
    widget = panel(other, PATIENT)
    wait(lambda: widget.recent.count() == 1)
    widget.recent.setCurrentRow(0)
    widget.reopen.click()
    wait(lambda: Session.of(other).case is not None)
    case = Session.of(other).case
    assert [lesion.label for lesion in case.lesion_sets[0]] == [2, 9, 10]
    assert case.sample_link.sample_id == "S-1"
    assert case.sample_link.reason == "mapped by the user"
    names = ("Gene", "Change", "Score")
    assert [column(widget.variants.table, name) for name in names] == ranked
    assert len(other.layers) == 3


def test_another_patients_variants_are_not_linked_without_a_yes(
    viewer: Viewer, tmp_path: Path
) -> None:
    files = write_synthetic_case(tmp_path, "NA-7")
    widget = panel(viewer, PATIENT)
    add(viewer, small_scan("P-1"))
    seen = click("Do not link")
    widget.variants.load_vcf(files.vcf)
    assert "NA-7" in seen[0]
    assert "P-1" in seen[0]
    assert not widget.variants.progress.running
    assert Session.of(viewer).case.variants is None


def test_a_variant_shows_what_is_known_of_it(
    viewer: Viewer, tmp_path: Path, wait: Callable, qtbot: QtBot
) -> None:
    files = write_synthetic_case(tmp_path, "P-1")
    widget = panel(viewer, PATIENT).variants
    add(viewer, small_scan("P-1"))
    widget.reference.choose(files.fasta)
    widget.genes.choose(files.gff3)
    widget.load_vcf(files.vcf)
    wait(lambda: not widget.progress.running, 180)
    report = Session.of(viewer).case.variants
    assert widget.table.model().rowCount() == len(report.scored)
    first = report.ranked()[0]
    widget.table.selectRow(0)
    text = widget.details.toPlainText()
    assert first.variant.key in text
    assert first.consequence.gene in text
    unscored = [s for s in column(widget.table, "Score") if s == "–"]
    assert len(unscored) == sum(report.ledger["not_scored"].values())
    wait(lambda: not Session.of(viewer).saver.busy)


def test_the_desk_fits_1280_by_800_and_keys_reach_every_button(viewer: Viewer) -> None:
    viewer.window.resize(1280, 800)
    open_desk(viewer)
    open_desk(viewer)
    QApplication.processEvents()
    names = [name.split(" (")[0] for name in viewer.window.dock_widgets]
    assert sorted(names).count(LESIONS) == 1
    window = panel(viewer, LESIONS).window()
    assert window.minimumSizeHint().height() <= 800
    assert window.minimumSizeHint().width() <= 1280
    for name in (PATIENT, SEGMENT, LESIONS):
        for button in panel(viewer, name).findChildren(QPushButton):
            assert button.focusPolicy() & Qt.TabFocus
            assert button.sizeHint().width() <= 200


def click(button: str) -> list[str]:
    """Answer the next message box; what it said is in the list that is returned."""
    seen: list[str] = []

    def answer() -> None:
        box = QApplication.activeModalWidget()
        if not isinstance(box, QMessageBox):
            QTimer.singleShot(20, answer)
            return
        seen.append(box.text())
        next(b for b in box.buttons() if b.text().replace("&", "") == button).click()

    QTimer.singleShot(0, answer)
    return seen
