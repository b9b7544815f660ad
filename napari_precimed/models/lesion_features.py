"""A lesion on FLAIR in 21 numbers, and the models that judge by them.

None of the numbers has a unit of length: sizes are shares of the head, places are shares of its
extent, grey values are relative to the scan's own range. So they can be learned from scans whose
spacing is not known.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.stats import skew
from skimage.measure import label, regionprops

from napari_precimed.core.lesion import Lesion, LesionSet
from napari_precimed.core.run import RunRecord
from napari_precimed.core.volume import Volume
from napari_precimed.errors import CancelledError
from napari_precimed.models.bundle import load_network, weights_sha256
from napari_precimed.models.catalogue import ModelEntry
from napari_precimed.models.inference import Engine, Progress
from napari_precimed.models.slice_grid import in_plane, scale_sequence

KIND = "lesion-features"
"""What a bundle's metadata says under precimed / input if it judges by these numbers."""
SIZE = ("log volume share", "log area share", "slice share", "log pieces")
OUTLINE = ("eccentricity", "solidity", "compactness", "angular deviation", "margin fluctuation")
PLACE = ("off midline", "to the left", "to the back", "upwards")
GREY = ("contrast", "darkest tenth", "brightest tenth", "spread", "skewness", "entropy", "grain")
FEATURES = (*SIZE, *OUTLINE, *PLACE, *GREY, "edge")
_HEAD = 0.08  # of the scan's range: above it is head, below is air
_GAP, _RIM = 2, 6  # pixels: what surrounds a lesion lies between these distances
_ANGLES = 64


def is_feature_model(entry: ModelEntry) -> bool:
    """Whether the model judges lesions by their `FEATURES`."""
    return bool(entry.settings.get("input") == KIND)


def lesion_features(flair: NDArray, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """One lesion in numbers.

    Parameters
    ----------
    flair : ndarray, shape (z, y, x)
        Canonical axes, square pixels, scaled as `scale_sequence` does.
    mask : ndarray of bool, shape (z, y, x)
        The lesion; not empty.

    Returns
    -------
    ndarray, shape (21,)
        In the order of `FEATURES`.
    """
    head = flair > _HEAD
    areas = mask.sum(axis=(1, 2))
    largest = int(areas.argmax())
    pieces = int(label(mask, connectivity=1).max())
    size = [
        np.log(areas.sum() / max(1, head.sum())),
        np.log(areas[largest] / max(1, head[largest].sum())),
        (areas > 0).sum() / max(1, head.any(axis=(1, 2)).sum()),
        np.log(pieces),
    ]
    return np.array([*size, *_outline(mask[largest]), *_place(head, mask), *_grey(flair, mask)])


def surroundings(mask: NDArray[np.bool_], head: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The head between two and six pixels around a lesion, in its slices; shape (z, y, x)."""
    distance = np.stack(
        [ndimage.distance_transform_edt(~m) if m.any() else np.full(m.shape, np.inf) for m in mask]
    )
    return (distance > _GAP) & (distance <= _RIM) & head


def _outline(mask: NDArray[np.bool_]) -> list[float]:
    """How round the largest piece of one slice is; `OUTLINE` of Buda et al. 2019 among it."""
    region = max(regionprops(label(mask)), key=lambda r: r.area)
    perimeter = max(float(region.perimeter), 1.0)
    radius = _radii(region.image)
    smooth = ndimage.uniform_filter1d(radius, _ANGLES // 8, mode="wrap")
    mean = max(float(radius.mean()), 1e-6)
    return [
        float(region.eccentricity),
        float(region.solidity),
        min(1.5, 4 * np.pi * float(region.area) / perimeter**2),
        float(radius.std()) / mean,
        float((radius - smooth).std()) / mean,
    ]


def _radii(piece: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Distance from the centroid to the farthest pixel in each of 64 directions."""
    y, x = (np.argwhere(piece) - np.argwhere(piece).mean(0)).T
    sector = ((np.arctan2(y, x) + np.pi) / (2 * np.pi) * _ANGLES).astype(int) % _ANGLES
    radius = np.zeros(_ANGLES)
    np.maximum.at(radius, sector, np.hypot(y, x))
    return radius


def _place(head: NDArray[np.bool_], mask: NDArray[np.bool_]) -> list[float]:
    """The lesion's centroid in the box around the head: 0 to 1 along each axis."""
    centre = np.argwhere(mask).mean(0)
    share = []
    for axis in range(3):
        other = tuple(a for a in range(3) if a != axis)
        # a few bright voxels in the air do not widen the box
        inside = np.flatnonzero(head.mean(axis=other) > 0.02)
        low, high = (inside[0], inside[-1]) if len(inside) else (0, head.shape[axis] - 1)
        share.append(float((centre[axis] - low) / max(1, high - low)))
    z, y, x = share
    return [abs(x - 0.5), x - 0.5, y, z]


def _grey(flair: NDArray, mask: NDArray[np.bool_]) -> list[float]:
    inside = flair[mask].astype(float)
    around = flair[surroundings(mask, flair > _HEAD)]
    level = float(around.mean()) if around.size else float(inside.mean())
    spread = float(inside.std())
    counts, _ = np.histogram(inside, bins=16, range=(0, 1.5))
    share = counts[counts > 0] / counts.sum() if counts.sum() else np.ones(1)
    slope = np.hypot(*np.gradient(flair.astype(float), axis=(1, 2)))
    rim = mask & ~ndimage.binary_erosion(mask, np.ones((1, 3, 3), bool))
    return [
        float(inside.mean()) - level,
        float(np.quantile(inside, 0.1)) - level,
        float(np.quantile(inside, 0.9)) - level,
        spread,
        float(skew(inside)) if spread > 1e-6 else 0.0,
        float(-(share * np.log(share)).sum()),
        float(slope[mask].mean()),
        float(slope[rim].mean()),
    ]


def classify_by_features(
    volume: Volume,
    lesions: LesionSet,
    entry: ModelEntry,
    engine: Engine,
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> LesionSet:
    """Give each lesion the probabilities that the model can stand behind.

    Returns
    -------
    LesionSet
        `probabilities` has the classes the model answers for; None where it answers for none. The
        run record's warnings say which it keeps to itself, and why.

    Raises
    ------
    BundleError, CancelledError
    """
    began = time.perf_counter()
    network = load_network(entry).to(engine.device)
    spacing = volume.geometry.spacing_mm[1:]
    flair = in_plane(scale_sequence(volume.array), spacing)
    answered = {k: n for k, n in entry.labels.items() if n not in entry.settings["abstains"]}
    classified: list[Lesion] = []
    for lesion in lesions:
        if cancelled and cancelled():
            raise CancelledError("Cancelled; nothing was changed.")
        mask = in_plane((lesions.labels == lesion.label).astype(np.float32), spacing) >= 0.5
        probabilities = None
        if answered and mask.any():
            chance = feature_chances(network, lesion_features(flair, mask)[None], engine)[0]
            probabilities = {name: float(chance[k]) for k, name in answered.items()}
        classified.append(replace(lesion, probabilities=probabilities))
        if progress:
            progress("classify", len(classified), len(lesions))
    reasons = [f"No answer for '{n}': {why}" for n, why in entry.settings["abstains"].items()]
    run = RunRecord(
        task="classify",
        model=f"{entry.name} {entry.version}",
        weights_sha256=weights_sha256(entry),
        options={"answers": list(answered.values())},
        device=f"{engine.device.type} ({engine.reason})",
        precision="float32",
        timings_s={"classify": round(time.perf_counter() - began, 3)},
        warnings=(*entry.settings.get("warnings", ()), *reasons),
    )
    return lesions.with_lesions(classified, run)


def feature_chances(
    network: torch.nn.Module, features: NDArray, engine: Engine
) -> NDArray[np.float64]:
    """Chance of each output, from features of shape (n, 21); shape (n, outputs)."""
    with torch.inference_mode():
        rows = torch.from_numpy(np.asarray(features, np.float32)).to(engine.device)
        chance: NDArray[np.float64] = torch.sigmoid(network(rows).double()).cpu().numpy()
        return chance
