"""Work off the GUI thread: results, progress, Cancel, errors, and a window that answers."""

from __future__ import annotations

import os
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from heartbeat import Heartbeat, longest_pause_when_idle
from napari.utils.notifications import notification_manager

from genomics.synthetic import write_synthetic_case
from napari_precimed.errors import ReadError
from napari_precimed.pipeline import AnalyseOptions
from napari_precimed.ui import wire
from napari_precimed.ui.process import ComputationError, ComputingProcess
from napari_precimed.ui.worker import Task

pytestmark = pytest.mark.gui

WORK = """
    import os, time
    import numpy as np
    from napari_precimed.errors import ReadError

    def double(array, *, progress, cancelled):
        print("libraries may print")
        for tile in range(5):
            progress("tiles", tile, 5)
        return array * 2

    def for_ever(*, progress, cancelled):
        from napari_precimed.errors import CancelledError
        step = 0
        while not cancelled():
            time.sleep(0.02)
            step += 1
            progress("tiles", step, 10_000)
        raise CancelledError("stopped between tiles")

    def refuse(*, progress, cancelled):
        raise ReadError("Slice 4 of 9 is missing; export the series again.")

    def fail(*, progress, cancelled):
        return 1 / 0

    def die(*, progress, cancelled):
        os.write(2, b"the last words")
        os._exit(9)

    def pid():
        return os.getpid()
"""


@pytest.fixture(scope="module")
def computing(tmp_path_factory: pytest.TempPathFactory) -> ComputingProcess:
    """A computing process that knows the functions above."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "precimed_work.py").write_text(textwrap.dedent(WORK))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        process = ComputingProcess()
        yield process
        process.stop()


class Outcome:
    """What a task told, in order."""

    def __init__(self, task: Task) -> None:
        self.values: list = []
        self.errors: list = []
        self.stages: list = []
        self.was_cancelled = self.done = False
        task.succeeded.connect(self.values.append)
        task.failed.connect(self.errors.append)
        task.progressed.connect(lambda *step: self.stages.append(step))
        task.cancelled.connect(lambda: setattr(self, "was_cancelled", True))
        task.finished.connect(lambda: setattr(self, "done", True))
        task.start()


def remote(computing: ComputingProcess, name: str, *args: object) -> Task:
    def call(*given: object, **hooks: Callable) -> object:
        return computing.call(f"precimed_work:{name}", *given, hooks=name != "pid", **hooks)

    return Task("Working", call, *args)


def test_arrays_cross_over_unchanged_whatever_their_layout(
    computing: ComputingProcess, wait: Callable
) -> None:
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)[::-1].transpose(2, 0, 1)
    outcome = Outcome(remote(computing, "double", array))
    wait(lambda: outcome.done)
    assert np.array_equal(outcome.values[0], array * 2)
    assert outcome.stages[0] == ("tiles", 0, 5)


def test_cancel_stops_between_tiles_and_the_process_stays(
    computing: ComputingProcess, wait: Callable
) -> None:
    before = Outcome(remote(computing, "pid"))
    wait(lambda: before.done)
    task = remote(computing, "for_ever")
    outcome = Outcome(task)
    wait(lambda: bool(outcome.stages))
    task.cancel()
    asked = time.monotonic()
    wait(lambda: outcome.done)
    assert time.monotonic() - asked < 5
    assert outcome.was_cancelled
    assert not outcome.values
    after = Outcome(remote(computing, "pid"))
    wait(lambda: after.done)
    assert after.values == before.values


def test_our_errors_are_shown_in_their_own_words(
    computing: ComputingProcess, wait: Callable
) -> None:
    shown: list[str] = []
    notification_manager.notification_ready.connect(lambda n: shown.append(n.message))
    outcome = Outcome(remote(computing, "refuse"))
    wait(lambda: outcome.done)
    assert shown == ["Slice 4 of 9 is missing; export the series again."]


def test_other_errors_are_short_and_keep_their_traceback(
    computing: ComputingProcess, wait: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    outcome = Outcome(remote(computing, "fail"))
    wait(lambda: outcome.done)
    assert "ZeroDivisionError" in str(outcome.errors[0])
    assert "in fail" in outcome.errors[0].details
    assert "in fail" in caplog.text


def test_a_process_that_dies_is_reported_and_replaced(
    computing: ComputingProcess, wait: Callable
) -> None:
    outcome = Outcome(remote(computing, "die"))
    wait(lambda: outcome.done)
    assert isinstance(outcome.errors[0], ComputationError)
    assert "exit code 9" in str(outcome.errors[0])
    assert "the last words" in outcome.errors[0].details
    again = Outcome(remote(computing, "double", np.ones(3)))
    wait(lambda: again.done)
    assert again.values[0].tolist() == [2, 2, 2]


def test_a_thread_task_raises_nothing_on_the_gui_thread(wait: Callable) -> None:
    def refuse() -> None:
        raise ReadError("There is no such file.")

    outcome = Outcome(Task("Reading", refuse, reports=False, quiet=True))
    wait(lambda: outcome.done)
    assert isinstance(outcome.errors[0], ReadError)


def test_the_window_answers_while_torch_loads_and_variants_are_scored(
    tmp_path: Path, wait: Callable
) -> None:
    """The real thing: a fresh process imports torch and scores a VCF with the LSTM."""
    case = write_synthetic_case(tmp_path, "S-1")
    options = AnalyseOptions(vcf=case.vcf, reference=case.fasta, genes=case.gff3)
    fresh = ComputingProcess()
    task = Task(
        "Scoring",
        lambda **hooks: fresh.call(
            "napari_precimed.pipeline:score_variants", options, hooks=True, **hooks
        ),
    )
    idle_s = longest_pause_when_idle()
    heart = Heartbeat()
    outcome = Outcome(task)
    wait(lambda: outcome.done, 180)
    heart.stop()
    fresh.stop()
    assert outcome.values[0].sample_id == "S-1"
    assert any(variant.score is not None for variant in outcome.values[0].scored)
    assert heart.longest_s() < 0.1 + idle_s


def test_a_message_survives_the_pipe(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    big = np.arange(100_000, dtype=np.float32)
    with os.fdopen(reading, "rb") as source, os.fdopen(writing, "wb") as sink:
        thread = threading.Thread(target=wire.send, args=(sink, {"a": big, "b": "text"}))
        thread.start()
        message = wire.receive(source)
        thread.join()
        sink.close()
        assert np.array_equal(message["a"], big)
        assert message["b"] == "text"
        with pytest.raises(EOFError):
            wire.receive(source)
