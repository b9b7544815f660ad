"""The grid and the grey scale on which brain slices are looked at, in training and after."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SIDE = 256
"""Width and height of a slice as the network sees it, pixels."""
PIXEL_MM = 240 / SIDE
"""The usual pixel of the training scans: a field of view of 240 mm on 256 pixels."""
PERCENTILES = (0.5, 99.5)
"""Of a sequence's grey values; they become 0 and 1."""


def levels_of(sequence: NDArray) -> tuple[float, float]:
    """The grey values of a sequence, shape (z, y, x), that become 0 and 1."""
    low, high = np.percentile(sequence, PERCENTILES)
    return float(low), float(max(high, low + 1e-6))


def scale_sequence(sequence: NDArray) -> NDArray[np.float32]:
    """Grey values, shape (z, y, x), with the sequence's `PERCENTILES` at 0 and 1."""
    low, high = levels_of(sequence)
    return ((sequence.astype(np.float32) - low) / (high - low)).astype(np.float32)


def in_plane(array: NDArray[np.float32], spacing_yx_mm: Sequence[float]) -> NDArray[np.float32]:
    """Slices, shape (z, y, x), on 256 x 256 pixels of 0.94 mm around the middle."""
    step = np.array([1.0, *(PIXEL_MM / s for s in spacing_yx_mm)])
    middle = (np.asarray(array.shape) - 1) / 2
    offset = middle - step * (np.array([len(array), SIDE, SIDE]) - 1) / 2
    resampled: NDArray[np.float32] = ndimage.affine_transform(
        array, step, offset, output_shape=(len(array), SIDE, SIDE), order=1, mode="constant"
    )
    return resampled
