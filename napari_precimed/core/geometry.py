"""Where the voxels are: one convention for the whole package.

Arrays are indexed (z, y, x). World coordinates are LPS millimetres, given as (x, y, z): x grows to
the patient's left, y to posterior, z to superior, as in DICOM and ITK. A canonical geometry's axes
run inferior to superior, anterior to posterior, right to left, as nearly as its direction allows.

This module alone transposes and flips; readers call `Geometry.canonical` once at the door.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_precimed.errors import GeometryError

TOLERANCE_MM = 1e-3
"""Two grids are the same grid when no corner voxel is further apart than this."""

_FLATTEST = 1e-6  # volume of a voxel against that of an upright one with the same edges
_WORLD_AXIS_OF_CANONICAL = (2, 1, 0)  # array axis 0 runs along world z, and so on


@dataclass(frozen=True)
class AxisOrder:
    """How a canonical array was made from the stored one: transpose, then flip.

    Attributes
    ----------
    order : tuple of int
        ``canonical axis k`` is ``stored axis order[k]``.
    flipped : tuple of bool
        Whether canonical axis k runs against the stored one.
    """

    order: tuple[int, int, int] = (0, 1, 2)
    flipped: tuple[bool, bool, bool] = (False, False, False)

    def apply(self, stored: NDArray) -> NDArray:
        """Stored array -> canonical array (a view)."""
        return np.flip(np.transpose(stored, self.order), self._flipped_axes())

    def undo(self, canonical: NDArray) -> NDArray:
        """Canonical array -> array as stored (a view)."""
        return np.transpose(np.flip(canonical, self._flipped_axes()), np.argsort(self.order))

    def apply_to_index(self, index: Sequence[float], stored_shape: Sequence[int]) -> NDArray:
        """Index into the stored array -> index into the canonical one."""
        moved = np.asarray(index, float)[list(self.order)]
        extent = np.asarray(stored_shape)[list(self.order)]
        return np.where(self.flipped, extent - 1 - moved, moved)

    def _flipped_axes(self) -> tuple[int, ...]:
        return tuple(axis for axis, flip in enumerate(self.flipped) if flip)


@dataclass(frozen=True, eq=False)
class Geometry:
    """A voxel grid in the patient, without pixels.

    Parameters
    ----------
    shape : tuple of int
        (z, y, x).
    affine : array_like, shape (4, 4)
        Maps an index (z, y, x, 1), at voxel centres, to world (x, y, z, 1) in LPS millimetres.

    Raises
    ------
    GeometryError
        If the shape is not three positive numbers or the transform is not finite and invertible.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise GeometryError(f"A volume has three axes of at least one voxel, not {self.shape}.")
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise GeometryError(f"The voxel-to-patient transform is not a finite 4x4: {affine}.")
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        if not abs(np.linalg.det(affine[:3, :3])) > _FLATTEST * np.prod(lengths):
            raise GeometryError(
                "The voxel-to-patient transform is singular: an axis has no length, or two run the "
                f"same way (lengths {lengths.tolist()} mm). "
                "Re-export the image with its spacing."
            )
        affine.setflags(write=False)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    @classmethod
    def from_parts(
        cls,
        shape: Sequence[int],
        spacing_mm: Sequence[float] = (1.0, 1.0, 1.0),
        origin_mm: Sequence[float] = (0.0, 0.0, 0.0),
        direction: ArrayLike | None = None,
    ) -> Geometry:
        """Build from spacing, origin and direction.

        Parameters
        ----------
        shape, spacing_mm : sequence of 3
            (z, y, x).
        origin_mm : sequence of 3
            World (x, y, z) of the centre of voxel (0, 0, 0).
        direction : array_like, shape (3, 3), optional
            Column k is the world (x, y, z) unit vector along array axis k; canonical if omitted.
        """
        columns = np.eye(3)[::-1] if direction is None else np.asarray(direction, float)
        affine = np.eye(4)
        affine[:3, :3] = columns * np.asarray(spacing_mm, float)
        affine[:3, 3] = origin_mm
        z, y, x = (int(n) for n in shape)
        return cls((z, y, x), affine)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxel centres along (z, y, x), mm."""
        z, y, x = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(z), float(y), float(x)

    @property
    def origin_mm(self) -> tuple[float, float, float]:
        """World (x, y, z) of the centre of voxel (0, 0, 0)."""
        x, y, z = self.affine[:3, 3]
        return float(x), float(y), float(z)

    @property
    def direction(self) -> NDArray[np.float64]:
        """Unit vectors of the array axes (z, y, x) as columns, in world (x, y, z); shape (3, 3)."""
        return self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0)

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel, mm³; right for sheared grids too."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    @property
    def obliquity_deg(self) -> float:
        """Largest angle between an array axis and the patient axis nearest to it, degrees."""
        direction = self.direction
        nearest = _nearest_world_axes(direction)
        cosines = [abs(direction[nearest[axis], axis]) for axis in range(3)]
        return float(np.degrees(np.arccos(np.clip(min(cosines), -1, 1))))

    def index_to_world(self, index: ArrayLike) -> NDArray[np.float64]:
        """Indices (..., 3) as (z, y, x) -> world (..., 3) as (x, y, z) mm."""
        return np.asarray(index, float) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def world_to_index(self, world_mm: ArrayLike) -> NDArray[np.float64]:
        """World (..., 3) as (x, y, z) mm -> indices (..., 3) as (z, y, x), not rounded."""
        inverse = np.linalg.inv(self.affine[:3, :3])
        return (np.asarray(world_mm, float) - self.affine[:3, 3]) @ inverse.T

    def corners_mm(self) -> NDArray[np.float64]:
        """World positions of the eight corner voxel centres, shape (8, 3)."""
        last = np.asarray(self.shape) - 1
        return self.index_to_world(
            np.stack(np.meshgrid(*zip((0, 0, 0), last, strict=True)), -1)
        ).reshape(-1, 3)

    def difference(self, other: Geometry, tolerance_mm: float = TOLERANCE_MM) -> str | None:
        """What keeps `other` from being the same grid, in words; None if it is the same."""
        if self.shape != other.shape:
            return f"shape {other.shape} instead of {self.shape} (z, y, x)"
        gap = np.linalg.norm(self.corners_mm() - other.corners_mm(), axis=1).max()
        if gap <= tolerance_mm:
            return None
        for name, mine, theirs in (
            ("spacing", self.spacing_mm, other.spacing_mm),
            ("direction", self.direction.ravel(), other.direction.ravel()),
            ("origin", self.origin_mm, other.origin_mm),
        ):
            if not np.allclose(mine, theirs, rtol=0, atol=1e-5):
                return (
                    f"{name} {np.round(theirs, 4).tolist()} instead of "
                    f"{np.round(mine, 4).tolist()} (up to {gap:.3g} mm apart)"
                )
        return f"corner voxels up to {gap:.3g} mm apart"

    def matches(self, other: Geometry, tolerance_mm: float = TOLERANCE_MM) -> bool:
        """Whether `other` is the same grid: same shape, no corner further than the tolerance."""
        return self.difference(other, tolerance_mm) is None

    def canonical_order(self) -> AxisOrder:
        """The transpose and flips that bring this grid nearest to the canonical axes."""
        direction = self.direction
        nearest = _nearest_world_axes(direction)
        order = tuple(nearest.index(world) for world in _WORLD_AXIS_OF_CANONICAL)
        flipped = tuple(
            bool(direction[world, axis] < 0)
            for axis, world in zip(order, _WORLD_AXIS_OF_CANONICAL, strict=True)
        )
        return AxisOrder(order, flipped)  # type: ignore[arg-type]

    def reordered(self, order: AxisOrder) -> Geometry:
        """The same voxels, indexed as `order.apply` rearranges the array."""
        step = np.zeros((4, 4))
        step[3, 3] = 1
        for axis, (stored, flip) in enumerate(zip(order.order, order.flipped, strict=True)):
            step[stored, axis] = -1 if flip else 1
            step[stored, 3] = self.shape[stored] - 1 if flip else 0
        z, y, x = (self.shape[axis] for axis in order.order)
        return Geometry((z, y, x), self.affine @ step)

    def as_stored(self, order: AxisOrder) -> Geometry:
        """The inverse of `reordered`: the grid of the array that `order.undo` gives back."""
        inverse = [int(axis) for axis in np.argsort(order.order)]
        back = AxisOrder(
            (inverse[0], inverse[1], inverse[2]),
            (order.flipped[inverse[0]], order.flipped[inverse[1]], order.flipped[inverse[2]]),
        )
        return self.reordered(back)

    def cropped(self, start: Sequence[int], shape: Sequence[int]) -> Geometry:
        """The sub-grid of `shape` (z, y, x) whose first voxel is `start` (may lie outside)."""
        affine = self.affine.copy()
        affine[:3, 3] = self.index_to_world(start)
        z, y, x = (int(n) for n in shape)
        return Geometry((z, y, x), affine)


def _nearest_world_axes(direction: NDArray) -> list[int]:
    """For each array axis, the world axis it runs along; a permutation even when oblique."""
    return list(
        max(
            permutations(range(3)),
            key=lambda worlds: sum(abs(direction[w, axis]) for axis, w in enumerate(worlds)),
        )
    )
