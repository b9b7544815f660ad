"""The window's end of the computing process: start it, call a function there, cancel, clean up."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

from napari_precimed.errors import CancelledError, InputError
from napari_precimed.ui import wire

Progress = Callable[[str, int, int | None], None]
CANCEL_GRACE_S = 20.0
"""After this long without an answer to Cancel the computing process is ended."""


class ComputationError(RuntimeError):
    """A function in the computing process failed in a way that nobody foresaw.

    Attributes
    ----------
    details : str
        The traceback there, or the last lines that the process printed.
    """

    def __init__(self, message: str, details: str) -> None:
        super().__init__(message)
        self.details = details


class ComputingProcess:
    """One process that keeps torch and its models loaded; calls run one at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: queue.Queue[tuple | None] = queue.Queue()
        self._numbers = itertools.count(1)
        self._one_call = threading.Lock()
        self._sending = threading.Lock()
        atexit.register(self.stop)

    def call(
        self,
        target: str,
        *args: Any,
        hooks: bool,
        progress: Progress,
        cancelled: Callable[[], bool],
    ) -> Any:
        """Run ``target`` ("module:function") there and wait; for a worker thread, never the GUI's.

        Parameters
        ----------
        target : str
        *args
            Pickled across.
        hooks : bool
            Whether the function takes ``progress`` and ``cancelled``. Without them Cancel ends the
            process after `CANCEL_GRACE_S`.
        progress, cancelled : callable
            Called on this side.

        Raises
        ------
        CancelledError
            If `cancelled` came true before the result.
        InputError
            With the function's own message, if it raised one of our errors.
        ComputationError
            If it failed otherwise, or the process died.
        """
        with self._one_call:
            self._start()
            number = next(self._numbers)
            self._send(("call", number, target, args, hooks))
            return self._wait(number, progress, cancelled)

    def stop(self) -> None:
        """End the process; the next call starts a new one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def _start(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "napari_precimed.ui.computing"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        self._answers = queue.Queue()
        threading.Thread(
            target=_listen, args=(self._process.stdout, self._answers), daemon=True
        ).start()

    def _send(self, message: tuple) -> None:
        process = self._process
        with self._sending, contextlib.suppress(OSError):  # a dead process shows in `_wait`
            if process is not None and process.stdin is not None:
                wire.send(process.stdin, message)

    def _wait(self, number: int, progress: Progress, cancelled: Callable[[], bool]) -> Any:
        cancelled_at = None
        while True:
            if cancelled_at is None and cancelled():
                cancelled_at = time.monotonic()
                self._send(("cancel", number))
            if cancelled_at is not None and time.monotonic() - cancelled_at > CANCEL_GRACE_S:
                self.stop()
                raise CancelledError("Cancelled; the computing process had to be ended.")
            try:
                answer = self._answers.get(timeout=0.1)
            except queue.Empty:
                continue
            if answer is None and self._process is None:
                raise CancelledError("Stopped.")
            if answer is None:
                raise self._death()
            kind, answered, *rest = answer
            if answered != number:
                continue
            if kind == "progress":
                progress(*rest)
            else:
                return _outcome(kind, rest)

    def _death(self) -> ComputationError:
        process = self._process
        code = process.wait() if process is not None else None
        self._log.seek(0)
        printed = self._log.read().decode(errors="replace")[-4000:]
        self._process = None
        return ComputationError(
            f"The computing process ended unexpectedly (exit code {code}); the machine may have "
            "run out of memory. Close other programs or choose a smaller scan, and run again.",
            printed,
        )


def _outcome(kind: str, rest: list[Any]) -> Any:
    if kind == "result":
        return rest[0]
    if kind == "cancelled":
        raise CancelledError("Cancelled.")
    expected, message, details = rest
    raise InputError(message) if expected else ComputationError(message, details)


def _listen(stream: Any, answers: queue.Queue[tuple | None]) -> None:
    while True:
        try:
            answers.put(wire.receive(stream))
        except (EOFError, OSError, ValueError):
            answers.put(None)
            return


computing = ComputingProcess()
"""The one computing process of this application; it starts at the first call."""
