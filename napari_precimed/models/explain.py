"""Why a classifier says so: what in the scan moved its answer on one lesion.

A map says what the network used, not what is true of the lesion, and not what would happen to the
patient. See docs/explanations.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from napari_precimed.core.geometry import Geometry
from napari_precimed.core.lesion import Lesion, LesionSet
from napari_precimed.core.run import RunRecord
from napari_precimed.core.volume import Volume
from napari_precimed.errors import CancelledError, GeometryError, InputError
from napari_precimed.models.attribution import (
    LEAST_CELLS,
    STEPS,
    Logit,
    Occlusion,
    Tick,
    grad_cam,
    integrated_gradients,
    occlude,
)
from napari_precimed.models.bundle import load_network, weights_sha256
from napari_precimed.models.catalogue import ModelEntry, find
from napari_precimed.models.classify import averaged_logits
from napari_precimed.models.inference import Engine, Progress, choose_engine
from napari_precimed.models.patch import Patch, PatchMaker, nodule_patch_of, onto_scan
from napari_precimed.models.preprocess import IN_PLANE_FLIPS

METHODS = ("integrated-gradients", "grad-cam", "occlusion")
_WINDOWS_PER_AXIS = 4  # an occluding window is a quarter of the patch along each axis


@dataclass(frozen=True, eq=False)
class Explanation:
    """What in the scan moved a classifier's answer on one lesion.

    Attributes
    ----------
    map : ndarray of float32, shape (z, y, x)
        On the scan's grid, cropped. For integrated gradients and occlusion in units of the logit,
        per voxel: above 0 speaks for `target`, below 0 against it. For Grad-CAM no unit, never
        below 0.
    start : tuple of int
        Index (z, y, x) in the scan of the map's first voxel.
    geometry : Geometry
        Of the map.
    label : int
        The lesion.
    target : str
        The class, or other output of the model, that is explained.
    method : str
        One of `METHODS`.
    logit, neutral_logit : float
        The model's answer, not calibrated, on the lesion and where nothing is to be seen.
    completeness_error : float or None
        For integrated gradients: the sum of the map on the patch, minus the difference of the two
        logits; 0 would be exact.
    agreement : float or None
        Rank correlation, over windows of the patch, of the map's sum there with what the logit
        loses when the window is painted out. None where the map is that of occlusion itself, or
        too few windows hold anything.
    run : RunRecord
    """

    map: NDArray[np.float32]
    start: tuple[int, int, int]
    geometry: Geometry
    label: int
    target: str
    method: str
    logit: float
    neutral_logit: float
    completeness_error: float | None
    agreement: float | None
    run: RunRecord

    def on_grid(self, shape: tuple[int, int, int]) -> NDArray[np.float32]:
        """The map in an array of the scan's shape (z, y, x), 0 where it says nothing."""
        whole = np.zeros(shape, np.float32)
        place = (slice(s, s + n) for s, n in zip(self.start, self.map.shape, strict=True))
        whole[tuple(place)] = self.map
        return whole


def explain(
    volume: Volume,
    lesions: LesionSet,
    label: int,
    model: str = "lung-nodule-malignancy",
    method: str = METHODS[0],
    target: str | None = None,
    device: str = "auto",
    *,
    patch_of: PatchMaker = nodule_patch_of,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Explanation:
    """Show what in the scan moved a classifier's answer on one lesion.

    Parameters
    ----------
    volume : Volume
    lesions : LesionSet
        Found in `volume`.
    label : int
        Of the lesion.
    model : str
        Name in the catalogue, or the folder of a bundle.
    method : {"integrated-gradients", "grad-cam", "occlusion"}
    target : str, optional
        An output of the model by its name, such as "spiculation"; by default its first class.
    device, progress, cancelled
        As for `segment`.
    patch_of : callable
        How the classifier's input is made of a lesion.

    Raises
    ------
    ModelNotFoundError, BundleError, CancelledError
    GeometryError
        If the lesions are not on the volume's grid.
    InputError
        If there is no such lesion, method or output, or the model is no classifier or is for
        another modality.
    """
    entry = find(model)
    entry.check("classification", volume.modality)
    if why := volume.geometry.difference(lesions.geometry):
        raise GeometryError(f"The lesions are not on the grid of the scan: {why}.")
    lesion, (name, channel, sign) = _lesion(lesions, label), _output(entry, target)
    _known(method, METHODS, "method")
    engine = choose_engine(device)
    network = load_network(entry).to(engine.device)
    began = time.perf_counter()
    patch = patch_of(volume, lesions, lesion)
    seen = _Seen(network, channel, sign, patch, engine, progress, cancelled)
    values, error, agreement = seen.by(method)
    box, start = onto_scan(
        values.reshape((-1, *values.shape[-2:])), patch.to_index, volume.geometry
    )
    logit, neutral_logit = seen.ends()
    run = RunRecord(
        task="explain",
        model=f"{entry.name} {entry.version}",
        weights_sha256=weights_sha256(entry),
        options={"device": device, "lesion": label, "target": name, **_options(method, values)},
        device=f"{engine.device.type} ({engine.reason})",
        precision="float32",
        timings_s={"explain": round(time.perf_counter() - began, 3)},
    )
    return Explanation(
        box, start, volume.geometry.cropped(start, box.shape), label, name, method,
        logit, neutral_logit, error, agreement, run,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Seen:
    """One output of a network on one patch, and the ways to explain it."""

    network: torch.nn.Module
    channel: int
    sign: int
    patch: Patch
    engine: Engine
    progress: Progress | None
    cancelled: Callable[[], bool] | None

    def by(self, method: str) -> tuple[NDArray[np.float32], float | None, float | None]:
        """The map on the patch, the completeness error and the agreement with occlusion."""
        image, neutral = self._tensors()
        occluded = self._occlusion(image, neutral)
        if method == "occlusion":
            return occluded.map(), None, None
        if method == "grad-cam":
            cam = self._grad_cam(image)
            return cam, None, occluded.agreement(cam)
        values, error = integrated_gradients(self._logit, image, neutral, self._tick("explain"))
        return values, error, occluded.agreement(values)

    def ends(self) -> tuple[float, float]:
        """The logit on the patch, and on the neutral one."""
        with torch.inference_mode():
            logits = self._logit(torch.stack(self._tensors()))
        return float(logits[0]), float(logits[1])

    def _tensors(self) -> tuple[torch.Tensor, torch.Tensor]:
        device = self.engine.device
        return (
            torch.from_numpy(self.patch.image).to(device),
            torch.from_numpy(self.patch.neutral).to(device),
        )

    def _logit(self, image: torch.Tensor) -> torch.Tensor:
        return self.sign * averaged_logits(self.network, image)[:, self.channel]

    def _occlusion(self, image: torch.Tensor, neutral: torch.Tensor) -> Occlusion:
        window = tuple(max(1, n // _WINDOWS_PER_AXIS) for n in image.shape[1:])
        return occlude(self._logit, image, neutral, window, self._tick("check"))

    def _grad_cam(self, image: torch.Tensor) -> NDArray[np.float32]:
        """Of each mirrored view, mirrored back; the mean of these."""
        one_view: Logit = lambda views: self.sign * self.network(views)[:, self.channel]  # noqa: E731
        tick, maps = self._tick("explain"), []
        for k, flip in enumerate(IN_PLANE_FLIPS):
            tick(k, len(IN_PLANE_FLIPS))
            maps.append(np.flip(grad_cam(self.network, one_view, image.flip(flip)), flip))
        return np.mean(maps, axis=0, dtype=np.float32)

    def _tick(self, stage: str) -> Tick:
        def tick(done: int, total: int) -> None:
            if self.cancelled and self.cancelled():
                raise CancelledError("Cancelled; nothing was changed.")
            if self.progress:
                self.progress(stage, done, total)

        return tick


def _lesion(lesions: LesionSet, label: int) -> Lesion:
    try:
        return lesions.lesion(label)
    except KeyError as error:
        there = ", ".join(str(lesion.label) for lesion in lesions) or "none"
        raise InputError(f"There is no lesion {label}; there are: {there}.") from error


def _output(entry: ModelEntry, target: str | None) -> tuple[str, int, int]:
    """The name of an output, its channel, and -1 where it is the opposite of that channel."""
    if target is None:
        return entry.labels[0], 0, 1
    negative = entry.settings.get("negative_label")
    _known(target, (*entry.labels.values(), *([negative] if negative else [])), "output")
    if target == negative:
        return target, 0, -1
    return target, next(k for k, name in entry.labels.items() if name == target), 1


def _known(given: str, known: tuple[str, ...], what: str) -> None:
    if given not in known:
        raise InputError(f"There is no {what} '{given}'; choose one of {', '.join(known)}.")


def _options(method: str, values: NDArray) -> dict[str, object]:
    window = [max(1, n // _WINDOWS_PER_AXIS) for n in values.shape]
    more = {"integrated-gradients": {"steps": STEPS}, "grad-cam": {"least_cells": LEAST_CELLS}}
    return {"method": method, "occluding_window": window, **more.get(method, {})}
