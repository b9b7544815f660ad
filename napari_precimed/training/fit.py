"""One training loop for every imaging recipe.

A batch is a pure function of its step number, so a run that was killed and resumed sees the same
batches, and draws the same curve, as one that was not.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch

from napari_precimed.core.files import atomic_path
from napari_precimed.errors import CancelledError, DatasetError

Batch = dict[str, torch.Tensor]
_LAST = "last.pt"


@dataclass(frozen=True)
class FitOptions:
    """How to fit; the defaults live here and nowhere else.

    `validate_every` and `patience` count steps and validations; `ema_decay` is that of the
    exponential moving average of the weights, which is what is validated and kept.
    """

    steps: int = 4000
    batch_size: int = 8
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    warmup_steps: int = 100
    ema_decay: float = 0.998
    validate_every: int = 250
    patience: int = 8
    seed: int = 0
    device: str = "cpu"

    def on(self, device: str) -> FitOptions:
        """The same options on another device."""
        return replace(self, device=device)

    def for_epochs(self, epochs: int, n_cases: int) -> FitOptions:
        """As many steps as draw `n_cases` cases `epochs` times; validated at least twice."""
        steps = max(1, round(epochs * n_cases / self.batch_size))
        every = min(self.validate_every, max(1, steps // 2))
        return replace(self, steps=steps, validate_every=every)


@dataclass
class FitState:
    """What a fit has reached: the curve, the best score and where it stood."""

    step: int = 0
    best_score: float = float("-inf")
    best_step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


def fit(
    network: torch.nn.Module,
    make_batch: Callable[[int], Batch],
    loss_of: Callable[[torch.nn.Module, Batch], torch.Tensor],
    validate: Callable[[torch.nn.Module], float],
    options: FitOptions,
    folder: Path,
    *,
    resume: bool = False,
    progress: Callable[[str], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> FitState:
    """Fit `network` in place and leave the best weights in it.

    Parameters
    ----------
    network : torch.nn.Module
        On return, holds the averaged weights of the best validation.
    make_batch : callable
        Step number -> tensors on the CPU. Must depend on the step alone.
    loss_of : callable
        (network, batch) -> scalar loss.
    validate : callable
        Network in eval mode -> score, higher is better, on patients that `make_batch` never uses.
    options : FitOptions
    folder : Path
        Receives ``last.pt`` (to resume from) and ``history.json``.
    resume : bool
        Go on from ``folder/last.pt``.
    progress, cancelled : callable, optional
        Called with a line of text; asked between steps.

    Raises
    ------
    CancelledError
        If `cancelled` answers True; ``last.pt`` holds the state of the last validation.
    DatasetError
        If `resume` is set and there is nothing to resume from.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(network.to(options.device), options, folder)
    if resume:
        run.restore()
    state = run.state
    started, first = time.perf_counter(), state.step
    losses: list[float] = []
    while state.step < options.steps:
        if cancelled and cancelled():
            raise CancelledError(f"Training stopped by the user at step {state.step}.")
        losses.append(run.step(make_batch(state.step), loss_of))
        if state.step % options.validate_every and state.step != options.steps:
            continue
        run.keep(sum(losses) / len(losses), validate)
        losses.clear()
        if progress:
            progress(_line(state, options, time.perf_counter() - started, first))
        if state.step - state.best_step >= options.patience * options.validate_every:
            break
    network.load_state_dict(run.best)
    network.eval()
    return state


class _Run:
    """One fit under way: the network, its average, the optimiser and what they have reached."""

    def __init__(self, network: torch.nn.Module, options: FitOptions, folder: Path) -> None:
        self.network, self.options, self.folder = network, options, folder
        self.optimiser = torch.optim.AdamW(
            network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
        )
        self.average = copy.deepcopy(network).eval()
        self.best = copy.deepcopy(self.average.state_dict())
        self.state = FitState()

    def step(
        self, batch: Batch, loss_of: Callable[[torch.nn.Module, Batch], torch.Tensor]
    ) -> float:
        """Learn from one batch; the loss."""
        step, options = self.state.step, self.options
        torch.manual_seed(options.seed * 1_000_003 + step)
        for group in self.optimiser.param_groups:
            group["lr"] = options.learning_rate * _schedule(step, options)
        self.network.train()
        self.optimiser.zero_grad(set_to_none=True)
        loss = loss_of(self.network, {key: v.to(options.device) for key, v in batch.items()})
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimiser.step()
        decay = min(options.ema_decay, (step + 1) / (step + 10))  # soon forgets the random start
        _update_average(self.average, self.network, decay)
        self.state.step = step + 1
        return float(loss.detach())

    def keep(self, loss: float, validate: Callable[[torch.nn.Module], float]) -> None:
        """Validate the average, remember it if it is the best, and write all to disk."""
        with torch.inference_mode():
            score = validate(self.average)
        state = self.state
        state.history.append({"step": state.step, "loss": loss, "score": score})
        if score > state.best_score:
            state.best_score, state.best_step = score, state.step
            self.best = copy.deepcopy(self.average.state_dict())
        with atomic_path(self.folder / _LAST) as part:
            torch.save(
                {
                    "state": asdict(state),
                    "network": self.network.state_dict(),
                    "average": self.average.state_dict(),
                    "optimiser": self.optimiser.state_dict(),
                    "best": self.best,
                },
                part,
            )
        with atomic_path(self.folder / "history.json") as part:
            part.write_text(json.dumps(state.history, indent=1))

    def restore(self) -> None:
        """Go on from what `keep` wrote last."""
        file = self.folder / _LAST
        if not file.is_file():
            raise DatasetError(f"There is nothing to resume at '{file}'; start without --resume.")
        saved = torch.load(file, weights_only=True)
        self.network.load_state_dict(saved["network"])
        self.average.load_state_dict(saved["average"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.state, self.best = FitState(**saved["state"]), saved["best"]


def _schedule(step: int, options: FitOptions) -> float:
    """Linear warm-up, then a cosine down to one hundredth."""
    if step < options.warmup_steps:
        return (step + 1) / options.warmup_steps
    part = (step - options.warmup_steps) / max(1, options.steps - options.warmup_steps)
    return 0.01 + 0.99 * 0.5 * (1 + float(torch.cos(torch.tensor(part * torch.pi))))


@torch.no_grad()
def _update_average(average: torch.nn.Module, network: torch.nn.Module, decay: float) -> None:
    for mean, value in zip(
        average.state_dict().values(), network.state_dict().values(), strict=True
    ):
        if mean.is_floating_point():
            mean.lerp_(value.to(mean.dtype), 1 - decay)
        else:
            mean.copy_(value)


def _line(state: FitState, options: FitOptions, elapsed_s: float, first_step: int) -> str:
    last = state.history[-1]
    pace = elapsed_s / max(1, state.step - first_step)
    return (
        f"step {state.step}/{options.steps}  loss {last['loss']:.4f}  "
        f"validation {last['score']:.4f} (best {state.best_score:.4f} at {state.best_step})  "
        f"{pace:.2f} s/step, at most {pace * (options.steps - state.step) / 60:.0f} min left"
    )
