"""Segment the lesions of a whole scan."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from napari_precimed.core.run import RunRecord
from napari_precimed.core.volume import Volume
from napari_precimed.errors import InputError
from napari_precimed.models.bundle import load_network, weights_sha256
from napari_precimed.models.catalogue import ModelEntry, find
from napari_precimed.models.inference import Engine, Progress, choose_engine, slide
from napari_precimed.models.labelling import CandidateRules, label_lesions, outline_candidates
from napari_precimed.models.lungs import lung_mask
from napari_precimed.models.outline import Outlines
from napari_precimed.models.preprocess import HU_RANGE

_MARGIN = 24  # voxels around the region searched, so that its edge is seen in context


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
    region, more = _search_region(entry, volume)
    warnings += more
    search = _Search(volume, region, entry, network, engine, progress, cancelled)
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


def _search_region(entry: ModelEntry, volume: Volume) -> tuple[NDArray[np.bool_] | None, list[str]]:
    if entry.settings.get("region") != "lungs":
        return None, []
    region = lung_mask(volume.array, volume.geometry.spacing_mm)
    if region.any():
        return region, []
    if volume.modality is None:
        raise InputError(
            f"No lungs were found in this scan, and its file does not say that it is a CT; "
            f"'{entry.name}' needs a chest CT in Hounsfield units."
        )
    return region, ["No lungs were found in this scan, so no part of it was searched."]


@dataclass(frozen=True, eq=False)
class _Search:
    """One run of one model on one scan: a probability at each voxel, then lesions.

    A bundle of two networks, "finder" and "outliner", looks for candidates with the first and
    outlines each by both.
    """

    volume: Volume
    region: NDArray[np.bool_] | None
    entry: ModelEntry
    network: torch.nn.Module
    engine: Engine
    progress: Progress | None
    cancelled: Callable[[], bool] | None

    def probability(self) -> NDArray[np.float32]:
        """On the volume's grid; only the region's surroundings are computed."""
        found = np.zeros(self.volume.array.shape, np.float32)
        if self.region is not None and not self.region.any():
            return found
        box = self._box
        z, y, x = self.entry.settings["tile"]
        finder = self.network["finder"] if self._two_stages else self.network  # type: ignore[index]
        found[box] = slide(
            finder,
            self._image,
            self.engine,
            tile=(z, y, x),
            overlap=float(self.entry.settings.get("overlap", 0.5)),
            wanted=None if self.region is None else self.region[box],
            progress=self.progress,
            cancelled=self.cancelled,
        )
        return found

    def lesions(self, probability: NDArray[np.float32]) -> tuple[NDArray[np.int32], dict]:
        """Numbered lesions on the volume's grid, and the confidence of each."""
        settings, voxel_mm3 = self.entry.settings, self.volume.geometry.voxel_volume_mm3
        if not self._two_stages:
            return label_lesions(
                probability,
                self.region,
                voxel_mm3,
                threshold=float(settings.get("threshold", 0.5)),
                least_confidence=float(settings.get("least_confidence", 0.5)),
                least_mm3=float(settings.get("least_mm3", 0.0)),
            )
        box, region = self._box, self.region
        found, confidence = outline_candidates(
            self._image,
            probability[box],
            None if region is None else region[box],
            outlines_of(self.entry, self.network, self.engine),
            voxel_mm3,
            CandidateRules(**settings["candidates"]),
            progress=self.progress,
            cancelled=self.cancelled,
        )
        labels = np.zeros(probability.shape, np.int32)
        labels[box] = found
        return labels, confidence

    @property
    def _two_stages(self) -> bool:
        return isinstance(self.network, torch.nn.ModuleDict)

    @cached_property
    def _box(self) -> tuple[slice, ...]:
        return _bounding_box(self.region, self.volume.array.shape)

    @cached_property
    def _image(self) -> NDArray[np.float32]:
        return np.clip(self.volume.array[self._box], *HU_RANGE).astype(np.float32)


def outlines_of(entry: ModelEntry, network: torch.nn.Module, engine: Engine) -> Outlines:
    """The networks of a two-stage bundle, with the settings that it was validated with."""
    return Outlines.of(
        network,
        engine,
        threshold=float(entry.settings["threshold"]),
        finder_share=float(entry.settings["finder_share"]),
    )


def _bounding_box(region: NDArray[np.bool_] | None, shape: tuple[int, ...]) -> tuple[slice, ...]:
    if region is None:
        return tuple(slice(0, n) for n in shape)
    box = []
    for axis in range(3):
        used = np.flatnonzero(region.any(axis=tuple(a for a in range(3) if a != axis)))
        box.append(slice(max(0, used[0] - _MARGIN), min(shape[axis], used[-1] + 1 + _MARGIN)))
    return tuple(box)


def _plain(settings: dict) -> dict:
    keep = (
        "tile", "overlap", "threshold", "least_confidence", "least_mm3", "region", "finder_share",
        "candidates",
    )  # fmt: skip
    return {key: settings[key] for key in keep if key in settings}
