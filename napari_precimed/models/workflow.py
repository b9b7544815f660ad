"""A bundle's own pipeline, run on scans in memory: its preprocessing, inferer and postprocessing.

As ``python -m monai.bundle run`` does it, save that nothing is read or written: the same transforms
in the same order and precision, so that the labels are the same voxel for voxel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data.utils import decollate_batch, list_data_collate
from monai.inferers import Inferer, SimpleInferer, SlidingWindowInferer
from monai.transforms import Compose, Invertd, apply_transform
from monai.utils import fall_back_tuple
from numpy.typing import NDArray

from napari_precimed.core.volume import Volume
from napari_precimed.errors import BundleError, CancelledError
from napari_precimed.models.bundle import load_network
from napari_precimed.models.catalogue import ModelEntry
from napari_precimed.models.config import INFERER, POSTPROCESSING, PREPROCESSING, BundleConfig
from napari_precimed.models.inference import Engine, Progress
from napari_precimed.models.metatensor import stored_shape, to_canonical, to_metatensor
from napari_precimed.models.regions import Regions, names_by_mask, regions_of
from napari_precimed.models.trust import is_trusted

_IMAGE, _PRED = "image", "pred"
_THRESHOLD = 0.5


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
        passes = _Passes(network, self.inferer, inputs, progress, cancelled)
        with torch.no_grad(), self._precise():
            pred = _in_words(f"The network of '{name}'", passes.infer, self.inferer)
        pred = pred[0] if isinstance(pred, (list, tuple)) else pred
        return dict(decollate_batch({key: inputs, _IMAGE: inputs, _PRED: pred})[0])

    def finish(self, data: dict[str, Any]) -> tuple[NDArray, _Tracker]:
        """Postprocessing, brought back onto the stored grid; the labels or masks in channels."""
        tracker = _Tracker(self.before, self.keys[0], self.entry.labels)
        steps = _steps(self.after)
        for step in steps:
            data = _in_words(f"The postprocessing of '{self.entry.name}'", tracker.step, step, data)
        data = tracker.close(data)
        return _array(data[_PRED]), tracker

    def scores(self, data: dict[str, Any]) -> torch.Tensor:
        """The classes' probabilities: what postprocessing gives before it decides."""
        for step in _steps(self.after):
            if type(step).__name__ == "AsDiscreted":
                break
            data = _applied(step, data)
        scores = torch.as_tensor(data[_PRED])
        if _are_shares(scores):
            return scores
        return scores.flatten().softmax(0) if scores.numel() > 1 else scores.sigmoid()

    def _named(self, image: Any) -> dict[str, Any]:
        """The image under the key of the bundle, or each channel under its own."""
        if len(self.keys) > 1 and len(self.keys) == image.shape[0]:
            return {key: image[k : k + 1] for k, key in enumerate(self.keys)}
        return {self.keys[0]: image}

    def _precise(self) -> AbstractContextManager[Any]:
        return torch.autocast("cuda") if self.amp else nullcontext()


class _Passes:
    """The network as an inferer calls it, with progress, cancel, and less memory if it runs out."""

    def __init__(
        self,
        network: torch.nn.Module,
        inferer: Inferer,
        inputs: torch.Tensor,
        progress: Progress | None,
        cancelled: Callable[[], bool] | None,
    ) -> None:
        self.network, self.inputs = network, inputs
        self.progress, self.cancelled = progress, cancelled
        self.done = 0
        self.total = _passes(inferer, inputs)

    def infer(self, inferer: Inferer) -> Any:
        """Run it; a sliding window that runs out of memory goes on with fewer tiles at a time."""
        while True:
            try:
                return inferer(self.inputs, self)
            except (torch.OutOfMemoryError, MemoryError):
                if getattr(inferer, "sw_batch_size", 1) <= 1:
                    raise
                inferer.sw_batch_size //= 2  # type: ignore[attr-defined]
                self.done, self.total = 0, _passes(inferer, self.inputs)

    def __call__(self, tiles: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if self.cancelled and self.cancelled():
            raise CancelledError("Cancelled; nothing was changed.")
        found = self.network(tiles, *args, **kwargs)
        self.done += 1
        if self.progress:
            self.progress("segment", self.done, self.total)
        return found


def _passes(inferer: Inferer, inputs: torch.Tensor) -> int | None:
    """How often an inferer will call the network, None where it is not known."""
    if not isinstance(inferer, SlidingWindowInferer):
        return 1 if isinstance(inferer, SimpleInferer) else None
    shape = inputs.shape[2:]
    roi = fall_back_tuple(inferer.roi_size, shape)
    size = tuple(max(a, b) for a, b in zip(shape, roi, strict=True))
    shares = inferer.overlap
    windows = 1
    for axis, (whole, tile) in enumerate(zip(size, roi, strict=True)):
        share = shares[axis] if isinstance(shares, Sequence) else shares
        windows *= 1 + math.ceil((whole - tile) / max(1, int(tile * (1 - share))))
    return math.ceil(windows * len(inputs) / inferer.sw_batch_size)


def _applied(step: Any, data: dict[str, Any]) -> dict[str, Any]:
    result: Any = apply_transform(step, dict(data))
    return dict(result)


def _steps(transform: Any) -> Sequence[Any]:
    return transform.flatten().transforms if isinstance(transform, Compose) else (transform,)


class _Tracker:
    """Watches postprocessing: the probabilities before it decides, the masks before it merges.

    A prediction that already is labels is brought back to the grid by the nearest voxel, whatever
    the bundle says: between label 0 and label 2 there is no label 1.
    """

    def __init__(self, before: Any, key: str, channel_names: Mapping[int, str]) -> None:
        self._before, self._key, self._channel_names = before, key, channel_names
        self._inverted = self._discrete = self._activated = False
        self._scores: Any = None
        self.names: dict[int, str] | None = None
        self.notes: list[str] = []

    def step(self, step: Any, data: dict[str, Any]) -> dict[str, Any]:
        """Apply one transform."""
        kind, pred = type(step).__name__, data[_PRED]
        merges = self._discrete and pred.shape[0] > 1
        if kind == "AsDiscreted" and not self._discrete:
            self._scores = self._probability(pred, step)
            self._discrete = True
        if isinstance(step, Invertd) and _PRED in step.keys:
            return self._invert(step, data)
        self._activated |= kind == "Activationsd"
        masks = _array(pred) > _THRESHOLD if merges else None
        data = _applied(step, data)
        if masks is not None and data[_PRED].shape[0] == 1:
            labels = np.rint(_array(data[_PRED])[0]).astype(np.int32)
            self.names = names_by_mask(labels, masks, self._channel_names)
        return data

    def close(self, data: dict[str, Any]) -> dict[str, Any]:
        """What the bundle leaves undone: a decision, and the way back to the grid."""
        if not self._inverted and getattr(data[self._key], "applied_operations", None):
            back = Invertd(
                keys=_PRED, transform=self._before, orig_keys=self._key,
                nearest_interp=self._discrete, to_tensor=True,
            )  # fmt: skip
            data = self._invert(back, data)
        if not self._discrete:
            data = {**data, _PRED: self._decided(data[_PRED])}
        return data

    @property
    def foreground(self) -> NDArray[np.float32] | None:
        """Probability of anything but background, shape (x, y, z); None where it is not known."""
        if self._scores is None:
            return None
        return np.asarray(_array(self._scores)[0], np.float32)

    def _invert(self, step: Any, data: dict[str, Any]) -> dict[str, Any]:
        self._inverted = True
        if self._discrete:
            step.nearest_interp = (True,) * len(step.keys)
        result = _applied(step, data)
        if self._scores is not None:
            step.nearest_interp = (False,) * len(step.keys)
            self._scores = _applied(step, {**data, _PRED: self._scores})[_PRED]
        return result

    def _probability(self, pred: Any, step: Any) -> Any:
        """One channel: the probability of the foreground."""
        if not _are_shares(pred):
            if self._activated or not _says_argmax(step):
                return None
            pred = pred.softmax(0)
        if pred.shape[0] == 1:
            return pred
        if _says_argmax(step):
            return 1 - pred[:1]
        return pred.amax(0, keepdim=True)

    def _decided(self, pred: Any) -> Any:
        """The labels of a bundle whose postprocessing does not decide."""
        exclusive = pred.shape[0] > 1 and not (self._activated and _may_overlap(pred))
        if exclusive:
            share = pred if _are_shares(pred) else pred.softmax(0)
            self._scores = 1 - share[:1]
            self.notes.append("The bundle does not decide; each voxel has its likeliest class.")
            return pred.argmax(0, keepdim=True)
        share = pred if _are_shares(pred) else pred.sigmoid()
        self._scores = share.amax(0, keepdim=True)
        self.notes.append(f"The bundle does not decide; a probability of {_THRESHOLD} was taken.")
        return (share >= _THRESHOLD).float()


def _says_argmax(step: Any) -> bool:
    return any(step.argmax)


def _array(tensor: Any) -> NDArray:
    """A tensor's values, without MONAI's metadata."""
    return np.asarray(torch.as_tensor(tensor).detach().cpu())


def _are_shares(values: Any) -> bool:
    """Whether they may be probabilities."""
    return float(values.min()) >= 0 and float(values.max()) <= 1


def _may_overlap(pred: Any) -> bool:
    """Whether the channels are no shares of a whole."""
    return bool((pred.sum(0) - 1).abs().max() > 1e-3)


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
