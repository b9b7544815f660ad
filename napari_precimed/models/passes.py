"""The passes of a bundle's inferer through its network: counted, and stopped on request."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.inferers import Inferer, SimpleInferer, SlidingWindowInferer
from monai.utils import fall_back_tuple

from napari_precimed.errors import CancelledError
from napari_precimed.models.inference import Progress


class Passes:
    """The network as an inferer calls it, with progress, cancel, and less memory if it runs out."""

    def __init__(
        self,
        network: torch.nn.Module,
        inferer: Inferer,
        inputs: torch.Tensor,
        progress: Progress | None,
        cancelled: Callable[[], bool] | None,
    ) -> None:
        self.network, self.inputs = network, inputs
        self.progress, self.cancelled = progress, cancelled
        self.done = 0
        self.total = _passes(inferer, inputs)

    def infer(self, inferer: Inferer) -> Any:
        """Run it; a sliding window that runs out of memory goes on with fewer tiles at a time."""
        while True:
            try:
                return inferer(self.inputs, self)
            except (torch.OutOfMemoryError, MemoryError):
                if getattr(inferer, "sw_batch_size", 1) <= 1:
                    raise
                inferer.sw_batch_size //= 2  # type: ignore[attr-defined]
                self.done, self.total = 0, _passes(inferer, self.inputs)

    def __call__(self, tiles: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """One pass, as the network itself would be called."""
        if self.cancelled and self.cancelled():
            raise CancelledError("Cancelled; nothing was changed.")
        found = self.network(tiles, *args, **kwargs)
        self.done += 1
        if self.progress:
            self.progress("segment", self.done, self.total)
        return found


def _passes(inferer: Inferer, inputs: torch.Tensor) -> int | None:
    """How often an inferer will call the network, None where it is not known."""
    if not isinstance(inferer, SlidingWindowInferer):
        return 1 if isinstance(inferer, SimpleInferer) else None
    shape = inputs.shape[2:]
    roi = fall_back_tuple(inferer.roi_size, shape)
    size = tuple(max(a, b) for a, b in zip(shape, roi, strict=True))
    shares = inferer.overlap
    windows = 1
    for axis, (whole, tile) in enumerate(zip(size, roi, strict=True)):
        share = shares[axis] if isinstance(shares, Sequence) else shares
        windows *= 1 + math.ceil((whole - tile) / max(1, int(tile * (1 - share))))
    return math.ceil(windows * len(inputs) / inferer.sw_batch_size)
