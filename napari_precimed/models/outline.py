"""Outline one lesion from a point inside it: the second half of a two-stage segmentation.

Two networks look at what lies around the point. The *finder* sees a wide tile and marks every
lesion in it; the *outliner* sees a small patch at full resolution and, in a second channel, where
the point is, and marks what was pointed at. The outline is where the mean of the two reaches the
threshold, in one piece with the point. A click and a candidate of
the automatic search are outlined by this same code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from napari_precimed.models.inference import Engine, on_engine
from napari_precimed.models.preprocess import (
    CROP_SIDE,
    IN_PLANE_FLIPS,
    MIRRORINGS,
    normalise_slices,
)

PATCH = (12, 48, 48)
"""Voxels (z, y, x) that the outliner looks at, at the scan's own spacing."""

_SPREAD = (0.7, 2.0, 2.0)
_DEPTHS = (16, 32, 64)  # slices of the finder's tile: deeper, while the lesion reaches its end
_REACH = 3  # voxels that a point may lie beside the lesion it means


@dataclass(frozen=True, eq=False)
class Outline:
    """What lies around a point.

    Attributes
    ----------
    place : tuple of slice
        Where it lies in the image (z, y, x).
    point : tuple of int
        What was pointed at, counted from the start of `place`.
    probability : ndarray of float32
        Mean of finder and outliner, the shape of `place`.
    mask : ndarray of bool
        The lesion that was pointed at, the shape of `place`; empty where there is none.
    confidence : float
        The finder's highest probability inside the mask, 0 to 1; 0 where it is empty. The outliner
        does not count: it marks what it is pointed at, whatever that is.
    """

    place: tuple[slice, slice, slice]
    point: tuple[int, int, int]
    probability: NDArray[np.float32]
    mask: NDArray[np.bool_]
    confidence: float

    def at(self, threshold: float) -> NDArray[np.bool_]:
        """The lesion at another threshold of the probability, the shape of `place`."""
        return piece_at(self.probability >= threshold, self.point)

    def reaches(self, point: Sequence[int]) -> bool:
        """Whether a point of the image lies in the lesion, or close by."""
        inside = [int(p) - s.start for p, s in zip(point, self.place, strict=True)]
        window = tuple(slice(max(0, p - _REACH), max(0, p + _REACH + 1)) for p in inside)
        return bool(self.mask[window].any())

    def draw(self, target: NDArray, value: float = 1) -> None:
        """Write `value` where the lesion is into an array of the image's shape."""
        target[self.place][self.mask] = value


@dataclass(frozen=True, eq=False)
class Outlines:
    """The two networks, ready to outline.

    Attributes
    ----------
    finder, outliner : torch.nn.Module
        (batch, 1, z, 96, 96) and (batch, 2, 12, 48, 48) -> logits (batch, 1, z, y, x).
    engine : Engine
    threshold : float
        Of the mean probability.
    finder_share : float
        Weight of the finder in the mean, 0 to 1, where both look.
    mirrors : tuple of tuple of int
        The mirrorings whose logits are averaged, each as axes of (..., z, y, x).
    """

    finder: torch.nn.Module
    outliner: torch.nn.Module
    engine: Engine
    threshold: float = 0.5
    finder_share: float = 0.5
    mirrors: tuple[tuple[int, ...], ...] = MIRRORINGS

    @classmethod
    def of(
        cls, network: torch.nn.Module, engine: Engine, *, threshold: float, finder_share: float
    ) -> Outlines:
        """From a bundle's `torch.nn.ModuleDict` of "finder" and "outliner"."""
        parts = on_engine(network, engine)
        return cls(parts["finder"], parts["outliner"], engine, threshold, finder_share)  # type: ignore[index]

    def quick(self) -> Outlines:
        """The same without mirrorings: an eighth of the time, a little less exact."""
        return replace(self, mirrors=MIRRORINGS[:1])

    def around(
        self, image: NDArray, point: Sequence[int], least_confidence: float = 0.0
    ) -> Outline:
        """Outline the lesion at a point.

        Parameters
        ----------
        image : ndarray, shape (z, y, x)
            Grey values, any gain per slice.
        point : sequence of 3 int
            Index (z, y, x) inside the image.
        least_confidence : float
            Below it an outline is of no use: where the finder is nowhere so sure, it stays empty,
            and the outliner is not asked.
        """
        for depth in _DEPTHS:
            tile = _Tile.around(image, point, depth)
            finder = self._finder(tile.grey)
            if finder.max() < least_confidence:
                probability, mask = finder, np.zeros(finder.shape, bool)
                break
            probability = self._with_outliner(finder, tile)
            mask = piece_at(probability >= self.threshold, tile.point)
            if not tile.cuts(mask):
                break
        confidence = float(finder[mask].max()) if mask.any() else 0.0
        at = tile.point_in(tile.inner)
        return Outline(tile.place, at, probability[tile.inner], mask[tile.inner], confidence)

    def ways(
        self, image: NDArray, point: Sequence[int]
    ) -> tuple[tuple[slice, slice, slice], NDArray[np.float32]]:
        """What each mirroring by itself makes of a point; the parameters are those of `around`.

        Returns
        -------
        place : tuple of slice
            Where it lies in the image.
        stack : ndarray of float32, shape (mirrorings, z, y, x)
            Probabilities.
        """
        place = self.quick().around(image, point).place
        depth = next(d for d in _DEPTHS if d >= place[0].stop - place[0].start)
        tile = _Tile.around(image, point, depth)
        alone = [replace(self, mirrors=(flip,)) for flip in self.mirrors]
        stack = [each._with_outliner(each._finder(tile.grey), tile) for each in alone]
        return tile.place, np.stack([probability[tile.inner] for probability in stack])

    def _with_outliner(self, finder: NDArray[np.float32], tile: _Tile) -> NDArray[np.float32]:
        """The mean of both networks in a tile, given the finder's probability there."""
        patch, inside = tile.patch()
        outliner = self._outliner(patch, tile.point_in(inside))
        share = np.float32(self.finder_share)
        mean = finder.copy()
        mean[inside] = share * finder[inside] + (1 - share) * outliner
        return mean

    def from_click(self, image: NDArray, point: Sequence[int]) -> Outline:
        """Outline the lesion at any point of it, by way of its middle.

        A quick first outline tells where the middle is; from there the networks see best. The
        parameters are those of `around`.
        """
        first = self.quick().around(image, point)
        if first.mask.any():
            middle = [
                m + s.start for m, s in zip(middle_voxel(first.mask), first.place, strict=True)
            ]
            outline = self.around(image, middle)
            if outline.reaches(point):
                return outline
        return self.around(image, point)

    def _finder(self, grey: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mirrored in the plane only: its tile is large, and this is where the time goes."""
        mirrors = [m for m in self.mirrors if m in IN_PLANE_FLIPS] or self.mirrors
        return self._mean_of_mirrors(self.finder, grey[None], mirrors)

    def _outliner(self, grey: NDArray[np.float32], point: Sequence[int]) -> NDArray[np.float32]:
        shown = np.stack([grey, point_map(grey.shape, point)])
        return self._mean_of_mirrors(self.outliner, shown, self.mirrors)

    def _mean_of_mirrors(
        self, network: torch.nn.Module, image: NDArray, mirrors: Sequence[tuple[int, ...]]
    ) -> NDArray[np.float32]:
        """Probabilities of one image (channel, z, y, x), from the mean logit of its mirrorings."""
        with self.engine.running():
            one = torch.from_numpy(image[None]).to(self.engine.device)
            batch = torch.cat([one.flip(flip) for flip in mirrors])
            logits = network(batch.contiguous(memory_format=torch.channels_last_3d)).float()
            back = [each[None].flip(flip) for each, flip in zip(logits, mirrors, strict=True)]
            mean = torch.sigmoid(torch.cat(back).mean(dim=0))[0].cpu().numpy()
        return np.asarray(mean, np.float32)


@dataclass(frozen=True, eq=False)
class _Tile:
    """A part of an image around a point: `grey` normalised, empty slices past the image's ends."""

    grey: NDArray[np.float32]
    point: tuple[int, int, int]
    place: tuple[slice, slice, slice]
    inner: tuple[slice, slice, slice]
    whole_depth: int

    @classmethod
    def around(cls, image: NDArray, point: Sequence[int], depth: int) -> _Tile:
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


def middle_voxel(mask: NDArray[np.bool_], weight: NDArray | None = None) -> tuple[int, int, int]:
    """The voxel of a mask, shape (z, y, x), that is nearest its centre.

    With a weight of the same shape that is the centre of gravity.
    """
    voxels = np.argwhere(mask)
    share = None if weight is None else weight[mask].astype(float)
    centre = np.average(voxels, axis=0, weights=share)
    z, y, x = voxels[((voxels - centre) ** 2).sum(axis=1).argmin()]
    return int(z), int(y), int(x)


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


def piece_at(mask: NDArray[np.bool_], point: Sequence[int]) -> NDArray[np.bool_]:
    """The connected piece (26 neighbours) at a point, or else the nearest within reach of it."""
    pieces, count = ndimage.label(mask, np.ones((3, 3, 3)))
    if count == 0:
        return mask
    here = pieces[tuple(point)]
    if here == 0:
        low = [max(0, p - _REACH) for p in point]
        near = pieces[tuple(slice(a, p + _REACH + 1) for a, p in zip(low, point, strict=True))]
        places = np.argwhere(near)
        if not len(places):
            return np.zeros_like(mask)
        gap = ((places + low - np.asarray(point)) ** 2).sum(axis=1)
        here = near[tuple(places[int(gap.argmin())])]
    return np.asarray(pieces == here)
