"""Labels edited since they were measured: what must be done before the case is written or left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels

from napari_precimed.core.volume import Volume
from napari_precimed.ui.remeasure import confidence_by_label, finding_of
from napari_precimed.ui.worker import Task

if TYPE_CHECKING:
    from napari_precimed.ui.session import Session

Step = Callable[[], Task | None]
"""Makes a task when its turn comes; None where there is no longer anything to do."""


def measuring(session: Session, volume: Volume) -> Task:
    """A task that measures the labels as they are drawn now, and takes them into the case."""
    lesions = session.lesions_of(volume)
    task = Task.in_process(
        "Measuring",
        "napari_precimed.ui.remeasure:measure_edited",
        np.array(session.layer_of(volume, Labels).data),
        volume,
        finding_of(lesions),
        confidence_by_label(lesions),
        () if lesions is None else lesions.runs,
        hooks=False,
    )
    task.succeeded.connect(lambda found: session.set_lesions(volume, found, drawn=True))
    return task


def measuring_all(session: Session) -> list[Step]:
    """One step for each scan whose labels were edited; the labels are copied now."""
    return [partial(_same, measuring(session, volume)) for volume in session.edited_scans()]


def in_turn(
    steps: Sequence[Step], watch: Callable[[Task], Any], then: Callable[[], Any] | None = None
) -> None:
    """Run one task after another, and `then`; the first that does not succeed is the last.

    Parameters
    ----------
    steps : sequence of callables that make a task, or None to stop
    watch : callable
        Given each task before it starts: what shows its progress.
    then : callable, optional
        Called on the GUI thread when all have succeeded.
    """
    if not steps:
        if then is not None:
            then()
        return
    task = steps[0]()
    if task is None:
        return
    succeeded: list[bool] = []
    task.succeeded.connect(lambda _: succeeded.append(True))
    watch(task)
    # Only when the task has finished is whoever watches it free for the next one.
    task.finished.connect(lambda: in_turn(steps[1:], watch, then) if succeeded else None)
    task.start()


def _same(task: Task) -> Task:
    return task
