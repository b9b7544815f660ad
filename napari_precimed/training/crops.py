"""Crops of scans that are ready: drawn by class, then disturbed; a batch is a pure function of its
step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from napari_precimed.training.prepared import ReadyScan
from napari_precimed.training.teacher import Batch

_WARPED_SHARE = 0.5
_ROOM = 1.3  # a crop to be turned is cut this much larger in its plane


@dataclass(frozen=True)
class CropSampler:
    """Draws batches of crops; `sampler(step)` is the same whenever it is asked.

    A patient is drawn first, then one of their scans, so that who has many counts no more.

    Parameters
    ----------
    scans : sequence of ReadyScan
    patch : tuple of int
        (z, y, x).
    batch_size, seed : int
    labelled_share : float
        Share of crops centred on a labelled voxel, each label as often; the rest lie anywhere.
    mirror : tuple of int
        The axes (0 z, 1 y, 2 x) along which a crop may be mirrored.
    with_labels : bool
        Whether batches hold "labels"; without, crops lie anywhere.
    """

    scans: Sequence[ReadyScan]
    patch: tuple[int, int, int]
    batch_size: int = 4
    seed: int = 0
    labelled_share: float = 0.6
    mirror: tuple[int, ...] = (0, 1, 2)
    with_labels: bool = True
    _by_patient: list[list[ReadyScan]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        grouped: dict[str, list[ReadyScan]] = {}
        for scan in self.scans:
            grouped.setdefault(scan.patient, []).append(scan)
        object.__setattr__(self, "_by_patient", list(grouped.values()))

    def __call__(self, step: int) -> Batch:
        """Batch `step`: "image" (n, channel, z, y, x) and "labels" (n, 1, z, y, x), float32."""
        crops = [
            self._crop(np.random.default_rng((self.seed, step, k))) for k in range(self.batch_size)
        ]
        batch = {"image": torch.stack([image for image, _ in crops])}
        if self.with_labels:
            batch["labels"] = torch.stack([labels for _, labels in crops])
        return batch

    def _crop(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        scans = self._by_patient[rng.integers(len(self._by_patient))]
        scan = scans[rng.integers(len(scans))]
        image, labels = scan.image, scan.labels if self.with_labels else None
        warped = rng.random() < _WARPED_SHARE
        z, y, x = self.patch
        size = (z, round(y * _ROOM), round(x * _ROOM)) if warped else self.patch
        start = self._start(scan, image.shape[1:], size, rng)
        picture = torch.from_numpy(cut(image, start, size).astype(np.float32))
        truth = torch.zeros(1, *size)
        if labels is not None:
            truth = torch.from_numpy(cut(labels[None], start, size).astype(np.float32))
        if warped:
            picture, truth = _warp(picture, truth, self.patch, rng)
        for axis in self.mirror:
            if rng.random() < 0.5:
                picture, truth = picture.flip(axis + 1), truth.flip(axis + 1)
        return _disturb(picture, rng), truth

    def _start(
        self, scan: ReadyScan, shape: Sequence[int], size: Sequence[int], rng: np.random.Generator
    ) -> list[int]:
        """Where the crop starts; it may reach past the scan."""
        spots = _spots_of(scan) if self.with_labels and rng.random() < self.labelled_share else {}
        if spots:
            label = sorted(spots)[rng.integers(len(spots))]
            centre = spots[label][rng.integers(len(spots[label]))]
            shift = [int(rng.integers(-(n // 4), n // 4 + 1)) for n in size]
            return [int(c) - n // 2 + s for c, n, s in zip(centre, size, shift, strict=True)]
        return [
            int(rng.integers(0, have - n + 1)) if have >= n else (have - n) // 2
            for have, n in zip(shape, size, strict=True)
        ]


@lru_cache(maxsize=4096)
def _spots_of(scan: ReadyScan) -> dict[int, NDArray[np.int32]]:
    return scan.spots()


def cut(array: NDArray, start: Sequence[int], size: Sequence[int]) -> NDArray:
    """A box of (channel, z, y, x); where it reaches past the array, the edge is continued."""
    low = [max(0, min(s, n - 1)) for s, n in zip(start, array.shape[1:], strict=True)]
    high = [
        max(a + 1, min(s + k, n))
        for a, s, k, n in zip(low, start, size, array.shape[1:], strict=True)
    ]
    inside = np.asarray(array[:, low[0] : high[0], low[1] : high[1], low[2] : high[2]])
    for axis in range(3):
        index = np.clip(np.arange(start[axis], start[axis] + size[axis]), low[axis], high[axis] - 1)
        inside = np.take(inside, index - low[axis], axis=axis + 1)
    return inside


def _warp(
    image: torch.Tensor, labels: torch.Tensor, patch: tuple[int, int, int], rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn a crop in its plane, zoom it, and cut out the middle."""
    angle, zoom = rng.uniform(-np.pi / 6, np.pi / 6), np.exp(rng.uniform(-0.2, 0.2))
    y, x = patch[1:]
    wide_y, wide_x = image.shape[2:]
    cos, sin = np.cos(angle) * zoom, np.sin(angle) * zoom
    theta = torch.tensor(
        [
            [cos * x / wide_x, -sin * y / wide_x, 0, 0],
            [sin * x / wide_y, cos * y / wide_y, 0, 0],
            [0, 0, 1, 0],
        ],
        dtype=torch.float32,
    )
    grid = torch.nn.functional.affine_grid(
        theta[None], [1, len(image), *patch], align_corners=False
    )
    sample = torch.nn.functional.grid_sample
    turned = sample(image[None], grid, padding_mode="border", align_corners=False)[0]
    mask = sample(labels[None], grid, mode="nearest", padding_mode="border", align_corners=False)[0]
    return turned, mask


def _disturb(image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Gamma, gain, offset and noise, in proportion to the spread of the grey values."""
    spread = float(image.std()) or 1.0
    low, high = image.amin(), image.amax()
    if rng.random() < 0.3 and high > low:
        image = ((image - low) / (high - low)) ** float(np.exp(rng.uniform(-0.35, 0.35))) * (
            high - low
        ) + low
    gain, offset = float(rng.normal(1, 0.1)), float(rng.normal(0, 0.1)) * spread
    strength = abs(float(rng.normal(0, 0.08))) * spread
    noise = torch.from_numpy(rng.standard_normal(image.shape, dtype=np.float32))
    return image * gain + offset + strength * noise
