"""This application's own variant service: started at the first job, ended with the application."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from typing import IO, TYPE_CHECKING, Any

from napari_precimed.errors import SidecarError, SidecarUnavailableError
from napari_precimed.sidecar.client import (
    Cancelled,
    Order,
    Progress,
    SidecarClient,
    UnreachableError,
)

if TYPE_CHECKING:
    from genomics.report import VariantReport

_START_S, _STOP_S = 60.0, 5.0
_COMMAND = ("-m", "genomics", "serve", "--child", "--workers", "1")
_LAST_WORDS_BYTES = 2000


class LocalSidecar:
    """A service as a child process, replaced when it dies.

    The child ends by itself when this process does, however that ends: its standard input closes.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._address: dict[str, Any] = {}
        self._log: IO[bytes] | None = None
        self._starting = threading.Lock()
        atexit.register(self.stop)

    @property
    def pid(self) -> int | None:
        """The service's process; None where none was started or it was stopped."""
        return self._process.pid if self._process is not None else None

    def score(self, order: Order, progress: Progress, cancelled: Cancelled) -> VariantReport:
        """Score in the service; see `napari_precimed.sidecar.score_variants`."""
        process = self._running()
        try:
            return self._score(order, progress, cancelled)
        except UnreachableError as error:
            if error.accepted:
                raise self._died(process, error) from error
        # It died before it took the job, so it was not this job that killed it.
        self._end(process)
        process = self._running()
        try:
            return self._score(order, progress, cancelled)
        except UnreachableError as error:
            if error.accepted:
                raise self._died(process, error) from error
            self._end(process)
            raise SidecarUnavailableError(
                f"The variant service was started and cannot be reached: {error}"
            ) from error

    def stop(self) -> None:
        """End the service; the next job starts a new one."""
        process = self._process
        if process is not None:
            self._end(process)

    def _score(self, order: Order, progress: Progress, cancelled: Cancelled) -> VariantReport:
        address = self._address
        with SidecarClient(
            address["url"], address["token"], label="The variant service of this window"
        ) as client:
            return client.score(order, progress, cancelled)

    def _running(self) -> subprocess.Popen[bytes]:
        """Return the service's process, started if need be."""
        with self._starting:
            if self._process is None or self._process.poll() is not None:
                self._process = self._start()
            return self._process

    def _start(self) -> subprocess.Popen[bytes]:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        try:
            process = subprocess.Popen(
                [sys.executable, *_COMMAND],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            raise SidecarUnavailableError(
                f"The variant service cannot be started: {error}."
            ) from error
        line = _first_line(process)
        try:
            self._address = json.loads(line)
        except ValueError:
            process.kill()
            process.wait()
            raise SidecarUnavailableError(
                f"The variant service cannot be started: {self._last_words() or 'no answer'}"
            ) from None
        return process

    def _died(self, process: subprocess.Popen[bytes], error: UnreachableError) -> SidecarError:
        """Return what to tell the user, and make way for a new service."""
        self._end(process)
        return SidecarError(
            "The variant service ended while it scored the variants "
            f"({_how(process.returncode)}); the scan and the annotations are untouched. Load the "
            "VCF again: the service starts anew by itself."
        )

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """End a service: kindly, so that it cleans up, then not."""
        with contextlib.suppress(OSError):
            if process.stdin is not None:
                process.stdin.close()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
        if self._process is process:
            self._process = None

    def _last_words(self) -> str:
        if self._log is None:
            return ""
        self._log.seek(0)
        printed = self._log.read()[-_LAST_WORDS_BYTES:].decode(errors="replace").strip()
        return printed.splitlines()[-1] if printed else ""


def _first_line(process: subprocess.Popen[bytes]) -> bytes:
    """Return the line that tells the address; empty where none comes."""
    came: queue.Queue[bytes] = queue.Queue()
    stdout = process.stdout
    if stdout is None:
        return b""
    threading.Thread(target=lambda: came.put(stdout.readline()), daemon=True).start()
    try:
        return came.get(timeout=_START_S)
    except queue.Empty:
        return b""


def _how(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


local = LocalSidecar()
"""The one service of this application."""
