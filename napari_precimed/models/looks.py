"""Looking at a lesion in several ways that should make no difference: mirrored, or by dropout."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from napari_precimed.core.lesion import Lesion, LesionSet
from napari_precimed.core.volume import Volume
from napari_precimed.errors import InputError
from napari_precimed.models.bundle import load_network
from napari_precimed.models.catalogue import ModelEntry
from napari_precimed.models.inference import Engine, slide
from napari_precimed.models.outline import middle_voxel
from napari_precimed.models.preprocess import HU_RANGE, MIRRORINGS
from napari_precimed.models.search import outlines_of

Predict = Callable[[NDArray], NDArray[np.float32]]
"""A part of a scan, shape (z, y, x), in its own grey values -> probability, same shape."""

WAYS = ("mirror", "dropout")
DROPOUT_PASSES = 8
_MARGIN_MM = 8.0
_DROPOUTS = (torch.nn.Dropout, torch.nn.Dropout1d, torch.nn.Dropout2d, torch.nn.Dropout3d,
             torch.nn.AlphaDropout)  # fmt: skip

Look = Callable[[Lesion], tuple[tuple[slice, ...], NDArray[np.float32]]]
"""A lesion -> its surroundings in the scan, and what each way of looking makes of them."""


def look_with(
    entry: ModelEntry,
    engine: Engine,
    volume: Volume,
    lesions: LesionSet,
    ways: str,
    predict: Predict | None = None,
) -> Look:
    """How this kind of model looks at a lesion in several ways.

    Parameters
    ----------
    entry : ModelEntry
    engine : Engine
    volume : Volume
    lesions : LesionSet
        On the volume's grid.
    ways : {"mirror", "dropout"}
    predict : callable, optional
        Runs the model on a part of the scan instead.

    Raises
    ------
    InputError
        If `ways` is "dropout" and the network has none.
    """
    network = load_network(entry)
    tile = entry.settings.get("tile", (1, 1, 1))

    def stack_of(run_on: Predict, part: NDArray) -> NDArray[np.float32]:
        return mirrored(run_on, part) if ways == WAYS[0] else dropped_out(run_on, network, part)

    if predict is None and ways == WAYS[0] and isinstance(network, torch.nn.ModuleDict):
        outlines_at = outlines_of(entry.settings, network, engine)
        image = np.clip(volume.array, *HU_RANGE).astype(np.float32)
        return lambda lesion: outlines_at.ways(image, _point_in(lesion, lesions))
    if predict is None and entry.runs_itself:
        whole = stack_of(_whole_scan_predictor(volume, entry, engine), volume.array)

        def crop(lesion: Lesion) -> tuple[tuple[slice, ...], NDArray[np.float32]]:
            box = _surroundings(lesion, volume, tile)
            return box, whole[(slice(None), *box)]

        return crop
    run_on = predict or sliding_predictor(entry, network, engine)

    def look(lesion: Lesion) -> tuple[tuple[slice, ...], NDArray[np.float32]]:
        box = _surroundings(lesion, volume, tile)
        return box, stack_of(run_on, volume.array[box])

    return look


def _point_in(lesion: Lesion, lesions: LesionSet) -> list[int]:
    """The lesion's voxel nearest its middle; index (z, y, x) in the scan."""
    box = tuple(slice(a, b) for a, b in lesion.bbox)
    middle = middle_voxel(lesions.labels[box] == lesion.label)
    return [m + part.start for m, part in zip(middle, box, strict=True)]


def _whole_scan_predictor(volume: Volume, entry: ModelEntry, engine: Engine) -> Predict:
    """A bundle's own pipeline, which scales grey values over the whole scan, run on all of it."""
    from napari_precimed.models.workflow import run_workflow

    def predict(part: NDArray) -> NDArray[np.float32]:
        found = run_workflow([volume.with_array(np.ascontiguousarray(part))], entry, engine)
        if found.foreground is None:
            raise InputError(f"'{entry.name}' gives labels only, so nothing says how sure it is.")
        return found.foreground

    return predict


def sliding_predictor(entry: ModelEntry, network: torch.nn.Module, engine: Engine) -> Predict:
    """How `segment` runs a network, on any part of a scan."""
    z, y, x = entry.settings["tile"]

    def predict(part: NDArray) -> NDArray[np.float32]:
        image = np.clip(part, *HU_RANGE).astype(np.float32)
        overlap = float(entry.settings.get("overlap", 0.5))
        return slide(network, np.ascontiguousarray(image), engine, tile=(z, y, x), overlap=overlap)

    return predict


def mirrored(predict: Predict, part: NDArray) -> NDArray[np.float32]:
    """The probabilities of `part`, shape (z, y, x), by its eight mirrorings, mirrored back.

    Returns
    -------
    ndarray of float32, shape (8, z, y, x)
    """
    return np.stack([np.flip(predict(np.flip(part, axes)), axes) for axes in MIRRORINGS])


def dropped_out(
    predict: Predict, network: torch.nn.Module, part: NDArray, passes: int = DROPOUT_PASSES
) -> NDArray[np.float32]:
    """The probabilities of `part` with dropout left on; shape (passes, z, y, x).

    Raises
    ------
    InputError
        If the network that `predict` runs has no dropout.
    """
    with _dropout_on(network):
        return np.stack([predict(part) for _ in range(passes)])


def _surroundings(lesion: Lesion, volume: Volume, tile: Sequence[int]) -> tuple[slice, ...]:
    """The lesion with a margin, at least as large as a tile where the scan is."""
    box = []
    for (start, stop), size, least, mm in zip(
        lesion.bbox, volume.array.shape, tile, volume.geometry.spacing_mm, strict=True
    ):
        margin = int(np.ceil(_MARGIN_MM / mm))
        extent = min(size, max(int(least), stop - start + 2 * margin))
        low = min(max(0, (start + stop - extent) // 2), size - extent)
        box.append(slice(low, low + extent))
    return tuple(box)


@contextmanager
def _dropout_on(network: torch.nn.Module) -> Iterator[None]:
    """Dropout as in training, everything else as it was."""
    layers = [m for m in network.modules() if isinstance(m, _DROPOUTS) and m.p > 0]
    if not layers:
        raise InputError("This network has no dropout; test it by mirroring.")
    were = [layer.training for layer in layers]
    for layer in layers:
        layer.train()
    try:
        yield
    finally:
        for layer, training in zip(layers, were, strict=True):
            layer.train(training)
