"""Several processes that train one network together, on torch's own distributed engine.

``torchrun --nproc-per-node 2 -m napari_precimed train …`` starts them. Each learns from its slice
of the *same* batch, and the gradients are averaged by the slices' sizes, so that the step is the
one that a single process would have taken. The first process, rank 0, alone validates and writes.
An error in one is an error in all, with one message.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from napari_precimed.errors import CancelledError, DatasetError, InputError, PrecimedError

_PATIENCE = timedelta(days=1)  # the others wait while rank 0 validates; torchrun sees a death
_ERRORS = {kind.__name__: kind for kind in (InputError, DatasetError, CancelledError)}

Result = TypeVar("Result")


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this is.

    Attributes
    ----------
    rank, size : int
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the one that validates and writes."""
        return self.rank == 0

    def slice_of(self, n: int) -> slice:
        """This process's part of a batch of `n`; the parts differ by one at most.

        Raises
        ------
        InputError
            If there are fewer cases in the batch than processes.
        """
        if n < self.size:
            raise InputError(
                f"A batch of {n} cannot be shared among {self.size} processes; start at most {n}."
            )
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def agree(self, error: Exception | None) -> None:
        """Raise in every process if there was an error in one; the first one's message."""
        if self.size == 1:
            if error is not None:
                raise error
            return
        flag = torch.tensor([error is not None], dtype=torch.int32)
        dist.all_reduce(flag)
        if not flag.item():
            return
        told: list[tuple[str, str] | None] = [None] * self.size
        dist.all_gather_object(told, _told(error))
        first = next(each for each in told if each is not None)
        raise _error(first) from error

    def together(self, work: Callable[[], Result]) -> Result:
        """Do in every process what may fail in one."""
        result, error = _attempt(work)
        self.agree(error)
        return result  # type: ignore[return-value]

    def from_leader(self, work: Callable[[], Result]) -> Result:
        """Do it in the leading process alone; its result, or its error, in all."""
        if self.size == 1:
            return work()
        result, error = _attempt(work) if self.leads else (None, None)
        self.agree(error)
        box: list[Any] = [result]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def sum_gradients(self, network: torch.nn.Module) -> None:
        """Add up the gradients, which each process has already weighted by its share."""
        if self.size == 1:
            return
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        for gradient, part in zip(
            gradients, flat.split([g.numel() for g in gradients]), strict=True
        ):
            gradient.copy_(part.view_as(gradient))

    def average_statistics(self, network: torch.nn.Module) -> None:
        """Average the running statistics of batch normalisation; other layers keep none."""
        if self.size == 1:
            return
        for name, value in network.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                dist.all_reduce(value)
                value.div_(self.size)

    def sum_of(self, value: float) -> float:
        """The sum of one number over the processes."""
        if self.size == 1:
            return value
        total = torch.tensor([value], dtype=torch.float64)
        dist.all_reduce(total)
        return float(total)


ALONE = Ranks()
"""The one process of an ordinary run."""


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """Join the processes that torchrun started; `ALONE` where it did not start this one.

    Parameters
    ----------
    device : str
        "cuda" takes NCCL, and the GPU of this process's local rank; anything else gloo.

    Raises
    ------
    InputError
        If there are fewer GPUs than processes.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or "MASTER_ADDR" not in os.environ:
        yield ALONE
        return
    if device == "cuda":
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if local >= torch.cuda.device_count():
            raise InputError(
                f"There are {torch.cuda.device_count()} GPUs for {size} processes; start one each "
                "with --nproc-per-node."
            )
        torch.cuda.set_device(local)
    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=_PATIENCE)
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def _attempt(work: Callable[[], Result]) -> tuple[Result | None, Exception | None]:
    try:
        return work(), None
    except Exception as error:  # whatever it is, the other processes must hear of it
        return None, error


def _told(error: Exception | None) -> tuple[str, str] | None:
    """An error as it travels: kind and message."""
    if error is None:
        return None
    if isinstance(error, InputError) and type(error).__name__ not in _ERRORS:
        return InputError.__name__, str(error)
    return type(error).__name__, str(error)


def _error(told: tuple[str, str]) -> Exception:
    name, message = told
    if name in _ERRORS:
        return _ERRORS[name](message)
    return PrecimedError(f"Training failed: {name}: {' '.join(message.split())}")
