"""Which saliency method foretells best what painting out a window does.

Per validation nodule, for `lung-nodule-malignancy`: the rank correlation, over windows, of a map's
sum with the logit's fall when the window is painted out; the same for the map of a network whose
weights are drawn anew, which should be near 0. Printed: the mean, with its 95 % interval by
bootstrap over patients.

Run: python benchmarks/explanations.py [folder of the shared data] [--nodules N] [--model NAME]
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from napari_precimed.models.attribution import grad_cam, integrated_gradients, occlude
from napari_precimed.models.bundle import load_network
from napari_precimed.models.catalogue import find
from napari_precimed.models.classify import averaged_logits
from napari_precimed.models.preprocess import IN_PLANE_FLIPS, nodule_patch
from napari_precimed.training.lidc import Nodule, read_lidc
from napari_precimed.training.scores import mean_metric

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
WINDOW = (6, 12, 12)


def gradients(network: torch.nn.Module, image: torch.Tensor) -> NDArray[np.float32]:
    """Integrated gradients of the first output."""
    neutral = torch.zeros_like(image)
    return integrated_gradients(lambda x: _logit(network, x), image, neutral, _quiet)[0]


def cam(network: torch.nn.Module, image: torch.Tensor) -> NDArray[np.float32]:
    """Grad-CAM of the first output, the mean over the mirrored views."""
    views = [
        np.flip(grad_cam(network, lambda x: network(x)[:, 0], image.flip(flip)), flip)
        for flip in IN_PLANE_FLIPS
    ]
    return np.mean(views, axis=0)


METHODS = {"integrated gradients": gradients, "Grad-CAM": cam}


def agreements(network: torch.nn.Module, nodule: Nodule) -> dict[str, float | None]:
    """By method, with the trained weights and with new ones."""
    image = torch.from_numpy(nodule_patch(nodule.image, nodule.consensus, nodule.spacing_mm))
    occluded = occlude(lambda x: _logit(network, x), image, torch.zeros_like(image), WINDOW, _quiet)
    found = {}
    for name, method in METHODS.items():
        found[name] = occluded.agreement(method(network, image))
        found[f"{name}, new weights"] = occluded.agreement(method(_drawn_anew(network), image))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shared", nargs="?", type=Path, default=SHARED)
    parser.add_argument("--nodules", type=int, default=None, help="evenly chosen; all if left out")
    parser.add_argument("--model", default="lung-nodule-malignancy")
    given = parser.parse_args()
    network = load_network(find(given.model))
    nodules = read_lidc(given.shared / "imaging").part("validation")
    if given.nodules:
        chosen = np.linspace(0, len(nodules) - 1, given.nodules).astype(int)
        nodules = [nodules[k] for k in chosen]
    rows = [agreements(network, nodule) for nodule in nodules]
    patients = [nodule.patient for nodule in nodules]
    print("| map | agreement with occlusion | 95 % interval | nodules | patients |")
    print("|---|---|---|---|---|")
    for name in rows[0]:
        figure = mean_metric([row[name] for row in rows], patients)
        low, high = figure["ci95"]
        print(f"| {name} | {figure['value']:.2f} | {low:.2f} to {high:.2f} | {figure['n']} "
              f"| {figure['patients']} |")  # fmt: skip


def _drawn_anew(network: torch.nn.Module) -> torch.nn.Module:
    torch.manual_seed(0)
    other = copy.deepcopy(network)
    for module in other.modules():
        if isinstance(module, (torch.nn.Conv3d, torch.nn.Linear)):
            module.reset_parameters()
    return other


def _logit(network: torch.nn.Module, image: torch.Tensor) -> torch.Tensor:
    return averaged_logits(network, image)[:, 0]


def _quiet(done: int, total: int) -> None:
    """Nobody watches."""


if __name__ == "__main__":
    main()
