"""The recipe of `lung-nodule`: a 3D U-Net on the LIDC crops."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from napari_precimed.models.preprocess import CROP_SIDE
from napari_precimed.training.fit import Batch

_ENTROPY_WEIGHT = 4.0
_RARE_LOGIT = -4.0


def loss_of(network: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Cross-entropy against the share of readers, plus soft Dice against their majority.

    `network` is the whole model (slice normalisation, then U-Net). The slabs are normalised on
    their full crop already, so only the U-Net is called.
    """
    unet = network[1]
    image = batch["image"].to(memory_format=torch.channels_last_3d)
    with torch.autocast(image.device.type, torch.bfloat16):
        logits = unet(image)
    logits, share = logits.float(), batch["share"]
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, share)
    probability, truth = torch.sigmoid(logits).flatten(1), (share >= 0.5).float().flatten(1)
    overlap = (probability * truth).sum(1)
    soft_dice = (2 * overlap + 1) / (probability.sum(1) + truth.sum(1) + 1)
    return _ENTROPY_WEIGHT * entropy + (1 - soft_dice).mean()


def start_rare(network: torch.nn.Module) -> None:
    """Let an untrained network start from "nothing here", which is true of most voxels.

    Without it, the first few hundred steps are spent on learning just that.
    """
    last = [m for m in network.modules() if isinstance(m, torch.nn.Conv3d)][-1]
    if last.bias is not None:
        torch.nn.init.constant_(last.bias, _RARE_LOGIT)


def predict_crops(
    network: torch.nn.Module, crops: Sequence[NDArray], *, mirrored: bool = False
) -> list[NDArray[np.float32]]:
    """Probabilities for whole nodule crops.

    Parameters
    ----------
    network : torch.nn.Module
        The whole model.
    crops : sequence of ndarray, each (z, 96, 96)
        Grey values of any gain.
    mirrored : bool
        Average over the four in-plane mirrorings.

    Returns
    -------
    list of ndarray of float32, each (z, 96, 96)
    """
    out = []
    for crop in crops:
        depth = len(crop)
        padded = max(16, -(-depth // 4) * 4)
        before = (padded - depth) // 2
        slab = np.zeros((padded, CROP_SIDE, CROP_SIDE), np.float32)
        slab[before : before + depth] = crop
        image = torch.from_numpy(slab)[None, None].to(next(network.parameters()).device)
        flips: list[list[int]] = [[], [3], [4], [3, 4]] if mirrored else [[]]
        total = torch.zeros_like(image)
        for flip in flips:
            with torch.autocast(image.device.type, torch.bfloat16):
                logits = network(image.flip(flip).to(memory_format=torch.channels_last_3d))
            total += torch.sigmoid(logits.float()).flip(flip)
        out.append((total / len(flips))[0, 0, before : before + depth].cpu().numpy())
    return out


def dice(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """2|A∩B| / (|A| + |B|); 1 where both are empty."""
    total = int(predicted.sum()) + int(truth.sum())
    return 1.0 if total == 0 else 2 * float((predicted & truth).sum()) / total
