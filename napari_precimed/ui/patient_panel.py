"""Whose scan and genome are on the screen: banner, recent cases, and the patient's variants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari import Viewer
from napari.layers import Layer
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QSizePolicy,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from napari_precimed.core.patient import Case
from napari_precimed.core.volume import Volume
from napari_precimed.errors import SeriesChoiceError
from napari_precimed.io import read_volume
from napari_precimed.ui import dialogs
from napari_precimed.ui.layers import image_layer
from napari_precimed.ui.progress_row import ProgressRow
from napari_precimed.ui.saving import case_store
from napari_precimed.ui.session import Session
from napari_precimed.ui.variant_panel import VariantPanel
from napari_precimed.ui.worker import Task, show_problem

_WELCOME = (
    "Drop a scan (NIfTI, NRRD, MetaImage, DICOM) on the window, or go on with an earlier case:"
)
_SCANS = "Scans (*.nii *.nii.gz *.nrrd *.nhdr *.mha *.mhd *.dcm);;All files (*)"
_SHOWN_CASES = 50


class PatientPanel(QWidget):
    """The open patient; or, while none is open, the cases that can be opened."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._session = Session.of(napari_viewer)
        self._state = ""
        self.who = QLabel(self)
        self.what = QLabel(self)
        self.open_file = QPushButton("Open scan…", self)
        self.open_folder = QPushButton("Open folder…", self)
        self.cases = QPushButton("Cases", self)
        self.cases.setCheckable(True)
        self.close_case = QPushButton("Close patient", self)
        self.recent = QListWidget(self)
        self.reopen = QPushButton("Reopen", self)
        self.progress = ProgressRow(self)
        self.variants = VariantPanel(self._session)
        self.pages = QStackedWidget(self)
        self._lay_out()
        self._connect()
        self._refresh()
        self.list_cases()

    def list_cases(self) -> None:
        """Read the list of stored cases in the background."""
        task = Task("Reading the list of cases", _summaries, reports=False)
        task.succeeded.connect(self._show_cases)
        task.start()

    def reopen_case(self, case_id: str) -> None:
        """Bring a stored case back: scans, lesions and variants."""
        self._session.leave(lambda: self._load_case(case_id))

    def _load_case(self, case_id: str) -> None:
        task = Task("Opening the case", _load, case_id, reports=False)
        task.succeeded.connect(
            lambda case: self._session.leave(lambda: self._session.open_case(case))
        )
        self._follow(task)

    def open_scan(self, path: Path, series: str | None = None) -> None:
        """Read a scan off the GUI thread and show it; several series are asked about."""
        task = Task("Reading the scan", _read, path, series, reports=False, quiet=True)
        task.succeeded.connect(self._show_scan)
        task.failed.connect(lambda error: self._not_read(path, error))
        self._follow(task)

    def _connect(self) -> None:
        session = self._session
        self.open_file.clicked.connect(self._ask_file)
        self.open_folder.clicked.connect(self._ask_folder)
        self.close_case.clicked.connect(lambda: session.leave(session.close_case))
        self.cases.toggled.connect(self._turn_page)
        self.recent.itemActivated.connect(lambda _: self._reopen_chosen())
        self.recent.itemSelectionChanged.connect(self._enable_reopen)
        self.reopen.clicked.connect(self._reopen_chosen)
        session.case_changed.connect(self._case_changed)
        session.lesions_changed.connect(self._refresh)
        session.work_started.connect(self._show_work)
        session.saver.saved.connect(self.list_cases)
        session.saver.state_changed.connect(self._saving)

    def _follow(self, task: Task) -> None:
        if not self.progress.running:
            self._show_work(task)
            task.start()

    def _show_work(self, task: Task) -> None:
        if not self.progress.running:
            task.finished.connect(lambda: self.progress.hide())
            self.progress.follow(task)

    def _show_scan(self, volume: Volume) -> None:
        self._viewer.add_layer(Layer.create(*image_layer(volume)))

    def _not_read(self, path: Path, error: Exception) -> None:
        if not isinstance(error, SeriesChoiceError):
            show_problem(error, "Reading the scan")
            return
        series = dialogs.choose_series(error.series)  # type: ignore[arg-type]
        if series is not None:
            self._follow_up(path, series)

    def _follow_up(self, path: Path, series: str) -> None:
        """Read again, once the task that asked has finished."""
        QTimer.singleShot(0, lambda: self.open_scan(path, series))

    def _case_changed(self) -> None:
        self._state = ""
        self.cases.setChecked(self._session.case is None)
        self._refresh()

    def _saving(self, state: str) -> None:
        self._state = state
        self._refresh()

    def _refresh(self) -> None:
        """Say who is open, in the banner."""
        case = self._session.case
        self.close_case.setEnabled(case is not None)
        self.cases.setEnabled(case is not None)
        if case is None:
            self.who.setText("No patient is open")
            self.what.setText("")
            self.what.hide()
        else:
            self.who.setText(f"Patient {case.patient.id or 'without an id'}")
            self.what.setText(" · ".join(filter(None, (*banner_parts(case), self._state))))
            self.what.show()
        self._turn_page()

    def _turn_page(self) -> None:
        listing = self._session.case is None or self.cases.isChecked()
        self.pages.setCurrentIndex(0 if listing else 1)

    def _show_cases(self, summaries: list[Any]) -> None:
        self.recent.clear()
        for summary in summaries[:_SHOWN_CASES]:
            item = QListWidgetItem(_case_line(summary))
            item.setData(Qt.UserRole, summary.id)
            self.recent.addItem(item)
        self._enable_reopen()

    def _enable_reopen(self) -> None:
        self.reopen.setEnabled(self.recent.currentItem() is not None)

    def _reopen_chosen(self) -> None:
        item = self.recent.currentItem()
        if item is not None:
            self.reopen_case(item.data(Qt.UserRole))

    def _ask_file(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Open a scan", "", _SCANS)
        if name:
            self.open_scan(Path(name))

    def _ask_folder(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Open a DICOM folder")
        if name:
            self.open_scan(Path(name))

    def _lay_out(self) -> None:
        banner = QFrame(self)
        banner.setFrameShape(QFrame.StyledPanel)
        inside = QVBoxLayout(banner)
        inside.setContentsMargins(6, 2, 6, 2)
        inside.setSpacing(2)
        self.who.setStyleSheet("font-size: 13pt; font-weight: bold;")
        for label in (self.who, self.what):
            label.setWordWrap(True)
            label.setTextInteractionFlags(Qt.TextSelectableByMouse)
            label.setSizePolicy(QSizePolicy.Ignored, QSizePolicy.Minimum)
            label.setIndent(0)
            inside.addWidget(label)
        buttons = QHBoxLayout()
        for button in (self.open_file, self.open_folder, self.cases, self.close_case):
            buttons.addWidget(button)
        self.pages.addWidget(self._cases_page())
        self.pages.addWidget(self.variants)
        layout = QVBoxLayout(self)
        layout.addWidget(banner)
        layout.addLayout(buttons)
        layout.addWidget(self.progress)
        layout.addWidget(self.pages, 1)

    def _cases_page(self) -> QWidget:
        page = QWidget(self)
        welcome = QLabel(_WELCOME, page)
        welcome.setWordWrap(True)
        welcome.setSizePolicy(QSizePolicy.Ignored, QSizePolicy.Minimum)
        layout = QVBoxLayout(page)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(welcome)
        self.recent.setMinimumHeight(60)
        layout.addWidget(self.recent, 1)
        layout.addWidget(self.reopen)
        return page


def banner_parts(case: Case) -> tuple[str, ...]:
    """Modality, date and counts of a case, for the banner."""
    modalities = sorted({volume.modality for volume in case.volumes if volume.modality})
    dates = sorted({volume.study_date for volume in case.volumes if volume.study_date})
    found = sum(len(lesions) for lesions in case.lesion_sets)
    link = case.sample_link
    return (
        "/".join(modalities),
        ", ".join(_date(date) for date in dates),
        _count(len(case.volumes), "scan"),
        _count(found, "lesion") if case.lesion_sets else "",
        f"variants of {link.sample_id} ({link.reason})" if link else "",
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _date(dicom_date: str) -> str:
    """YYYYMMDD as YYYY-MM-DD; anything else as it is."""
    if len(dicom_date) == 8 and dicom_date.isdigit():
        return f"{dicom_date[:4]}-{dicom_date[4:6]}-{dicom_date[6:]}"
    return dicom_date


def _case_line(summary: Any) -> str:
    saved = summary.saved_at.astimezone().strftime("%Y-%m-%d %H:%M")
    counts = (
        _count(summary.n_volumes, "scan"),
        _count(summary.n_lesions, "lesion"),
        _count(summary.n_variants, "variant"),
    )
    return f"{summary.patient_id or 'Patient without an id'}\n{', '.join(counts)}, saved {saved}"


def _summaries() -> list[Any]:
    with case_store() as store:
        return list(store.summaries())


def _load(case_id: str) -> Case:
    with case_store() as store:
        return store.load(case_id)


def _read(path: Path, series: str | None) -> Volume:
    return read_volume(path, series=series)
