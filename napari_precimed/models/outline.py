"""Outline one lesion from a point inside it: the second half of a two-stage segmentation.

Two networks look at what lies around the point. The *finder* sees a wide tile and marks every
lesion in it; the *outliner* sees a small patch at full resolution and, in a second channel, where
the point is, and marks what was pointed at. The outline is where the mean of the two reaches the
threshold, in one piece with the point. A click and a candidate of the automatic search are outlined
by this same code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from napari_precimed.models.agreement import agreement_of, outlines
from napari_precimed.models.inference import Engine, on_engine
from napari_precimed.models.preprocess import IN_PLANE_FLIPS, MIRRORINGS
from napari_precimed.models.tile import Tile, point_map

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
    peak : float
        The finder's highest probability inside the mask, 0 to 1; 0 where it is empty. How sure it
        is that there is a lesion. The outliner does not count: it marks what it is pointed at,
        whatever that is.
    agreement : float or None
        Mean Dice between two of the outlines that each mirroring by itself gives, 0 to 1: how good
        the outline is likely to be. None where the mask is empty, or only one way was looked.
    """

    place: tuple[slice, slice, slice]
    point: tuple[int, int, int]
    probability: NDArray[np.float32]
    mask: NDArray[np.bool_]
    peak: float
    agreement: float | None = None

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

    def around(self, image: NDArray, point: Sequence[int], least_peak: float = 0.0) -> Outline:
        """Outline the lesion at a point.

        Parameters
        ----------
        image : ndarray, shape (z, y, x)
            Grey values, any gain per slice.
        point : sequence of 3 int
            Index (z, y, x) inside the image.
        least_peak : float
            Below it an outline is of no use: where the finder is nowhere so sure, it stays empty,
            and the outliner is not asked.
        """
        seen, mask = self._look(image, point, least_peak)
        tile, finder = seen.tile, seen.found
        inner = tile.inner
        agreement = None
        if mask.any() and len(self.mirrors) > 1:
            agreement = agreement_of(outlines(seen.ways()[:, *inner], mask[inner], self.threshold))
        return Outline(
            tile.place,
            tile.point_in(inner),
            seen.probability[inner],
            mask[inner],
            float(finder[mask].max()) if mask.any() else 0.0,
            agreement,
        )

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
        seen, _ = self._look(image, point, 0.0)
        return seen.tile.place, seen.ways()[:, *seen.tile.inner]

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

    def _look(
        self, image: NDArray, point: Sequence[int], least_peak: float
    ) -> tuple[_Seen, NDArray[np.bool_]]:
        """Both networks at a point, in a tile as deep as the lesion needs; and its mask there."""
        for depth in _DEPTHS:
            tile = Tile.around(image, point, depth)
            finder = self._mirrored(self.finder, tile.grey[None], self._flips)
            seen = _Seen(tile, self.mirrors, self._flips, finder, None, self.finder_share)
            if seen.found.max() < least_peak:
                return seen, np.zeros(tile.grey.shape, bool)
            patch, inside = tile.patch()
            shown = np.stack([patch, point_map(patch.shape, tile.point_in(inside))])
            seen = replace(seen, outliner=self._mirrored(self.outliner, shown, self.mirrors))
            mask = piece_at(seen.probability >= self.threshold, tile.point)
            if not tile.cuts(mask):
                break
        return seen, mask

    @property
    def _flips(self) -> tuple[tuple[int, ...], ...]:
        """The finder is mirrored in the plane only: its tile is large, and there the time goes."""
        return tuple(m for m in self.mirrors if m in IN_PLANE_FLIPS) or self.mirrors

    def _mirrored(
        self, network: torch.nn.Module, image: NDArray, mirrors: Sequence[tuple[int, ...]]
    ) -> torch.Tensor:
        """Logits of one image (channel, z, y, x) by each mirroring, mirrored back; (n, z, y, x)."""
        with self.engine.running():
            one = torch.from_numpy(image[None]).to(self.engine.device)
            batch = torch.cat([one.flip(flip) for flip in mirrors])
            logits = network(batch.contiguous(memory_format=torch.channels_last_3d)).float()
            back = [each.flip(flip) for each, flip in zip(logits, mirrors, strict=True)]
            return torch.cat(back).cpu()


@dataclass(frozen=True, eq=False)
class _Seen:
    """What both networks say of a tile, mirroring by mirroring, as logits (mirroring, z, y, x)."""

    tile: Tile
    mirrors: tuple[tuple[int, ...], ...]
    flips: tuple[tuple[int, ...], ...]
    finder: torch.Tensor
    outliner: torch.Tensor | None
    finder_share: float

    @cached_property
    def found(self) -> NDArray[np.float32]:
        """The finder's probability."""
        return np.asarray(torch.sigmoid(self.finder.mean(dim=0)).numpy(), np.float32)

    @cached_property
    def probability(self) -> NDArray[np.float32]:
        """The mean of both."""
        outliner = None if self.outliner is None else self.outliner.mean(dim=0)
        return self._mean(self.found, outliner)

    def ways(self) -> NDArray[np.float32]:
        """The mean of both by each mirroring alone, shape (mirrorings, z, y, x)."""
        stack = []
        for k, mirror in enumerate(self.mirrors):
            flat = tuple(axis for axis in mirror if axis != -3)
            flip = flat if flat in self.flips else mirror
            finder = torch.sigmoid(self.finder[self.flips.index(flip)]).numpy()
            stack.append(self._mean(finder, None if self.outliner is None else self.outliner[k]))
        return np.stack(stack)

    def _mean(
        self, finder: NDArray[np.float32], outliner: torch.Tensor | None
    ) -> NDArray[np.float32]:
        if outliner is None:
            return finder
        _, inside = self.tile.patch()
        share = np.float32(self.finder_share)
        mean = finder.copy()
        mean[inside] = share * finder[inside] + (1 - share) * torch.sigmoid(outliner).numpy()
        return mean


def middle_voxel(mask: NDArray[np.bool_], weight: NDArray | None = None) -> tuple[int, int, int]:
    """The voxel of a mask, shape (z, y, x), that is nearest its centre.

    With a weight of the same shape that is the centre of gravity.
    """
    voxels = np.argwhere(mask)
    share = None if weight is None else weight[mask].astype(float)
    centre = np.average(voxels, axis=0, weights=share)
    z, y, x = voxels[((voxels - centre) ** 2).sum(axis=1).argmin()]
    return int(z), int(y), int(x)


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
