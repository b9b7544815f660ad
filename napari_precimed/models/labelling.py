"""Probability map -> numbered lesions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_precimed.errors import CancelledError
from napari_precimed.models.inference import Progress
from napari_precimed.models.outline import Outline, Outlines, middle_voxel


@dataclass(frozen=True)
class CandidateRules:
    """What a two-stage model lists; all from its bundle's settings.

    Attributes
    ----------
    threshold : float
        Of the finder's probability: connected voxels above it are a candidate.
    least_peak : float
        Of the finder's probability in a candidate.
    least_confidence : float
        Of the outline: of the finder's probability again, averaged over mirrorings.
    least_mm3 : float
        Of the outlined lesion, cubic millimetres.
    """

    threshold: float = 0.3
    least_peak: float = 0.5
    least_confidence: float = 0.5
    least_mm3: float = 0.0


def label_lesions(
    probability: NDArray[np.float32],
    region: NDArray[np.bool_] | None,
    voxel_mm3: float,
    *,
    threshold: float,
    least_confidence: float,
    least_mm3: float,
) -> tuple[NDArray[np.int32], dict[int, float]]:
    """Probability map -> numbered lesions.

    A lesion is a connected piece (26 neighbours) over `threshold` that meets `region`, peaks at
    `least_confidence` or more, and is no smaller than `least_mm3`. They are numbered by
    peak times diameter, greatest first.

    Parameters
    ----------
    probability : ndarray of float32, shape (z, y, x)
    region : ndarray of bool, shape (z, y, x), or None
    voxel_mm3, least_mm3 : float
        Cubic millimetres.
    threshold, least_confidence : float
        0 to 1.

    Returns
    -------
    labels : ndarray of int32, shape (z, y, x)
    confidence : dict of int to float
        Mean probability inside, 0 to 1.
    """
    pieces, count = ndimage.label(probability >= threshold, np.ones((3, 3, 3)))
    labels = np.zeros(probability.shape, np.int32)
    if count == 0:
        return labels, {}
    index = np.arange(1, count + 1)
    voxels = np.flatnonzero(pieces)  # few, so that nothing below looks at the whole scan
    piece = pieces.ravel()[voxels]
    size = np.bincount(piece, minlength=count + 1)[1:]
    volume_mm3 = size * voxel_mm3
    peak = np.zeros(count + 1, np.float32)
    np.maximum.at(peak, piece, probability.ravel()[voxels])
    peak = peak[1:]
    keep = (peak >= least_confidence) & (volume_mm3 >= least_mm3)
    if region is not None:
        keep &= np.isin(index, piece[region.ravel()[voxels]])
    rank = np.argsort(-(peak * np.cbrt(volume_mm3))[keep], kind="stable")
    chosen = index[keep][rank]
    number = np.zeros(count + 1, np.int32)
    number[chosen] = np.arange(1, len(chosen) + 1)
    mean = np.bincount(piece, probability.ravel()[voxels])[1:] / size
    confidence = {n: float(mean[c - 1]) for n, c in enumerate(chosen, start=1)}
    labels.ravel()[voxels] = number[piece]
    return labels, confidence


def outline_candidates(
    image: NDArray,
    probability: NDArray[np.float32],
    region: NDArray[np.bool_] | None,
    outlines: Outlines,
    voxel_mm3: float,
    rules: CandidateRules,
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> tuple[NDArray[np.int32], dict[int, float]]:
    """Outline each candidate of the finder, and keep those of which it is sure when it looks again.

    Parameters
    ----------
    image : ndarray, shape (z, y, x)
        Grey values.
    probability : ndarray of float32, shape (z, y, x)
        Of the finder.
    region : ndarray of bool, shape (z, y, x), or None
        A candidate must meet it.
    outlines : Outlines
    voxel_mm3 : float
    rules : CandidateRules
    progress, cancelled : callable, optional
        Told and asked between candidates.

    Returns
    -------
    labels : ndarray of int32, shape (z, y, x)
        Numbered by the finder's peak times diameter, greatest first.
    confidence : dict of int to float
        How far the outlines of the mirrorings agree, 0 to 1; see `Outline.agreement`.
    """
    candidates, _ = label_lesions(
        probability,
        region,
        voxel_mm3,
        threshold=rules.threshold,
        least_confidence=rules.least_peak,
        least_mm3=0.0,
    )
    boxes = ndimage.find_objects(candidates)
    taken = np.zeros(image.shape, bool)
    kept: list[Outline] = []
    for number, box in enumerate(boxes, start=1):
        if cancelled and cancelled():
            raise CancelledError("Cancelled; nothing was changed.")
        middle = middle_voxel(candidates[box] == number, probability[box])
        point = [m + part.start for m, part in zip(middle, box, strict=True)]
        outline = outlines.around(image, point, rules.least_confidence)
        size = int(outline.mask.sum())
        new = size and not taken[outline.place][outline.mask].mean() > 0.5
        enough = outline.peak >= rules.least_confidence
        if new and enough and size * voxel_mm3 >= rules.least_mm3:
            outline.draw(taken)
            kept.append(outline)
        if progress:
            progress("outline", number, len(boxes))
    return _drawn(kept, image.shape)


def _drawn(
    outlines: list[Outline], shape: tuple[int, ...]
) -> tuple[NDArray[np.int32], dict[int, float]]:
    ranked = sorted(outlines, key=lambda o: -o.peak * float(np.cbrt(o.mask.sum())))
    labels = np.zeros(shape, np.int32)
    for number, outline in reversed(list(enumerate(ranked, start=1))):
        outline.draw(labels, number)  # the more suspicious lies on top where two meet
    known = ((n, outline.agreement) for n, outline in enumerate(ranked, start=1))
    return labels, {n: agreement for n, agreement in known if agreement is not None}
