"""How far several outlines of one lesion agree: what foretells best how good an outline is.

See ``benchmarks/doubt.py`` for how well it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_TOUCHING = np.ones((3, 3, 3), bool)


def agreement_of(masks: Sequence[NDArray[np.bool_]]) -> float | None:
    """Mean Dice over all pairs of masks, shape (z, y, x); None for fewer than two, or all empty.

    Two empty masks among others count 0: a lesion that is seldom seen is not sure.
    """
    if len(masks) < 2 or not any(mask.any() for mask in masks):
        return None
    sizes = [int(mask.sum()) for mask in masks]
    shares = []
    for a, b in combinations(range(len(masks)), 2):
        total = sizes[a] + sizes[b]
        both = int(np.count_nonzero(masks[a] & masks[b]))
        shares.append(0.0 if total == 0 else 2 * both / total)
    return float(np.mean(shares))


def outlines(
    stack: NDArray, lesion: NDArray[np.bool_], threshold: float
) -> list[NDArray[np.bool_]]:
    """The pieces over `threshold` that meet the lesion, by each map of a stack.

    Parameters
    ----------
    stack : ndarray, shape (ways, z, y, x)
        Probabilities.
    lesion : ndarray of bool, shape (z, y, x)
        As it was outlined; a piece beside it is another lesion's.
    threshold : float
    """
    found = []
    for probability in stack:
        pieces, _ = ndimage.label(probability >= threshold, _TOUCHING)
        meeting = np.unique(pieces[lesion])
        found.append(np.isin(pieces, meeting[meeting > 0]))
    return found
