"""Learning from scans without labels: the mean teacher.

The teacher is the running average of the network's own weights, which `fit` keeps anyway. On an
unlabelled batch the network, shown a disturbed picture, must say what the teacher says of the plain
one. The weight of this lesson rises from nothing, since a teacher knows nothing at first (Tarvainen
and Valpola, "Mean teachers are better role models", 2017; the ramp is that of Laine and Aila).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

Batch = dict[str, torch.Tensor]
Consistency = Callable[[torch.nn.Module, torch.nn.Module, Batch], torch.Tensor]
"""(network, teacher, unlabelled batch) -> how far they disagree, a scalar."""


@dataclass(frozen=True)
class Unlabelled:
    """Where the unlabelled batches come from, and what is asked of them.

    Attributes
    ----------
    make_batch : callable
        Step -> batch; depends on the step alone, as the labelled one.
    consistency : callable
        See `Consistency`.
    """

    make_batch: Callable[[int], Batch]
    consistency: Consistency


def ramp(step: int, steps: int) -> float:
    """Weight of the unlabelled lesson at `step` of a ramp of `steps`: 0.007 at first, then 1."""
    part = min(1.0, step / max(1, steps))
    return math.exp(-5 * (1 - part) ** 2)


def disagreement(
    network: torch.nn.Module, teacher: torch.nn.Module, image: torch.Tensor
) -> torch.Tensor:
    """Mean square difference of the two's probabilities; the network sees a disturbed picture.

    Parameters
    ----------
    network, teacher : torch.nn.Module
        Image -> logits (batch, outputs, ...): one output is a probability of its own, several are
        classes that exclude each other.
    image : torch.Tensor, shape (batch, channels, ...)
        Normalised to about unit spread.
    """
    with torch.no_grad():
        goal = _probabilities(teacher(image).float())
    told = _probabilities(network(_disturbed(image)).float())
    return ((told - goal) ** 2).mean()


def _probabilities(logits: torch.Tensor) -> torch.Tensor:
    return torch.sigmoid(logits) if logits.shape[1] == 1 else torch.softmax(logits, 1)


def _disturbed(image: torch.Tensor) -> torch.Tensor:
    """Gain and noise; drawn from torch's generator, which `fit` seeds anew at each step."""
    shape = (len(image), image.shape[1], *[1] * (image.ndim - 2))
    spread = image.std()
    gain = 1 + 0.1 * torch.randn(shape, device=image.device)
    return image * gain + 0.1 * spread * torch.randn_like(image)
