"""Training slabs cut from nodule crops: a batch is a pure function of the step number.

The crops end where the nodule ends, so a network that sees only them never learns where a nodule
stops along z, nor what lung without a nodule looks like. Half of the slabs are therefore continued
past the nodule with its own slices, mirrored, the nodule painted out; and some hold no nodule at
all (a corner of a crop, mirrored to full size).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from napari_precimed.models.preprocess import CROP_SIDE, normalise_slices
from napari_precimed.training.lidc import Nodule


def paint_out(slices: NDArray[np.float32], marked: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Each slice with its marked region filled in from around it.

    The region, grown by two pixels, is filled by diffusion from its rim; noise of the strength
    found around it is added, so that smoothness does not give the place away.
    """
    rng = np.random.default_rng(0)
    out = slices.copy()
    for k, mark in enumerate(marked):
        if not mark.any():
            continue
        hole = ndimage.binary_dilation(mark, iterations=2)
        ring = ndimage.binary_dilation(hole, iterations=4) & ~hole
        picture = out[k]
        picture[hole] = np.median(picture[ring])
        for _ in range(40):
            picture[hole] = ndimage.uniform_filter(picture, 3)[hole]
        texture = (slices[k] - ndimage.uniform_filter(slices[k], 3))[ring].std()
        picture[hole] += rng.normal(0, texture, int(hole.sum()))
    return out


@dataclass(frozen=True)
class PreparedNodule:
    """A nodule ready for sampling; all arrays (z, 96, 96).

    `image` is normalised per slice, `without` is the same with the nodule painted out, `share` is
    the share of readers who marked the voxel.
    """

    image: NDArray[np.float16]
    without: NDArray[np.float16]
    share: NDArray[np.float16]


def prepare_nodule(nodule: Nodule) -> PreparedNodule:
    """Normalise a nodule and paint it out."""
    image = normalise_slices(nodule.image)
    without = paint_out(image, nodule.reader_share > 0)
    return PreparedNodule(
        image.astype(np.float16), without.astype(np.float16), nodule.reader_share.astype(np.float16)
    )


@dataclass(frozen=True)
class SlabSampler:
    """Draws batches of slabs; `sampler(step)` is the same whenever it is asked.

    Parameters
    ----------
    nodules : list of PreparedNodule
    batch_size : int
    depth : int
        Slices per slab.
    seed : int
    narrow_share : float
        Share of batches cut to 64 x 64 pixels, which is faster and moves the nodule about.
    empty_share : float
        Share of slabs that hold no nodule.
    """

    nodules: list[PreparedNodule]
    batch_size: int = 8
    depth: int = 16
    seed: int = 0
    narrow_share: float = 0.85
    empty_share: float = 0.1

    def __call__(self, step: int) -> dict[str, torch.Tensor]:
        """Batch `step`: "image" and "share", each (batch, 1, z, y, x) float32."""
        rng = np.random.default_rng((self.seed, step))
        side = 64 if rng.random() < self.narrow_share else CROP_SIDE
        pairs = [self._slab(rng) for _ in range(self.batch_size)]
        image = torch.from_numpy(np.stack([p[0] for p in pairs]))
        share = torch.from_numpy(np.stack([p[1] for p in pairs]))
        image, share = warp(image, share, rng)
        image, share = _cut(image, share, side, rng)
        image = disturb(image, rng)
        return {"image": image[:, None].contiguous(), "share": share[:, None].contiguous()}

    def _slab(self, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
        nodule = self.nodules[rng.integers(len(self.nodules))]
        if rng.random() < self.empty_share:
            image = _empty_corner(nodule, rng)
            share = np.zeros_like(image)
        else:
            image, share = nodule.image, nodule.share
        image, share, _ = fit_depth(image, share, nodule.without, self.depth, rng)
        for axis in range(3):
            if rng.random() < 0.5:
                image, share = np.flip(image, axis), np.flip(share, axis)
        turns = int(rng.integers(4))
        image, share = np.rot90(image, turns, (1, 2)), np.rot90(share, turns, (1, 2))
        return image.astype(np.float32), share.astype(np.float32)


def _empty_corner(nodule: PreparedNodule, rng: np.random.Generator) -> NDArray:
    """A quarter of the painted-out crop, mirrored to full size and normalised again."""
    half = CROP_SIDE // 2
    y, x = rng.integers(2, size=2) * half
    corner = nodule.without[:, y : y + half, x : x + half]
    wide = np.pad(corner, ((0, 0), (0, half), (0, half)), mode="symmetric")
    return normalise_slices(wide).astype(np.float16)


def fit_depth(
    image: NDArray,
    share: NDArray,
    without: NDArray,
    depth: int,
    rng: np.random.Generator,
    around: int | None = None,
) -> tuple[NDArray, NDArray, int]:
    """Cut or continue along z to `depth` slices, slice `around` among them.

    Returns
    -------
    image, share : ndarray, shape (depth, y, x)
    at : int
        Where slice `around` has gone.
    """
    have = len(image)
    if have >= depth:
        lowest, highest = 0, have - depth
        if around is not None:
            lowest, highest = max(lowest, around - depth + 1), min(around, highest)
        start = int(rng.integers(lowest, highest + 1))
        part = slice(start, start + depth)
        return image[part], share[part], (around or 0) - start
    before = int(rng.integers(depth - have + 1))
    after = depth - have - before
    if rng.random() < 0.5:
        pad = ((before, after), (0, 0), (0, 0))
        return np.pad(image, pad), np.pad(share, pad), (around or 0) + before
    order = np.pad(np.arange(have), (before, after), mode="symmetric")
    inside = np.zeros(depth, bool)
    inside[before : before + have] = True
    long_image = without[order].copy()
    long_image[inside] = image
    long_share = np.zeros((depth, *share.shape[1:]), share.dtype)
    long_share[inside] = share
    return long_image, long_share, (around or 0) + before


def warp(
    image: torch.Tensor, share: torch.Tensor, rng: np.random.Generator, repeats: int = 1
) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn and zoom each slab in its plane; (batch, z, y, x).

    With `repeats`, the batch is that many groups of slabs, and each group is moved alike.
    """
    n = len(image) // repeats
    angle = torch.from_numpy(rng.uniform(-np.pi / 6, np.pi / 6, n)).float()
    zoom = torch.from_numpy(np.exp(rng.uniform(-0.25, 0.25, n))).float()
    cos, sin, zero = torch.cos(angle) * zoom, torch.sin(angle) * zoom, torch.zeros(n)
    theta = torch.stack(
        [torch.stack([cos, -sin, zero], 1), torch.stack([sin, cos, zero], 1)], dim=1
    ).repeat(repeats, 1, 1)
    grid = torch.nn.functional.affine_grid(theta, list(image.shape), align_corners=False)
    sample = torch.nn.functional.grid_sample
    return (
        sample(image, grid, padding_mode="reflection", align_corners=False),
        sample(share, grid, padding_mode="zeros", align_corners=False),
    )


def _cut(
    image: torch.Tensor, share: torch.Tensor, side: int, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    if side == CROP_SIDE:
        return image, share
    y, x = (int(v) for v in rng.integers(CROP_SIDE - side + 1, size=2))
    window = (..., slice(y, y + side), slice(x, x + side))
    return image[window], share[window]


def disturb(image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Gain, offset and noise per slab, and a little gain per slice."""
    n, depth = image.shape[:2]
    gain = torch.from_numpy(
        rng.normal(1, 0.12, (n, 1, 1, 1)) * rng.normal(1, 0.05, (n, depth, 1, 1))
    )
    offset = torch.from_numpy(rng.normal(0, 0.12, (n, 1, 1, 1)))
    strength = torch.from_numpy(np.abs(rng.normal(0, 0.06, (n, 1, 1, 1)))).float()
    noise = torch.from_numpy(rng.standard_normal(image.shape, dtype=np.float32))
    return image * gain.float() + offset.float() + strength * noise
