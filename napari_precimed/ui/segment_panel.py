"""The Segment panel: choose scan, model and device, run, watch, cancel."""

from __future__ import annotations

from napari import Viewer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_precimed.core.lesion import LesionSet
from napari_precimed.core.volume import Volume
from napari_precimed.models.catalogue import ModelEntry, models
from napari_precimed.ui.layers import volume_name
from napari_precimed.ui.progress_row import ProgressRow
from napari_precimed.ui.scrolling import fill
from napari_precimed.ui.session import Session
from napari_precimed.ui.settings import default_device
from napari_precimed.ui.worker import Task

DEVICES = (
    ("Automatic", "auto"),
    ("Processor (CPU)", "cpu"),
    ("NVIDIA GPU (CUDA)", "cuda"),
    ("Apple GPU (MPS)", "mps"),
)
_NO_SCAN = "Open a scan first: drop a file or a DICOM folder on the window."


class SegmentPanel(QWidget):
    """Finds the lesions of one scan of the open patient."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._session = Session.of(napari_viewer)
        self.volume, self.model, self.classifier, self.device = (_choice() for _ in range(4))
        self.about = QLabel(self)
        self.run = QPushButton("Find lesions", self)
        self.progress = ProgressRow(self)
        self.result = QLabel(self)
        self._lay_out()
        self._fill()
        self.model.currentIndexChanged.connect(self._model_chosen)
        self.volume.currentIndexChanged.connect(self._describe)
        self.run.clicked.connect(self.start)
        self._session.case_changed.connect(self._list_volumes)
        self._list_volumes()
        self._model_chosen()

    def start(self) -> None:
        """Run the chosen model on the chosen scan, unless a run is going on."""
        volume: Volume | None = self.volume.currentData()
        model: ModelEntry | None = self.model.currentData()
        if volume is None or model is None or self.progress.running:
            return
        from napari_precimed.pipeline import AnalyseOptions

        options = AnalyseOptions(
            segment_model=model.name,
            classify_model=self.classifier.currentData(),
            device=self.device.currentData(),
        )
        task = Task.in_process(
            "Finding lesions", "napari_precimed.pipeline:find_lesions", volume, options
        )
        task.succeeded.connect(lambda lesions: self._take(volume, lesions))
        self.result.hide()
        self.progress.follow(task)
        task.finished.connect(self._describe)  # after the progress row has let go of the task
        self._describe()
        task.start()

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.AllNonFixedFieldsGrow)
        for name, field in (
            ("Sc&an", self.volume),
            ("&Model", self.model),
            ("&Classifier", self.classifier),
            ("&Device", self.device),
        ):
            form.addRow(name, field)
        for label in (self.about, self.result):
            label.setWordWrap(True)
            label.setTextInteractionFlags(Qt.TextSelectableByMouse)
            label.setSizePolicy(QSizePolicy.Ignored, QSizePolicy.Minimum)
        inside = QWidget(self)
        layout = QVBoxLayout(inside)
        layout.addLayout(form)
        for widget in (self.about, self.run, self.progress, self.result):
            layout.addWidget(widget)
        layout.addStretch()
        self.result.hide()
        fill(self, inside)

    def _fill(self) -> None:
        for entry in models():
            if entry.task == "segmentation":
                self.model.addItem(entry.title, entry)
        for title, name in DEVICES:
            self.device.addItem(title, name)
        self.device.setCurrentIndex(max(0, self.device.findData(default_device())))

    def _list_volumes(self) -> None:
        chosen = self.volume.currentData()
        self.volume.blockSignals(True)
        self.volume.clear()
        for volume in self._session.volumes:
            self.volume.addItem(volume_name(volume), volume)
        row = next((k for k, v in enumerate(self._session.volumes) if v is chosen), None)
        self.volume.setCurrentIndex(len(self._session.volumes) - 1 if row is None else row)
        self.volume.blockSignals(False)
        self._describe()

    def _model_chosen(self) -> None:
        model: ModelEntry | None = self.model.currentData()
        self.classifier.clear()
        for entry in models():
            fits = model is not None and entry.finding == model.finding
            if entry.task == "classification" and fits:
                self.classifier.addItem(entry.title, entry.name)
        self.classifier.addItem("None", None)
        self.classifier.setCurrentIndex(0)
        self._describe()

    def _describe(self) -> None:
        """Say what the model is for, and why it cannot run here, if so."""
        model: ModelEntry | None = self.model.currentData()
        volume: Volume | None = self.volume.currentData()
        lines = []
        if model is None:
            lines.append("No segmentation model is installed.")
        else:
            lines.append(f"{model.modality}, version {model.version}. {model.description}")
            if volume is not None and volume.modality not in (None, model.modality):
                lines.append(
                    f"This model was made for {model.modality}; the scan is {volume.modality}."
                )
        if volume is None:
            lines.append(_NO_SCAN)
        self.about.setText("\n".join(lines))
        ready = model is not None and volume is not None
        self.run.setEnabled(ready and not self.progress.running)

    def _take(self, volume: Volume, lesions: LesionSet) -> None:
        count = f"{len(lesions)} lesion{'' if len(lesions) == 1 else 's'} found"
        where = next((run.device for run in lesions.runs if run.device), None)
        warnings = [text for run in lesions.runs for text in run.warnings]
        self.result.setText("\n".join([f"{count}{f' on {where}' if where else ''}.", *warnings]))
        self.result.show()
        self._session.set_lesions(volume, lesions)


def _choice() -> QComboBox:
    """A combo box that shortens long entries instead of widening the panel."""
    box = QComboBox()
    box.setSizeAdjustPolicy(QComboBox.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(14)
    return box
