"""The part of a scan around a point that a network looks at, and where it lies in the scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_precimed.models.preprocess import CROP_SIDE, normalise_slices

PATCH = (12, 48, 48)
"""Voxels (z, y, x) that the outliner looks at, at the scan's own spacing."""

_SPREAD = (0.7, 2.0, 2.0)


@dataclass(frozen=True, eq=False)
class Tile:
    """A part of an image around a point.

    Attributes
    ----------
    grey : ndarray of float32, shape (depth, 96, 96)
        Normalised; mirrored past the image's sides, empty past its first and last slice.
    point : tuple of int
        Index (z, y, x) in the tile.
    place, inner : tuple of slice
        The part that lies in the image: where it is there, and where in the tile.
    whole_depth : int
        Slices of the image.
    """

    grey: NDArray[np.float32]
    point: tuple[int, int, int]
    place: tuple[slice, slice, slice]
    inner: tuple[slice, slice, slice]
    whole_depth: int

    @classmethod
    def around(cls, image: NDArray, point: Sequence[int], depth: int) -> Tile:
        """The tile of so many slices around index (z, y, x) of an image, shape (z, y, x)."""
        have = len(image)
        z0 = _first(have, depth, point[0])
        y0, x0 = (int(p) - CROP_SIDE // 2 for p in point[1:])
        low, high = max(0, z0), min(have, z0 + depth)
        rows, columns = (
            mirrored(np.arange(start, start + CROP_SIDE), size)
            for start, size in zip((y0, x0), image.shape[1:], strict=True)
        )
        grey = np.zeros((depth, CROP_SIDE, CROP_SIDE), np.float32)
        grey[low - z0 : high - z0] = normalise_slices(image[low:high][:, rows][:, :, columns])
        place, inner = [slice(low, high)], [slice(low - z0, high - z0)]
        for start, size in zip((y0, x0), image.shape[1:], strict=True):
            first, last = max(0, start), min(size, start + CROP_SIDE)
            place.append(slice(first, last))
            inner.append(slice(first - start, last - start))
        at = (int(point[0]) - z0, int(point[1]) - y0, int(point[2]) - x0)
        return cls(grey, at, tuple(place), tuple(inner), have)  # type: ignore[arg-type]

    def patch(self) -> tuple[NDArray[np.float32], tuple[slice, slice, slice]]:
        """The outliner's part of the tile, and where it lies in the tile."""
        first, last = self.inner[0].start, self.inner[0].stop
        z0 = first + _first(last - first, PATCH[0], self.point[0] - first)
        z0 = int(np.clip(z0, 0, len(self.grey) - PATCH[0]))
        starts = (z0, *(p - n // 2 for p, n in zip(self.point[1:], PATCH[1:], strict=True)))
        z, y, x = (slice(s, s + n) for s, n in zip(starts, PATCH, strict=True))
        return self.grey[z, y, x], (z, y, x)

    def point_in(self, part: tuple[slice, slice, slice]) -> tuple[int, int, int]:
        """The point, counted from the start of a part of the tile."""
        z, y, x = (p - s.start for p, s in zip(self.point, part, strict=True))
        return z, y, x

    def cuts(self, mask: NDArray[np.bool_]) -> bool:
        """Whether the tile ends along z where the lesion does not, and the image goes on."""
        first, last = self.inner[0].start, self.inner[0].stop
        below = self.place[0].start > 0 and bool(mask[first].any())
        above = self.place[0].stop < self.whole_depth and bool(mask[last - 1].any())
        return below or above


def point_map(shape: Sequence[int], point: Sequence[float]) -> NDArray[np.float32]:
    """Where the point is: a soft spot of height 1; shape (z, y, x), index (z, y, x)."""
    spots = [
        np.exp(-(((np.arange(n) - p) / s) ** 2) / 2).astype(np.float32)
        for n, p, s in zip(shape, point, _SPREAD, strict=True)
    ]
    return spots[0][:, None, None] * spots[1][:, None] * spots[2]


def mirrored(index: NDArray[np.int_], size: int) -> NDArray[np.int_]:
    """Indices past either end of an axis, counted back from it, as often as needed."""
    index = np.mod(index, 2 * size)
    return np.where(index >= size, 2 * size - 1 - index, index)


def _first(have: int, want: int, middle: float) -> int:
    """Where `want` slices start: around `middle` and inside the image, or else around it."""
    if have <= want:
        return -((want - have) // 2)
    return int(np.clip(round(middle - (want - 1) / 2), 0, have - want))
