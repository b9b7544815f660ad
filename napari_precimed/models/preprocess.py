"""Volume -> what a network eats, and the way back.

Shapes are (z, y, x) throughout, canonical axes, as in `napari_precimed.core.geometry`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

CROP_SIDE = 96
"""Side of the in-plane crop around a nodule, pixels: the format of the LIDC training crops."""

HU_RANGE = (-1024.0, 2000.0)
"""Grey values outside are padding or metal, and would spoil a slice's mean and spread."""

PATCH_SHAPE = (24, 48, 48)
PATCH_SPACING_MM = (1.25, 1.0, 1.0)
"""The grid on which nodules are classified: 30 x 48 x 48 mm, so size stays visible."""

IN_PLANE_FLIPS: tuple[tuple[int, ...], ...] = ((), (-2,), (-1,), (-2, -1))
"""Axes (of ..., y, x) along which a picture is mirrored and says the same."""

MIRRORINGS: tuple[tuple[int, ...], ...] = (
    (), (-3,), (-2,), (-1,), (-3, -2), (-3, -1), (-2, -1), (-3, -2, -1),
)  # fmt: skip
"""The same for (..., z, y, x): all eight; the first is none."""

_EPS = 1e-5  # that of torch.nn.LayerNorm, which does the same inside the segmentation network


def normalise_slices(image: NDArray) -> NDArray[np.float32]:
    """Zero mean and unit variance in each slice; shape (z, y, x) in and out."""
    values = image.astype(np.float32)
    mean = values.mean(axis=(1, 2), keepdims=True)
    variance = values.var(axis=(1, 2), keepdims=True)
    return (values - mean) / np.sqrt(variance + _EPS)


def crop_around(
    array: NDArray, centre: Sequence[float], shape: Sequence[int]
) -> tuple[NDArray, tuple[slice, ...], tuple[slice, ...]]:
    """Cut a box around a point, mirrored where it reaches past the volume.

    Parameters
    ----------
    array : ndarray, shape (z, y, x)
    centre : sequence of 3
        Index (z, y, x), need not be whole.
    shape : sequence of 3
        Of the box.

    Returns
    -------
    box : ndarray of `shape`
    inside : tuple of slice
        The part of the box that lies in the volume.
    place : tuple of slice
        Where that part lies in the volume.
    """
    start = [round(c - (n - 1) / 2) for c, n in zip(centre, shape, strict=True)]
    low = [max(0, s) for s in start]
    high = [min(size, s + n) for size, s, n in zip(array.shape, start, shape, strict=True)]
    place = tuple(slice(a, max(a + 1, b)) for a, b in zip(low, high, strict=True))
    part = array[place]
    before = [a - s for a, s in zip(low, start, strict=True)]
    after = [n - b - p for n, b, p in zip(shape, before, part.shape, strict=True)]
    box = np.pad(part, list(zip(before, after, strict=True)), mode="symmetric")
    inside = tuple(slice(b, b + p) for b, p in zip(before, part.shape, strict=True))
    return box, inside, place


def nodule_patch(
    crop: NDArray, mask: NDArray[np.bool_], spacing_mm: Sequence[float]
) -> NDArray[np.float32]:
    """A nodule crop on the classifier's grid.

    Parameters
    ----------
    crop : ndarray, shape (z, 96, 96)
        The slices that hold the nodule, any gain per slice.
    mask : ndarray of bool, shape (z, 96, 96)
        The nodule; centres the patch.
    spacing_mm : sequence of 3
        (z, y, x).

    Returns
    -------
    ndarray of float32, shape (2, 24, 48, 48)
        Normalised grey (0 outside the crop) and the mask, each in [0, 1] for the mask.
    """
    grey = normalise_slices(crop)
    return np.stack(
        [resample_around(channel, mask, spacing_mm) for channel in (grey, mask.astype(np.float32))]
    )


def resample_around(
    channel: NDArray, mask: NDArray[np.bool_], spacing_mm: Sequence[float]
) -> NDArray[np.float32]:
    """One channel, shape (z, y, x), on the classifier's grid around the centre of `mask`."""
    step, offset = patch_grid(mask, spacing_mm)
    return ndimage.affine_transform(
        channel, step, offset, output_shape=PATCH_SHAPE, order=1, mode="constant"
    )


def patch_grid(
    mask: NDArray[np.bool_], spacing_mm: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the classifier's grid lies around the centre of `mask`, shape (z, y, x).

    Returns
    -------
    step, offset : ndarray, shape (3,)
        Index (z, y, x) into the patch -> ``step * index + offset``, the index into `mask`.
    """
    centre = np.argwhere(mask).mean(0) if mask.any() else (np.asarray(mask.shape) - 1) / 2
    step = np.asarray(PATCH_SPACING_MM) / np.asarray(spacing_mm, float)
    return step, centre - step * (np.asarray(PATCH_SHAPE) - 1) / 2
