"""The Segment panel: choose scan, model and device, run, watch, cancel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
from napari_precimed.ui.channels import ChannelChoosers
from napari_precimed.ui.dialogs import ask_trust
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
        self.channels = ChannelChoosers(self)
        self.about = QLabel(self)
        self.run = QPushButton("Find lesions", self)
        self.progress = ProgressRow(self)
        self.result = QLabel(self)
        self._lay_out()
        self._fill()
        self.model.currentIndexChanged.connect(self._model_chosen)
        self.volume.currentIndexChanged.connect(self._volume_chosen)
        self.run.clicked.connect(self.start)
        self._session.case_changed.connect(self._list_volumes)
        self._list_volumes()
        self._model_chosen()

    def start(self) -> None:
        """Run the chosen model on the chosen scan, unless a run is going on.

        A bundle from elsewhere is first asked what it wants to run, and the user whether it may.
        """
        volume: Volume | None = self.volume.currentData()
        model: ModelEntry | None = self.model.currentData()
        if volume is None or model is None or self.progress.running:
            return
        if model.built_in:
            self._segment(volume, model)
            return
        self._call(
            "Checking the model",
            "napari_precimed.models.bundle:untrusted_wishes",
            model,
            lambda wishes: self._ask(volume, model, wishes),
        )

    def _ask(self, volume: Volume, model: ModelEntry, wishes: tuple[str, ...]) -> None:
        """Go on with a bundle that wants nothing, or whose wishes the user grants."""
        if not wishes:
            self._segment(volume, model)
        elif ask_trust(model.title, wishes):
            self._call(
                "Remembering the answer",
                "napari_precimed.models.bundle:trust_from_now_on",
                model,
                lambda _: self._segment(volume, model),
            )
        else:
            self.result.setText(f"{model.title} was not run: it is not trusted.")
            self.result.show()

    def _call(
        self, title: str, target: str, model: ModelEntry, then: Callable[[Any], None]
    ) -> None:
        """Have the computing process look at a bundle's files; `then` gets the answer."""
        answers: list[Any] = []
        task = Task.in_process(title, target, str(model.folder), hooks=False)
        task.succeeded.connect(answers.append)
        self._follow(task)

        def pass_on() -> None:
            for answer in answers:
                then(answer)

        task.finished.connect(pass_on)

    def _segment(self, volume: Volume, model: ModelEntry) -> None:
        from napari_precimed.pipeline import AnalyseOptions

        options = AnalyseOptions(
            segment_model=model.name if model.built_in else str(model.folder),
            classify_model=self.classifier.currentData(),
            device=self.device.currentData(),
            channels=self.channels.chosen(),
        )
        task = Task.in_process(
            "Finding lesions", "napari_precimed.pipeline:find_lesions", volume, options
        )
        task.succeeded.connect(lambda lesions: self._take(volume, lesions))
        self._follow(task)

    def _follow(self, task: Task) -> None:
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
        layout.addWidget(self.channels)
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
        self.channels.offer(self._session.volumes)
        self._volume_chosen()

    def _volume_chosen(self) -> None:
        """Offer a model for this kind of scan, unless the one that is chosen is for it."""
        volume: Volume | None = self.volume.currentData()
        modality = volume.modality if volume is not None else None
        chosen: ModelEntry | None = self.model.currentData()
        if modality and chosen is not None and chosen.modality not in (modality, "unknown"):
            for row in range(self.model.count()):
                if self.model.itemData(row).modality == modality:
                    self.model.setCurrentIndex(row)
                    break
        self._describe()

    def _model_chosen(self) -> None:
        model: ModelEntry | None = self.model.currentData()
        self.channels.ask_for(model.channels if model is not None else ())
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
