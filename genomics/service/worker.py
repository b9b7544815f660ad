"""What runs in a worker process: one job after another, each scored and written to its folder.

On the connection come ``("job", id, order, vcf, folder)`` and ``("cancel", id)``. Back go
``("progress", id, done, total)`` and one of ``("done", id)``, ``("cancelled", id)`` and
``("failed", id, expected, message)``. Results travel as files, never through the connection.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING

from genomics.errors import CancelledError, GenomicsError
from genomics.service.jobs import Order
from genomics.service.storage import output_path

if TYPE_CHECKING:
    from genomics.report import VariantReport

_PROGRESS_EVERY_S = 0.1
_REPORTS = frozenset({"json", "jsonl"})
"""Outputs that hold the report; the others hold every record."""


_REMOVALS = 20
_GRACE_S = 0.2  # between the closing of the connection and the end of a service that dies


def serve_jobs(connection: Connection, threads: int, workspace: Path) -> None:
    """Work until the connection closes; the target of a worker process.

    Parameters
    ----------
    connection : Connection
        To the pool.
    threads : int
        For PyTorch, so that workers do not fight for the cores.
    workspace : Path
        Removed if the service dies without having been able to.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which ends us
    with contextlib.suppress(AttributeError, OSError, ValueError):  # a process without a stderr
        os.dup2(sys.stderr.fileno(), 1)  # stdout is the service's, for its one line
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    watcher = threading.Thread(target=_end_with_service, args=(workspace,), daemon=True)
    watcher.start()
    while True:
        try:
            message = connection.recv()
        except (EOFError, OSError):
            service = multiprocessing.parent_process()
            if service is not None and wait([service.sentinel], _GRACE_S):
                watcher.join()  # it cleans up and ends us; returning now would cut it short
            return
        if message[0] == "job":  # a cancel that came too late is for nobody
            _, name, order, vcf, folder = message
            with contextlib.suppress(BrokenPipeError):
                connection.send(_run(connection, name, order, vcf, folder))


def _end_with_service(workspace: Path) -> None:
    """Wait for the service's death; then clean up behind it and end."""
    service = multiprocessing.parent_process()
    if service is not None:
        wait([service.sentinel])
        for _ in range(_REMOVALS):  # the job's thread may still be writing there
            shutil.rmtree(workspace, ignore_errors=True)
            if not workspace.exists():
                break
            time.sleep(0.05)
        os._exit(1)


def _run(
    connection: Connection, name: str, order: Order, vcf: Path, folder: Path
) -> tuple[object, ...]:
    try:
        report = _score(
            order, vcf, folder, _reporter(connection, name), _listener(connection, name)
        )
        _write(report, order, folder)
    except CancelledError:
        return ("cancelled", name)
    except Exception as error:
        expected = isinstance(error, GenomicsError)
        text = str(error) if expected else f"{type(error).__name__}: {error}"
        # The caller knows the file by its own name, not by where the upload was put.
        return ("failed", name, expected, text.replace(str(vcf), order.name))
    return ("done", name)


def _score(
    order: Order,
    vcf: Path,
    folder: Path,
    progress: Callable[[int, int | None], None],
    cancelled: Callable[[], bool],
) -> VariantReport:
    from genomics.score import score_vcf  # PyTorch: seconds, and so not before the first job

    report = score_vcf(
        vcf,
        sample=order.sample,
        reference=order.reference,
        genes=order.genes,
        model=order.model,
        progress=progress,
        cancelled=cancelled,
        # On the way: of a large file the report counts alleles that tables and VCFs hold.
        out=[output_path(folder, each) for each in order.outputs if each not in _REPORTS],
    )
    # The caller knows the file by its own name, here as in messages.
    found = {**report.run["preflight"], "input": order.name}
    return replace(report, run={**report.run, "input": order.name, "preflight": found})


def _write(report: VariantReport, order: Order, folder: Path) -> None:
    from genomics.report_lines import report_lines

    for output in _REPORTS.intersection(order.outputs):
        path = output_path(folder, output)
        if output == "json":
            path.write_text(report.to_json(), encoding="utf-8")
        else:
            with path.open("w", encoding="utf-8", newline="\n") as stream:
                stream.writelines(f"{line}\n" for line in report_lines(report))


def _reporter(connection: Connection, name: str) -> Callable[[int, int | None], None]:
    last = 0.0

    def progress(done: int, total: int | None) -> None:
        nonlocal last
        now = time.monotonic()
        if done == total or now - last > _PROGRESS_EVERY_S:
            last = now
            connection.send(("progress", name, done, total))

    return progress


def _listener(connection: Connection, name: str) -> Callable[[], bool]:
    asked = False

    def cancelled() -> bool:
        nonlocal asked
        while not asked and connection.poll():
            asked = connection.recv() == ("cancel", name)
        return asked

    return cancelled
