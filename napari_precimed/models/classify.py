"""Say what each lesion is likely to be."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from napari_precimed.core.lesion import Lesion, LesionSet
from napari_precimed.core.run import RunRecord
from napari_precimed.core.volume import Volume
from napari_precimed.errors import CancelledError, GeometryError, InputError
from napari_precimed.models.bundle import load_network, weights_sha256
from napari_precimed.models.catalogue import ModelEntry, find
from napari_precimed.models.inference import Engine, Progress, choose_engine
from napari_precimed.models.lesion_features import classify_by_features, is_feature_model
from napari_precimed.models.preprocess import CROP_SIDE, HU_RANGE, crop_around, nodule_patch

_BATCH = 16


def classify(
    volume: Volume,
    lesions: LesionSet,
    model: str = "lung-nodule-malignancy",
    *,
    device: str = "auto",
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> LesionSet:
    """Give each lesion its class probabilities.

    Parameters
    ----------
    volume : Volume
    lesions : LesionSet
        Found in `volume`.
    model : str
        Name in the catalogue, or the folder of a bundle.
    device, progress, cancelled
        As for `segment`.

    Returns
    -------
    LesionSet
        The same lesions, `probabilities` filled in, a run record added.

    Raises
    ------
    ModelNotFoundError, BundleError, CancelledError
    GeometryError
        If the lesions are not on the volume's grid.
    InputError
        If the model is no classifier of lesions or is for another modality.
    """
    entry = find(model)
    entry.check("classification", volume.modality)
    if why := volume.geometry.difference(lesions.geometry):
        raise GeometryError(f"The lesions are not on the grid of the scan: {why}.")
    if entry.classifies_slices:
        raise InputError(f"'{entry.name}' classifies whole slices; choose a model of lesions.")
    engine = choose_engine(device)
    if is_feature_model(entry):
        return classify_by_features(
            volume, lesions, entry, engine, progress=progress, cancelled=cancelled
        )
    began = time.perf_counter()
    network = load_network(entry).to(engine.device)
    classified: list[Lesion] = []
    for start in range(0, len(lesions), _BATCH):
        if cancelled and cancelled():
            raise CancelledError("Cancelled; nothing was changed.")
        group = lesions.lesions[start : start + _BATCH]
        patches = np.stack([lesion_patch(volume, lesions, lesion) for lesion in group])
        logits = predict_logits(network, patches, engine)[:, 0]
        chances = calibrated(entry, logits)
        positive, negative = entry.labels[0], entry.settings["negative_label"]
        for lesion, chance in zip(group, chances, strict=True):
            probabilities = {positive: float(chance), negative: float(1 - chance)}
            classified.append(replace(lesion, probabilities=probabilities))
        if progress:
            progress("classify", len(classified), len(lesions))
    run = RunRecord(
        task="classify",
        model=f"{entry.name} {entry.version}",
        weights_sha256=weights_sha256(entry),
        options={"device": device, "calibration": calibration_of(entry)},
        device=f"{engine.device.type} ({engine.reason})",
        precision="float32",
        timings_s={"classify": round(time.perf_counter() - began, 3)},
        warnings=tuple(entry.settings.get("warnings", ())),
    )
    return lesions.with_lesions(classified, run)


def calibration_of(entry: ModelEntry) -> dict[str, float]:
    """Platt's "scale" and "shift" of a bundle's logit; such as change nothing if it has none."""
    return dict(entry.settings.get("calibration", {"scale": 1.0, "shift": 0.0}))


def calibrated(entry: ModelEntry, logits: NDArray) -> NDArray[np.float64]:
    """Logits of the first output -> calibrated probabilities, same shape."""
    platt = calibration_of(entry)
    return 1 / (1 + np.exp(-(platt["scale"] * logits + platt["shift"])))


def lesion_patch(volume: Volume, lesions: LesionSet, lesion: Lesion) -> NDArray[np.float32]:
    """One lesion as the classifier was trained to see it; shape (2, 24, 48, 48).

    The slices that hold it, 96 x 96 pixels around its centre: the form of the LIDC crops.
    """
    (z0, z1), (y0, y1), (x0, x1) = lesion.bbox
    centre = ((z0 + z1 - 1) / 2, (y0 + y1 - 1) / 2, (x0 + x1 - 1) / 2)
    shape = (z1 - z0, CROP_SIDE, CROP_SIDE)
    grey, inside, place = crop_around(volume.array, centre, shape)
    mask = np.zeros(shape, bool)
    mask[inside] = lesions.labels[place] == lesion.label
    return nodule_patch(np.clip(grey, *HU_RANGE), mask, volume.geometry.spacing_mm)


def predict_logits(
    network: torch.nn.Module, patches: NDArray[np.float32], engine: Engine
) -> NDArray[np.float32]:
    """Logits of patches (n, 2, z, y, x), averaged over the in-plane mirrorings; (n, outputs).

    In float32: the network is small, and a class near the threshold should not hang on rounding.
    """
    flips: tuple[tuple[int, ...], ...] = ((), (3,), (4,), (3, 4))
    with torch.inference_mode():
        image = torch.from_numpy(patches).to(engine.device)
        total = sum(network(image.flip(flip)).float() for flip in flips)
        return (total / len(flips)).cpu().numpy()  # type: ignore[union-attr]
