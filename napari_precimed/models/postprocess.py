"""A bundle's postprocessing, watched: what it knows before it decides and before it merges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose, Invertd, apply_transform
from numpy.typing import NDArray

from napari_precimed.models.regions import names_by_mask

PRED = "pred"
"""Under which key a bundle's evaluator keeps the prediction."""

_THRESHOLD = 0.5


def applied(step: Any, data: dict[str, Any]) -> dict[str, Any]:
    """One transform, on a copy of the dictionary."""
    result: Any = apply_transform(step, dict(data))
    return dict(result)


def steps_of(transform: Any) -> Sequence[Any]:
    """The transforms of which it is made, in turn."""
    return transform.flatten().transforms if isinstance(transform, Compose) else (transform,)


class Tracker:
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
        kind, pred = type(step).__name__, data[PRED]
        merges = self._discrete and pred.shape[0] > 1
        if kind == "AsDiscreted" and not self._discrete:
            self._scores = self._probability(pred, step)
            self._discrete = True
        if isinstance(step, Invertd) and PRED in step.keys:
            return self._invert(step, data)
        self._activated |= kind == "Activationsd"
        masks = array_of(pred) > _THRESHOLD if merges else None
        data = applied(step, data)
        if masks is not None and data[PRED].shape[0] == 1:
            labels = np.rint(array_of(data[PRED])[0]).astype(np.int32)
            self.names = names_by_mask(labels, masks, self._channel_names)
        return data

    def close(self, data: dict[str, Any]) -> dict[str, Any]:
        """What the bundle leaves undone: a decision, and the way back to the grid."""
        if not self._inverted and getattr(data[self._key], "applied_operations", None):
            back = Invertd(
                keys=PRED, transform=self._before, orig_keys=self._key,
                nearest_interp=self._discrete, to_tensor=True,
            )  # fmt: skip
            data = self._invert(back, data)
        if not self._discrete:
            data = {**data, PRED: self._decided(data[PRED])}
        return data

    @property
    def foreground(self) -> NDArray[np.float32] | None:
        """Probability of anything but background, shape (x, y, z); None where it is not known."""
        if self._scores is None:
            return None
        return np.asarray(array_of(self._scores)[0], np.float32)

    def _invert(self, step: Any, data: dict[str, Any]) -> dict[str, Any]:
        self._inverted = True
        if self._discrete:
            step.nearest_interp = (True,) * len(step.keys)
        result = applied(step, data)
        if self._scores is not None:
            step.nearest_interp = (False,) * len(step.keys)
            self._scores = applied(step, {**data, PRED: self._scores})[PRED]
        return result

    def _probability(self, pred: Any, step: Any) -> Any:
        """One channel: the probability of the foreground."""
        if not are_shares(pred):
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
            share = pred if are_shares(pred) else pred.softmax(0)
            self._scores = 1 - share[:1]
            self.notes.append("The bundle does not decide; each voxel has its likeliest class.")
            return pred.argmax(0, keepdim=True)
        share = pred if are_shares(pred) else pred.sigmoid()
        self._scores = share.amax(0, keepdim=True)
        self.notes.append(f"The bundle does not decide; a probability of {_THRESHOLD} was taken.")
        return (share >= _THRESHOLD).float()


def _says_argmax(step: Any) -> bool:
    return any(step.argmax)


def array_of(tensor: Any) -> NDArray:
    """A tensor's values, without MONAI's metadata."""
    return np.asarray(torch.as_tensor(tensor).detach().cpu())


def are_shares(values: Any) -> bool:
    """Whether they may be probabilities."""
    return float(values.min()) >= 0 and float(values.max()) <= 1


def _may_overlap(pred: Any) -> bool:
    """Whether the channels are no shares of a whole."""
    return bool((pred.sum(0) - 1).abs().max() > 1e-3)
