"""Branching vessels for the chest phantom, so that not everything round in a lung is a nodule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from napari_precimed.core.geometry import Geometry

_HILUM_MM = (24.0, 0.0, -4.0)
_FIRST_RADIUS_MM = 3.0
_LAST_RADIUS_MM = 0.8
_NARROWING = 0.78  # per generation, near the cube root of 1/2 (Murray's law)
_CLEARANCE_MM = 4.0


class Ellipsoid(Protocol):
    """What vessels keep away from."""

    @property
    def centre_mm(self) -> tuple[float, float, float]:
        """World (x, y, z)."""
        ...

    @property
    def radii_mm(self) -> tuple[float, float, float]:
        """Half axes along world (x, y, z)."""
        ...


def vessel_points(
    lungs: NDArray[np.bool_], geometry: Geometry, avoid: Sequence[Ellipsoid]
) -> Iterator[tuple[tuple[float, float, float], float]]:
    """Points along the vessels of both lungs, with the vessel's radius there, mm.

    Parameters
    ----------
    lungs : ndarray of bool, shape (z, y, x)
    geometry : Geometry
    avoid : sequence of ellipsoids
        Vessels keep clear of these, so that their volumes stay known.
    """
    centres = np.array([body.centre_mm for body in avoid])
    reach = np.array([max(body.radii_mm) for body in avoid]) + _CLEARANCE_MM
    rng = np.random.default_rng(3)
    for side in (-1.0, 1.0):
        start = np.array(_HILUM_MM) * (side, 1, 1)
        for pitch in (-60, -25, 10, 45, 75):
            rise, run = np.sin(np.radians(pitch)), np.cos(np.radians(pitch))
            heading = np.array([side * run, rng.uniform(-0.5, 0.5), rise])
            branches = [(start, heading / np.linalg.norm(heading), _FIRST_RADIUS_MM)]
            while branches:
                place, heading, radius = branches.pop()
                end = place
                for step in np.arange(0, 9 * radius + 4, 0.6 * radius):
                    here = place + step * heading
                    if not _inside(lungs, geometry, here) and step > 6:
                        break
                    end = here
                    if (np.linalg.norm(centres - here, axis=1) > reach + radius).all():
                        yield (float(here[0]), float(here[1]), float(here[2])), radius
                if radius * _NARROWING > _LAST_RADIUS_MM and _inside(lungs, geometry, end):
                    for _ in range(2):
                        turned = heading + rng.normal(0, 0.45, 3)
                        narrower = radius * _NARROWING
                        branches.append((end, turned / np.linalg.norm(turned), narrower))


def _inside(lungs: NDArray[np.bool_], geometry: Geometry, point_mm: NDArray) -> bool:
    index = np.rint(geometry.world_to_index(point_mm)).astype(int)
    if (index < 0).any() or (index >= lungs.shape).any():
        return False
    return bool(lungs[tuple(index)])
