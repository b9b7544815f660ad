"""The recipe of `lung-nodule-malignancy`: reader ratings from an outlined nodule.

The first output is trained towards the mean malignancy rating, the others towards the readers'
descriptions of the nodule: on a small data set, being asked why helps to learn what.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import ndimage, optimize

from napari_precimed.models.preprocess import nodule_patch
from napari_precimed.training.fit import Batch
from napari_precimed.training.lidc import Nodule

ATTRIBUTES = ("subtlety", "calcification", "margin", "lobulation", "spiculation", "texture")
_HIGHEST = {"calcification": 6}  # the other scales end at 5
_SIDE_WEIGHT = 0.3
RATINGS_FILE = "lidc_nodule_ratings.csv"


def targets_of(nodules: Sequence[Nodule], ratings_file: Path | None) -> NDArray[np.float32]:
    """Ratings scaled to [0, 1]; shape (n, 7): malignancy, then `ATTRIBUTES`; NaN where unknown."""
    out = np.full((len(nodules), 1 + len(ATTRIBUTES)), np.nan, np.float32)
    out[:, 0] = [(nodule.malignancy - 1) / 4 for nodule in nodules]
    if ratings_file is not None and ratings_file.is_file():
        table = pd.read_csv(ratings_file)
        table.index = pd.Index(table["patient"] + "/" + table["nodule"])
        rows = table.reindex([nodule.name for nodule in nodules])
        for k, name in enumerate(ATTRIBUTES, start=1):
            out[:, k] = (rows[name].to_numpy(float) - 1) / (_HIGHEST.get(name, 5) - 1)
    return out


@dataclass(frozen=True)
class PatchSampler:
    """Draws batches of nodule patches; a pure function of the step.

    Parameters
    ----------
    nodules : list of Nodule
    targets : ndarray, shape (n, 7)
    batch_size, seed : int
    """

    nodules: list[Nodule]
    targets: NDArray[np.float32]
    batch_size: int
    seed: int

    def __call__(self, step: int) -> Batch:
        """Batch `step`: "image" (batch, 2, 24, 48, 48) and "target" (batch, 7)."""
        rng = np.random.default_rng((self.seed, step))
        chosen = rng.integers(len(self.nodules), size=self.batch_size)
        patches = np.stack([self._patch(self.nodules[i], rng) for i in chosen])
        image = _warp(torch.from_numpy(patches), rng)
        grey = image[:, :1]
        n = len(image)
        gain = torch.from_numpy(rng.normal(1, 0.1, (n, 1, 1, 1, 1))).float()
        noise = torch.from_numpy(rng.standard_normal(grey.shape, dtype=np.float32))
        strength = torch.from_numpy(np.abs(rng.normal(0, 0.05, (n, 1, 1, 1, 1)))).float()
        image = torch.cat([grey * gain + strength * noise, image[:, 1:]], dim=1)
        return {"image": image, "target": torch.from_numpy(self.targets[chosen])}

    @staticmethod
    def _patch(nodule: Nodule, rng: np.random.Generator) -> NDArray[np.float32]:
        """A patch whose outline varies as readers, and our own segmentation, do."""
        mask = nodule.reader_share >= rng.choice([0.25, 0.5, 0.5, 0.75])
        if not mask.any():
            mask = nodule.consensus
        if rng.random() < 0.2:
            mask = ndimage.binary_dilation(mask)
        return nodule_patch(nodule.image, mask, nodule.spacing_mm)


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
    logits = network(batch["image"])
    target = batch["target"]
    known = ~torch.isnan(target)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, target.nan_to_num(), reduction="none"
    )
    weight = torch.full_like(target, _SIDE_WEIGHT)
    weight[:, 0] = 1.0
    return (entropy * weight * known).sum() / len(target)


def fit_calibration(logits: NDArray, malignancy: NDArray) -> dict[str, float]:
    """Platt scaling on validation nodules: rating above 3 against below; 3 is left out.

    Returns
    -------
    dict
        "scale" and "shift" of the logit.
    """
    decided = malignancy != 3
    x, y = logits[decided], (malignancy[decided] > 3).astype(float)

    def loss(p: NDArray) -> float:
        z = p[0] * x + p[1]
        return float(np.mean(np.logaddexp(0, z) - y * z) + 1e-3 * (p[0] - 1) ** 2)

    scale, shift = optimize.minimize(loss, np.array([1.0, 0.0]), method="BFGS").x
    return {"scale": round(float(scale), 4), "shift": round(float(shift), 4)}
