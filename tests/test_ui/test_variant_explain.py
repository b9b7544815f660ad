"""What the window says of a score, and how it explains one: real models in a real window."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from heartbeat import Heartbeat, longest_pause_when_idle
from napari import Viewer
from napari.layers import Layer
from napari.utils.notifications import notification_manager
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage
from qtpy.QtWidgets import QApplication
from ui_scans import small_scan

from genomics.report import ScoredVariant, VariantReport
from genomics.score import score_vcf
from genomics.synthetic import SyntheticCase, write_synthetic_case
from napari_precimed.ui.desk import PATIENT, PLUGIN
from napari_precimed.ui.layers import image_layer
from napari_precimed.ui.session import Session
from napari_precimed.ui.variant_explain import ExplanationDialog
from napari_precimed.ui.variant_panel import VariantPanel
from napari_precimed.ui.variant_text import details_html, score_text

pytestmark = pytest.mark.gui


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> SyntheticCase:
    return write_synthetic_case(tmp_path_factory.mktemp("case"), "P-1")


@pytest.fixture(scope="module")
def report(files: SyntheticCase) -> VariantReport:
    return score_vcf(files.vcf, reference=files.fasta, genes=files.gff3)


@pytest.fixture
def panel(viewer: Viewer, report: VariantReport, wait: Callable) -> Iterator[VariantPanel]:
    """The scored variants of the open patient P-1; no reference and no genes are chosen."""
    widget = viewer.window.add_plugin_dock_widget(PLUGIN, PATIENT)[1].variants
    viewer.add_layer(Layer.create(*image_layer(small_scan("P-1"))))
    session = Session.of(viewer)
    session.set_variants(report)
    yield widget
    wait(lambda: not session.saver.busy)


def scored(report: VariantReport) -> ScoredVariant:
    return next(each for each in report.ranked() if each.score is not None)


def dialogs() -> list[ExplanationDialog]:
    return [each for each in QApplication.topLevelWidgets() if isinstance(each, ExplanationDialog)]


def test_no_call_and_evidence_are_in_the_row_and_in_the_details(
    panel: VariantPanel, viewer: Viewer, report: VariantReport
) -> None:
    session, one = Session.of(viewer), scored(report)
    held = replace(one, score=0.45, abstention="undecided: between 0.18 and 0.82", evidence=None)
    call = replace(one, score=0.999, abstention=None, evidence="PP3_very_strong")
    session.set_variants(replace(report, scored=(held, call)))
    model = panel.table.model()
    assert [model.index(row, 2).data() for row in range(2)] == [">0.99", "0.45, no call"]
    tip = model.index(1, 2).data(Qt.ToolTipRole)
    assert "undecided: between 0.18 and 0.82" in tip
    panel.table.selectRow(1)
    text = panel.details.toPlainText()
    assert "undecided: between 0.18 and 0.82" in text
    assert "none (neither PP3 nor BP4)" in text
    panel.table.selectRow(0)
    text = panel.details.toPlainText()
    assert "PP3, very strong (for pathogenic)" in text
    assert "No call" not in text


def test_every_variant_of_a_real_report_shows_what_the_report_holds(report: VariantReport) -> None:
    assert any(each.abstention for each in report.scored)
    for each in report.scored:
        text = details_html(each)
        assert (", no call" in score_text(each)) == (each.abstention is not None)
        assert ("<b>No call</b>" in text) == (each.abstention is not None)
        assert ("<b>Weakened by</b>" in text) == bool(
            each.classification and each.classification.exceptions
        )


def test_what_is_missing_for_an_explanation_is_said(
    panel: VariantPanel, report: VariantReport, files: SyntheticCase
) -> None:
    row = panel.explain
    assert "Choose a variant" in row.missing.text()
    panel.table.select(scored(report))
    assert not row.button.isEnabled()
    assert "Reference… and Genes…" in row.missing.text()
    panel.reference.choose(files.fasta)
    assert "Reference" not in row.missing.text()
    assert "Genes…" in row.missing.text()
    panel.genes.choose(files.gff3)
    assert row.button.isEnabled()
    assert row.missing.text() == ""
    panel.table.select(next(each for each in report.scored if each.score is None))
    assert not row.button.isEnabled()
    assert "no score" in row.missing.text()


def test_a_score_is_explained_beside_the_gui_thread_and_the_picture_is_kept(
    panel: VariantPanel,
    report: VariantReport,
    files: SyntheticCase,
    tmp_path: Path,
    wait: Callable,
    qtbot: QtBot,
) -> None:
    one = scored(report)
    panel.reference.choose(files.fasta)
    panel.genes.choose(files.gff3)
    panel.table.select(one)
    idle_s = longest_pause_when_idle()
    heart = Heartbeat()
    qtbot.mouseClick(panel.explain.button, Qt.LeftButton)
    assert panel.progress.running
    assert not panel.explain.button.isEnabled()
    wait(lambda: not panel.progress.running, 120)
    heart.stop()
    assert heart.longest_s() < 0.5 + max(idle_s, longest_pause_when_idle())
    (dialog,) = dialogs()
    assert "P-1" in dialog.windowTitle()
    assert one.consequence.hgvs_p in dialog.windowTitle()
    assert not dialog.note.text()  # it explains the very score of the table
    assert panel.explain.button.isEnabled()
    assert dialog.height() <= dialog.screen().availableSize().height()

    png, tsv = tmp_path / "why.png", tmp_path / "why.tsv"
    dialog.save_as(png)
    dialog.save_as(tsv)
    wait(lambda: png.exists() and tsv.exists())
    assert QImage(str(png)).width() >= 2000
    said = dict(line[2:].split("\t")[:2] for line in tsv.read_text().splitlines()[:6])
    assert said["variant"].startswith(one.variant.key)
    assert float(said["score"]) == pytest.approx(one.score, abs=1e-3)
    dialog.close()


def test_another_reading_than_the_tables_is_told_and_a_wrong_reference_is_a_message(
    viewer: Viewer, panel: VariantPanel, report: VariantReport, files: SyntheticCase,
    tmp_path: Path, wait: Callable,
) -> None:  # fmt: skip
    messages: list[Any] = []
    notification_manager.notification_ready.connect(lambda n: messages.append(n.message))
    one = scored(report)
    other = replace(one, score=one.score / 2, abstention="undecided: between 0.18 and 0.82")
    Session.of(viewer).set_variants(replace(report, scored=(other,)))
    panel.reference.choose(files.fasta)
    panel.genes.choose(files.gff3)
    panel.table.select(other)
    panel.explain.button.click()
    wait(lambda: not panel.progress.running, 120)
    (dialog,) = dialogs()
    assert f"{one.score:.2f}" in dialog.note.text()
    assert f"{other.score:.2f}" in dialog.note.text()
    assert "no call (undecided: between 0.18 and 0.82)" in dialog.note.text()
    dialog.close()
    QApplication.processEvents()

    wrong = tmp_path / "wrong.fa"
    wrong.write_text(">demo1\n" + "N" * 24_000 + "\n")
    panel.reference.choose(wrong)
    panel.explain.button.click()
    wait(lambda: not panel.progress.running, 120)
    assert dialogs() == []
    (message,) = messages
    assert "the reference wrong.fa has N there" in message
    assert message in panel.progress.text.text()  # the notification is cut, the panel is not
