"""Segment the lesions of a whole scan."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from napari_precimed.core.run import RunRecord
from napari_precimed.core.volume import Volume
from napari_precimed.errors import InputError
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
        Label -> how far the outline can be relied on, 0 to 1: for a model of two stages, how far
        the outlines of eight mirrorings agree; for others, the mean probability inside.
    run : RunRecord
    findings : dict of int to str
        Label -> what it is, where a model tells several things apart.
    probability : ndarray of float32, shape (z, y, x), or None
        Of anything but background; not calibrated. None where it was not kept.
    """

    labels: NDArray[np.int32]
    confidence: dict[int, float]
    run: RunRecord
    findings: dict[int, str] = field(default_factory=dict)
    probability: NDArray[np.float32] | None = None


def segment(
    volume: Volume,
    model: str = "lung-nodule",
    *,
    channels: Mapping[str, Volume] | None = None,
    trust: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Segmentation:
    """Find and outline lesions.

    Parameters
    ----------
    volume : Volume
    model : str
        Name in the catalogue, or the folder or zip archive of a bundle.
    channels : mapping of str to Volume, optional
        For a model of several input channels: the scan for each but the one that `volume` is.
    trust : bool
        Let a bundle from elsewhere run code.
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
    if entry.runs_itself:
        from napari_precimed.models.elsewhere import segment_with_bundle

        return segment_with_bundle(
            volume, entry, channels=channels, trust=trust, device=device, progress=progress,
            cancelled=cancelled,
        )  # fmt: skip
    if channels:
        raise InputError(f"'{entry.name}' takes one scan; leave out --channel.")
    engine = choose_engine(device)
    began = time.perf_counter()
    network = load_network(entry, trust=trust)
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
