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
from napari_precimed.models.preprocess import (
    CROP_SIDE,
    HU_RANGE,
    IN_PLANE_FLIPS,
    crop_around,
    nodule_patch,
)

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
        The same lesions, `probabilities` and, where the model has such outputs, `attributes` filled
        in, a run record added.

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
    if entry.classifies_scans:
        raise InputError(
            f"'{entry.name}' classifies whole scans, not lesions; run it on the scan alone "
            f"(precimed classify IMAGE --model {entry.name})."
        )
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
    abstained: list[str] = []
    for start in range(0, len(lesions), _BATCH):
        if cancelled and cancelled():
            raise CancelledError("Cancelled; nothing was changed.")
        group = lesions.lesions[start : start + _BATCH]
        patches = np.stack([lesion_patch(volume, lesions, lesion) for lesion in group])
        logits = predict_logits(network, patches, engine)
        chances = calibrated(entry, logits[:, 0])
        for lesion, chance, row in zip(group, chances, logits, strict=True):
            classified.append(_told(entry, lesion, float(chance), row))
            if classified[-1].probabilities is None:
                abstained.append(f"lesion {lesion.label} ({entry.labels[0]} {chance:.2f})")
        if progress:
            progress("classify", len(classified), len(lesions))
    run = RunRecord(
        task="classify",
        model=f"{entry.name} {entry.version}",
        weights_sha256=weights_sha256(entry),
        options={
            "device": device,
            "calibration": calibration_of(entry),
            "abstain_band": entry.settings.get("abstain_band"),
        },
        device=f"{engine.device.type} ({engine.reason})",
        precision="float32",
        timings_s={"classify": round(time.perf_counter() - began, 3)},
        warnings=(*entry.settings.get("warnings", ()), *_abstentions(entry, abstained)),
    )
    return lesions.with_lesions(classified, run)


def _told(entry: ModelEntry, lesion: Lesion, chance: float, logits: NDArray) -> Lesion:
    """The lesion with what the model says of it: no probabilities where it abstains."""
    both = {entry.labels[0]: chance, entry.settings["negative_label"]: 1 - chance}
    silent = bool(abstains(entry, np.asarray(chance)))
    return replace(
        lesion,
        probabilities=None if silent else both,
        attributes=attributes_of(entry, logits),
    )


def calibration_of(entry: ModelEntry) -> dict[str, float]:
    """Platt's "scale" and "shift" of a bundle's logit; such as change nothing if it has none."""
    return dict(entry.settings.get("calibration", {"scale": 1.0, "shift": 0.0}))


def calibrated(entry: ModelEntry, logits: NDArray) -> NDArray[np.float64]:
    """Logits of the first output -> calibrated probabilities, same shape."""
    platt = calibration_of(entry)
    return 1 / (1 + np.exp(-(platt["scale"] * logits + platt["shift"])))


def abstains(entry: ModelEntry, chances: NDArray) -> NDArray[np.bool_]:
    """Whether calibrated probabilities lie in the band in which a bundle rather says nothing."""
    low, high = entry.settings.get("abstain_band", (0.5, 0.5))
    return np.asarray((chances > low) & (chances < high))


def _abstentions(entry: ModelEntry, lesions: list[str]) -> list[str]:
    if not lesions:
        return []
    low, high = entry.settings["abstain_band"]
    return [
        f"Not classed, the probability being between {low:.2f} and {high:.2f}, where this model "
        f"is too often wrong: {', '.join(lesions)}."
    ]


def attributes_of(entry: ModelEntry, logits: NDArray) -> dict[str, float] | None:
    """What a bundle says besides the class, on the readers' scales; None if it says nothing more.

    Parameters
    ----------
    entry : ModelEntry
        Whose "attributes" give the ends of the scale of an output, by its name.
    logits : ndarray, shape (outputs,)
        Of one lesion; their sigmoid is the place on the scale, from its lowest to its highest.
    """
    scales = entry.settings.get("attributes", {})
    found = {}
    for channel, name in sorted(entry.labels.items()):
        if name in scales:
            low, high = scales[name]
            found[name] = float(low + (high - low) / (1 + np.exp(-logits[channel])))
    return found or None


def lesion_patch(volume: Volume, lesions: LesionSet, lesion: Lesion) -> NDArray[np.float32]:
    """One lesion as the classifier was trained to see it; shape (2, 24, 48, 48).

    The slices that hold it, 96 x 96 pixels around its centre: the form of the LIDC crops.
    """
    grey, mask, _ = lesion_crop(volume, lesions, lesion)
    return nodule_patch(grey, mask, volume.geometry.spacing_mm)


def lesion_crop(
    volume: Volume, lesions: LesionSet, lesion: Lesion
) -> tuple[NDArray, NDArray[np.bool_], tuple[int, ...]]:
    """The slices that hold a lesion, 96 x 96 pixels around its centre.

    Returns
    -------
    grey : ndarray, shape (z, 96, 96)
        Clipped to `HU_RANGE`; mirrored where it reaches past the scan.
    mask : ndarray of bool, shape (z, 96, 96)
    start : tuple of int
        Index (z, y, x) in the scan of the crop's first voxel; may lie outside.
    """
    (z0, z1), (y0, y1), (x0, x1) = lesion.bbox
    centre = ((z0 + z1 - 1) / 2, (y0 + y1 - 1) / 2, (x0 + x1 - 1) / 2)
    shape = (z1 - z0, CROP_SIDE, CROP_SIDE)
    grey, inside, place = crop_around(volume.array, centre, shape)
    mask = np.zeros(shape, bool)
    mask[inside] = lesions.labels[place] == lesion.label
    start = tuple(p.start - i.start for p, i in zip(place, inside, strict=True))
    return np.clip(grey, *HU_RANGE), mask, start


def predict_logits(
    network: torch.nn.Module, patches: NDArray[np.float32], engine: Engine
) -> NDArray[np.float32]:
    """Logits of patches (n, 2, z, y, x), averaged over the in-plane mirrorings; (n, outputs).

    In float32: the network is small, and a class near the threshold should not hang on rounding.
    """
    with torch.inference_mode():
        return averaged_logits(network, torch.from_numpy(patches).to(engine.device)).cpu().numpy()


def averaged_logits(network: torch.nn.Module, image: torch.Tensor) -> torch.Tensor:
    """What `predict_logits` gives, as a function that can be differentiated; (n, outputs)."""
    views = [network(image.flip(flip)).float() for flip in IN_PLANE_FLIPS]
    return torch.stack(views).mean(0)
