"""Why a variant has its score: the button under its details, and the picture that it brings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QPixmap, QResizeEvent
from qtpy.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_precimed.explained_score import ExplainedScore
from napari_precimed.ui.variant_text import change_text
from napari_precimed.ui.worker import Task

if TYPE_CHECKING:
    from napari_precimed.ui.progress_row import ProgressRow
    from napari_precimed.ui.variant_panel import FileButton

_MODEL = "missense-lstm"
_SAME_SCORE = 0.005
"""Scores that differ less are printed alike."""


class ExplainRow(QWidget):
    """Explains the variant that the table around it shows, or says what that needs.

    Parameters
    ----------
    progress : ProgressRow
        The panel's; nothing starts while it is in use.
    reference, genes : FileButton
        Where the user chooses them.
    """

    def __init__(
        self,
        progress: ProgressRow,
        reference: FileButton,
        genes: FileButton,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._progress, self._reference, self._genes = progress, reference, genes
        self._variant: Any = None
        self._patient = ""
        self.button = QPushButton("Explain", self)
        self.button.setToolTip("Show which residues moved the score")
        self.missing = QLabel(self)
        self.missing.setWordWrap(True)
        self.missing.setSizePolicy(QSizePolicy.Ignored, QSizePolicy.Minimum)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.button)
        layout.addWidget(self.missing, 1)
        self.button.clicked.connect(self.start)
        for chooser in (reference, genes):
            chooser.chosen.connect(self.refresh)
        self.show_variant(None)

    def show_variant(self, variant: Any, patient_id: str | None = None) -> None:
        """Offer to explain this variant of a patient; None for no variant."""
        self._variant, self._patient = variant, patient_id or "without an id"
        self.refresh()

    def refresh(self) -> None:
        """Say what is missing now."""
        missing = self._missing()
        self.missing.setText(missing)
        self.button.setEnabled(not missing and not self._progress.running)

    def start(self) -> None:
        """Have the chosen variant explained in the computing process, and show the picture."""
        if self._missing() or self._progress.running:
            return
        variant, patient = self._variant, self._patient
        task = Task.in_process(
            "Explaining the score",
            "napari_precimed.explained_score:explain_score",
            (variant.normalised or variant.variant).key,
            self._reference.path,
            self._genes.path,
            hooks=False,
        )
        task.succeeded.connect(lambda found: self._show(found, variant, patient))
        self._progress.follow(task)
        task.finished.connect(self.refresh)  # after the progress row has let go of the task
        task.succeeded.connect(lambda _: self._progress.hide())
        self.button.setEnabled(False)
        task.start()

    def _missing(self) -> str:
        variant = self._variant
        if variant is None:
            return "Choose a variant to have its score explained."
        if variant.score is None:
            return "It has no score that could be explained."
        if not str(variant.model).startswith(_MODEL):
            return f"Only scores of {_MODEL} can be explained."
        files = [
            name
            for name, chooser in (("Reference…", self._reference), ("Genes…", self._genes))
            if chooser.path is None
        ]
        return f"To explain the score, choose {' and '.join(files)} above." if files else ""

    def _show(self, found: ExplainedScore, variant: Any, patient: str) -> None:
        notes = []
        if variant.abstention:
            notes.append(f"The score is no call ({variant.abstention}): read this with caution.")
        if abs(found.score - variant.score) > _SAME_SCORE:
            notes.append(
                f"This explains the change read alone, on its main transcript: {found.score:.2f}. "
                f"The table's {variant.score:.2f} is of another reading."
            )
        title = f"Why {change_text(variant)} has its score (patient {patient})"
        ExplanationDialog(found, title, "\n".join(notes), self.window()).show()


class ExplanationDialog(QDialog):
    """The picture of an explanation, as large as the dialog, and the way to keep it."""

    def __init__(
        self, found: ExplainedScore, title: str, note: str = "", parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._found = found
        self.setAttribute(Qt.WA_DeleteOnClose)
        self.setWindowTitle(title)
        self.picture = _Picture(found.png)
        self.note = QLabel(note, self)
        self.note.setWordWrap(True)
        self.note.setVisible(bool(note))
        buttons = QDialogButtonBox(QDialogButtonBox.Close, self)
        self.save = buttons.addButton("Save as…", QDialogButtonBox.ActionRole)
        buttons.rejected.connect(self.reject)
        self.save.clicked.connect(self._ask)
        layout = QVBoxLayout(self)
        layout.addWidget(self.note)
        layout.addWidget(self.picture, 1)
        layout.addWidget(buttons)
        self._fit()

    def save_as(self, path: Path) -> None:
        """Write the picture, or its numbers where the name ends in ``.tsv``; off the GUI thread."""
        content = self._found.tsv if path.suffix == ".tsv" else self._found.png
        Task("Saving the explanation", _write, path, content, reports=False).start()

    def _ask(self) -> None:
        name, _ = QFileDialog.getSaveFileName(
            self, "Save the explanation", "explanation.png", "Picture (*.png);;Table (*.tsv)"
        )
        if name:
            self.save_as(Path(name))

    def _fit(self) -> None:
        """As large as the picture, within the screen."""
        screen = self.screen().availableSize()
        self.resize(self.sizeHint().boundedTo(screen * 0.95))


class _Picture(QLabel):
    """A picture that keeps its shape whatever its room."""

    def __init__(self, png: bytes) -> None:
        super().__init__()
        self._whole = QPixmap()
        self._whole.loadFromData(png)
        self.setAlignment(Qt.AlignCenter)
        self.setMinimumSize(480, 285)

    def sizeHint(self) -> QSize:  # noqa: N802
        """Qt's name for the size it would like."""
        return self._whole.size()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """Qt's hook: another room."""
        ratio = self.devicePixelRatioF()
        drawn = self._whole.scaled(
            event.size() * ratio, Qt.KeepAspectRatio, Qt.SmoothTransformation
        )
        drawn.setDevicePixelRatio(ratio)
        self.setPixmap(drawn)


def _write(path: Path, content: bytes) -> None:
    from genomics.output import write_atomically

    write_atomically(path, lambda stream: stream.write(content))
