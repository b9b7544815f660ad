"""Batches of brain slices, labelled by whether the lesion's mask touches them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from napari_precimed.models.slice_grid import SIDE, levels_of
from napari_precimed.training.fit import Batch
from napari_precimed.training.lgg import SEQUENCES, Glioma

_MASK_SIDE = 64
MAP_SIDE = 16
"""Side of the coarse mask of a batch: where in the slice the lesion is."""
_COPY_CHANCE = 0.3


@dataclass(frozen=True)
class SliceStack:
    """One patient's slices, ready to be drawn.

    Attributes
    ----------
    image : ndarray of uint8, shape (z, 3, 256, 256)
        FLAIR, pre, post.
    levels : ndarray, shape (3, 2)
        Grey values that become 0 and 1, per sequence.
    target : ndarray of float32, shape (z,)
        Chance that the slice holds a lesion: 0 or 1, or in between where another model said so.
    mask : ndarray of uint8, shape (z, 64, 64)
        Which cells of the slice the lesion touches.
    """

    image: NDArray[np.uint8]
    levels: NDArray[np.float32]
    target: NDArray[np.float32]
    mask: NDArray[np.uint8] = field(repr=False)

    def scaled(self, index: NDArray[np.int_] | slice = slice(None)) -> NDArray[np.float32]:
        """Slices as the network sees them, shape (n, 3, 256, 256)."""
        low, high = self.levels[:, 0], self.levels[:, 1]
        gain = (1 / (high - low))[:, None, None]
        return ((self.image[index] - low[:, None, None]) * gain).astype(np.float32)


def stack_of(case: Glioma) -> SliceStack:
    """A patient's slices; the case itself forgets its pixels."""
    image = np.stack([getattr(case, name) for name in SEQUENCES], axis=1)
    levels = np.array([levels_of(image[:, k]) for k in range(len(SEQUENCES))], np.float32)
    cell = SIDE // _MASK_SIDE
    mask = case.mask.reshape(-1, _MASK_SIDE, cell, _MASK_SIDE, cell).any(axis=(2, 4))
    target = case.mask.any(axis=(1, 2))
    case.forget()
    return SliceStack(image, levels, np.asarray(target, np.float32), np.asarray(mask, np.uint8))


@dataclass(frozen=True)
class SliceSampler:
    """Draws slices, half of them with a lesion, each patient as often; a pure function of the step.

    Parameters
    ----------
    stacks : sequence of SliceStack
    batch_size, seed : int
    augment : bool
        Mirror, turn, zoom, shift, change grey, add noise, let FLAIR stand in for the others.
    """

    stacks: Sequence[SliceStack]
    batch_size: int
    seed: int
    augment: bool = True

    def __call__(self, step: int) -> Batch:
        """Batch `step`: "image" (n, 3, 256, 256), "target" (n,), "map" (n, 1, 16, 16)."""
        rng = np.random.default_rng((self.seed, step))
        drawn = [self._draw(rng) for _ in range(self.batch_size)]
        image = torch.from_numpy(
            np.concatenate([self.stacks[k].scaled(np.array([z])) for k, z in drawn])
        )
        mask = torch.from_numpy(np.stack([self.stacks[k].mask[z] for k, z in drawn])[:, None])
        target = torch.tensor([float(self.stacks[k].target[z]) for k, z in drawn])
        mask = mask.float()
        if self.augment:
            theta = _theta(len(image), rng)
            image, mask = _warp(image, theta), _warp(mask, theta)
            image = _stand_in(_disturb(image, rng), rng)
        coarse = torch.nn.functional.adaptive_max_pool2d(mask, MAP_SIDE)
        return {"image": image, "target": target, "map": coarse}

    def _draw(self, rng: np.random.Generator) -> tuple[int, int]:
        """A patient and a slice of hers; with and without a lesion as often."""
        wanted = rng.random() < 0.5
        while True:
            patient = int(rng.integers(len(self.stacks)))
            fitting = np.flatnonzero((self.stacks[patient].target >= 0.5) == wanted)
            if len(fitting):
                return patient, int(rng.choice(fitting))


def _theta(n: int, rng: np.random.Generator) -> torch.Tensor:
    """Mirror left and right, turn by up to 20 degrees, zoom and shift a little; (n, 2, 3)."""
    angle = rng.uniform(-0.35, 0.35, n)
    zoom = np.exp(rng.uniform(-0.18, 0.18, n))
    mirror = rng.choice([-1.0, 1.0], n)
    theta = np.zeros((n, 2, 3), np.float32)
    theta[:, 0, 0] = np.cos(angle) * zoom * mirror
    theta[:, 0, 1] = -np.sin(angle) * zoom
    theta[:, 1, 0] = np.sin(angle) * zoom * mirror
    theta[:, 1, 1] = np.cos(angle) * zoom
    theta[:, :, 2] = rng.uniform(-0.08, 0.08, (n, 2))
    return torch.from_numpy(theta)


def _warp(image: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
    grid = torch.nn.functional.affine_grid(theta, list(image.shape), align_corners=False)
    return torch.nn.functional.grid_sample(image, grid, align_corners=False)


def _disturb(image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Gamma, gain and offset of each sequence, and noise; (n, 3, y, x)."""
    n, channels = image.shape[:2]

    def each(values: NDArray) -> torch.Tensor:
        return torch.from_numpy(values.reshape(n, channels, 1, 1)).float()

    gamma = each(np.exp(rng.normal(0, 0.2, (n, channels))))
    gain = each(np.exp(rng.normal(0, 0.12, (n, channels))))
    offset = each(rng.normal(0, 0.03, (n, channels)))
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    noise = torch.randn(image.shape, generator=generator)
    strength = each(np.abs(rng.normal(0, 0.02, (n, channels))))
    return image.clamp(min=0) ** gamma * gain + offset + strength * noise


def _stand_in(image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """FLAIR in the place of pre, post or both, as where a patient has none."""
    without_both = rng.random(len(image)) < _COPY_CHANCE / 2
    image = image.clone()
    for channel in (1, 2):
        missing = without_both | (rng.random(len(image)) < _COPY_CHANCE / 2)
        chosen = torch.from_numpy(missing)
        image[chosen, channel] = image[chosen, 0]
    return image
