"""The recipe of `lung-nodule-malignancy`: reader ratings from an outlined nodule.

The first output is trained towards the mean malignancy rating, the others towards the readers'
descriptions of the nodule: on a small data set, being asked why helps to learn what.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from napari_precimed.core.run import RunRecord
from napari_precimed.models.bundle import load_network, weights_sha256
from napari_precimed.models.catalogue import ModelEntry
from napari_precimed.models.classify import (
    abstains,
    calibrated,
    calibration_of,
    predict_logits,
)
from napari_precimed.models.inference import Engine, choose_engine
from napari_precimed.models.preprocess import nodule_patch, resample_around
from napari_precimed.training.calibration import abstain_band, fit_temperature
from napari_precimed.training.fit import Batch, FitOptions
from napari_precimed.training.lidc import LidcNodules, Nodule, read_lidc
from napari_precimed.training.lung_nodule import size_groups
from napari_precimed.training.scores import (
    auprc,
    auroc,
    expected_calibration_error,
    mean_metric,
    metric,
    reliability,
    subgroups,
)

ATTRIBUTES = ("subtlety", "calcification", "margin", "lobulation", "spiculation", "texture")
_HIGHEST = {"calcification": 6}  # the other scales end at 5
_SIDE_WEIGHT = 0.3
RATINGS_FILE = "lidc_nodule_ratings.csv"
WRONG = 0.1
"""Share of the suspicious that may lie below the band of abstaining, and of the others above it."""


OPTIONS = FitOptions(
    steps=2400,
    batch_size=24,
    learning_rate=1e-3,
    weight_decay=0.05,
    validate_every=200,
    patience=6,
)


def read(path: Path) -> LidcNodules:
    """The data of this recipe; the ratings lie beside the crops."""
    return read_lidc(path)


def start(network: torch.nn.Module) -> None:
    """Nothing to prepare: an untrained network's 0.5 is the middle of the rating scale."""


def targets_of(nodules: Sequence[Nodule], folder: Path) -> NDArray[np.float32]:
    """Ratings scaled to [0, 1]; shape (n, 7): malignancy, then `ATTRIBUTES`; NaN where unknown."""
    out = np.full((len(nodules), 1 + len(ATTRIBUTES)), np.nan, np.float32)
    out[:, 0] = [(nodule.malignancy - 1) / 4 for nodule in nodules]
    if (folder / RATINGS_FILE).is_file():
        table = pd.read_csv(folder / RATINGS_FILE)
        table.index = pd.Index(table["patient"] + "/" + table["nodule"])
        rows = table.reindex([nodule.name for nodule in nodules])
        for k, name in enumerate(ATTRIBUTES, start=1):
            out[:, k] = (rows[name].to_numpy(float) - 1) / (_HIGHEST.get(name, 5) - 1)
    return out


def sampler(data: LidcNodules, options: FitOptions) -> Callable[[int], Batch]:
    """Step -> batch, from the training patients."""
    nodules = data.part("train")
    patches = [_shared_patch(nodule).astype(np.float16) for nodule in nodules]
    targets = targets_of(nodules, data.folder)
    return PatchSampler(patches, targets, options.batch_size, options.seed)


def _shared_patch(nodule: Nodule) -> NDArray[np.float32]:
    """Grey and share of readers on the classifier's grid; shape (2, 24, 48, 48)."""
    grey, _ = nodule_patch(nodule.image, nodule.consensus, nodule.spacing_mm)
    share = resample_around(nodule.reader_share, nodule.consensus, nodule.spacing_mm)
    return np.stack([grey, share])


@dataclass(frozen=True)
class PatchSampler:
    """Draws batches of nodule patches; a pure function of the step.

    Parameters
    ----------
    patches : list of ndarray, each (2, 24, 48, 48)
        Normalised grey, and the share of readers who marked the voxel.
    targets : ndarray, shape (n, 7)
    batch_size, seed : int
    """

    patches: list[NDArray[np.float16]]
    targets: NDArray[np.float32]
    batch_size: int
    seed: int

    def __call__(self, step: int) -> Batch:
        """Batch `step`: "image" (batch, 2, 24, 48, 48) and "target" (batch, 7)."""
        rng = np.random.default_rng((self.seed, step))
        chosen = rng.integers(len(self.patches), size=self.batch_size)
        image = torch.from_numpy(np.stack([self.patches[i] for i in chosen])).float()
        n = len(image)
        # the outline varies as readers, and our own segmentation, do
        level = torch.from_numpy(rng.choice([0.25, 0.5, 0.5, 0.75], (n, 1, 1, 1, 1))).float()
        image = torch.cat([image[:, :1], (image[:, 1:] >= level).float()], dim=1)
        image = _warp(image, rng)
        grey = image[:, :1]
        gain = torch.from_numpy(rng.normal(1, 0.1, (n, 1, 1, 1, 1))).float()
        noise = torch.from_numpy(rng.standard_normal(grey.shape, dtype=np.float32))
        strength = torch.from_numpy(np.abs(rng.normal(0, 0.05, (n, 1, 1, 1, 1)))).float()
        image = torch.cat([grey * gain + strength * noise, image[:, 1:]], dim=1)
        return {"image": image, "target": torch.from_numpy(self.targets[chosen])}


def _warp(image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Mirror, turn in the plane, shift and zoom each patch; (batch, 2, z, y, x)."""
    n = len(image)
    angle = rng.uniform(-np.pi, np.pi, n)
    zoom = np.exp(rng.uniform(-0.12, 0.12, n))
    mirror = rng.choice([-1.0, 1.0], size=(n, 2))
    theta = np.zeros((n, 3, 4), np.float32)
    theta[:, 0, 0] = np.cos(angle) * zoom * mirror[:, 0]
    theta[:, 0, 1] = -np.sin(angle) * zoom
    theta[:, 1, 0] = np.sin(angle) * zoom * mirror[:, 0]
    theta[:, 1, 1] = np.cos(angle) * zoom
    theta[:, 2, 2] = zoom * mirror[:, 1]
    theta[:, :, 3] = rng.uniform(-0.06, 0.06, (n, 3))
    grid = torch.nn.functional.affine_grid(
        torch.from_numpy(theta), list(image.shape), align_corners=False
    )
    return torch.nn.functional.grid_sample(image, grid, align_corners=False)


def loss_of(network: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Cross-entropy against the scaled ratings; side outputs weigh less, unknowns nothing."""
    logits = network(batch["image"]).float()
    target = batch["target"]
    known = ~torch.isnan(target)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, target.nan_to_num(), reduction="none"
    )
    weight = torch.full_like(target, _SIDE_WEIGHT)
    weight[:, 0] = 1.0
    return (entropy * weight * known).sum() / len(target)


def validation(data: LidcNodules) -> Callable[[torch.nn.Module], float]:
    """Network -> mean of strict and loose AUROC over the validation nodules."""
    nodules = data.part("validation")
    patches, rating = consensus_patches(nodules), _ratings(nodules)

    def score(network: torch.nn.Module) -> float:
        engine = choose_engine(next(network.parameters()).device.type)
        logits = predict_logits(network, patches, engine)[:, 0]
        strict, loose = _strict(rating), rating != 3
        return (
            auroc(logits[strict], rating[strict] > 3) + auroc(logits[loose], rating[loose] > 3)
        ) / 2

    return score


def settings_of(network: torch.nn.Module, data: LidcNodules) -> dict[str, Any]:
    """Calibration and the band in which to abstain, fitted on the validation nodules.

    A temperature alone: an output of 0 is a mean rating of 3 by construction, and must stay so.
    """
    nodules = [n for n in data.part("validation") if n.malignancy != 3]
    engine = choose_engine(next(network.parameters()).device.type)
    logits = predict_logits(network, consensus_patches(nodules), engine)[:, 0]
    positive = _ratings(nodules) > 3
    calibration = fit_temperature(logits, positive)
    chance = 1 / (1 + np.exp(-calibration["scale"] * logits))
    return {"calibration": calibration, "abstain_band": list(abstain_band(chance, positive, WRONG))}


def consensus_patches(nodules: Sequence[Nodule]) -> NDArray[np.float32]:
    """Patches outlined by the readers' majority; shape (n, 2, 24, 48, 48)."""
    return np.stack([nodule_patch(n.image, n.consensus, n.spacing_mm) for n in nodules])


def evaluate(entry: ModelEntry, nodules: Sequence[Nodule], engine: Engine) -> dict[str, Any]:
    """AUROC, average precision and calibration, beside the nodule's volume as the baseline.

    Nodules are outlined by the readers' majority; a mean rating of exactly 3 is left out.
    """
    patches = consensus_patches(nodules)
    chance = calibrated(entry, predict_logits(load_network(entry), patches, engine)[:, 0])
    rating, volume = _ratings(nodules), np.array([n.volume_mm3 for n in nodules])
    patients = np.array([n.patient for n in nodules])
    metrics = {}
    strict, loose = _strict(rating), rating != 3
    for name, chosen in (("strict", strict), ("loose", loose)):
        positive, who = rating[chosen] > 3, patients[chosen]
        metrics[f"auroc_{name}"] = metric(_ranked(auroc, chance[chosen], positive), who)
        by_volume = _ranked(auroc, volume[chosen], positive)
        metrics[f"auroc_{name}_volume_only"] = metric(by_volume, who)
    decided, positive, who = chance[loose], rating[loose] > 3, patients[loose]
    metrics["auprc"] = metric(_ranked(auprc, decided, positive), who)
    metrics["ece"] = metric(_ranked(expected_calibration_error, decided, positive), who)
    said = ~abstains(entry, decided)
    metrics["coverage"] = metric(lambda index: float(said[index].mean()), who)
    right = (decided >= 0.5) == positive
    metrics["accuracy_where_decided"] = mean_metric(
        [float(r) if s else None for r, s in zip(right, said, strict=True)], who.tolist()
    )
    metrics["accuracy_without_abstaining"] = mean_metric(right.astype(float).tolist(), who.tolist())
    groups = size_groups([nodules[int(k)] for k in np.flatnonzero(loose)])
    return {
        "n": {"patients": len(set(patients)), "cases": len(nodules)},
        "metrics": metrics,
        "subgroups": subgroups("auroc_loose", _ranked(auroc, decided, positive), who, groups),
        "reliability": reliability(decided, positive),
        "run": RunRecord(
            task="evaluate",
            model=f"{entry.name} {entry.version}",
            weights_sha256=weights_sha256(entry),
            options={
                "calibration": calibration_of(entry),
                "abstain_band": entry.settings.get("abstain_band"),
            },
            device=engine.device.type,
            precision="float32",
        ).to_dict(),
    }


def _ranked(
    score: Callable[..., float], values: NDArray, positive: NDArray[np.bool_]
) -> Callable[[NDArray[np.int_]], float]:
    return lambda index: score(values[index], positive[index])


def _ratings(nodules: Sequence[Nodule]) -> NDArray[np.float64]:
    return np.array([n.malignancy for n in nodules], float)


def _strict(rating: NDArray) -> NDArray[np.bool_]:
    """Nodules on which the readers agree: rated at most 2, or at least 4."""
    return (rating <= 2) | (rating >= 4)
