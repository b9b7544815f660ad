"""Segment or classify with any MONAI bundle, by its own pipeline.

Scans become its channels, its labels our findings.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from napari_precimed.core.run import RunRecord
from napari_precimed.core.volume import Volume
from napari_precimed.errors import GeometryError, InputError
from napari_precimed.models.bundle import weights_sha256
from napari_precimed.models.catalogue import ModelEntry
from napari_precimed.models.inference import Progress, choose_engine
from napari_precimed.models.labelling import label_lesions
from napari_precimed.models.segment import Segmentation
from napari_precimed.models.workflow import Found, run_workflow, scan_probabilities

_LEAST = 1e-6  # so that a voxel of the foreground counts, however unlikely the model finds it


def segment_with_bundle(
    volume: Volume,
    entry: ModelEntry,
    *,
    channels: Mapping[str, Volume] | None = None,
    trust: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Segmentation:
    """Find and outline what a bundle was made for.

    Each value of its labels is a class, whose name is in `Segmentation.findings`. A bundle whose
    metadata say ``precimed.instances``, or one of ours, has its connected pieces numbered instead.

    Parameters
    ----------
    volume : Volume
        The scan of the channel that `channels` does not name; labels are on its grid.
    entry : ModelEntry
    channels : mapping of str to Volume, optional
        Name of an input channel -> the scan for it.
    trust, device, progress, cancelled
        As for `segment`.

    Raises
    ------
    UntrustedBundleError, BundleError, CancelledError
    GeometryError
        If a channel's scan lies on another grid.
    InputError
        If the scans do not fit the channels, or are of several patients.
    """
    scans = assign_channels(volume, entry, channels or {})
    engine = choose_engine(device)
    began = time.perf_counter()
    found = run_workflow(
        list(scans.values()), entry, engine, trust=trust, progress=progress, cancelled=cancelled
    )
    segmented = time.perf_counter()
    instances = bool(entry.settings.get("instances", entry.built_in))
    labels, confidence, findings = (
        _instances(found, entry, volume) if instances else _classes(found)
    )
    run = RunRecord(
        task="segment",
        model=f"{entry.name} {entry.version}",
        weights_sha256=weights_sha256(entry),
        options={"device": device, "instances": instances, "channels": _sources(scans)},
        device=f"{engine.device.type} ({engine.reason})",
        precision=found.precision,
        timings_s={
            "segment": round(segmented - began, 3),
            "label": round(time.perf_counter() - segmented, 3),
        },
        warnings=(*_unsaid(entry, volume), *found.notes, *_overlaps(found, volume)),
    )
    return Segmentation(labels, confidence, run, findings, found.foreground)


def classify_scan(
    volume: Volume, entry: ModelEntry, *, trust: bool = False, device: str = "auto"
) -> tuple[dict[str, float], RunRecord]:
    """Probability of each class of a scan as a whole.

    Parameters
    ----------
    volume : Volume
        A single slice, for a network of two dimensions.
    entry : ModelEntry
    trust, device
        As for `segment`.

    Raises
    ------
    UntrustedBundleError, BundleError
    InputError
        If the model is no classifier, is not for this modality, or takes single slices and the
        scan has several.
    """
    entry.check("classification", volume.modality)
    if entry.spatial_dims == 2 and 1 not in volume.geometry.shape:
        raise InputError(
            f"'{entry.name}' classifies single slices, this scan has {volume.geometry.shape} "
            "voxels (z, y, x); give one slice."
        )
    if len(entry.channels) > 1:
        raise InputError(
            f"'{entry.name}' classifies {len(entry.channels)} scans together "
            f"({', '.join(entry.channels)}); only models of one scan can be run."
        )
    engine = choose_engine(device)
    began = time.perf_counter()
    chances = scan_probabilities(volume, entry, engine, trust=trust)
    run = RunRecord(
        task="classify",
        model=f"{entry.name} {entry.version}",
        weights_sha256=weights_sha256(entry),
        options={"device": device},
        device=f"{engine.device.type} ({engine.reason})",
        precision="float32",
        timings_s={"classify": round(time.perf_counter() - began, 3)},
        warnings=("Not calibrated: the probabilities are the bundle's own.",),
    )
    return chances, run


def assign_channels(
    volume: Volume, entry: ModelEntry, named: Mapping[str, Volume]
) -> dict[str, Volume]:
    """Which scan is which channel, in the order of the network's input.

    `volume` is the one that is left when all others are named; where all are named it only gives
    the grid.

    Raises
    ------
    InputError, GeometryError
    """
    by_name = {_alike(name): name for name in entry.channels}
    scans: dict[str, Volume] = {}
    for name, scan in named.items():
        if _alike(name) not in by_name:
            raise InputError(
                f"'{entry.name}' has no channel '{name}'; its channels are "
                f"{', '.join(entry.channels)}."
            )
        scans[by_name[_alike(name)]] = scan
    left = [name for name in entry.channels if name not in scans]
    if len(left) > 1:
        raise InputError(
            f"'{entry.name}' takes {len(entry.channels)} scans: {', '.join(entry.channels)}. Say "
            f"which scan is which with --channel NAME=PATH for all but one of {', '.join(left)}; "
            "IMAGE is the one that is left."
        )
    scans.update(dict.fromkeys(left, volume))
    for name, scan in scans.items():
        _check_scan(name, scan, volume, entry)
    return {name: scans[name] for name in entry.channels}


def _check_scan(name: str, scan: Volume, first: Volume, entry: ModelEntry) -> None:
    entry.check("segmentation", scan.modality)
    if why := first.geometry.difference(scan.geometry):
        raise GeometryError(
            f"The scan for channel '{name}' is not on the grid of the first: {why}. Register and "
            "resample it onto the first, and name the result."
        )
    ids = {scan.patient_id, first.patient_id} - {None}
    if len(ids) > 1:
        raise InputError(
            f"The scan for channel '{name}' is of patient '{scan.patient_id}', the first is of "
            f"'{first.patient_id}'; give scans of one patient."
        )


def _alike(name: str) -> str:
    return name.strip().lower()


def _classes(found: Found) -> tuple[NDArray[np.int32], dict[int, float], dict[int, str]]:
    return found.regions.labels, {}, found.regions.names


def _instances(
    found: Found, entry: ModelEntry, volume: Volume
) -> tuple[NDArray[np.int32], dict[int, float], dict[int, str]]:
    """Connected pieces of each class, numbered on from class to class."""
    labels = np.zeros(volume.geometry.shape, np.int32)
    confidence: dict[int, float] = {}
    findings: dict[int, str] = {}
    sure = np.float32(1) if found.foreground is None else found.foreground
    for value, name in found.regions.names.items():
        chance = np.where(found.regions.labels == value, np.maximum(sure, _LEAST), 0)
        pieces, peaks = label_lesions(
            chance.astype(np.float32),
            None,
            volume.geometry.voxel_volume_mm3,
            threshold=_LEAST,
            least_confidence=float(entry.settings.get("least_confidence", 0.0)),
            least_mm3=float(entry.settings.get("least_mm3", 0.0)),
        )
        first = len(findings)
        labels[pieces > 0] = pieces[pieces > 0] + first
        findings.update({first + k: entry.finding or name for k in peaks})
        if found.foreground is not None:
            confidence.update({first + k: peak for k, peak in peaks.items()})
    return labels, confidence, findings


def _unsaid(entry: ModelEntry, volume: Volume) -> list[str]:
    if volume.modality is None and entry.modality != "unknown":
        return [f"The file does not say what the scan is; taken for {entry.modality}."]
    return []


def _overlaps(found: Found, volume: Volume) -> list[str]:
    """Where regions overlap: that they do, and how large each is as a whole."""
    voxel_mm3 = volume.geometry.voxel_volume_mm3
    whole = [
        f"{name} as a whole: {count * voxel_mm3:.0f} mm³."
        for name, count in found.regions.whole_voxels.items()
    ]
    return [*found.regions.notes, *whole]


def _sources(scans: Mapping[str, Volume]) -> dict[str, str | None]:
    return {name: scan.source.path if scan.source else None for name, scan in scans.items()}
