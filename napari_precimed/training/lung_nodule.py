"""The recipe of `lung-nodule`: a 3D U-Net on the LIDC crops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_precimed.core.run import RunRecord
from napari_precimed.models.bundle import load_network, weights_sha256
from napari_precimed.models.catalogue import ModelEntry
from napari_precimed.models.inference import Engine, choose_engine, on_engine
from napari_precimed.models.preprocess import CROP_SIDE
from napari_precimed.training.fit import Batch, FitOptions
from napari_precimed.training.lidc import LidcNodules, Nodule, read_lidc
from napari_precimed.training.scores import dice, mean_metric, subgroups, surface_scores
from napari_precimed.training.slabs import SlabSampler, prepare

OPTIONS = FitOptions(steps=2800, batch_size=8, learning_rate=2e-3, validate_every=200)
_ENTROPY_WEIGHT = 4.0
_RARE_LOGIT = -4.0
_THRESHOLDS = np.arange(0.3, 0.71, 0.05)


def read(path: Path) -> LidcNodules:
    """The data of this recipe."""
    return read_lidc(path)


def start(network: torch.nn.Module) -> None:
    """Let an untrained network start from "nothing here", which is true of most voxels.

    Without it, the first few hundred steps are spent on learning just that.
    """
    last = [m for m in network.modules() if isinstance(m, torch.nn.Conv3d)][-1]
    if last.bias is not None:
        torch.nn.init.constant_(last.bias, _RARE_LOGIT)


def sampler(data: LidcNodules, options: FitOptions) -> Callable[[int], Batch]:
    """Step -> batch, from the training patients."""
    nodules = [prepare(nodule) for nodule in data.part("train")]
    return SlabSampler(nodules, batch_size=options.batch_size, seed=options.seed)


def loss_of(network: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Cross-entropy against the share of readers, plus soft Dice against their majority.

    `network` is the whole model (slice normalisation, then U-Net). The slabs are normalised on
    their full crop already, so only the U-Net is called.
    """
    unet = network[1]  # type: ignore[index]
    image = batch["image"].to(memory_format=torch.channels_last_3d)
    logits, share = unet(image).float(), batch["share"]
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, share)
    probability, truth = torch.sigmoid(logits).flatten(1), (share >= 0.5).float().flatten(1)
    overlap = (probability * truth).sum(1)
    soft_dice = (2 * overlap + 1) / (probability.sum(1) + truth.sum(1) + 1)
    return _ENTROPY_WEIGHT * entropy + (1 - soft_dice).mean()


def validation(data: LidcNodules) -> Callable[[torch.nn.Module], float]:
    """Network -> mean Dice at 0.5 over the validation nodules."""
    nodules = data.part("validation")

    def score(network: torch.nn.Module) -> float:
        engine = choose_engine(next(network.parameters()).device.type)
        return mean_dice(predict_crops(network, nodules, engine), nodules, 0.5)

    return score


def settings_of(network: torch.nn.Module, data: LidcNodules) -> dict[str, Any]:
    """The threshold with the best mean Dice on the validation nodules."""
    nodules = data.part("validation")
    engine = choose_engine(next(network.parameters()).device.type)
    probabilities = predict_crops(network, nodules, engine)
    scores = [mean_dice(probabilities, nodules, float(t)) for t in _THRESHOLDS]
    return {"threshold": round(float(_THRESHOLDS[int(np.argmax(scores))]), 2)}


def predict_crops(
    network: torch.nn.Module, nodules: Sequence[Nodule], engine: Engine
) -> list[NDArray[np.float32]]:
    """Probabilities for whole nodule crops.

    Parameters
    ----------
    network : torch.nn.Module
        The whole model.
    nodules : sequence of Nodule
        Only their images are looked at.
    engine : Engine

    Returns
    -------
    list of ndarray of float32, each (z, 96, 96)
    """
    network = on_engine(network, engine)
    out = []
    for nodule in nodules:
        depth = len(nodule.image)
        padded = max(16, -(-depth // 4) * 4)
        before = (padded - depth) // 2
        slab = np.zeros((padded, CROP_SIDE, CROP_SIDE), np.float32)
        slab[before : before + depth] = nodule.image
        with engine.running():
            image = torch.from_numpy(slab)[None, None].to(engine.device)
            logits = network(image.contiguous(memory_format=torch.channels_last_3d)).float()
            probability = torch.sigmoid(logits)[0, 0, before : before + depth]
        out.append(probability.cpu().numpy())
    return out


def mean_dice(
    probabilities: Sequence[NDArray[np.float32]], nodules: Sequence[Nodule], threshold: float
) -> float:
    """Mean over nodules, against the mask that at least half of the readers drew."""
    pairs = zip(probabilities, nodules, strict=True)
    return float(np.mean([dice(p >= threshold, n.consensus) for p, n in pairs]))


def reader_agreement(nodules: Sequence[Nodule]) -> list[float | None]:
    """Mean Dice between two readers of each nodule; what a model is to be held against."""
    agreement: list[float | None] = []
    for nodule in nodules:
        masks = [m for m in nodule.reader_masks if m.any()]
        pairs = [dice(a, b) for a, b in combinations(masks, 2)]
        agreement.append(float(np.mean(pairs)) if pairs else None)
    return agreement


def evaluate(entry: ModelEntry, nodules: Sequence[Nodule], engine: Engine) -> dict[str, Any]:
    """Dice, surface scores and sensitivity on nodule crops, beside the readers' agreement."""
    probabilities = predict_crops(load_network(entry), nodules, engine)
    threshold = float(entry.settings["threshold"])
    masks = [p >= threshold for p in probabilities]
    dices = [dice(m, n.consensus) for m, n in zip(masks, nodules, strict=True)]
    surfaces = [
        surface_scores(m, n.consensus, n.spacing_mm) for m, n in zip(masks, nodules, strict=True)
    ]
    found = [float((m & n.consensus).any()) for m, n in zip(masks, nodules, strict=True)]
    patients = [n.patient for n in nodules]
    return {
        "n": {"patients": len(set(patients)), "cases": len(nodules)},
        "metrics": {
            "dice": mean_metric(dices, patients),
            "dice_between_readers": mean_metric(reader_agreement(nodules), patients),
            "nsd": mean_metric([nsd for _, nsd in surfaces], patients),
            "hd95_mm": mean_metric([hd95 for hd95, _ in surfaces], patients),
            "lesion_sensitivity": mean_metric(found, patients),
        },
        "subgroups": subgroups(
            "dice", lambda k: float(np.mean(np.array(dices)[k])), patients, size_groups(nodules)
        ),
        "run": RunRecord(
            task="evaluate",
            model=f"{entry.name} {entry.version}",
            weights_sha256=weights_sha256(entry),
            options={"threshold": threshold, "nsd_tolerance_mm": 1.0},
            device=engine.device.type,
            precision=engine.precision,
        ).to_dict(),
    }


def size_groups(nodules: Sequence[Nodule]) -> dict[str, NDArray[np.bool_]]:
    """Nodules by diameter and by slice spacing, each an array of bool."""
    size = np.array([n.diameter_mm for n in nodules])
    slice_mm = np.array([n.spacing_mm[0] for n in nodules])
    return {
        "diameter < 6 mm": size < 6,
        "diameter 6 to 10 mm": (size >= 6) & (size < 10),
        "diameter ≥ 10 mm": size >= 10,
        "slices ≤ 1.5 mm": slice_mm <= 1.5,
        "slices > 1.5 mm": slice_mm > 1.5,
    }
