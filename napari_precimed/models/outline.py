"""Outline one lesion from a point inside it: the second half of a two-stage segmentation.

A network looks at a patch around the point in two channels, grey and where the point is, and says
which voxels belong to the thing that was pointed at: none, where that is no lesion.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

PATCH = (12, 48, 48)
"""Voxels (z, y, x) that the network looks at, at the scan's own spacing."""

_SPREAD = (0.7, 2.0, 2.0)


def point_map(shape: Sequence[int], point: Sequence[float]) -> NDArray[np.float32]:
    """Where the point is: a soft spot of height 1; shape (z, y, x), index (z, y, x)."""
    spots = [
        np.exp(-(((np.arange(n) - p) / s) ** 2) / 2).astype(np.float32)
        for n, p, s in zip(shape, point, _SPREAD, strict=True)
    ]
    return spots[0][:, None, None] * spots[1][:, None] * spots[2]
