"""A training run of a second, in a process of its own: it can be killed, or shared by two.

`python toy_fit.py FOLDER [resume] [together] [broken]` fits a small network and writes its weights.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch

from napari_precimed.errors import PrecimedError
from napari_precimed.training.fit import FitOptions, FitState, fit
from napari_precimed.training.ranks import joined

OPTIONS = FitOptions(
    steps=60, batch_size=8, validate_every=7, patience=None, warmup_steps=3, save_every_s=0.0
)


def batch(step: int) -> dict[str, torch.Tensor]:
    x = torch.from_numpy(np.random.default_rng(step).normal(size=(8, 3)).astype(np.float32))
    return {"x": x, "y": x.sum(1, keepdim=True)}


def loss(network: torch.nn.Module, given: dict[str, torch.Tensor]) -> torch.Tensor:
    return ((network(given["x"]) - given["y"]) ** 2).mean()


def network(dropout: float) -> torch.nn.Module:
    torch.manual_seed(1)
    return torch.nn.Sequential(
        torch.nn.Linear(3, 8), torch.nn.LayerNorm(8), torch.nn.Dropout(dropout),
        torch.nn.ReLU(), torch.nn.Linear(8, 1),
    )  # fmt: skip


def run(
    folder: Path,
    *,
    dropout: float,
    resume: bool = False,
    pause_s: float = 0.0,
    broken: bool = False,
) -> tuple[FitState, torch.nn.Module]:
    held_out = batch(10_000)
    with joined("cpu") as ranks:

        def paused(step: int) -> dict[str, torch.Tensor]:
            time.sleep(pause_s)
            if broken and step == 5 and ranks.rank == 1:
                raise PrecimedError("the second process met a broken scan")
            return batch(step)

        net = network(dropout)
        state = fit(
            net, paused, loss, lambda n: -float(loss(n, held_out)), OPTIONS, folder,
            resume=resume, ranks=ranks,
        )  # fmt: skip
        if ranks.leads:
            torch.save(net.state_dict(), folder / "weights.pt")
    return state, net


if __name__ == "__main__":
    torch.set_num_threads(1)
    try:
        run(
            Path(sys.argv[1]),
            dropout=0.0 if "together" in sys.argv else 0.3,
            resume="resume" in sys.argv,
            pause_s=0.0 if "together" in sys.argv else 0.05,
            broken="broken" in sys.argv,
        )
    except PrecimedError as error:
        sys.exit(f"told: {error}")
