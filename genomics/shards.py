"""Scoring shared by several processes, on this machine or on a Dask cluster.

The file is divided between its chromosomes, each part is scored and written by itself, and the
parts are put together in the file's order. Nothing that is worked out for a variant depends on
another chromosome, so the result is the one that a single process gives, byte for byte.

On a cluster every worker must see the same paths: the VCF, the reference, the genes, the model and
the output's folder.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from genomics.errors import ClusterError, InputError
from genomics.output import Body, bodies_in
from genomics.score import Scorer
from genomics.stream import ScoredPart, ScoreOptions, Watch
from genomics.vcf.lines import Part
from genomics.vcf.parts import parts_by_sequence

_PARTS_PER_WORKER = 4
_SECONDS_BETWEEN_LOOKS = 0.5
_SECONDS_TO_CONNECT = 10
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Order:
    """One part of the work, as it is sent to another process.

    Attributes
    ----------
    options : ScoreOptions
    part : Part or None
        None for the whole file.
    bodies : tuple of Body
        Where this part of the outputs goes.
    stop : Path
        A file; that it exists means that the work is no longer wanted.
    """

    options: ScoreOptions
    part: Part | None
    bodies: tuple[Body, ...]
    stop: Path


@dataclass(frozen=True)
class _Crew:
    """Processes that take orders: how to hand one over, and how many work at one time."""

    submit: Callable[[Order], Any]
    hands: int


def score_order(order: Order) -> ScoredPart:
    """Score one part; what runs in each process."""
    watch = Watch(lambda done, total: None, lambda: _is_unwanted(order), None)
    # A Dask worker may have several threads; what a scorer holds is for one at a time.
    with _ONE_AT_A_TIME:
        return _scorer(order.options, order.stop).score_part(watch, order.part, order.bodies)


def _is_unwanted(order: Order) -> bool:
    return order.stop.exists() or not order.stop.parent.exists()


@lru_cache(maxsize=1)
def _scorer(options: ScoreOptions, stop: Path) -> Scorer:
    """Return the scorer of one run; ``stop`` tells runs apart, between which files may change."""
    # Processes share the cores already.
    torch.set_num_threads(1)
    return Scorer.open(options)


def score_in_parts(
    scorer: Scorer,
    watch: Watch,
    outs: Sequence[Path],
    folder: Path,
    workers: int,
    cluster: str | None,
) -> tuple[ScoredPart, list[tuple[Body, ...]]]:
    """Score a VCF in several processes; see :func:`genomics.score.score_vcf`.

    Returns
    -------
    scored : ScoredPart
        Of the whole file.
    bodies : list of tuple of Body
        Of the outputs, in ``folder``, for each part in order.

    Raises
    ------
    InputError
        The cluster cannot be reached.
    ClusterError
        A process ended before its work did.
    """
    options = scorer.options.absolute() if cluster else scorer.options
    folder = folder.absolute()
    with _cluster(cluster) if cluster else _pool(workers) as crew:
        wanted = crew.hands * _PARTS_PER_WORKER
        parts: list[Part | None] = [*parts_by_sequence(options.vcf, wanted)] or [None]
        bodies = [bodies_in(folder, number, outs) for number in range(len(parts))]
        orders = [
            Order(options, part, written, folder / "stop")
            for part, written in zip(parts, bodies, strict=True)
        ]
        scored = ScoredPart()
        for each in _results([crew.submit(order) for order in orders], watch, folder / "stop"):
            scored.extend(each)
    return scored, bodies


def _results(futures: list[Any], watch: Watch, stop: Path) -> Iterator[ScoredPart]:
    """Yield what came of each part, in order; the first part's error is the file's."""
    done = 0
    watch.step(done)
    try:
        for future in futures:
            while not future.done():
                watch.expect_wanted()
                _wait_a_while(future)
            result = future.result()
            done += result.records
            watch.step(done)
            yield result
    except BrokenExecutor as error:
        raise ClusterError(
            f"a process ended before its work did ({error}); the machine may be out of memory: "
            "use fewer --workers"
        ) from error
    finally:
        # What is still at work on other parts looks for it.
        stop.touch()
        for future in futures:
            future.cancel()


def _wait_a_while(future: Any) -> None:
    if isinstance(future, Future):
        wait([future], timeout=_SECONDS_BETWEEN_LOOKS)
        return
    from distributed import wait as wait_on_cluster

    with suppress(TimeoutError):
        wait_on_cluster(future, timeout=_SECONDS_BETWEEN_LOOKS)


@contextmanager
def _pool(workers: int) -> Iterator[_Crew]:
    # Spawned: a forked child of a process that has run torch's threads can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield _Crew(lambda order: pool.submit(score_order, order), workers)


@contextmanager
def _cluster(address: str) -> Iterator[_Crew]:
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError(
            "--cluster needs Dask; install it: pip install 'napari-precimed[cluster]'"
        ) from error
    try:
        client = Client(address, timeout=_SECONDS_TO_CONNECT)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{address}: no Dask scheduler answers ({error}); start one: dask scheduler"
        ) from error
    with client:
        hands = len(client.nthreads())
        if not hands:
            raise InputError(f"{address}: has no workers; start some: dask worker {address}")
        yield _Crew(lambda order: client.submit(score_order, order, pure=False), hands)
