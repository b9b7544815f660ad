"""Lesion by lesion: which were found, and what was found that is none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_TOUCHING = np.ones((3, 3, 3))


@dataclass(frozen=True)
class LesionMatch:
    """The lesions of one scan.

    Attributes
    ----------
    found : ndarray of bool, shape (n,)
        Whether each true lesion was touched by a predicted one.
    volumes : ndarray of float64, shape (n,)
        Of the true lesions: mm³, or voxels where the voxel's volume is unknown.
    false_positives : int
        Predicted lesions that touch no true one.
    """

    found: NDArray[np.bool_]
    volumes: NDArray[np.float64]
    false_positives: int

    @property
    def sensitivity(self) -> float | None:
        """Share of true lesions found; None where there are none."""
        return float(self.found.mean()) if len(self.found) else None


def match_lesions(
    predicted: NDArray[np.bool_], truth: NDArray[np.bool_], voxel_mm3: float = 1.0
) -> LesionMatch:
    """Match lesions by touch: pieces (26 neighbours) that share a voxel.

    Parameters
    ----------
    predicted, truth : ndarray of bool, shape (z, y, x)
    voxel_mm3 : float
        1 where unknown; volumes are then voxels.
    """
    pieces, count = ndimage.label(truth, _TOUCHING)
    claims, claimed = ndimage.label(predicted, _TOUCHING)
    both = (pieces > 0) & (claims > 0)
    hit = np.zeros(count + 1, bool)
    hit[np.unique(pieces[both])] = True
    right = np.unique(claims[both])
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)[1:] * voxel_mm3
    return LesionMatch(hit[1:], sizes.astype(float), claimed - len(right))
