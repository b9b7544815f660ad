"""The lesion table: one row per lesion, a click goes there; tables and the report go to files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari import Viewer
from napari.layers import Labels
from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_precimed.core.lesion import Lesion, LesionSet
from napari_precimed.core.patient import Case
from napari_precimed.core.volume import Volume
from napari_precimed.ui.edits import in_turn, measuring, measuring_all
from napari_precimed.ui.layers import volume_name
from napari_precimed.ui.progress_row import ProgressRow
from napari_precimed.ui.session import Session
from napari_precimed.ui.tables import Column, RecordTable
from napari_precimed.ui.trust_row import TrustRow
from napari_precimed.ui.worker import Task

UNKNOWN = "–"
_NO_LESIONS = "No lesions yet: run a model in the Segment panel."


class LesionTable(QWidget):
    """The lesions of one scan of the open patient."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._session = Session.of(napari_viewer)
        self._watched: Any = None
        self.volume = QComboBox(self)
        self.volume.setSizeAdjustPolicy(QComboBox.AdjustToMinimumContentsLengthWithIcon)
        self.summary = QLabel(self)
        self.table = RecordTable(lesion_columns(self._colour), self)
        self.export = QPushButton("Save table…", self)
        self.export.setToolTip("Save this table as CSV")
        self.report = QPushButton("Report…", self)
        self.report.setToolTip("Write report (HTML and PDF), tables and labels into a folder")
        self.measure = QPushButton("Measure again", self)
        self.measure.setToolTip("The labels were edited: measure what is drawn now")
        self.progress = ProgressRow(self)
        self.trust = TrustRow(
            self._session, self.progress, lambda: self.scan, self.table.current, self
        )
        self.written = QLabel(self)
        self._lay_out()
        self.table.chosen.connect(self._jump)
        self.table.chosen.connect(lambda _: self.trust.refresh())
        self.volume.currentIndexChanged.connect(self.refresh)
        self.export.clicked.connect(self._ask_export)
        self.report.clicked.connect(self._ask_report)
        self.measure.clicked.connect(self.measure_again)
        self._session.case_changed.connect(self._list_volumes)
        self._session.lesions_changed.connect(self.refresh)
        self._list_volumes()

    @property
    def scan(self) -> Volume | None:
        """The scan whose lesions are listed."""
        return self.volume.currentData()

    @property
    def lesions(self) -> LesionSet | None:
        """The lesions listed."""
        return self._session.lesions_of(self.scan)

    def refresh(self) -> None:
        """List the lesions as they are now."""
        lesions, edited = self.lesions, self._is_edited()
        self.table.show_records(lesions.lesions if lesions else ())
        if lesions is None:
            self.summary.setText(_NO_LESIONS)
        else:
            total = sum(lesion.volume_mm3 for lesion in lesions)
            plural = "" if len(lesions) == 1 else "s"
            self.summary.setText(f"{len(lesions)} lesion{plural}, together {total:,.0f} mm³")
        self.export.setEnabled(lesions is not None or edited)
        self.report.setEnabled(self._session.case is not None)
        self.measure.hide()
        self.trust.forget()
        self.trust.refresh()
        self._watch()
        if edited:
            self._edited()

    def export_csv(self, path: Path) -> None:
        """Save the table, of what is drawn now; off the GUI thread."""
        from napari_precimed.core.files import check_writable
        from napari_precimed.export.table import write_lesions_csv

        self._write(
            Task("Checking the file", check_writable, path, reports=False),
            lambda case: Task("Saving the table", write_lesions_csv, path, case, reports=False),
            path,
        )

    def write_report(self, folder: Path) -> None:
        """Write report, tables and labels, of what is drawn now; in the computing process."""
        from napari_precimed.pipeline import check_output_folder

        self._write(
            Task("Checking the folder", check_output_folder, folder, reports=False),
            lambda case: Task.in_process(
                "Writing the report",
                "napari_precimed.pipeline:write_results",
                case,
                folder,
                hooks=False,
            ),
            folder / "report.html",
        )

    def measure_again(self) -> None:
        """Measure the labels as the user has edited them."""
        volume, session = self.scan, self._session
        if volume is None or session.layer_of(volume, Labels) is None or self.progress.running:
            return
        in_turn([lambda: measuring(session, volume)], self.progress.follow)

    def _lay_out(self) -> None:
        self.written.setOpenExternalLinks(True)
        self.written.setWordWrap(True)
        self.written.setTextInteractionFlags(Qt.TextBrowserInteraction)
        self.summary.setWordWrap(True)
        for label in (self.written, self.summary):
            label.setSizePolicy(QSizePolicy.Ignored, QSizePolicy.Minimum)
        buttons = QHBoxLayout()
        for button in (self.export, self.report, self.measure):
            buttons.addWidget(button)
        buttons.addStretch()
        layout = QVBoxLayout(self)
        layout.addWidget(self.volume)
        layout.addWidget(self.summary)
        layout.addWidget(self.table, 1)
        layout.addLayout(buttons)
        layout.addWidget(self.trust)
        layout.addWidget(self.progress)
        layout.addWidget(self.written)
        self.table.setMinimumHeight(84)
        self.written.hide()

    def _list_volumes(self) -> None:
        chosen = self.scan
        self.volume.blockSignals(True)
        self.volume.clear()
        for volume in self._session.volumes:
            self.volume.addItem(volume_name(volume), volume)
        rows = [k for k, volume in enumerate(self._session.volumes) if volume is chosen]
        self.volume.setCurrentIndex(rows[0] if rows else 0)
        self.volume.blockSignals(False)
        self.volume.setVisible(self.volume.count() > 1)
        self.refresh()

    def _watch(self) -> None:
        """Notice when the user paints in the labels layer: the measurements are then old."""
        volume = self.scan
        layer = self._session.layer_of(volume, Labels) if volume is not None else None
        if layer is self._watched:
            return
        if self._watched is not None:
            self._watched.events.labels_update.disconnect(self._edited)
            self._watched.events.data.disconnect(self._edited)
        if layer is not None:
            layer.events.labels_update.connect(self._edited)
            layer.events.data.connect(self._edited)
        self._watched = layer

    def _edited(self) -> None:
        self.summary.setText("The labels were edited; the numbers are from before.")
        self.measure.show()
        self.export.setEnabled(True)

    def _is_edited(self) -> bool:
        return self.scan is not None and self._session.is_edited(self.scan)

    def _jump(self, lesion: Lesion) -> None:
        if self.scan is not None:
            self._session.jump_to(self.scan, lesion.label)

    def _colour(self, lesion: Lesion) -> QColor | None:
        layer = self._session.layer_of(self.scan, Labels) if self.scan is not None else None
        if layer is None:
            return None
        red, green, blue, _ = layer.get_color(lesion.label)
        return QColor.fromRgbF(float(red), float(green), float(blue))

    def _ask_export(self) -> None:
        name, _ = QFileDialog.getSaveFileName(
            self, "Save the lesion table", "lesions.csv", "CSV (*.csv)"
        )
        if name:
            self.export_csv(Path(name))

    def _ask_report(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Folder for the report")
        if name:
            self.write_report(Path(name))

    def _write(self, check: Task, writing: Callable[[Case], Task], path: Path) -> None:
        """Check the place, measure what was edited, then write: all of the same case, or nothing.

        The check comes first, since nobody should wait for a measurement to learn that a folder
        cannot be written.
        """
        session, asked = self._session, self._session.case
        if asked is None or self.progress.running:
            return

        def write() -> Task | None:
            case = session.case
            return writing(case) if case is not None and case.id == asked.id else None

        self.written.hide()
        in_turn(
            [lambda: check, *measuring_all(session), write],
            self.progress.follow,
            lambda: self._tell_written(path),
        )

    def _tell_written(self, path: Path) -> None:
        url = QUrl.fromLocalFile(str(path)).toString()
        self.written.setText(f'Written: <a href="{url}">{path}</a>')
        self.written.show()


def lesion_columns(colour: Any = None) -> tuple[Column, ...]:
    """The columns of the lesion table; `colour` gives a lesion's colour in the picture."""

    def column(title: str, explanation: str, text: Any, value: Any, **more: Any) -> Column:
        return Column(title, explanation, text, value, **more)

    return (
        column("No.", "Label in the picture", lambda s: str(s.label), lambda s: s.label,
               colour=colour, numeric=True),
        column("mm³", "Volume", lambda s: f"{s.volume_mm3:,.0f}", lambda s: s.volume_mm3,
               numeric=True, tip=lambda s: f"{s.volume_mm3:,.1f} mm³"),
        column("Axes, mm", "Longest diameter in an acquisition plane × the longest across it "
               "(RECIST 1.1)", _axes, lambda s: s.long_axis_mm, numeric=True),
        column("Class", "Most probable class, with its probability", _class,
               lambda s: max(s.probabilities.values()) if s.probabilities else None,
               tip=_all_classes),
        column("Sure", "How far the outline can be relied on, in the segmenting model's own view",
               lambda s: _percent(s.confidence), lambda s: s.confidence, numeric=True),
        column("Mean", "Mean density or intensity; HU for CT", _mean,
               lambda s: s.mean_intensity, numeric=True, tip=_mean_and_spread),
        column("Edge", "The lesion reaches the edge of the scan and may go on outside",
               lambda s: "at edge" if s.touches_border else "", lambda s: s.touches_border),
    )  # fmt: skip


def _axes(lesion: Lesion) -> str:
    long, short = (
        UNKNOWN if axis is None else f"{axis:.1f}"
        for axis in (lesion.long_axis_mm, lesion.short_axis_mm)
    )
    return f"{long} × {short}"


def _mean(lesion: Lesion) -> str:
    return UNKNOWN if lesion.mean_intensity is None else f"{lesion.mean_intensity:.0f}"


def _mean_and_spread(lesion: Lesion) -> str:
    spread = "" if lesion.sd_intensity is None else f" ± {lesion.sd_intensity:.0f}"
    return f"{_mean(lesion)}{spread}"


def _class(lesion: Lesion) -> str:
    if not lesion.probabilities:
        return UNKNOWN
    name, probability = max(lesion.probabilities.items(), key=lambda item: item[1])
    return f"{name} {_percent(probability)}"


def _all_classes(lesion: Lesion) -> str:
    if not lesion.probabilities:
        return "\n".join(["No classifier ran, or it abstained", *_attributes(lesion)])
    classes = ", ".join(f"{name} {_percent(p)}" for name, p in lesion.probabilities.items())
    return "\n".join([classes, *_attributes(lesion)])


def _attributes(lesion: Lesion) -> list[str]:
    """What readers would probably write, for the tooltip of the class."""
    if not lesion.attributes:
        return []
    return [
        "Readers would probably write (1 to 5; calcification to 6):",
        *(f"   {name} {value:.1f}" for name, value in lesion.attributes.items()),
    ]


def _percent(share: float | None) -> str:
    return UNKNOWN if share is None else f"{share:.0%}"
