"""Keeping the open case in the case database, in the background and in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_precimed.core.patient import Case
from napari_precimed.ui.worker import Task

if TYPE_CHECKING:
    from napari_precimed.store import CaseStore


@contextmanager
def case_store() -> Iterator[CaseStore]:
    """The user's case database, open for one use; imported late, since SQLAlchemy takes a while."""
    from napari_precimed.store import CaseStore

    store = CaseStore()
    try:
        yield store
    finally:
        store.close()


class Saver(QObject):
    """Saves one case after another; of several waiting, only the newest is worth saving."""

    saved = Signal()
    """A case was written; the list of known cases has changed."""
    state_changed = Signal(str)
    """"Saving…", "Saved" or "Not saved"."""

    def __init__(self) -> None:
        super().__init__()
        self._task: Task | None = None
        self._waiting: dict[str, Case] = {}
        self._after: list[Callable[[bool], None]] = []
        self._well = True

    @property
    def busy(self) -> bool:
        """Whether something is still being written."""
        return self._task is not None

    def save(self, case: Case) -> None:
        """Write this state of the case soon, without blocking."""
        self._waiting[case.id] = case
        self._next()

    def after_saving(self, then: Callable[[bool], None]) -> None:
        """Call `then` once nothing waits to be written, with whether the last went well."""
        self._after.append(then)
        self._next()

    def _next(self) -> None:
        if self._task is not None:
            return
        if not self._waiting:
            after, self._after = self._after, []
            for then in after:
                then(self._well)
            return
        case = self._waiting.pop(next(iter(self._waiting)))
        self.state_changed.emit("Saving…")
        self._task = Task("Saving the case", _save, case, reports=False)
        self._task.succeeded.connect(self._saved)
        self._task.failed.connect(self._failed)
        self._task.finished.connect(self._finished)
        self._task.start()

    def _saved(self) -> None:
        self._well = True
        self.state_changed.emit("Saved")
        self.saved.emit()

    def _failed(self) -> None:
        self._well = False
        self.state_changed.emit("Not saved")

    def _finished(self) -> None:
        self._task = None
        self._next()


def _save(case: Case) -> None:
    with case_store() as store:
        store.save(case)
