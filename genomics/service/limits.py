"""What a service holds and spends at most."""

from __future__ import annotations

import os
from dataclasses import dataclass

GIB = 2**30


def default_workers() -> int:
    """Return how many jobs run at once where nobody says: half the cores, 1 to 4."""
    return min(4, max(1, (os.cpu_count() or 1) // 2))


@dataclass(frozen=True)
class Limits:
    """Bounds of one service; the defaults live here.

    Attributes
    ----------
    workers : int
        Processes, and so jobs at work at one time.
    jobs : int
        Jobs held at one time: waiting, at work, and ended ones whose results are kept.
    upload_bytes : int
        Of one uploaded VCF, as it arrives (compressed, where it is).
    stored_bytes : int
        Of all uploads held together.
    job_seconds : float
        A job that takes longer is ended.
    job_memory_bytes : int
        A job whose process holds more memory is ended.
    keep_seconds : float
        An ended job and its results, and a job whose upload never came, are dropped after this.
    idle_seconds : float
        A worker without a job for so long is ended, to give its memory back.
    """

    workers: int = 1
    jobs: int = 64
    upload_bytes: int = 2 * GIB
    stored_bytes: int = 8 * GIB
    job_seconds: float = 3600.0
    job_memory_bytes: int = 4 * GIB
    keep_seconds: float = 900.0
    idle_seconds: float = 300.0
