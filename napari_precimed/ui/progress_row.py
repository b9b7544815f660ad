"""A progress bar with stage, time left and Cancel: how every panel shows a task at work."""

from __future__ import annotations

import time

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_precimed.ui.worker import Task, problem_text


class ProgressRow(QWidget):
    """Hidden until a task is followed; afterwards it says how that ended."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.bar = QProgressBar(self)
        self.bar.setTextVisible(False)
        self.text = QLabel(self)
        self.text.setWordWrap(True)
        self.text.setTextInteractionFlags(Qt.TextSelectableByMouse)
        self.text.setSizePolicy(QSizePolicy.Ignored, QSizePolicy.Minimum)
        self.cancel = QPushButton("Cancel", self)
        self.cancel.clicked.connect(self._cancel)
        top = QHBoxLayout()
        top.addWidget(self.bar, 1)
        top.addWidget(self.cancel)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(top)
        layout.addWidget(self.text)
        self._task: Task | None = None
        self._stage, self._stage_began, self._began = "", 0.0, 0.0
        self._share: float | None = None
        self._clock = QTimer(self)
        self._clock.setInterval(500)
        self._clock.timeout.connect(self._tell)
        self.hide()

    @property
    def running(self) -> bool:
        """Whether a task is at work."""
        return self._task is not None

    def follow(self, task: Task) -> None:
        """Show this task from its start to its end."""
        self._task = task
        self._stage, self._share = task.title, None
        self._began = self._stage_began = time.monotonic()
        self.bar.setRange(0, 0)
        self.bar.show()
        self.cancel.setEnabled(True)
        self.cancel.show()
        task.progressed.connect(self._progressed)
        task.failed.connect(lambda error: self._ended(_failure(task.title, error)))
        task.cancelled.connect(lambda: self._ended(f"{task.title} cancelled; nothing changed."))
        task.succeeded.connect(lambda _: self._ended(f"Done in {self._elapsed()}."))
        task.finished.connect(self._finished)
        self._clock.start()
        self._tell()
        self.show()

    def _progressed(self, stage: str, done: int, total: int | None) -> None:
        if stage != self._stage:
            self._stage, self._stage_began = stage, time.monotonic()
        self._share = done / total if total else None
        self.bar.setRange(0, 1000 if total else 0)
        self.bar.setValue(round(1000 * (self._share or 0)))
        self._tell()

    def _tell(self) -> None:
        if self.cancel.isEnabled():
            self.text.setText(
                f"{self._stage[:1].upper()}{self._stage[1:]}… {self._elapsed()}{self._left()}"
            )

    def _elapsed(self) -> str:
        return _duration(time.monotonic() - self._began)

    def _left(self) -> str:
        spent = time.monotonic() - self._stage_began
        if not self._share or self._share >= 1 or spent < 1:
            return ""
        return f", about {_duration(spent / self._share * (1 - self._share))} left in this step"

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self.cancel.setEnabled(False)
            self.text.setText("Cancelling after the current step…")

    def _ended(self, text: str) -> None:
        self.text.setText(text)

    def _finished(self) -> None:
        self._clock.stop()
        self._task = None
        self.bar.hide()
        self.cancel.hide()


def _failure(title: str, error: BaseException) -> str:
    """The whole message: napari's notification cuts it after some words, and goes away."""
    text = problem_text(error, title)
    return text if text.startswith(f"{title} failed") else f"{title} failed. {text}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"
