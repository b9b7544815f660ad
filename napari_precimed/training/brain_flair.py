"""The recipe of `brain-flair-lesion`: a U-Net on FLAIR slices that also sees their neighbours.

The network is a 3D one whose kernels are flat but for the first, which mixes each slice with the
one below and the one above; any tool that can slide a 3D window can run it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import RemoveSmallObjects
from numpy.typing import NDArray

from napari_precimed.core.run import RunRecord
from napari_precimed.models.bundle import load_network, weights_sha256
from napari_precimed.models.catalogue import ModelEntry
from napari_precimed.models.inference import Engine, on_engine
from napari_precimed.training.clinical import patient_groups
from napari_precimed.training.fit import FitOptions
from napari_precimed.training.flair_slabs import FlairSampler, normalise, prepare_glioma
from napari_precimed.training.lgg import Glioma, Gliomas, read_lgg
from napari_precimed.training.scores import dice, mean_metric, subgroups
from napari_precimed.training.teacher import Batch
from napari_precimed.training.volume_scores import metrics_of, scores_of

OPTIONS = FitOptions(
    steps=3600, batch_size=6, learning_rate=2e-3, validate_every=400, patience=6, ema_decay=0.998
)
_ENTROPY_WEIGHT = 2.0
_RARE_LOGIT = -4.0
_THRESHOLDS = np.arange(0.3, 0.81, 0.05)
LEAST_VOXELS = 50
"""Smaller pieces are taken for specks."""
BRIGHT = 0.55
"""Normalised grey value above which the baseline takes all for lesion; chosen on training scans."""


def read(path: Path) -> Gliomas:
    """The data of this recipe."""
    return read_lgg(path)


def start(network: torch.nn.Module) -> None:
    """Begin from slices as they are, and from "nothing here", which is true of most voxels."""
    context = network[0]  # type: ignore[index]
    with torch.no_grad():
        context.weight.zero_()
        for k in range(3):
            context.weight[k, 0, k] = 1.0
        context.bias.zero_()
    last = [m for m in network.modules() if isinstance(m, torch.nn.Conv3d)][-1]
    if last.bias is not None:
        torch.nn.init.constant_(last.bias, _RARE_LOGIT)


def sampler(data: Gliomas, options: FitOptions) -> Callable[[int], Batch]:
    """Step -> batch, from the training patients."""
    return FlairSampler(
        [prepare_glioma(case) for case in data.part("train")], options.batch_size, options.seed
    )


def loss_of(network: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Cross-entropy, plus soft Dice over the whole batch: many slabs hold no lesion."""
    logits = network(batch["image"].to(memory_format=torch.channels_last_3d)).float()
    mask = batch["mask"]
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, mask)
    probability = torch.sigmoid(logits)
    overlap = (probability * mask).sum()
    soft_dice = (2 * overlap + 1) / (probability.sum() + mask.sum() + 1)
    return _ENTROPY_WEIGHT * entropy + 1 - soft_dice


def predict(network: torch.nn.Module, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities of a normalised scan; shape (z, y, x) in and out, in pieces along z.

    The mean logit of the slices as they are and mirrored left to right, as the bundle has it.
    """
    out = np.zeros(image.shape, np.float32)
    padded = np.pad(image, ((1, 1), (0, 0), (0, 0)))
    device = next(network.parameters()).device
    with torch.inference_mode():
        for first in range(0, len(image), 8):
            last = min(first + 8, len(image))
            piece = torch.from_numpy(padded[first : last + 2])[None, None].to(device)
            both = torch.cat([piece, piece.flip(-1)])
            plain, turned = network(both.contiguous(memory_format=torch.channels_last_3d)).float()
            logits = (plain + turned.flip(-1)) / 2
            out[first:last] = torch.sigmoid(logits)[0, 1:-1].cpu().numpy()
    return out


def validation(data: Gliomas) -> Callable[[torch.nn.Module], float]:
    """Network -> mean Dice per patient at 0.5 over the validation patients."""
    cases = [prepare_glioma(case) for case in data.part("validation")]

    def score(network: torch.nn.Module) -> float:
        return float(
            np.mean(
                [dice(predict(network, c.image.astype(np.float32)) >= 0.5, c.mask) for c in cases]
            )
        )

    return score


def settings_of(network: torch.nn.Module, data: Gliomas) -> dict[str, Any]:
    """The threshold with the best mean Dice per patient on the validation patients."""
    scores = np.zeros(len(_THRESHOLDS))
    for case in data.part("validation"):
        chance = predict(network, normalise(case.flair))
        scores += [dice(tidied(chance >= t), case.mask) for t in _THRESHOLDS]
        case.forget()
    return {"threshold": round(float(_THRESHOLDS[int(np.argmax(scores))]), 2)}


def tidied(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Without specks, as the bundle's postprocessing leaves it; shape (z, y, x)."""
    keep = RemoveSmallObjects(min_size=LEAST_VOXELS, connectivity=3)
    return np.asarray(keep(mask[None].astype(np.uint8))[0], bool)


def evaluate(entry: ModelEntry, cases: Sequence[Glioma], engine: Engine) -> dict[str, Any]:
    """Dice of each patient's whole volume, surface scores in voxels, and the lesions found.

    Beside them a baseline without learning: what is brighter than `BRIGHT`.
    """
    network = on_engine(load_network(entry), engine)
    threshold = float(entry.settings["threshold"])
    rows, bright = [], []
    for case in cases:
        image = normalise(case.flair)
        found = tidied(predict(network, image) >= threshold)
        rows.append(scores_of(found.astype(np.uint8), case.mask.astype(np.int32), (1, 1, 1),
                              case.patient))  # fmt: skip
        bright.append(dice(tidied(image >= BRIGHT), case.mask))
        case.forget()
    patients = [row.patient for row in rows]
    metrics = metrics_of(rows, {1: "lesion"})
    metrics["hd95_voxels"] = metrics.pop("hd95_mm")
    metrics["dice_brightness_only"] = mean_metric(bright, patients)
    dices = np.array([row.dice for row in rows])
    return {
        "n": {"patients": len(set(patients)), "cases": len(rows)},
        "metrics": metrics,
        "subgroups": subgroups(
            "dice", lambda k: float(dices[k].mean()), patients, patient_groups(cases)
        ),
        "run": RunRecord(
            task="evaluate",
            model=f"{entry.name} {entry.version}",
            weights_sha256=weights_sha256(entry),
            options={"threshold": threshold, "nsd_tolerance_voxels": 1.0},
            device=engine.device.type,
            precision=engine.precision,
        ).to_dict(),
    }
