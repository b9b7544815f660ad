"""The recipe of `tumour-slice`: does this slice of a brain scan hold a tumour?

A slice is positive if the mask of the FLAIR abnormality has any voxel in it. Beside that answer the
network learns where the lesion is: the map of its class activations is held against the mask, so it
learns from fifty patients what it would otherwise need many more for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_precimed.models.catalogue import ModelEntry
from napari_precimed.models.inference import Engine, choose_engine
from napari_precimed.models.slices import slice_logits
from napari_precimed.training.calibration import abstain_band, fit_platt
from napari_precimed.training.fit import Batch, FitOptions
from napari_precimed.training.lgg import Glioma, Gliomas, read_lgg
from napari_precimed.training.scores import auroc
from napari_precimed.training.slice_scores import evaluate_slices
from napari_precimed.training.slices import SliceSampler, SliceStack, stack_of

OPTIONS = FitOptions(
    steps=900,
    batch_size=16,
    learning_rate=2e-3,
    weight_decay=0.05,
    warmup_steps=50,
    ema_decay=0.99,
    validate_every=100,
    patience=6,
)
_MAP_WEIGHT = 2.0
_AFTER_FEATURES = 4
"""Pooling, flattening, dropout and the last layer come after the network's features."""


def read(path: Path) -> Gliomas:
    """The data of this recipe."""
    return read_lgg(path)


def start(network: torch.nn.Module) -> None:
    """Nothing to prepare: half of the slices of a batch hold a lesion, and 0.5 is the start."""


def n_cases(data: Gliomas) -> int:
    """How many slices one pass over the training patients draws."""
    return sum(len(case) for case in data.part("train"))


def sampler(data: Gliomas, options: FitOptions) -> Callable[[int], Batch]:
    """Step -> batch, from the training patients."""
    stacks = [stack_of(case) for case in data.part("train")]
    return SliceSampler(stacks, options.batch_size, options.seed)


def loss_of(network: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Cross-entropy of the slice's label, and of the activation map against the coarse mask."""
    features = network[:-_AFTER_FEATURES](batch["image"])  # type: ignore[index]
    logits = network[-_AFTER_FEATURES:](features)[:, 0]  # type: ignore[index]
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, batch["target"])
    return entropy + _MAP_WEIGHT * _against_mask(network, features, batch)


def label_loss(network: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Cross-entropy of the slice's label alone."""
    logits = network(batch["image"])[:, 0]
    return torch.nn.functional.binary_cross_entropy_with_logits(logits, batch["target"])


def map_loss(network: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Cross-entropy of the activation map against the coarse mask alone: where, not whether."""
    features = network[:-_AFTER_FEATURES](batch["image"])  # type: ignore[index]
    return _against_mask(network, features, batch)


def _against_mask(network: torch.nn.Module, features: torch.Tensor, batch: Batch) -> torch.Tensor:
    activation = activation_map(network, features)
    return torch.nn.functional.binary_cross_entropy_with_logits(activation, batch["map"])


def activation_map(network: torch.nn.Module, features: torch.Tensor) -> torch.Tensor:
    """The last layer, applied at each place instead of after pooling; (n, 1, 16, 16)."""
    last = network[-1]  # type: ignore[index]
    return torch.nn.functional.conv2d(features, last.weight[:, :, None, None], last.bias)


def validation(data: Gliomas) -> Callable[[torch.nn.Module], float]:
    """Network -> AUROC over the slices of the validation patients."""
    return auroc_on([stack_of(case) for case in data.part("validation")])


def auroc_on(stacks: Sequence[SliceStack]) -> Callable[[torch.nn.Module], float]:
    """Network -> AUROC over all slices of these patients."""
    positive = np.concatenate([stack.target for stack in stacks]) >= 0.5

    def score(network: torch.nn.Module) -> float:
        return auroc(predict(network, stacks), positive)

    return score


def predict(network: torch.nn.Module, stacks: Sequence[SliceStack]) -> NDArray[np.float32]:
    """Logits of all slices, patient after patient, on the device the network is on."""
    engine = choose_engine(next(network.parameters()).device.type)
    return np.concatenate([slice_logits(network, s.scaled(), engine) for s in stacks])


def settings_of(network: torch.nn.Module, data: Gliomas) -> dict[str, Any]:
    """Calibration, threshold and abstain band, from the validation patients."""
    stacks = [stack_of(case) for case in data.part("validation")]
    logits = predict(network, stacks)
    return decide(logits, np.concatenate([s.target for s in stacks]) >= 0.5)


def decide(logits: NDArray, positive: NDArray[np.bool_]) -> dict[str, Any]:
    """What turns logits into answers, from validation patients.

    Returns
    -------
    dict
        "calibration"; "threshold", where sensitivity plus specificity is highest; "abstain_band".
    """
    calibration = fit_platt(logits, positive)
    chance = 1 / (1 + np.exp(-(calibration["scale"] * logits + calibration["shift"])))
    steps = np.unique(np.round(chance, 4))
    gain = [(chance[positive] >= t).mean() - (chance[~positive] >= t).mean() for t in steps]
    return {
        "calibration": calibration,
        "threshold": round(float(steps[int(np.argmax(gain))]), 4),
        "abstain_band": list(abstain_band(chance, positive)),
    }


def evaluate(entry: ModelEntry, cases: Sequence[Glioma], engine: Engine) -> dict[str, Any]:
    """AUROC, average precision, calibration and decisions per slice, beside what needs no model."""
    return evaluate_slices(entry, cases, engine)
