"""Long and short axis of a lesion, as a radiologist draws them on a slice.

RECIST 1.1 (Eisenhauer et al. 2009): the longest diameter in the plane of acquisition, and the
longest diameter perpendicular to it in the same plane.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from napari_precimed.core.geometry import Geometry
from napari_precimed.core.lesion import Point

_EDGE_MIDPOINTS = np.array([(-0.5, 0.0), (0.5, 0.0), (0.0, -0.5), (0.0, 0.5)])


_N_FAN = 16
_ANGLES = np.arange(_N_FAN) * np.pi / _N_FAN
_FAN = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)])  # directions half a step from any other
_FAN_SLACK = 1 / np.cos(np.pi / _N_FAN / 2)  # so no diameter exceeds the widest extent times this


@dataclass(frozen=True)
class InPlane:
    """The two axes and their end points, world (x, y, z) mm; all None where there are none."""

    long_mm: float | None = None
    long_ends_mm: tuple[Point, Point] | None = None
    short_mm: float | None = None
    short_ends_mm: tuple[Point, Point] | None = None


def longest_in_plane(
    mask: NDArray[np.bool_], start: NDArray, geometry: Geometry, normal: int
) -> InPlane | None:
    """Long and short axis of one lesion.

    The outline of a slice is the convex hull of the midpoints of its voxels' edges: n voxels in a
    row measure n spacings, and a digitised disc its true diameter, on average. Of several slices
    with the same longest diameter, the one with most voxels is taken.

    Parameters
    ----------
    mask : ndarray of bool, shape (z, y, x)
        Crop that holds the whole lesion.
    start : array_like of int, shape (3,)
        Index of the crop's first voxel in the image.
    geometry : Geometry
        Of the image.
    normal : int
        The array axis across which the slices were acquired.

    Returns
    -------
    InPlane or None
        None where no slice holds two voxels of the lesion: one voxel has no diameter.
    """
    planes = np.moveaxis(mask, normal, 0)
    first, second = (axis for axis in range(3) if axis != normal)
    to_mm, basis = _plane_frame(geometry.affine[:3, first], geometry.affine[:3, second])
    slices, outlines = _outlines(planes)
    if len(slices) == 0:
        return None
    best = _longest(slices, [outline @ to_mm.T for outline in outlines])
    long_mm, at, hull, (i, j) = best
    short = _longest_perpendicular(hull, hull[i], hull[j])
    corner = np.array(start, float)
    corner[normal] += at
    origin = geometry.index_to_world(corner)
    return InPlane(
        long_mm=long_mm,
        long_ends_mm=_ends(origin + np.stack([hull[i], hull[j]]) @ basis),
        short_mm=float(np.linalg.norm(short[1] - short[0])),
        short_ends_mm=_ends(origin + short @ basis),
    )


def _plane_frame(first: NDArray, second: NDArray) -> tuple[NDArray, NDArray]:
    """In-plane index -> mm in an orthonormal frame (2, 2), and that frame in the world (2, 3).

    A sheared plane is no problem: the second axis of the frame is made perpendicular to the first.
    """
    along = first / np.linalg.norm(first)
    across = second - (second @ along) * along
    across /= np.linalg.norm(across)
    basis = np.stack([along, across])
    return basis @ np.stack([first, second], axis=1), basis


def _outlines(planes: NDArray[np.bool_]) -> tuple[NDArray[np.intp], list[NDArray[np.float64]]]:
    """The slices with at least two voxels, fullest first, and the outline (n, 2) of each.

    An outline is the midpoints of the edges of the voxels that end a row: enough for its hull.
    """
    counts = np.count_nonzero(planes, axis=(1, 2))
    slices = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts >= 2)]
    filled = np.any(planes, axis=2)
    left = planes.argmax(axis=2)
    right = planes.shape[2] - 1 - planes[:, :, ::-1].argmax(axis=2)
    outlines = []
    for at in slices:
        rows = np.flatnonzero(filled[at, :])
        ends = np.concatenate([np.stack([rows, side[at, rows]], 1) for side in (left, right)])
        outlines.append((ends[:, None, :] + _EDGE_MIDPOINTS).reshape(-1, 2))
    return slices, outlines


def _longest(
    slices: NDArray[np.intp], outlines_mm: list[NDArray]
) -> tuple[float, int, NDArray, tuple[int, int]]:
    """The longest diameter: its length, slice, the hull of that slice, and the two corners."""
    bounds = np.array(
        [np.ptp(outline @ _FAN, axis=0).max() * _FAN_SLACK for outline in outlines_mm]
    )
    best: tuple[float, int, NDArray, tuple[int, int]] = 0.0, 0, np.empty((0, 2)), (0, 0)
    for k in np.argsort(-bounds.round(9), kind="stable"):
        if bounds[k] <= best[0]:
            break
        hull = outlines_mm[k][ConvexHull(outlines_mm[k]).vertices]
        distances = np.linalg.norm(hull[:, None] - hull, axis=-1)
        i, j = np.unravel_index(int(distances.argmax()), distances.shape)
        if distances[i, j] > best[0] + 1e-9:
            best = float(distances[i, j]), int(slices[k]), hull, (int(i), int(j))
    return best


def _longest_perpendicular(hull: NDArray, one: NDArray, other: NDArray) -> NDArray:
    """The longest chord of a convex polygon across the line from `one` to `other`; shape (2, 2).

    Along that line the chord's length is linear between corners, so that it is longest at one.
    """
    along = (other - one) / np.linalg.norm(other - one)
    across = np.array([-along[1], along[0]])
    t, s = hull @ along, hull @ across
    run, rise = np.roll(t, -1) - t, np.roll(s, -1) - s
    with np.errstate(divide="ignore", invalid="ignore"):
        fraction = (t[:, None] - t) / run  # of edge k (column), where it meets t = corner's (row)
    meets = (fraction > -1e-9) & (fraction < 1 + 1e-9)  # edges across have no run, and do not
    crossing = s + np.where(meets, fraction, 0) * rise
    low = np.where(meets, crossing, np.inf).min(axis=1)
    high = np.where(meets, crossing, -np.inf).max(axis=1)
    best = int((high - low).argmax())
    return np.stack([t[best] * along + height * across for height in (low[best], high[best])])


def _ends(world: NDArray) -> tuple[Point, Point]:
    one, other = ((float(x), float(y), float(z)) for x, y, z in world)
    return one, other
