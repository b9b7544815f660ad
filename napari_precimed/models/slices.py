"""Say of each axial slice of a brain scan what a slice model says of it.

A slice model sees FLAIR, T1 before and T1 after contrast agent as three channels of 256 x 256.
Where only FLAIR is there, copies of it stand in, as they did for some patients of its training.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from napari_precimed.core.run import RunRecord
from napari_precimed.core.volume import Volume
from napari_precimed.errors import CancelledError, GeometryError, InputError
from napari_precimed.models.bundle import load_network, weights_sha256
from napari_precimed.models.catalogue import ModelEntry, find
from napari_precimed.models.classify import calibrated, calibration_of
from napari_precimed.models.inference import Engine, Progress, choose_engine
from napari_precimed.models.slice_grid import in_plane, scale_sequence

_BATCH = 16


@dataclass(frozen=True)
class SliceFinding:
    """What a model says of one slice.

    Attributes
    ----------
    index : int
        Of the slice in the image as stored, along `axis`.
    axis : int
        Axis of the stored array, slowest first, along which the axial slices lie.
    probability : float
        Calibrated chance of the model's first class.
    call : str or None
        The class, or None where the probability lies in the model's abstain band.
    """

    index: int
    axis: int
    probability: float
    call: str | None


def classify_slices(
    volume: Volume,
    model: str = "tumour-slice",
    *,
    pre: Volume | None = None,
    post: Volume | None = None,
    device: str = "auto",
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> tuple[tuple[SliceFinding, ...], RunRecord]:
    """Classify every axial slice of a FLAIR scan.

    Parameters
    ----------
    volume : Volume
        FLAIR.
    model : str
        Name in the catalogue, or the folder of a bundle.
    pre, post : Volume, optional
        T1 without and with contrast agent, on the same grid; FLAIR stands in where it is missing.
    device, progress, cancelled
        As for `segment`.

    Returns
    -------
    findings : tuple of SliceFinding
        From the neck up.
    run : RunRecord
        Warns where a sequence was missing.

    Raises
    ------
    ModelNotFoundError, BundleError, CancelledError
    GeometryError
        If the sequences do not share a grid.
    InputError
        If the model classifies no slices or is for another modality.
    """
    entry = find(model)
    entry.check("classification", volume.modality)
    if not entry.classifies_slices:
        raise InputError(
            f"'{entry.name}' classifies outlined lesions, not slices; name the label image too."
        )
    engine = choose_engine(device)
    began = time.perf_counter()
    stack = slice_stack(volume, pre, post)
    network = load_network(entry).to(engine.device)
    logits: list[float] = []
    for start in range(0, len(stack), _BATCH):
        if cancelled and cancelled():
            raise CancelledError("Cancelled; nothing was changed.")
        logits += slice_logits(network, stack[start : start + _BATCH], engine).tolist()
        if progress:
            progress("classify", len(logits), len(stack))
    chances = calibrated(entry, np.array(logits))
    missing = [name for name, other in (("T1", pre), ("T1 with contrast agent", post)) if not other]
    warnings = [f"No {' and no '.join(missing)}: FLAIR stood in for it."] if missing else []
    run = RunRecord(
        task="classify",
        model=f"{entry.name} {entry.version}",
        weights_sha256=weights_sha256(entry),
        options={"device": device, "calibration": calibration_of(entry)},
        device=f"{engine.device.type} ({engine.reason})",
        precision="float32",
        timings_s={"classify": round(time.perf_counter() - began, 3)},
        warnings=(*entry.settings.get("warnings", ()), *warnings),
    )
    return _findings(volume, entry, chances), run


def call_of(entry: ModelEntry, probability: float) -> str | None:
    """The class of a probability; None inside the model's abstain band."""
    low, high = entry.settings.get("abstain_band", (0.5, 0.5))
    if low <= probability < high:
        return None
    return entry.labels[0] if probability >= high else str(entry.settings["negative_label"])


def slice_stack(
    flair: Volume, pre: Volume | None = None, post: Volume | None = None
) -> NDArray[np.float32]:
    """The axial slices as the network was trained to see them; shape (z, 3, 256, 256).

    In the plane, each is brought to pixels of 0.94 mm around the middle of the field of view, with
    black where it ends; slices keep their distance. Grey values are scaled per sequence.

    Raises
    ------
    GeometryError
        If the sequences do not share a grid.
    """
    channels = []
    for name, volume in (("pre", pre), ("post", post)):
        if volume and (why := flair.geometry.difference(volume.geometry)):
            raise GeometryError(f"The {name}-contrast T1 is not on the grid of FLAIR: {why}.")
    for volume in (flair, pre or flair, post or flair):
        scaled = scale_sequence(volume.array)
        channels.append(in_plane(scaled, volume.geometry.spacing_mm[1:]))
    return np.stack(channels, axis=1)


def slice_logits(
    network: torch.nn.Module, stack: NDArray[np.float32], engine: Engine
) -> NDArray[np.float32]:
    """Logit of each slice, averaged over the slice and its mirror image.

    Parameters
    ----------
    stack : ndarray, shape (z, 3, 256, 256)

    Returns
    -------
    ndarray, shape (z,)
    """
    out = []
    with torch.inference_mode():
        for start in range(0, len(stack), _BATCH):
            image = torch.from_numpy(stack[start : start + _BATCH]).to(engine.device)
            both = network(image).float() + network(image.flip(-1)).float()
            out.append((both[:, 0] / 2).cpu().numpy())
    return np.concatenate(out) if out else np.zeros(0, np.float32)


def _findings(
    volume: Volume, entry: ModelEntry, chances: NDArray[np.float64]
) -> tuple[SliceFinding, ...]:
    order = volume.source.axis_order if volume.source else None
    axis = order.order[0] if order else 0
    backwards = bool(order and order.flipped[0])
    last = len(chances) - 1
    return tuple(
        SliceFinding(last - z if backwards else z, axis, float(chance), call_of(entry, chance))
        for z, chance in enumerate(chances)
    )
