"""The book of jobs: what was ordered, how far it is, and when it is forgotten."""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from genomics.errors import BusyError, JobStateError, UnknownJobError
from genomics.service.limits import Limits
from genomics.service.storage import Storage

_RETRY_SECONDS = 2
_LONGEST_RETRY_SECONDS = 60
_ID_BYTES = 16


class State(StrEnum):
    """Where a job is."""

    AWAITING_UPLOAD = "awaiting_upload"
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = frozenset({State.DONE, State.FAILED, State.CANCELLED})


@dataclass(frozen=True)
class Order:
    """What to score, how, and what to make of it.

    Attributes
    ----------
    vcf : Path or None
        A file of this machine; None where the VCF is uploaded.
    name : str
        The VCF's name for messages and the run record.
    sample : str or None
    reference, genes : Path or None
    model : str
        A built-in model's name or a folder.
    outputs : tuple of str
        Of :data:`genomics.service.storage.OUTPUTS`.
    """

    vcf: Path | None
    name: str
    sample: str | None = None
    reference: Path | None = None
    genes: Path | None = None
    model: str = "missense-lstm"
    outputs: tuple[str, ...] = ("json",)


@dataclass
class Job:
    """One order at work; changed only by its :class:`JobBook`.

    Attributes
    ----------
    id : str
        128 random bits: whoever was not told it cannot find the job.
    done, total : int or None
        Progress in records; ``total`` is None where it is not known.
    message : str or None
        Why it failed.
    expected : bool
        Whether ``message`` is about the input or the options, so that the caller can mend it.
    """

    id: str
    order: Order
    folder: Path
    state: State
    done: int = 0
    total: int | None = None
    message: str | None = None
    expected: bool = False
    cancel_asked: bool = False
    dropped: bool = False
    fetched: bool = False
    uploading: bool = False
    upload_bytes: int = 0
    touched: float = field(default_factory=time.monotonic)

    @property
    def vcf(self) -> Path:
        """Where the VCF to read lies."""
        return self.order.vcf or self.folder / "upload"


class JobBook:
    """All jobs of a service; every method may be called from any thread."""

    def __init__(self, limits: Limits, storage: Storage) -> None:
        self._limits, self._storage = limits, storage
        self._jobs: dict[str, Job] = {}
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()

    def place(self, order: Order) -> Job:
        """Take an order.

        Raises
        ------
        BusyError
            As many jobs are held as may be; it says when to ask again.
        """
        with self._changed:
            self._expire()
            if len(self._jobs) >= self._limits.jobs and not self._make_room():
                raise BusyError(
                    f"{len(self._jobs)} jobs are held, as many as may be; fetch and delete "
                    "results, or ask again later",
                    self._retry_after(),
                )
            name = secrets.token_urlsafe(_ID_BYTES)
            state = State.QUEUED if order.vcf else State.AWAITING_UPLOAD
            job = Job(name, order, self._storage.folder_for(name), state)
            self._jobs[name] = job
            if state is State.QUEUED:
                self._waiting.append(job)
                self._changed.notify()
            return job

    def find(self, name: str) -> Job:
        """Return a job.

        Raises
        ------
        UnknownJobError
        """
        with self._changed:
            self._expire()
            try:
                return self._jobs[name]
            except KeyError:
                raise UnknownJobError(
                    "no job of this id; results are dropped "
                    f"{self._limits.keep_seconds:.0f} s after a job ended"
                ) from None

    def begin_upload(self, name: str) -> Job:
        """Reserve a job for the one upload that it waits for.

        Raises
        ------
        UnknownJobError, JobStateError
        """
        job = self.find(name)
        with self._changed:
            if job.state is not State.AWAITING_UPLOAD or job.uploading:
                raise JobStateError("this job waits for no upload; order another one")
            job.uploading = True
            return job

    def grow_upload(self, job: Job, size: int) -> None:
        """Count bytes of an upload that are about to be stored.

        Raises
        ------
        BusyError
            All uploads together would be more than may be held.
        JobStateError
            The job was cancelled or dropped meanwhile.
        """
        with self._changed:
            if job.state is not State.AWAITING_UPLOAD or job.dropped:
                raise JobStateError("the job was cancelled while its VCF arrived")
            held = sum(each.upload_bytes for each in self._jobs.values())
            if held + size > self._limits.stored_bytes:
                raise BusyError(
                    "the service holds as many bytes of uploads as it may; ask again later",
                    self._retry_after(),
                )
            job.upload_bytes += size
            job.touched = time.monotonic()

    def end_upload(self, job: Job, *, complete: bool) -> None:
        """Queue the job, or, where the upload broke off, let it be sent again."""
        with self._changed:
            job.uploading = False
            if complete and job.state is State.AWAITING_UPLOAD:
                job.state = State.QUEUED
                self._waiting.append(job)
                self._changed.notify()
                return
            self._forget_upload(job)
            if job.dropped:
                self._storage.remove(job.folder)

    def cancel(self, name: str) -> Job:
        """Stop a job that has not ended; one that has stays as it is."""
        job = self.find(name)
        with self._changed:
            job.cancel_asked = True
            if job.state in (State.AWAITING_UPLOAD, State.QUEUED):
                self._end(job, State.CANCELLED)
            return job

    def drop(self, name: str) -> None:
        """Stop a job where it has not ended, and forget it with its results."""
        job = self.cancel(name)
        with self._changed:
            self._drop(job)

    def take(self, timeout: float) -> Job | None:
        """Return the job that waits longest, now running, or None if none comes in time."""
        with self._changed:
            if not self._waiting:
                self._changed.wait(timeout)
            self._expire()
            if not self._waiting:
                return None
            job = self._waiting.popleft()
            job.state = State.RUNNING
            return job

    def advance(self, job: Job, done: int, total: int | None) -> None:
        """Take note of progress."""
        with self._changed:
            job.done, job.total = done, total

    def end(
        self, job: Job, state: State, message: str | None = None, *, expected: bool = False
    ) -> None:
        """Take note of how a job ended."""
        with self._changed:
            job.message, job.expected = message, expected
            self._end(job, state)

    def mark_fetched(self, job: Job) -> None:
        """Take note that the results were asked for: they may go first, should room be needed."""
        with self._changed:
            job.fetched = True

    def counts(self) -> dict[str, int]:
        """Return how many jobs are in each state."""
        with self._changed:
            self._expire()
            states = [job.state for job in self._jobs.values()]
            return {state.value: states.count(state) for state in State}

    def _end(self, job: Job, state: State) -> None:
        if job in self._waiting:
            self._waiting.remove(job)
        job.state, job.touched = state, time.monotonic()
        if not job.uploading:
            self._forget_upload(job)
            if job.dropped:
                self._storage.remove(job.folder)

    def _forget_upload(self, job: Job) -> None:
        job.upload_bytes = 0
        self._storage.remove_file(job.folder / "upload")

    def _drop(self, job: Job) -> None:
        """Forget a job; what still works on it removes its folder when it ends."""
        self._jobs.pop(job.id, None)
        job.dropped = True
        if job.state in ENDED and not job.uploading:
            self._storage.remove(job.folder)

    def _expire(self) -> None:
        oldest = time.monotonic() - self._limits.keep_seconds
        for job in list(self._jobs.values()):
            if job.touched < oldest and job.state in (*ENDED, State.AWAITING_UPLOAD):
                if job.state is State.AWAITING_UPLOAD:
                    self._end(job, State.CANCELLED)
                self._drop(job)

    def _make_room(self) -> bool:
        """Drop the oldest job whose results were already fetched."""
        for job in self._jobs.values():
            if job.fetched and job.state in ENDED:
                self._drop(job)
                return True
        return False

    def _retry_after(self) -> int:
        """Seconds until something is likely to be free."""
        if any(job.state not in ENDED for job in self._jobs.values()):
            return _RETRY_SECONDS
        oldest = min((job.touched for job in self._jobs.values()), default=time.monotonic())
        left = oldest + self._limits.keep_seconds - time.monotonic()
        return max(1, min(_LONGEST_RETRY_SECONDS, round(left) + 1))
