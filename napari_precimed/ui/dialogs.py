"""The questions that only the user can answer; each has a parent and an answer that is safe."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QDialog,
    QDialogButtonBox,
    QHeaderView,
    QInputDialog,
    QLabel,
    QMessageBox,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_precimed.core.volume import Volume
from napari_precimed.errors import PatientMismatchError
from napari_precimed.io.dicom import SeriesSummary
from napari_precimed.ui.layers import volume_name

SAME_PATIENT, NEW_PATIENT, REFUSED = "same", "new", "refused"
MEASURE, DISCARD, STAY = "measure", "discard", "stay"

_SERIES_COLUMNS = ("No.", "Description", "Modality", "Slices", "Spacing z × y × x, mm", "Patient")


def application_window() -> QWidget | None:
    """The window that a dialog belongs to, or None where there is none."""
    return QApplication.activeWindow()


def ask_whose_scan(open_patient: str | None, volume: Volume) -> str:
    """Ask whether a new scan is of the open patient.

    Returns
    -------
    str
        `SAME_PATIENT`, `NEW_PATIENT` or `REFUSED`.
    """
    theirs, ours = volume.patient_id, open_patient
    conflict = theirs is not None and ours is not None
    box = QMessageBox(application_window())
    box.setIcon(QMessageBox.Warning)
    box.setWindowTitle("Whose scan is this?")
    who = f"of patient '{theirs}'" if theirs else "of a patient it does not name"
    box.setText(f"The scan {volume_name(volume)} is {who}.")
    box.setInformativeText(
        f"The open patient is {_quoted(ours)}. "
        + ("They cannot share a case." if conflict else "Is it the same person?")
    )
    same = None
    if not conflict:
        same = box.addButton("Same patient", QMessageBox.YesRole)
    new = box.addButton("Open as another patient", QMessageBox.NoRole)
    cancel = box.addButton("Do not open it", QMessageBox.RejectRole)
    box.setDefaultButton(cancel)
    box.setEscapeButton(cancel)
    box.exec()
    clicked = box.clickedButton()
    if same is not None and clicked is same:
        return SAME_PATIENT
    return NEW_PATIENT if clicked is new else REFUSED


def ask_mapping(error: PatientMismatchError) -> bool:
    """Ask whether a VCF sample with another id is the open patient; the safe answer is no."""
    box = QMessageBox(application_window())
    box.setIcon(QMessageBox.Warning)
    box.setWindowTitle("Two different ids")
    sample = f"sample '{error.sample_id}'" if error.sample_id else "a file without a sample"
    box.setText(f"The variants are of {sample}, the open patient is {_quoted(error.patient_id)}.")
    box.setInformativeText(
        "Link them only if you know that they are the same person. The link and its time are "
        "recorded in the case and in the report."
    )
    link = box.addButton("They are the same person", QMessageBox.AcceptRole)
    cancel = box.addButton("Do not link", QMessageBox.RejectRole)
    box.setDefaultButton(cancel)
    box.setEscapeButton(cancel)
    box.exec()
    return box.clickedButton() is link


def ask_trust(title: str, wishes: Sequence[str]) -> bool:
    """Ask whether a model from elsewhere may run code; the safe answer is no."""
    box = QMessageBox(application_window())
    box.setIcon(QMessageBox.Warning)
    box.setWindowTitle("A model that wants to run code")
    box.setText(f"The model '{title}' wants to run code on this computer.")
    box.setInformativeText(
        "It could read, change or send anything that you can. Trust it only if you know where it "
        "comes from. You are not asked again until its files change."
    )
    box.setDetailedText("\n".join(wishes))
    trust = box.addButton("Trust this model", QMessageBox.AcceptRole)
    cancel = box.addButton("Do not run it", QMessageBox.RejectRole)
    box.setDefaultButton(cancel)
    box.setEscapeButton(cancel)
    box.exec()
    return box.clickedButton() is trust


def ask_about_edits(patient_id: str | None, edited: Sequence[Volume]) -> str:
    """Ask what becomes of labels that were edited and not measured, before a patient is closed.

    Returns
    -------
    str
        `MEASURE`, `DISCARD` or `STAY`.
    """
    box = QMessageBox(application_window())
    box.setIcon(QMessageBox.Warning)
    box.setWindowTitle("Edits that were not measured")
    box.setText(f"The labels of patient {_quoted(patient_id)} were edited and not measured.")
    box.setInformativeText(
        f"Edited: {', '.join(volume_name(volume) for volume in edited)}. "
        "Until they are measured, the edits are not in the saved case."
    )
    measure = box.addButton("Measure and save", QMessageBox.AcceptRole)
    discard = box.addButton("Discard the edits", QMessageBox.DestructiveRole)
    cancel = box.addButton("Cancel", QMessageBox.RejectRole)
    box.setDefaultButton(measure)
    box.setEscapeButton(cancel)
    box.exec()
    clicked = box.clickedButton()
    if clicked is measure:
        return MEASURE
    return DISCARD if clicked is discard else STAY


def choose_sample(samples: Sequence[str], patient_id: str | None) -> str | None:
    """Ask which sample of a VCF to read; the patient's own is offered first. None if cancelled."""
    current = samples.index(patient_id) if patient_id in samples else 0
    sample, chosen = QInputDialog.getItem(
        application_window(),
        "Choose the sample",
        f"The file holds {len(samples)} samples. Which one is this patient?",
        list(samples),
        current,
        False,
    )
    return str(sample) if chosen else None


def choose_series(series: Sequence[SeriesSummary]) -> str | None:
    """Ask which DICOM series of a folder to open; its UID, or None if cancelled."""
    dialog = SeriesDialog(series, application_window())
    return dialog.series_uid if dialog.exec() == QDialog.Accepted else None


class SeriesDialog(QDialog):
    """A table of the series in a folder; double click or Enter opens the chosen one."""

    def __init__(self, series: Sequence[SeriesSummary], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._series = tuple(series)
        self.setWindowTitle("Choose a series")
        self.table = QTableWidget(len(series), len(_SERIES_COLUMNS), self)
        self.table.setHorizontalHeaderLabels(_SERIES_COLUMNS)
        self.table.verticalHeader().hide()
        self.table.setSelectionBehavior(QAbstractItemView.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SingleSelection)
        self.table.setEditTriggers(QAbstractItemView.NoEditTriggers)
        for row, summary in enumerate(self._series):
            for column, text in enumerate(_series_row(summary)):
                item = QTableWidgetItem(text)
                item.setToolTip(f"Series {summary.series_uid}")
                self.table.setItem(row, column, item)
        self.table.resizeColumnsToContents()
        self.table.horizontalHeader().setSectionResizeMode(1, QHeaderView.Stretch)
        self.table.selectRow(0)
        self.table.itemDoubleClicked.connect(lambda _: self.accept())
        buttons = QDialogButtonBox(QDialogButtonBox.Open | QDialogButtonBox.Cancel, self)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(QLabel(f"This folder holds {len(series)} series. Which one to open?"))
        layout.addWidget(self.table)
        layout.addWidget(buttons, alignment=Qt.AlignRight)
        self.resize(860, 320)

    @property
    def series_uid(self) -> str:
        """The UID of the selected series."""
        return self._series[max(self.table.currentRow(), 0)].series_uid


def _series_row(summary: SeriesSummary) -> tuple[str, ...]:
    spacing = summary.spacing_mm
    return (
        "" if summary.number is None else str(summary.number),
        summary.description or "no description",
        summary.modality or "unknown",
        str(summary.n_slices),
        " × ".join(f"{step:.3g}" for step in spacing) if spacing else "uneven or unknown",
        summary.patient_id or "not named",
    )


def _quoted(patient_id: str | None) -> str:
    return f"'{patient_id}'" if patient_id else "without an id"
