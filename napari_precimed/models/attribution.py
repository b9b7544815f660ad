"""What in its input moved a network's answer: integrated gradients, Grad-CAM and occlusion.

All three look at one logit of one input and give one number per voxel, in the order of the input's
axes. Nothing here knows of scans or lesions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

Logit = Callable[[torch.Tensor], torch.Tensor]
"""Inputs (n, channels, ...) -> the logit that is explained, (n,)."""

Tick = Callable[[int, int], None]
"""Told how many of how many passes are done; may raise to stop."""

Window = tuple[slice, ...]

STEPS = 32
LEAST_CELLS = 6
_BATCH = 8
_FEWEST_WINDOWS = 8


def integrated_gradients(
    logit: Logit, image: torch.Tensor, neutral: torch.Tensor, tick: Tick, steps: int = STEPS
) -> tuple[NDArray[np.float32], float]:
    """Sundararajan, Taly and Yan 2017, by the midpoint rule along the straight path.

    Parameters
    ----------
    logit : callable
    image, neutral : torch.Tensor, shape (channels, ...)
        The path's end and its start.
    tick : callable
    steps : int

    Returns
    -------
    map : ndarray of float32, shape (...)
        Summed over channels. Its sum is ``logit(image) - logit(neutral)``, but for the error.
    completeness_error : float
        That sum minus that difference.
    """
    difference = image - neutral
    gradient = torch.zeros_like(image)
    for start in range(0, steps, _BATCH):
        tick(start, steps)
        share = (torch.arange(start, min(start + _BATCH, steps), device=image.device) + 0.5) / steps
        share = share.reshape(-1, *[1] * image.ndim)
        with torch.enable_grad():
            points = (neutral + share * difference).requires_grad_()
            (slope,) = torch.autograd.grad(logit(points).sum(), points)
        gradient += slope.sum(0)
    attributed = (difference * gradient / steps).sum(0).double()
    with torch.no_grad():
        ends = logit(torch.stack([image, neutral])).double()
    error = float(attributed.sum() - (ends[0] - ends[1]))
    tick(steps, steps)
    return attributed.float().cpu().numpy(), error


def grad_cam(network: torch.nn.Module, logit: Logit, image: torch.Tensor) -> NDArray[np.float32]:
    """Selvaraju et al. 2017: where the features lie that speak for the logit; never negative.

    Parameters
    ----------
    network : torch.nn.Module
        That `logit` calls on its input as it is.
    logit : callable
    image : torch.Tensor, shape (channels, ...)

    Returns
    -------
    ndarray of float32, shape (...)
        From the deepest layer that has `LEAST_CELLS` cells along an axis: in the last layers of a
        network for small patches, a cell is as large as a lesion.
    """
    layer = _layer_to_look_at(network, image)
    seen: list[torch.Tensor] = []
    hook = layer.register_forward_hook(lambda _m, _i, out: seen.append(out))
    try:
        with torch.enable_grad():
            value = logit(image[None].clone().requires_grad_()).sum()
            (slope,) = torch.autograd.grad(value, seen[-1])
    finally:
        hook.remove()
    features = seen[-1].detach()
    axes = tuple(range(2, features.ndim))
    cam = torch.relu((slope.mean(axes, keepdim=True) * features).sum(1, keepdim=True))
    mode = "trilinear" if len(axes) == 3 else "bilinear"
    cam = torch.nn.functional.interpolate(cam, size=image.shape[1:], mode=mode)
    return cam[0, 0].float().cpu().numpy()


def _layer_to_look_at(network: torch.nn.Module, image: torch.Tensor) -> torch.nn.Module:
    found: list[torch.nn.Module] = []

    def note(module: torch.nn.Module, _inputs: object, out: object) -> None:
        is_map = isinstance(out, torch.Tensor) and out.ndim == image.ndim + 1
        if is_map and max(out.shape[2:]) >= LEAST_CELLS:  # type: ignore[attr-defined]
            found.append(module)

    hooks = [module.register_forward_hook(note) for module in network.modules()]
    try:
        with torch.no_grad():
            network(image[None])
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        raise ValueError("the network has no layer with a map of features")
    return found[-1]


@dataclass(frozen=True, eq=False)
class Occlusion:
    """How much the logit fell when a window was painted out.

    Attributes
    ----------
    windows : tuple of tuple of slice
        Half overlapping, over the whole input.
    falls : ndarray, shape (windows,)
        0 where there was nothing to paint out.
    held : ndarray of bool, shape (windows,)
        Whether there was something.
    shape : tuple of int
        Of the input, without channels.
    """

    windows: tuple[Window, ...]
    falls: NDArray[np.float64]
    held: NDArray[np.bool_]
    shape: tuple[int, ...]

    def map(self) -> NDArray[np.float32]:
        """Each fall spread over its window, averaged where windows overlap; shape `shape`."""
        total, count = np.zeros(self.shape), np.zeros(self.shape)
        for window, fall in zip(self.windows, self.falls, strict=True):
            total[window] += fall / total[window].size
            count[window] += 1
        return (total / count).astype(np.float32)

    def agreement(self, values: NDArray) -> float | None:
        """Rank correlation of a map's sum in each window with the fall; None for a few windows.

        Parameters
        ----------
        values : ndarray of shape `shape`
            Of integrated gradients, or any map of what speaks for the logit.
        """
        pairs = zip(self.windows, self.held, strict=True)
        sums = np.array([values[window].sum() for window, held in pairs if held])
        falls = self.falls[self.held]
        if len(sums) < _FEWEST_WINDOWS or np.ptp(sums) == 0 or np.ptp(falls) == 0:
            return None
        return float(spearmanr(sums, falls).statistic)


def occlude(
    logit: Logit, image: torch.Tensor, neutral: torch.Tensor, window: tuple[int, ...], tick: Tick
) -> Occlusion:
    """Zeiler and Fergus 2014: paint out one window after another.

    Parameters
    ----------
    logit : callable
    image, neutral : torch.Tensor, shape (channels, ...)
        The input, and what a window is painted with.
    window : tuple of int
        Its extent along each axis but channels; windows lie half of that apart.
    tick : callable
    """
    shape = tuple(image.shape[1:])
    windows = _windows(shape, window)
    held = np.array([not torch.equal(image[:, *w], neutral[:, *w]) for w in windows])
    places = [w for w, something in zip(windows, held, strict=True) if something]
    falls: list[float] = []
    with torch.inference_mode():
        whole = float(logit(image[None])[0])
        for start in range(0, len(places), _BATCH):
            tick(start, len(places))
            group = places[start : start + _BATCH]
            painted = image.expand(len(group), *image.shape).clone()
            for each, place in zip(painted, group, strict=True):
                each[:, *place] = neutral[:, *place]
            falls += (whole - logit(painted).double()).tolist()
    tick(len(places), len(places))
    every = np.zeros(len(windows))
    every[held] = falls
    return Occlusion(tuple(windows), every, held, shape)


def _windows(shape: tuple[int, ...], window: tuple[int, ...]) -> list[Window]:
    axes = []
    for size, length in zip(shape, window, strict=True):
        extent = min(length, size)
        step = max(1, extent // 2)
        starts = sorted({min(k, size - extent) for k in range(0, size, step)})
        axes.append([slice(k, k + extent) for k in starts])
    return list(product(*axes))
