"""Training slabs cut from FLAIR scans: a batch is a pure function of the step number.

The scans show the whole head of people with a large lesion. So that a network also learns brains
without their skull, and lesions of a few millimetres, some slabs are stripped and scaled anew, and
some get small bright spots that count as lesion.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from monai.transforms import ScaleIntensityRangePercentiles
from numpy.typing import NDArray
from scipy import ndimage

from napari_precimed.training.lgg import Glioma
from napari_precimed.training.slabs import warp
from napari_precimed.training.teacher import Batch

SLAB = (4, 192, 192)
"""Slices, rows and columns of a training slab."""
PERCENTILES = (0.5, 99.5)
"""Of a scan's grey values; they become 0 and 1."""
_ROOM = 16  # pixels around a slab, so that turning it brings nothing empty in
_HEAD = 0.15  # normalised grey value of what is not air
_SCALP = 13  # pixels from the skin to the brain, about


def normalise(image: NDArray) -> NDArray[np.float32]:
    """Grey values of a whole scan, its `PERCENTILES` at 0 and 1; any shape."""
    scale = ScaleIntensityRangePercentiles(*PERCENTILES, b_min=0.0, b_max=1.0)
    return np.asarray(scale(image.astype(np.float32)), np.float32)


@dataclass(frozen=True)
class PreparedGlioma:
    """A patient ready for sampling; all arrays (z, 256, 256).

    `image` is normalised, `stripped` is the same without skin and skull, normalised anew, `brain`
    what was left there, `mask` the lesion.
    """

    image: NDArray[np.float16]
    stripped: NDArray[np.float16]
    brain: NDArray[np.bool_]
    mask: NDArray[np.bool_]

    @cached_property
    def holding(self) -> NDArray[np.int_]:
        """The slices that hold some of the lesion."""
        return np.flatnonzero(self.mask.any(axis=(1, 2)))

    @cached_property
    def centre(self) -> tuple[int, int]:
        """Row and column of the middle of the head."""
        head = self.image.max(axis=0) > _HEAD
        rows, columns = np.flatnonzero(head.any(1)), np.flatnonzero(head.any(0))
        return int(rows[0] + rows[-1]) // 2, int(columns[0] + columns[-1]) // 2


def prepare_glioma(case: Glioma) -> PreparedGlioma:
    """A patient's FLAIR normalised, with and without the skull, and its mask."""
    image, mask = normalise(case.flair), case.mask
    brain = inside_skull(image) | mask
    bare = normalise(np.where(brain, image, image.min()))
    case.forget()
    return PreparedGlioma(image.astype(np.float16), bare.astype(np.float16), brain, mask)


def inside_skull(image: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Roughly what a skull stripping would leave of each slice: the head without its outer rim.

    Parameters
    ----------
    image : ndarray, shape (z, y, x)
        Normalised.
    """
    inside = np.zeros(image.shape, bool)
    for head, out in zip(image > _HEAD, inside, strict=True):
        filled = ndimage.binary_fill_holes(ndimage.binary_closing(head, iterations=3))
        depth = ndimage.distance_transform_edt(np.pad(filled, 1))[1:-1, 1:-1]
        out[:] = depth > _SCALP
    return inside


@dataclass(frozen=True)
class FlairSampler:
    """Draws batches of slabs; `sampler(step)` is the same whenever it is asked.

    Parameters
    ----------
    patients : list of PreparedGlioma
    batch_size, seed : int
    lesion_share : float
        Share of slabs that are sure to hold some of the lesion.
    stripped_share : float
        Share of slabs without skin and skull.
    spotted_share : float
        Share of slabs with small lesions put in.
    """

    patients: list[PreparedGlioma]
    batch_size: int
    seed: int
    lesion_share: float = 0.75
    stripped_share: float = 0.25
    spotted_share: float = 0.15

    def __call__(self, step: int) -> Batch:
        """Batch `step`: "image" and "mask", each (batch, 1, z, y, x) float32."""
        rng = np.random.default_rng((self.seed, step))
        pairs = [self._slab(rng) for _ in range(self.batch_size)]
        image, mask = (torch.from_numpy(np.stack(part)) for part in zip(*pairs, strict=True))
        image, mask = warp(image, mask, rng)
        inner = (..., slice(_ROOM, -_ROOM), slice(_ROOM, -_ROOM))
        image, mask = _disturb(image[inner], rng), mask[inner]
        return {"image": image[:, None].contiguous(), "mask": mask[:, None].contiguous()}

    def _slab(self, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
        patient = self.patients[rng.integers(len(self.patients))]
        window = self._window(patient, rng)
        mask = patient.mask[window].astype(np.float32)
        if rng.random() < self.stripped_share:  # a healthy brain fills the scale further
            image = patient.stripped[window] * np.exp(rng.uniform(0, 0.5)).astype(np.float32)
        else:
            image = patient.image[window].astype(np.float32)
        if rng.random() < self.spotted_share:
            _add_spots(image, mask, patient.brain[window], rng)
        for axis in (2, 0):
            if rng.random() < 0.5:
                image, mask = np.flip(image, axis), np.flip(mask, axis)
        return image.copy(), mask.copy()

    def _window(
        self, patient: PreparedGlioma, rng: np.random.Generator
    ) -> tuple[NDArray[np.int_], slice, slice]:
        depth, (height, width) = SLAB[0], (n + 2 * _ROOM for n in SLAB[1:])
        last = len(patient.image) - depth
        first = int(rng.integers(last + 1))
        if len(patient.holding) and rng.random() < self.lesion_share:
            first = int(rng.choice(patient.holding)) - int(rng.integers(depth))
        rows, columns = (
            int(np.clip(c - n // 2 + rng.integers(-12, 13), 0, size - n))
            for c, n, size in zip(
                patient.centre, (height, width), patient.image.shape[1:], strict=True
            )
        )
        place = np.clip(np.arange(first, first + depth), 0, len(patient.image) - 1)
        return place, slice(rows, rows + height), slice(columns, columns + width)


def _add_spots(
    image: NDArray[np.float32],
    mask: NDArray[np.float32],
    brain: NDArray[np.bool_],
    rng: np.random.Generator,
) -> None:
    """Put one to six small bright lesions into a slab, in place; all (z, y, x)."""
    if not brain.any():
        return
    places = np.argwhere(brain & (mask == 0) & (image > np.median(image[brain]) * 0.8))
    if not len(places):
        return
    z, y, x = (np.arange(n, dtype=np.float32) for n in image.shape)
    for _ in range(int(rng.integers(1, 7))):
        middle = places[rng.integers(len(places))]
        radius = np.array([rng.uniform(0.6, 1.6), *np.exp(rng.uniform(0.6, 1.9, 2))])
        gaps = [((a - m) / r) ** 2 for a, m, r in zip((z, y, x), middle, radius, strict=True)]
        square = gaps[0][:, None, None] + gaps[1][:, None] + gaps[2]
        gain = rng.uniform(0.35, 1.0) * (1 + 0.2 * ndimage.gaussian_filter(
            rng.standard_normal(image.shape), 2))  # fmt: skip
        image += image * gain.astype(np.float32) * np.exp(-0.7 * square**2) * brain
        mask[(square <= 1) & brain] = 1


def _disturb(image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Gamma, gain, offset, a coil's shading and noise, each slab its own; (batch, z, y, x)."""
    n = len(image)

    def each(values: NDArray) -> torch.Tensor:
        return torch.from_numpy(values.reshape(n, 1, 1, 1)).float()

    gamma, gain = each(np.exp(rng.normal(0, 0.2, n))), each(np.exp(rng.normal(0, 0.15, n)))
    image = image.clamp(min=0) ** gamma * gain
    coarse = torch.from_numpy(rng.normal(0, 0.12, (n, 1, 3, 3))).float()
    shade = torch.nn.functional.interpolate(
        coarse, list(image.shape[2:]), mode="bicubic", align_corners=True
    )
    noise = torch.from_numpy(rng.standard_normal(image.shape, dtype=np.float32))
    return image * torch.exp(shade) + each(np.abs(rng.normal(0, 0.02, n))) * noise
