"""The buttons Explain and Doubt: why the classifier says so, and where outlines are uncertain."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_precimed.core.lesion import Lesion, LesionSet
from napari_precimed.core.volume import Volume
from napari_precimed.ui.layers import doubt_layer, saliency_layer
from napari_precimed.ui.progress_row import ProgressRow
from napari_precimed.ui.session import Session
from napari_precimed.ui.settings import default_device
from napari_precimed.ui.worker import Task

if TYPE_CHECKING:
    from napari_precimed.models.doubt import Doubt
    from napari_precimed.models.explain import Explanation

_METHODS = {
    "integrated-gradients": "Integrated gradients",
    "grad-cam": "Grad-CAM",
    "occlusion": "Occlusion",
}


class TrustRow(QWidget):
    """Acts on one lesion of one scan, which the panel around it names.

    Parameters
    ----------
    session : Session
    progress : ProgressRow
        The panel's; nothing starts while it is in use.
    scan : callable
        Gives the scan, or None.
    lesion : callable
        Gives the selected lesion, or None.
    """

    def __init__(
        self,
        session: Session,
        progress: ProgressRow,
        scan: Callable[[], Volume | None],
        lesion: Callable[[], Lesion | None],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._progress, self._scan, self._lesion = session, progress, scan, lesion
        self.explain = QPushButton("Explain", self)
        self.explain.setShortcut("Ctrl+Shift+X")
        self.doubt = QPushButton("Doubt", self)
        self.doubt.setShortcut("Ctrl+Shift+U")
        self.told = QLabel(self)
        self.told.setWordWrap(True)
        self.told.setSizePolicy(QSizePolicy.Ignored, QSizePolicy.Minimum)
        self.told.hide()
        buttons = QHBoxLayout()
        buttons.addWidget(self.explain)
        buttons.addWidget(self.doubt)
        buttons.addStretch()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(buttons)
        layout.addWidget(self.told)
        self.explain.clicked.connect(self._explain)
        self.doubt.clicked.connect(self._doubt)

    def refresh(self) -> None:
        """Offer what can be done for the lesions and the selection as they are now."""
        lesions = self._session.lesions_of(self._scan())
        classifier, segmenter = model_of(lesions, "classify"), model_of(lesions, "segment")
        chosen = self._lesion() is not None
        self.explain.setEnabled(bool(classifier) and chosen)
        self.explain.setToolTip(
            _why_not(classifier, "classifier", chosen)
            or f"Show what in the scan moved the answer of {classifier} (Ctrl+Shift+X)"
        )
        self.doubt.setEnabled(bool(segmenter) and bool(lesions and len(lesions)))
        self.doubt.setToolTip(
            f"Show where the outlines of {segmenter} are uncertain (Ctrl+Shift+U)"
            if segmenter
            else "No segmentation model drew these outlines"
        )

    def forget(self) -> None:
        """Say nothing any more: other lesions are listed."""
        self.told.hide()

    def _explain(self) -> None:
        volume, lesion = self._scan(), self._lesion()
        lesions = self._session.lesions_of(volume)
        model = model_of(lesions, "classify")
        if volume is None or lesion is None or model is None:
            return
        task = Task.in_process(
            "Explaining",
            "napari_precimed.models.explain:explain",
            volume,
            lesions,
            lesion.label,
            model,
            "integrated-gradients",
            None,
            default_device(),
        )
        self._start(task, lambda found: self._take_explanation(volume, found))

    def _doubt(self) -> None:
        volume = self._scan()
        lesions = self._session.lesions_of(volume)
        model = model_of(lesions, "segment")
        if volume is None or model is None:
            return
        task = Task.in_process(
            "Testing the outlines",
            "napari_precimed.models.doubt:doubt",
            volume,
            lesions,
            model,
            "mirror",
            default_device(),
        )
        self._start(task, lambda found: self._take_doubt(volume, found))

    def _start(self, task: Task, take: Callable[[Any], None]) -> None:
        if self._progress.running:
            return
        self.told.hide()
        task.succeeded.connect(take)
        self._progress.follow(task)
        task.start()

    def _take_explanation(self, volume: Volume, found: Explanation) -> None:
        if self._session.show_map(volume, saliency_layer(found, volume)):
            self._tell(explanation_line(found))

    def _take_doubt(self, volume: Volume, found: Doubt) -> None:
        if self._session.show_map(volume, doubt_layer(found, volume)):
            self._tell(doubt_line(found))

    def _tell(self, text: str) -> None:
        self.told.setText(text)
        self.told.show()


def model_of(lesions: LesionSet | None, task: str) -> str | None:
    """The name of the model that did `task` last, or None."""
    runs = lesions.runs if lesions is not None else ()
    models = [run.model for run in runs if run.task == task and run.model]
    return models[-1].rpartition(" ")[0] if models else None


def explanation_line(found: Explanation) -> str:
    """Method, class and agreement, in one sentence or two."""
    colours = "orange speaks for it" if found.method == "grad-cam" else (
        "orange speaks for it, blue against"
    )  # fmt: skip
    check = "" if found.method == "occlusion" else f" Agreement with occlusion: {_number(found)}."
    return f"{_METHODS[found.method]}, lesion {found.label}, “{found.target}”: {colours}.{check}"


def doubt_line(found: Doubt) -> str:
    """What the map shows, and which outlines are the least sure."""
    known = [(share, label) for label, share in found.agreement.items() if share is not None]
    worst = ", ".join(f"lesion {label} {share:.0%}" for share, label in sorted(known)[:3])
    text = "Bright: outlines under eight mirrorings differ (entropy, 0 to 1 bit)."
    return f"{text} They agree least on {worst}." if worst else text


def _number(found: Explanation) -> str:
    return "unknown" if found.agreement is None else f"{found.agreement:.2f}"


def _why_not(model: str | None, kind: str, chosen: bool) -> str:
    if not model:
        return f"No {kind} looked at these lesions"
    return "" if chosen else "Choose a lesion in the table"
