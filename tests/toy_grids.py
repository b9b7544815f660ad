"""Voxel grids of every kind, for Hypothesis."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from napari_precimed.core.geometry import AxisOrder, Geometry

ORDERS_AND_FLIPS = [
    AxisOrder(order, flipped)
    for order in permutations(range(3))
    for flipped in product((False, True), repeat=3)
]


@st.composite
def grids(draw, max_shear: float = 0.0) -> Geometry:
    """Any of the 48 axis orders and flips, turned by up to 40 degrees, anisotropic."""
    order = draw(st.sampled_from(ORDERS_AND_FLIPS))
    shape = tuple(draw(st.integers(1, 9)) for _ in range(3))
    spacing = [draw(st.floats(0.3, 8)) for _ in range(3)]
    origin = [draw(st.floats(-800, 800)) for _ in range(3)]
    turn = Rotation.from_rotvec([draw(st.floats(-0.4, 0.4)) for _ in range(3)]).as_matrix()
    shear = np.eye(3)
    shear[0, 1], shear[0, 2], shear[1, 2] = (
        draw(st.floats(-max_shear, max_shear)) for _ in range(3)
    )
    direction = turn @ shear @ np.eye(3)[::-1]
    direction /= np.linalg.norm(direction, axis=0)
    return Geometry.from_parts(shape, spacing, origin, direction).as_stored(order)
