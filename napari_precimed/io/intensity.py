"""Grey values: the file's linear rescaling, in the smallest type that holds it, and no NaN."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_precimed.errors import ReadError

_INTEGERS = (np.int16, np.uint16, np.int32)


def rescaled(stored: NDArray, slope: float, intercept: float) -> NDArray:
    """Stored values, shape (slice, row, column), times `slope` plus `intercept`.

    Whole-numbered rescaling of integers stays integer, in int16 where the values fit, so that a CT
    does not grow to twice its size; everything else becomes float32.
    """
    if slope == 1 and intercept == 0:
        return stored
    whole = float(slope).is_integer() and float(intercept).is_integer()
    if not whole or not np.issubdtype(stored.dtype, np.integer):
        return (stored * np.float64(slope) + intercept).astype(np.float32)
    ends = [int(end) * int(slope) + int(intercept) for end in (stored.min(), stored.max())]
    for kind in _INTEGERS:
        if np.iinfo(kind).min <= min(ends) and max(ends) <= np.iinfo(kind).max:
            scaled = np.empty(stored.shape, kind)
            for k, plane in enumerate(stored):  # so that no 64-bit copy of the whole is made
                scaled[k] = plane.astype(np.int64) * int(slope) + int(intercept)
            return scaled
    return (stored * np.float64(slope) + intercept).astype(np.float32)


def refuse_non_finite(array: NDArray, name: str) -> None:
    """Refuse an image that holds NaN or infinite voxels, since no measurement of it would hold.

    Raises
    ------
    ReadError
        With their number.
    """
    if not np.issubdtype(array.dtype, np.floating):
        return
    bad = int(array.size - np.count_nonzero(np.isfinite(array)))
    if bad:
        raise ReadError(
            f"{name}: {bad} of {array.size} voxels are NaN or infinite; replace them (with the "
            "value of air or background) and save the image again."
        )
