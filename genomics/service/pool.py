"""Worker processes at work on the book of jobs, each watched by a thread of the service.

A worker that dies, takes too long or holds too much memory costs its own job, which says so; the
next job gets a new worker. A job is never tried twice: what killed one worker may kill the next.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

from genomics.service.jobs import Job, JobBook, State
from genomics.service.limits import GIB, Limits
from genomics.service.worker import serve_jobs

_LOOK_EVERY_S = 0.1
_TAKE_EVERY_S = 0.5
CANCEL_GRACE_S = 5.0
"""A worker that does not answer to Cancel for so long is ended."""


class WorkerPool:
    """As many threads as workers; each keeps one process, started when there is a job for it."""

    def __init__(self, book: JobBook, limits: Limits, workspace: Path) -> None:
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(
                target=_Keeper(book, limits, workspace, self._stopping).work, daemon=True
            )
            for _ in range(limits.workers)
        ]

    def start(self) -> None:
        """Begin to take jobs."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End every worker, whatever it does, and wait until they are gone."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()


class _WorkerDiedError(Exception):
    """The process is gone; the text says how."""


class _Worker:
    """One process and the connection to it."""

    def __init__(self, limits: Limits, workspace: Path) -> None:
        context = get_context("spawn")  # fork is not safe beside threads, and Windows has none
        self.connection, theirs = context.Pipe()
        threads = max(1, (os.cpu_count() or 1) // limits.workers)
        self.process = context.Process(
            target=serve_jobs, args=(theirs, threads, workspace), daemon=True
        )
        self.process.start()
        theirs.close()
        self._watched = psutil.Process(self.process.pid)

    def send(self, *message: Any) -> None:
        with contextlib.suppress(OSError):  # a dead process shows in `receive`
            self.connection.send(message)

    def receive(self, timeout: float) -> tuple[Any, ...] | None:
        """Return the next message, or None if none comes in time."""
        try:
            if self.connection.poll(timeout):
                return tuple(self.connection.recv())
        except (EOFError, OSError):
            raise _WorkerDiedError(self._how_it_died()) from None
        if not self.process.is_alive() and not _has_more(self.connection):
            raise _WorkerDiedError(self._how_it_died())
        return None

    def memory_bytes(self) -> int:
        """Return the resident memory; 0 once it is gone."""
        try:
            return int(self._watched.memory_info().rss)
        except psutil.Error:
            return 0

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()

    def _how_it_died(self) -> str:
        self.process.join(timeout=_LOOK_EVERY_S * 50)
        code = self.process.exitcode
        if code is not None and code < 0:
            return f"it was killed by signal {-code}, {signal.Signals(-code).name}"
        return f"its exit code was {code}"


def _has_more(connection: Connection) -> bool:
    try:
        return connection.poll()
    except (EOFError, OSError):
        return False


class _Keeper:
    """Takes jobs from the book and sees each through, in a thread of its own."""

    def __init__(
        self, book: JobBook, limits: Limits, workspace: Path, stopping: threading.Event
    ) -> None:
        self._book, self._limits, self._workspace = book, limits, workspace
        self._stopping = stopping
        self._worker: _Worker | None = None

    def work(self) -> None:
        idle_since = time.monotonic()
        while not self._stopping.is_set():
            job = self._book.take(_TAKE_EVERY_S)
            if job is not None:
                self._see_through(job)
                idle_since = time.monotonic()
            elif time.monotonic() - idle_since > self._limits.idle_seconds:
                self._end_worker()
        self._end_worker()

    def _see_through(self, job: Job) -> None:
        try:
            if self._worker is None or not self._worker.process.is_alive():
                self._end_worker()
                self._worker = _Worker(self._limits, self._workspace)
            self._worker.send("job", job.id, job.order, job.vcf, job.folder)
            state, message, expected = self._follow(job, self._worker)
        except _WorkerDiedError as error:
            self._end_worker()
            state, expected = State.FAILED, False
            message = (
                f"The process that scored {job.order.name} ended before it was done: {error}. The "
                "machine may have run out of memory. Score it again: a new process takes it"
            )
        except Exception as error:  # the thread must outlive whatever one job brings
            self._end_worker()
            state, expected = State.FAILED, False
            message = f"no process could be started for this job: {error}; score it again later"
        self._book.end(job, state, message, expected=expected)

    def _follow(self, job: Job, worker: _Worker) -> tuple[State, str | None, bool]:
        began = time.monotonic()
        asked_at: float | None = None
        while True:
            message = worker.receive(_LOOK_EVERY_S)
            if message is not None and message[1] == job.id:
                kind, _, *rest = message
                if kind == "done":
                    return State.DONE, None, False
                if kind == "cancelled":
                    return State.CANCELLED, None, False
                if kind == "failed":
                    return State.FAILED, rest[1], rest[0]
                self._book.advance(job, *rest)
            if job.cancel_asked and asked_at is None:
                asked_at = time.monotonic()
                worker.send("cancel", job.id)
            grace_over = asked_at is not None and time.monotonic() - asked_at > CANCEL_GRACE_S
            if grace_over or self._stopping.is_set():
                self._end_worker()
                return State.CANCELLED, None, False
            excess = self._excess(worker, time.monotonic() - began)
            if excess is not None:
                self._end_worker()
                return State.FAILED, excess, True

    def _excess(self, worker: _Worker, seconds: float) -> str | None:
        """Return which limit a job breaks, with the mend."""
        limits, memory = self._limits, worker.memory_bytes()
        if seconds > limits.job_seconds:
            return (
                f"the job took longer than {limits.job_seconds:g} s, the limit of this service, "
                "and was ended; split the VCF, or start the service with a larger --job-minutes"
            )
        if memory > limits.job_memory_bytes:
            return (
                f"the job needed {memory / GIB:.2f} GiB of memory, more than the limit of this "
                f"service ({limits.job_memory_bytes / GIB:.2f} GiB), and was ended; split the VCF, "
                "or start the service with a larger --job-memory-gib"
            )
        return None

    def _end_worker(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.kill()
