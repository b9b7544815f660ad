"""What a classifier sees of a lesion, and where that lies in the scan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_precimed.core.geometry import Geometry
from napari_precimed.core.lesion import Lesion, LesionSet
from napari_precimed.core.volume import Volume
from napari_precimed.models.classify import lesion_crop
from napari_precimed.models.preprocess import nodule_patch, patch_grid


@dataclass(frozen=True, eq=False)
class Patch:
    """A network's input, with its way back into the scan.

    Attributes
    ----------
    image : ndarray of float32, shape (channels, z, y, x), or (channels, y, x) for a 2D network
    to_index : ndarray, shape (4, 4)
        Maps an index (z, y, x, 1) into the patch to one into the scan's array; for a 2D patch,
        z is 0.
    neutral : ndarray of float32, shape of `image`
        What the network would see if nothing were there: where integrated gradients start, and
        what occlusion paints.
    """

    image: NDArray[np.float32]
    to_index: NDArray[np.float64]
    neutral: NDArray[np.float32]


PatchMaker = Callable[[Volume, LesionSet, Lesion], Patch]
"""Makes the patch that a classifier looks at."""


def nodule_patch_of(volume: Volume, lesions: LesionSet, lesion: Lesion) -> Patch:
    """The patch of the nodule classifiers: grey and outline, 30 x 48 x 48 mm.

    Neutral is the mean grey of every slice, with no outline.
    """
    grey, mask, start = lesion_crop(volume, lesions, lesion)
    spacing_mm = volume.geometry.spacing_mm
    step, offset = patch_grid(mask, spacing_mm)
    to_index = np.diag([*step, 1.0])
    to_index[:3, 3] = offset + start
    image = nodule_patch(grey, mask, spacing_mm)
    return Patch(image, to_index, np.zeros_like(image))


def onto_scan(
    values: NDArray, to_index: NDArray, geometry: Geometry
) -> tuple[NDArray[np.float32], tuple[int, int, int]]:
    """A map on a patch -> the same map on the voxels of the scan that the patch covers.

    Linear between the patch's voxels, times the ratio of voxel volumes: what a map sums to stays,
    within a few per cent where the scan is coarser than the patch. The part of a patch that reaches
    past the scan is left out.

    Parameters
    ----------
    values : ndarray, shape (z, y, x)
    to_index : ndarray, shape (4, 4)
        As in `Patch`.
    geometry : Geometry
        Of the scan.

    Returns
    -------
    box : ndarray of float32, shape (z, y, x)
    start : tuple of int
        Index (z, y, x) in the scan of its first voxel.
    """
    last = np.asarray(values.shape) - 0.5
    corners = np.stack(np.meshgrid(*zip((-0.5,) * 3, last, strict=True)), -1).reshape(-1, 3)
    placed = corners @ to_index[:3, :3].T + to_index[:3, 3]
    low = np.clip(np.ceil(placed.min(0)), 0, np.asarray(geometry.shape) - 1).astype(int)
    high = np.clip(np.floor(placed.max(0)) + 1, low + 1, geometry.shape).astype(int)
    index = np.stack(
        np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True)), indexing="ij")
    )
    inverse = np.linalg.inv(to_index)
    inside = np.einsum("ij,jzyx->izyx", inverse[:3, :3], index) + inverse[:3, 3, None, None, None]
    box = ndimage.map_coordinates(values.astype(np.float32), inside, order=1, mode="nearest")
    covered = ((inside >= -0.5) & (inside < last[:, None, None, None])).all(0)
    box = np.where(covered, box, 0) / abs(np.linalg.det(to_index[:3, :3]))
    z, y, x = (int(n) for n in low)
    return box.astype(np.float32), (z, y, x)
