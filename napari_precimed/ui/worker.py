"""Work off the GUI thread: a task with progress, Cancel, and one readable message if it fails."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from napari.qt.threading import create_worker
from napari.utils.notifications import show_error
from qtpy.QtCore import QObject, Signal

from genomics.errors import CancelledError as GenomicsCancelledError
from genomics.errors import GenomicsError
from napari_precimed.errors import CancelledError, PrecimedError
from napari_precimed.ui.process import ComputationError, computing

log = logging.getLogger("napari_precimed")

_PROGRESS_EVERY_S = 0.05


class Task(QObject):
    """A function at work in a thread; its signals arrive on the GUI thread.

    Parameters
    ----------
    title : str
        What it does, for messages: "Segmentation".
    function : callable
        Called with `args`, and with ``progress`` and ``cancelled`` where `reports` is true.
    """

    progressed = Signal(str, int, object)
    """Stage, done, total (None where unknown)."""
    succeeded = Signal(object)
    failed = Signal(object)
    """The error; it has been shown unless `quiet`."""
    cancelled = Signal()
    finished = Signal()
    """Last of all, whatever happened."""

    _alive: ClassVar[set[Task]] = set()

    def __init__(
        self,
        title: str,
        function: Callable[..., Any],
        *args: Any,
        reports: bool = True,
        quiet: bool = False,
    ) -> None:
        super().__init__()
        self.title = title
        self._function, self._args = function, args
        self._reports, self._quiet = reports, quiet
        self._cancel = threading.Event()
        self._last_progress = ("", 0.0)
        self._worker: Any = None

    @classmethod
    def in_process(cls, title: str, target: str, *args: Any, hooks: bool = True) -> Task:
        """A task for the computing process; see `ComputingProcess.call`."""
        return cls(title, partial(computing.call, hooks=hooks), target, *args)

    @property
    def running(self) -> bool:
        """Whether it was started and has not finished."""
        return self in self._alive

    def start(self) -> Task:
        """Begin, and return at once."""
        self._alive.add(self)  # a panel may go while its work goes on
        self._worker = create_worker(self._work, _start_thread=False)
        self._worker.returned.connect(self._deliver)
        self._worker.finished.connect(self._finish)
        self._worker.start()
        return self

    def cancel(self) -> None:
        """Ask it to stop at the next step."""
        self._cancel.set()

    def _is_cancelled(self) -> bool:
        return self._cancel.is_set() or self._worker.abort_requested

    def _work(self) -> tuple[str, Any]:
        hooks = (
            {"progress": self._progress, "cancelled": self._is_cancelled} if self._reports else {}
        )
        try:
            return "succeeded", self._function(*self._args, **hooks)
        except (CancelledError, GenomicsCancelledError):
            return "cancelled", None
        except Exception as error:
            return "failed", error

    def _progress(self, stage: str, done: int, total: int | None) -> None:
        last_stage, last_time = self._last_progress
        now = time.monotonic()
        if stage == last_stage and done != total and now - last_time < _PROGRESS_EVERY_S:
            return
        self._last_progress = (stage, now)
        self.progressed.emit(stage, done, total)

    def _deliver(self, outcome: tuple[str, Any]) -> None:
        kind, value = outcome
        if kind == "cancelled" or self._cancel.is_set():
            self.cancelled.emit()
        elif kind == "succeeded":
            self.succeeded.emit(value)
        else:
            if not self._quiet:
                show_problem(value, self.title)
            self.failed.emit(value)

    def _finish(self) -> None:
        self._alive.discard(self)
        self.finished.emit()


def problem_text(error: BaseException, title: str) -> str:
    """What a user reads of an error: ours in their own words, others in short."""
    if isinstance(error, (PrecimedError, GenomicsError)):
        return str(error)
    return f"{title} failed: {error} The details are in the log."


def show_problem(error: BaseException, title: str) -> None:
    """One notification; what nobody foresaw also goes to the log, in full."""
    if not isinstance(error, (PrecimedError, GenomicsError)):
        details = error.details if isinstance(error, ComputationError) else ""
        log.error("%s failed: %s\n%s", title, error, details, exc_info=error)
    show_error(problem_text(error, title))
