"""Where an outline is uncertain, and how far it can be relied on.

The scan around a lesion is shown to the network in several ways that should make no difference;
where its answers differ, it is in doubt. Two sets of ways: the eight mirrorings (test-time
augmentation, Wang et al. 2019), and dropout left on (Gal and Ghahramani 2016).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_precimed.core.geometry import Geometry
from napari_precimed.core.lesion import Lesion, LesionSet
from napari_precimed.core.run import RunRecord
from napari_precimed.core.volume import Volume
from napari_precimed.errors import CancelledError, GeometryError, InputError
from napari_precimed.models.agreement import agreement_of, outlines
from napari_precimed.models.bundle import weights_sha256
from napari_precimed.models.catalogue import find
from napari_precimed.models.inference import Progress, choose_engine
from napari_precimed.models.looks import WAYS, Predict, look_with


@dataclass(frozen=True, eq=False)
class LesionDoubt:
    """The doubt about one lesion's outline.

    Attributes
    ----------
    label : int
    map : ndarray of float32, shape (z, y, x)
        Entropy of the mean probability at each voxel around the lesion, in bits: 0 certain, 1 as
        good as a coin.
    start : tuple of int
        Index (z, y, x) in the scan of the map's first voxel.
    agreement : float or None
        Mean Dice between two of the outlines, 0 to 1; None where no way of looking showed any.
    """

    label: int
    map: NDArray[np.float32]
    start: tuple[int, int, int]
    agreement: float | None


@dataclass(frozen=True, eq=False)
class Doubt:
    """The doubt about the lesions of one scan.

    Attributes
    ----------
    lesions : tuple of LesionDoubt
    geometry : Geometry
        Of the scan.
    run : RunRecord
    """

    lesions: tuple[LesionDoubt, ...]
    geometry: Geometry
    run: RunRecord

    @property
    def agreement(self) -> dict[int, float | None]:
        """Label -> agreement of its outlines."""
        return {each.label: each.agreement for each in self.lesions}

    def cropped(self) -> tuple[NDArray[np.float32], tuple[int, int, int]]:
        """All maps in the smallest box that holds them, and its first voxel; 0 between them."""
        if not self.lesions:
            return np.zeros((1, 1, 1), np.float32), (0, 0, 0)
        starts = np.array([each.start for each in self.lesions])
        stops = starts + [each.map.shape for each in self.lesions]
        low = starts.min(0)
        box = np.zeros(stops.max(0) - low, np.float32)
        for each, start in zip(self.lesions, starts - low, strict=True):
            _take_higher(box, each.map, start)
        z, y, x = (int(n) for n in low)
        return box, (z, y, x)

    def on_grid(self) -> NDArray[np.float32]:
        """The maps in an array of the scan's shape (z, y, x), 0 where none lies."""
        whole = np.zeros(self.geometry.shape, np.float32)
        for each in self.lesions:
            _take_higher(whole, each.map, each.start)
        return whole


def doubt(
    volume: Volume,
    lesions: LesionSet,
    model: str = "lung-nodule",
    ways: str = WAYS[0],
    device: str = "auto",
    *,
    predict: Predict | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Doubt:
    """Show where the outlines of lesions are uncertain; only their surroundings are computed.

    Parameters
    ----------
    volume : Volume
    lesions : LesionSet
        Found in `volume` by `model`.
    model : str
        Name in the catalogue, or the folder of a bundle.
    ways : {"mirror", "dropout"}
        Of looking at the same thing.
    device, progress, cancelled
        As for `segment`.
    predict : callable, optional
        How the model is run on a part of the scan; by default with a sliding window.

    Raises
    ------
    ModelNotFoundError, BundleError, CancelledError
    GeometryError
        If the lesions are not on the volume's grid.
    InputError
        If the model is no segmentation model or for another modality, or there is no such way, or
        the network has no dropout.
    """
    entry = find(model)
    entry.check("segmentation", volume.modality)
    if why := volume.geometry.difference(lesions.geometry):
        raise GeometryError(f"The lesions are not on the grid of the scan: {why}.")
    if ways not in WAYS:
        raise InputError(f"There is no way '{ways}' of testing; choose one of {', '.join(WAYS)}.")
    engine = choose_engine(device)
    threshold = float(entry.settings.get("threshold", 0.5))
    look = look_with(entry, engine, volume, lesions, ways, predict)
    began = time.perf_counter()
    found = []
    for done, lesion in enumerate(lesions):
        if cancelled and cancelled():
            raise CancelledError("Cancelled; nothing was changed.")
        if progress:
            progress("doubt", done, len(lesions))
        box, stack = look(lesion)
        found.append(_of_lesion(lesion, stack, lesions.labels[box], box, threshold))
    run = RunRecord(
        task="doubt",
        model=f"{entry.name} {entry.version}",
        weights_sha256=weights_sha256(entry),
        options={"device": device, "ways": ways, "threshold": threshold},
        device=f"{engine.device.type} ({engine.reason})",
        precision=engine.precision,
        timings_s={"doubt": round(time.perf_counter() - began, 3)},
    )
    return Doubt(tuple(found), volume.geometry, run)


def entropy_bits(stack: NDArray) -> NDArray[np.float32]:
    """Entropy of the mean over the first axis of probabilities, in bits, 0 to 1."""
    p = np.clip(np.asarray(stack, np.float64).mean(0), 0, 1)
    some = (p > 0) & (p < 1)
    q = np.where(some, p, 0.5)
    return np.where(some, -q * np.log2(q) - (1 - q) * np.log2(1 - q), 0).astype(np.float32)


def _of_lesion(
    lesion: Lesion,
    stack: NDArray[np.float32],
    labels: NDArray,
    box: tuple[slice, ...],
    threshold: float,
) -> LesionDoubt:
    """Doubt in the lesion's own surroundings; the network saw a box as large as it needs."""
    agreement = agreement_of(outlines(stack, labels == lesion.label, threshold))
    z, y, x = (int(part.start) for part in box)
    return LesionDoubt(lesion.label, entropy_bits(stack), (z, y, x), agreement)


def _take_higher(whole: NDArray, part: NDArray, start: Sequence[int]) -> None:
    place = tuple(slice(int(s), int(s) + n) for s, n in zip(start, part.shape, strict=True))
    np.maximum(whole[place], part, out=whole[place])
