"""A bundle's own pipeline, run on scans in memory: its preprocessing, inferer and postprocessing.

As ``python -m monai.bundle run`` does it, save that nothing is read or written: the same transforms
in the same order and precision, so that the labels are the same voxel for voxel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data.utils import decollate_batch, list_data_collate
from monai.inferers import SimpleInferer
from monai.transforms import Compose
from numpy.typing import NDArray

from napari_precimed.core.volume import Volume
from napari_precimed.errors import BundleError, CancelledError
from napari_precimed.models.bundle import load_network
from napari_precimed.models.catalogue import ModelEntry
from napari_precimed.models.config import INFERER, POSTPROCESSING, PREPROCESSING, BundleConfig
from napari_precimed.models.inference import Engine, Progress
from napari_precimed.models.metatensor import stored_shape, to_canonical, to_metatensor
from napari_precimed.models.passes import Passes
from napari_precimed.models.postprocess import (
    PRED,
    Tracker,
    applied,
    are_shares,
    array_of,
    steps_of,
)
from napari_precimed.models.regions import Regions, regions_of
from napari_precimed.models.trust import is_trusted

_IMAGE = "image"


@dataclass(frozen=True, eq=False)
class Found:
    """What a bundle's pipeline gave for one scan.

    Attributes
    ----------
    regions : Regions
        Labels of shape (z, y, x) on the scan's grid, and what they are.
    foreground : ndarray of float32, shape (z, y, x), or None
        Probability that a voxel is anything but background; None where the bundle does not say.
    precision : str
    notes : tuple of str
        What was done that the bundle does not say.
    """

    regions: Regions
    foreground: NDArray[np.float32] | None
    precision: str
    notes: tuple[str, ...]


def run_workflow(
    volumes: Sequence[Volume],
    entry: ModelEntry,
    engine: Engine,
    *,
    trust: bool = False,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Found:
    """Segment with a bundle's own preprocessing, inferer and postprocessing.

    Parameters
    ----------
    volumes : sequence of Volume
        One scan per channel of the bundle's input, all on one grid.
    entry : ModelEntry
    engine : Engine
        Its device is used; the precision is the bundle's own, float32 unless it says ``amp`` and
        runs on CUDA.
    trust : bool
        Let the bundle run what it wants.
    progress, cancelled : callable, optional
        Told and asked at each pass through the network.

    Raises
    ------
    UntrustedBundleError, BundleError, CancelledError
    """
    pipeline = _Pipeline(entry, engine, trust=trust)
    data = pipeline.predict(to_metatensor(_repeated(volumes, entry)), progress, cancelled)
    result, tracker = pipeline.finish(data)
    if tuple(result.shape[1:]) != stored_shape(volumes[0]):
        raise BundleError(
            f"'{entry.name}' gives a result of {tuple(result.shape[1:])} voxels for a scan of "
            f"{stored_shape(volumes[0])} (x, y, z); its postprocessing must bring it back "
            "(Invertd)."
        )
    channels = np.stack([to_canonical(channel, volumes[0]) for channel in result])
    shown = tracker.foreground
    return Found(
        regions=regions_of(channels, entry.labels, tracker.names),
        foreground=None if shown is None else to_canonical(shown, volumes[0]),
        precision=pipeline.precision,
        notes=tuple(tracker.notes),
    )


def scan_probabilities(
    volume: Volume,
    entry: ModelEntry,
    engine: Engine,
    *,
    trust: bool = False,
) -> dict[str, float]:
    """Probability of each class for a whole scan, by a classification bundle's own pipeline.

    Raises
    ------
    UntrustedBundleError, BundleError
    """
    pipeline = _Pipeline(entry, engine, trust=trust)
    image = to_metatensor(_repeated([volume], entry), spatial_dims=entry.spatial_dims)
    data = pipeline.predict(image, None, None)
    scores = pipeline.scores(data).flatten().float().cpu().numpy()
    return {entry.labels.get(k, f"class {k}"): float(v) for k, v in enumerate(scores)}


def _repeated(volumes: Sequence[Volume], entry: ModelEntry) -> list[Volume]:
    """A grey scan once per channel, where the network wants it as several."""
    return list(volumes) * entry.copies if len(volumes) == 1 else list(volumes)


class _Pipeline:
    """The parts of one bundle, built for one run."""

    def __init__(self, entry: ModelEntry, engine: Engine, *, trust: bool) -> None:
        trusted = trust or is_trusted(entry)
        config = BundleConfig(entry.folder, trusted=trusted, device=engine.device)
        config.refuse_code()
        self.entry, self.engine = entry, engine
        self.keys = config.image_keys
        self.before = config.build(PREPROCESSING) if PREPROCESSING in config else Compose([])
        self.after = config.build(POSTPROCESSING) if POSTPROCESSING in config else Compose([])
        self.inferer = config.build(INFERER) if INFERER in config else SimpleInferer()
        self.amp = bool(config.setting("evaluator", "amp")) and engine.device.type == "cuda"
        self.network = load_network(entry, trust=trust)
        if engine.device.type != "cuda":  # a bundle may name the best device that there is
            for place in ("device", "sw_device"):
                if getattr(self.inferer, place, None) is not None:
                    setattr(self.inferer, place, engine.device)

    @property
    def precision(self) -> str:
        """In which it computes."""
        return "float16" if self.amp else "float32"

    def predict(
        self, image: Any, progress: Progress | None, cancelled: Callable[[], bool] | None
    ) -> dict[str, Any]:
        """The image preprocessed and the network's prediction, as the bundle's evaluator has them.

        One item, without the batch's axis, under the keys that postprocessing expects.
        """
        name = self.entry.name
        item = _in_words(f"The preprocessing of '{name}'", self.before, self._named(image))
        batch = list_data_collate([item])
        key = self.keys[0]
        inputs = batch[key].to(self.engine.device)
        network = self.network.to(self.engine.device, memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        passes = Passes(network, self.inferer, inputs, progress, cancelled)
        with torch.no_grad(), self._precise():
            pred = _in_words(f"The network of '{name}'", passes.infer, self.inferer)
        pred = pred[0] if isinstance(pred, (list, tuple)) else pred
        return dict(decollate_batch({key: inputs, _IMAGE: inputs, PRED: pred})[0])

    def finish(self, data: dict[str, Any]) -> tuple[NDArray, Tracker]:
        """Postprocessing, brought back onto the stored grid; the labels or masks in channels."""
        tracker = Tracker(self.before, self.keys[0], self.entry.labels)
        steps = steps_of(self.after)
        for step in steps:
            data = _in_words(f"The postprocessing of '{self.entry.name}'", tracker.step, step, data)
        data = tracker.close(data)
        return array_of(data[PRED]), tracker

    def scores(self, data: dict[str, Any]) -> torch.Tensor:
        """The classes' probabilities: what postprocessing gives before it decides."""
        for step in steps_of(self.after):
            if type(step).__name__ == "AsDiscreted":
                break
            data = applied(step, data)
        scores = torch.as_tensor(data[PRED])
        if are_shares(scores):
            return scores
        return scores.flatten().softmax(0) if scores.numel() > 1 else scores.sigmoid()

    def _named(self, image: Any) -> dict[str, Any]:
        """The image under the key of the bundle, or each channel under its own."""
        if len(self.keys) > 1 and len(self.keys) == image.shape[0]:
            return {key: image[k : k + 1] for k, key in enumerate(self.keys)}
        return {self.keys[0]: image}

    def _precise(self) -> AbstractContextManager[Any]:
        return torch.autocast("cuda") if self.amp else nullcontext()


def _in_words(what: str, function: Callable[..., Any], *args: Any) -> Any:
    """Call it; an error of the bundle's becomes one line that names the bundle."""
    try:
        return function(*args)
    except (CancelledError, torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:
        root: BaseException = error
        while root.__cause__ is not None:
            root = root.__cause__
        if isinstance(root, CancelledError):
            raise root from None
        raise BundleError(
            f"{what} failed on this scan: {type(root).__name__}: "
            f"{' '.join(str(root).split())[:300]}"
        ) from error
