"""The sidecar: the library behind HTTP, so that a crash or a large file cannot take a window down.

::

    access   who may ask: Host header, token, size of a request; the access log
    api      the paths, as FastAPI documents them
    jobs     the book of jobs: order, state, progress, expiry; bounded
    pool     worker processes: one job each at a time, watched for time, memory and death
    worker   what runs in such a process
    storage  the folder of uploads and results, and its removal
    server   listening, the token, and ending with whoever started it

Jobs run in processes of their own: nothing of one patient stays in memory that the next one's job
writes its results from, and a killed worker costs its own job only. Nothing here asks another
machine for anything. See ``docs/sidecar.md``.
"""

from __future__ import annotations

API_VERSION = 1
"""Raised when a client of before could no longer speak to the service."""
