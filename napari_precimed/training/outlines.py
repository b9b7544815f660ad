"""Training patches for outlining one nodule from a point inside it, cut from the LIDC crops.

A patch is centred near the point, and a second channel shows where the point is. Some points lie
on what readers did not mark, vessels mostly: there the right answer is "nothing here", and that is
how the network learns to tell a nodule from what looks like one. A batch is a pure function of its
step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from napari_precimed.models.tile import PATCH, mirrored, point_map
from napari_precimed.training.slabs import PreparedNodule, disturb, fit_depth, warp

_ROOM = 12  # pixels around a patch, so that turning it brings nothing empty in
_BRIGHT = 0.5  # of a slice's spread above its mean: what is not air
_APART = 4  # pixels between a negative point and anything a reader marked


@dataclass(frozen=True)
class OutlineSampler:
    """Draws batches of patches; `sampler(step)` is the same whenever it is asked.

    Parameters
    ----------
    nodules : list of PreparedNodule
    batch_size, seed : int
    negative_share : float
        Share of patches whose point lies on no nodule.
    """

    nodules: list[PreparedNodule]
    batch_size: int = 8
    seed: int = 0
    negative_share: float = 0.2

    def __call__(self, step: int) -> dict[str, torch.Tensor]:
        """Batch `step`: "image" (batch, 2, z, y, x) and "share" (batch, 1, z, y, x), float32."""
        rng = np.random.default_rng((self.seed, 1, step))
        parts = [self._patch(rng) for _ in range(self.batch_size)]
        image, share, point = (
            torch.from_numpy(np.stack(part)) for part in zip(*parts, strict=True)
        )
        n = len(image)
        both, share = warp(torch.cat([image, point]), torch.cat([share, share]), rng, repeats=2)
        image, point, share = both[:n], both[n:], share[:n]
        inner = (..., slice(_ROOM, -_ROOM), slice(_ROOM, -_ROOM))
        image, point, share = image[inner], point[inner], share[inner]
        image = disturb(image, rng)
        return {
            "image": torch.stack([image, point], dim=1).contiguous(),
            "share": share[:, None].contiguous(),
        }

    def _patch(self, rng: np.random.Generator) -> tuple[NDArray, NDArray, NDArray]:
        """Grey, share of readers and point, each (z, y, x) float32."""
        nodule = self.nodules[rng.integers(len(self.nodules))]
        marked = nodule.share > 0
        point = None
        if rng.random() < self.negative_share:
            point = _elsewhere(nodule, marked, rng)
        negative = point is not None
        if point is None:
            point = _inside(nodule, rng)
        share = np.zeros_like(nodule.share) if negative else nodule.share
        place = np.zeros(nodule.image.shape, bool)
        place[point] = True
        image, share, at = fit_depth(
            nodule.image, share, nodule.without, PATCH[0], rng, around=point[0]
        )
        centre = [int(c + rng.integers(-4, 5)) for c in point[1:]]
        image, share = (_window(a, centre) for a in (image, share))
        half = [(n + 2 * _ROOM) // 2 for n in PATCH[1:]]
        inside = (at, *(p - c + h for p, c, h in zip(point[1:], centre, half, strict=True)))
        shown = point_map(image.shape, inside)
        channels = [image, share, shown]
        for axis in range(3):
            if rng.random() < 0.5:
                channels = [np.flip(c, axis) for c in channels]
        turns = int(rng.integers(4))
        channels = [np.rot90(c, turns, (1, 2)).astype(np.float32) for c in channels]
        return channels[0], channels[1], channels[2]


def _inside(nodule: PreparedNodule, rng: np.random.Generator) -> tuple[int, int, int]:
    """A voxel of the nodule, near its middle more often than not."""
    voxels = np.argwhere(nodule.share >= 0.5)
    if not len(voxels):
        voxels = np.argwhere(nodule.share == nodule.share.max())
    if rng.random() < 0.7:
        spread = voxels.std(axis=0)
        wanted = voxels.mean(axis=0) + rng.normal(0, 0.5, 3) * spread
        chosen = voxels[np.argmin(((voxels - wanted) ** 2).sum(axis=1))]
    else:
        chosen = voxels[rng.integers(len(voxels))]
    z, y, x = (int(v) for v in chosen)
    return z, y, x


def _elsewhere(
    nodule: PreparedNodule, marked: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[int, int, int] | None:
    """A bright voxel, brighter than those around it, that no reader marked; None without one."""
    z = int(rng.integers(len(nodule.image)))
    picture = nodule.image[z].astype(np.float32)
    near = ndimage.binary_dilation(marked[max(0, z - 1) : z + 2].any(axis=0), iterations=_APART)
    peak = ndimage.maximum_filter(picture, 5) == picture
    margin = np.zeros_like(peak)
    margin[8:-8, 8:-8] = True
    places = np.argwhere(peak & (picture > _BRIGHT) & ~near & margin)
    if not len(places):
        return None
    y, x = (int(v) for v in places[rng.integers(len(places))])
    return z, y, x


def _window(array: NDArray, centre: list[int]) -> NDArray:
    """The patch and its room around a point of the plane, mirrored where it leaves the crop."""
    rows, columns = (
        np.arange(c - (n + 2 * _ROOM) // 2, c + (n + 2 * _ROOM) // 2)
        for c, n in zip(centre, PATCH[1:], strict=True)
    )
    height, width = array.shape[1:]
    return array[:, mirrored(rows, height)][:, :, mirrored(columns, width)]
