"""Segment the lesions of a whole scan."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_precimed.core.run import RunRecord
from napari_precimed.core.volume import Volume
from napari_precimed.models.bundle import load_network, weights_sha256
from napari_precimed.models.catalogue import ModelEntry, find
from napari_precimed.models.inference import Progress, choose_engine
from napari_precimed.models.search import Search, search_region


@dataclass(frozen=True, eq=False)
class Segmentation:
    """What a model found.

    Attributes
    ----------
    labels : ndarray of int32, shape (z, y, x)
        On the volume's grid; lesion n carries n, the most suspicious first.
    confidence : dict of int to float
        Label -> the model's highest probability inside, 0 to 1; not calibrated.
    run : RunRecord
    """

    labels: NDArray[np.int32]
    confidence: dict[int, float]
    run: RunRecord


def segment(
    volume: Volume,
    model: str = "lung-nodule",
    *,
    device: str = "auto",
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Segmentation:
    """Find and outline lesions.

    Parameters
    ----------
    volume : Volume
    model : str
        Name in the catalogue, or the folder of a bundle.
    device : {"auto", "cpu", "cuda", "mps"}
    progress, cancelled : callable, optional
        Told and asked between tiles.

    Raises
    ------
    ModelNotFoundError, BundleError
    InputError
        If the model is not for this modality, or is no segmentation model, or if it searches the
        lungs and a scan of unknown modality shows none.
    CancelledError
    """
    entry = find(model)
    warnings = _check(entry, volume)
    engine = choose_engine(device)
    began = time.perf_counter()
    network = load_network(entry)
    loaded = time.perf_counter()
    region, more = search_region(entry.settings, volume)
    warnings += more
    search = Search(
        volume.array.astype(np.float32, copy=False),
        region,
        volume.geometry.voxel_volume_mm3,
        entry.settings,
        network,
        engine,
        progress,
        cancelled,
    )
    probability = search.probability()
    segmented = time.perf_counter()
    labels, confidence = search.lesions(probability)
    run = RunRecord(
        task="segment",
        model=f"{entry.name} {entry.version}",
        weights_sha256=weights_sha256(entry),
        options={"device": device, **_plain(entry.settings)},
        device=f"{engine.device.type} ({engine.reason})",
        precision=engine.precision,
        timings_s={
            "load": round(loaded - began, 3),
            "segment": round(segmented - loaded, 3),
            "label": round(time.perf_counter() - segmented, 3),
        },
        warnings=tuple(warnings),
    )
    return Segmentation(labels, confidence, run)


def _check(entry: ModelEntry, volume: Volume) -> list[str]:
    entry.check("segmentation", volume.modality)
    if volume.modality is None:
        return [f"The file does not say what the scan is; taken for {entry.modality}."]
    return []


def _plain(settings: dict) -> dict:
    keep = (
        "tile", "overlap", "threshold", "least_confidence", "least_mm3", "region", "finder_share",
        "candidates",
    )  # fmt: skip
    return {key: settings[key] for key in keep if key in settings}
