"""The recipe of `lung-nodule`: a finder and an outliner, fitted together on the LIDC crops.

Each step teaches both networks of the bundle, with a batch for each: slabs of whole crops for the
finder, patches around a point for the outliner. They share nothing but the step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
from napari_precimed.models.labelling import CandidateRules, outline_candidates
from napari_precimed.models.outline import Outline, Outlines, middle_voxel
from napari_precimed.models.preprocess import CROP_SIDE
from napari_precimed.models.search import outlines_of
from napari_precimed.training.fit import Batch, FitOptions
from napari_precimed.training.lidc import LidcNodules, Nodule, read_lidc
from napari_precimed.training.outlines import OutlineSampler
from napari_precimed.training.scores import dice, mean_metric, subgroups, surface_scores
from napari_precimed.training.slabs import SlabSampler, prepare_nodule

OPTIONS = FitOptions(steps=2800, batch_size=8, learning_rate=2e-3, validate_every=200)
_ENTROPY_WEIGHT = 4.0
_RARE_LOGIT = -4.0
_THRESHOLDS = np.arange(0.3, 0.61, 0.05)


def read(path: Path) -> LidcNodules:
    """The data of this recipe."""
    return read_lidc(path)


def start(network: torch.nn.Module) -> None:
    """Let both untrained networks start from "nothing here", which is true of most voxels.

    Without it, the first few hundred steps are spent on learning just that.
    """
    for part in (network["finder"], network["outliner"]):  # type: ignore[index]
        last = [m for m in part.modules() if isinstance(m, torch.nn.Conv3d)][-1]
        if last.bias is not None:
            torch.nn.init.constant_(last.bias, _RARE_LOGIT)


@dataclass(frozen=True)
class BothSamplers:
    """A batch for the finder and one for the outliner, under names of their own."""

    slabs: SlabSampler
    patches: OutlineSampler

    def __call__(self, step: int) -> Batch:
        """Batch `step`: "image" and "share" for the finder, "patch" and "patch_share"."""
        slab, patch = self.slabs(step), self.patches(step)
        return {**slab, "patch": patch["image"], "patch_share": patch["share"]}


def sampler(data: LidcNodules, options: FitOptions) -> Callable[[int], Batch]:
    """Step -> batch, from the training patients."""
    nodules = [prepare_nodule(nodule) for nodule in data.part("train")]
    return BothSamplers(
        SlabSampler(nodules, batch_size=options.batch_size, seed=options.seed),
        OutlineSampler(nodules, batch_size=options.batch_size, seed=options.seed),
    )


def loss_of(network: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Of both networks: cross-entropy against the share of readers, plus soft Dice.

    The finder is slice normalisation, then a U-Net. The slabs are normalised on their full crop
    already, so only the U-Net is called.
    """
    finder, outliner = network["finder"], network["outliner"]  # type: ignore[index]
    return share_loss(finder[1], batch["image"], batch["share"]) + share_loss(
        outliner, batch["patch"], batch["patch_share"]
    )


def share_loss(network: torch.nn.Module, image: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Cross-entropy against the share of readers, plus soft Dice against their majority.

    Parameters
    ----------
    network : torch.nn.Module
    image : Tensor, shape (batch, channel, z, y, x)
    share : Tensor, shape (batch, 1, z, y, x)
        0 to 1.
    """
    logits = network(image.to(memory_format=torch.channels_last_3d)).float()
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, share)
    probability, truth = torch.sigmoid(logits).flatten(1), (share >= 0.5).float().flatten(1)
    overlap = (probability * truth).sum(1)
    soft_dice = (2 * overlap + 1) / (probability.sum(1) + truth.sum(1) + 1)
    return _ENTROPY_WEIGHT * entropy + (1 - soft_dice).mean()


def validation(data: LidcNodules) -> Callable[[torch.nn.Module], float]:
    """Network -> mean Dice over the validation nodules, each outlined from its middle."""
    nodules = data.part("validation")

    def score(network: torch.nn.Module) -> float:
        engine = choose_engine(next(network.parameters()).device.type)
        outlines = Outlines.of(network, engine, threshold=0.5, finder_share=0.5).quick()
        return float(
            np.mean(
                [
                    dice(drawn(outlines.around(n.image, middle_voxel(n.consensus)), n), n.consensus)
                    for n in nodules
                ]
            )
        )

    return score


def settings_of(network: torch.nn.Module, data: LidcNodules) -> dict[str, Any]:
    """The threshold with the best mean Dice on the validation nodules, from their middle."""
    nodules = data.part("validation")
    engine = choose_engine(next(network.parameters()).device.type)
    outlines = Outlines.of(network, engine, threshold=0.5, finder_share=0.5)
    scores = np.zeros(len(_THRESHOLDS))
    for nodule in nodules:
        outline = outlines.around(nodule.image, middle_voxel(nodule.consensus))
        for k, threshold in enumerate(_THRESHOLDS):
            mask = np.zeros(nodule.image.shape, bool)
            mask[outline.place] = outline.at(float(threshold))
            scores[k] += dice(mask, nodule.consensus)
    return {"threshold": round(float(_THRESHOLDS[int(np.argmax(scores))]), 2)}


def clicked(nodule: Nodule) -> tuple[int, int, int]:
    """A voxel of the majority's mask by chance, always the same for a nodule: one click."""
    voxels = np.argwhere(nodule.consensus)
    rng = np.random.default_rng(list(nodule.name.encode()))
    z, y, x = voxels[rng.integers(len(voxels))]
    return int(z), int(y), int(x)


def drawn(outline: Outline, nodule: Nodule) -> NDArray[np.bool_]:
    """The mask of an outline, of the nodule's shape."""
    mask = np.zeros(nodule.image.shape, bool)
    outline.draw(mask, True)
    return mask


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


def reader_agreement(nodules: Sequence[Nodule]) -> list[float | None]:
    """Mean Dice between two readers of each nodule; what a model is to be held against."""
    agreement: list[float | None] = []
    for nodule in nodules:
        masks = [m for m in nodule.reader_masks if m.any()]
        pairs = [dice(a, b) for a, b in combinations(masks, 2)]
        agreement.append(float(np.mean(pairs)) if pairs else None)
    return agreement


def evaluate(entry: ModelEntry, nodules: Sequence[Nodule], engine: Engine) -> dict[str, Any]:
    """Dice without and with one click, surface scores, sensitivity, beside the readers' agreement.

    Without a click the model searches the crop as it searches a scan, and all that it marks counts.
    A click is a voxel of the majority's mask, drawn by chance once and for all.
    """
    network = load_network(entry)
    outlines = outlines_of(entry.settings, network, engine)
    rules = CandidateRules(**entry.settings["candidates"])
    masks, further = [], []
    finder = predict_crops(network["finder"], nodules, engine)  # type: ignore[index]
    for nodule, probability in zip(nodules, finder, strict=True):
        voxel_mm3 = float(np.prod(nodule.spacing_mm))
        labels, found = outline_candidates(
            nodule.image, probability, None, outlines, voxel_mm3, rules
        )
        masks.append(labels > 0)
        hit = np.unique(labels[nodule.reader_share > 0])
        further.append(float(len(found) - np.count_nonzero(hit)))
    clicks = [drawn(outlines.from_click(n.image, clicked(n)), n) for n in nodules]
    dices = [dice(m, n.consensus) for m, n in zip(masks, nodules, strict=True)]
    surfaces = [
        surface_scores(m, n.consensus, n.spacing_mm) for m, n in zip(masks, nodules, strict=True)
    ]
    found_any = [float((m & n.consensus).any()) for m, n in zip(masks, nodules, strict=True)]
    patients = [n.patient for n in nodules]
    return {
        "n": {"patients": len(set(patients)), "cases": len(nodules)},
        "metrics": {
            "dice": mean_metric(dices, patients),
            "dice_one_click": mean_metric(
                [dice(m, n.consensus) for m, n in zip(clicks, nodules, strict=True)], patients
            ),
            "dice_between_readers": mean_metric(reader_agreement(nodules), patients),
            "nsd": mean_metric([nsd for _, nsd in surfaces], patients),
            "hd95_mm": mean_metric([hd95 for hd95, _ in surfaces], patients),
            "lesion_sensitivity": mean_metric(found_any, patients),
            "further_lesions_per_crop": mean_metric(further, patients),
        },
        "subgroups": subgroups(
            "dice", lambda k: float(np.mean(np.array(dices)[k])), patients, size_groups(nodules)
        ),
        "run": RunRecord(
            task="evaluate",
            model=f"{entry.name} {entry.version}",
            weights_sha256=weights_sha256(entry),
            options={
                "threshold": outlines.threshold,
                "finder_share": outlines.finder_share,
                "candidates": entry.settings["candidates"],
                "nsd_tolerance_mm": 1.0,
            },
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
