"""Where the lungs are on a CT, by threshold and shape."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

AIR_HU = -400.0
_ROOM_HU = -940.0
_WORKING_SPACING_MM = 3.0
_CLOSING_MM = 12.0
_SMALLEST_ML = 100.0


def lung_mask(hu: NDArray, spacing_mm: Sequence[float]) -> NDArray[np.bool_]:
    """The lungs, with vessels, nodules and what bulges in from the pleura.

    Air that is not the room's, in pieces of at least 100 ml, closed over 12 mm so that a nodule at
    the pleura lies inside. Air is the room's where, slice by slice, it reaches the sides of the
    scan and is as empty as air: a lung that a narrow field of view cuts is denser, and stays.
    Works on a 3 mm grid.

    Parameters
    ----------
    hu : ndarray, shape (z, y, x)
        Hounsfield units.
    spacing_mm : sequence of 3
        (z, y, x).

    Returns
    -------
    ndarray of bool, shape (z, y, x)
        Empty where there are no lungs in the scan.
    """
    step = [max(1, round(_WORKING_SPACING_MM / s)) for s in spacing_mm]
    coarse = hu[:: step[0], :: step[1], :: step[2]]
    coarse_mm = np.asarray(spacing_mm, float) * step
    air = coarse < AIR_HU
    inside = air & ~_room(coarse, air)
    pieces, count = ndimage.label(inside)
    if count == 0:
        return np.zeros(hu.shape, bool)
    millilitres = np.bincount(pieces.ravel()) * np.prod(coarse_mm) / 1000
    keep = np.flatnonzero(millilitres >= _SMALLEST_ML)
    lungs = np.isin(pieces, keep[keep > 0])
    lungs = _closed(lungs, coarse_mm)
    full = np.repeat(np.repeat(np.repeat(lungs, step[0], 0), step[1], 1), step[2], 2)
    return full[: hu.shape[0], : hu.shape[1], : hu.shape[2]]


def _room(hu: NDArray, air: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The air around the patient; shapes (z, y, x)."""
    in_plane = np.zeros((3, 3, 3), bool)
    in_plane[1] = ndimage.generate_binary_structure(2, 1)
    pieces, _ = ndimage.label(air, in_plane)
    sides = [pieces[:, 0], pieces[:, -1], pieces[..., 0], pieces[..., -1]]
    reaching = np.unique(np.concatenate([side.ravel() for side in sides]))
    reaching = reaching[reaching > 0]
    if not len(reaching):
        return np.zeros(air.shape, bool)
    typical_hu = np.asarray(ndimage.median(hu, pieces, reaching))
    return np.isin(pieces, reaching[typical_hu < _ROOM_HU])


def _closed(mask: NDArray[np.bool_], spacing_mm: NDArray) -> NDArray[np.bool_]:
    """Closing by a ball, through distances, which costs the same for any radius."""
    if not mask.any():
        return mask
    margin = [int(np.ceil(_CLOSING_MM / s)) + 1 for s in spacing_mm]
    wide = np.pad(mask, [(m, m) for m in margin], mode="edge")
    grown = ndimage.distance_transform_edt(~wide, sampling=spacing_mm) <= _CLOSING_MM
    closed = ndimage.distance_transform_edt(grown, sampling=spacing_mm) > _CLOSING_MM
    inner = tuple(slice(m, -m) for m in margin)
    return closed[inner] | mask
