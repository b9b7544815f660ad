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
from typing import Any

import torch

from napari_precimed.core.files import atomic_path
from napari_precimed.errors import CancelledError, DatasetError
from napari_precimed.training.journal import Journal
from napari_precimed.training.ranks import ALONE, Ranks
from napari_precimed.training.teacher import Batch, Unlabelled, ramp

LossOf = Callable[[torch.nn.Module, Batch], torch.Tensor]
_LAST = "last.pt"


@dataclass(frozen=True)
class FitOptions:
    """How to fit; the defaults live here and nowhere else.

    `validate_every` and `patience` count steps and validations; a `patience` of None trains to the
    last step. `ema_decay` is that of the exponential moving average of the weights, which is what
    is validated and kept. `precision` is that of autocast. A kill loses at most `save_every_s`.
    `consistency_weight` is what unlabelled batches weigh beside labelled ones, once the first
    `consistency_ramp` of the steps has brought it up.
    """

    steps: int = 4000
    batch_size: int = 8
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    warmup_steps: int = 100
    ema_decay: float = 0.998
    validate_every: int = 250
    patience: int | None = 8
    seed: int = 0
    device: str = "cpu"
    precision: str = "float32"
    save_every_s: float = 60.0
    consistency_weight: float = 1.0
    consistency_ramp: float = 0.4

    def on(self, device: str, precision: str = "float32") -> FitOptions:
        """The same options on another device, in its precision."""
        return replace(self, device=device, precision=precision)

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

    def settled(self, options: FitOptions) -> bool:
        """Whether the last step is done, or nothing has improved for as long as was allowed."""
        if self.step >= options.steps:
            return True
        waited = self.step - self.best_step
        return options.patience is not None and waited >= options.patience * options.validate_every


def fit(
    network: torch.nn.Module,
    make_batch: Callable[[int], Batch],
    loss_of: LossOf,
    validate: Callable[[torch.nn.Module], float],
    options: FitOptions,
    folder: Path,
    *,
    resume: bool = False,
    unlabelled: Unlabelled | None = None,
    ranks: Ranks = ALONE,
    journal: Journal | None = None,
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
        (network, batch) -> scalar loss, a mean over the batch. Called under autocast in the
        options' precision.
    validate : callable
        Network in eval mode -> score, higher is better, on patients that `make_batch` never uses.
    options : FitOptions
    folder : Path
        Receives ``last.pt`` (to resume from) and ``history.json``.
    resume : bool
        Go on from ``folder/last.pt``.
    unlabelled : Unlabelled, optional
        Batches without labels, which the network learns to see as its own average does.
    ranks : Ranks
        The processes that share each batch.
    journal : Journal, optional
        Notes every step; where it is left out, `progress` gets its lines.
    progress, cancelled : callable, optional
        Called with a line of text; asked between steps.

    Raises
    ------
    CancelledError
        If `cancelled` answers True; ``last.pt`` holds the state of the last step.
    DatasetError
        If `resume` is set and there is nothing to resume from.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(network.to(options.device), options, folder, ranks)
    if resume:
        run.restore()
    journal = journal or Journal(progress, options.steps)
    while not run.state.settled(options):
        try:
            run.step(make_batch, loss_of, unlabelled, cancelled)
        except CancelledError:
            run.save()
            raise
        journal.after_step(run.state.step, run.losses[-1], run.learning_rate)
        if run.state.step % options.validate_every == 0 or run.state.step == options.steps:
            loss = run.keep(validate)
            score, state = run.state.history[-1]["score"], run.state
            journal.after_validation(state.step, loss, score, (state.best_score, state.best_step))
    network.load_state_dict(run.best)
    network.eval()
    return run.state


class _Run:
    """One fit under way: the network, its average, the optimiser and what they have reached."""

    def __init__(
        self, network: torch.nn.Module, options: FitOptions, folder: Path, ranks: Ranks
    ) -> None:
        self.network, self.options, self.folder, self.ranks = network, options, folder, ranks
        self.optimiser = torch.optim.AdamW(
            network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
        )
        self.scaler = torch.amp.GradScaler("cuda", enabled=options.precision == "float16")
        self.average = copy.deepcopy(network).eval()
        self.best = copy.deepcopy(self.average.state_dict())
        self.state = FitState()
        self.losses: list[float] = []  # since the last validation
        self.saved_at = time.monotonic()

    @property
    def learning_rate(self) -> float:
        return float(self.optimiser.param_groups[0]["lr"])

    def step(
        self,
        make_batch: Callable[[int], Batch],
        loss_of: LossOf,
        unlabelled: Unlabelled | None,
        cancelled: Callable[[], bool] | None,
    ) -> None:
        """Learn from one batch, or from this process's slice of it."""
        step, options = self.state.step, self.options
        torch.manual_seed(options.seed * 1_000_003 + step + 7919 * self.ranks.rank)
        for group in self.optimiser.param_groups:
            group["lr"] = options.learning_rate * _schedule(step, options)
        self.network.train()
        self.optimiser.zero_grad(set_to_none=True)

        def learn() -> float:
            if cancelled and cancelled():
                raise CancelledError(f"Training stopped by the user at step {step}.")
            if self.ranks.leads and time.monotonic() - self.saved_at >= options.save_every_s:
                self._write()
            loss = self._share_of_loss(make_batch, loss_of)
            if unlabelled:
                loss = loss + self._share_of_consistency(unlabelled)
            self.scaler.scale(loss).backward()
            return float(loss.detach())

        loss = self.ranks.together(learn)
        self.ranks.sum_gradients(self.network)
        self.ranks.average_statistics(self.network)
        self.scaler.unscale_(self.optimiser)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        decay = min(options.ema_decay, (step + 1) / (step + 10))  # soon forgets the random start
        _update_average(self.average, self.network, decay)
        self.losses.append(self.ranks.sum_of(loss))
        self.state.step = step + 1

    def _share_of_loss(self, make_batch: Callable[[int], Batch], loss_of: LossOf) -> torch.Tensor:
        batch, share = self._slice(make_batch(self.state.step))
        with self._autocast():
            return loss_of(self.network, batch) * share

    def _share_of_consistency(self, unlabelled: Unlabelled) -> torch.Tensor:
        options = self.options
        batch, share = self._slice(unlabelled.make_batch(self.state.step))
        risen = ramp(self.state.step, round(options.consistency_ramp * options.steps))
        with self._autocast():
            apart = unlabelled.consistency(self.network, self.average, batch)
        return apart * (options.consistency_weight * risen * share)

    def _slice(self, batch: Batch) -> tuple[Batch, float]:
        """This process's cases, on the device, and their share of the batch."""
        n = min((len(value) for value in batch.values()), default=1)
        part = self.ranks.slice_of(n)
        if self.ranks.size > 1:
            batch = {key: value[part] for key, value in batch.items()}
        moved = {key: value.to(self.options.device) for key, value in batch.items()}
        return moved, (part.stop - part.start) / n

    def _autocast(self) -> torch.autocast:
        dtype = getattr(torch, self.options.precision)
        kind = torch.device(self.options.device).type
        return torch.autocast(kind, dtype, enabled=dtype != torch.float32)

    def keep(self, validate: Callable[[torch.nn.Module], float]) -> float:
        """Validate the average, remember it if it is the best, and write all to disk.

        Returns the mean loss since the last validation.
        """

        def measured() -> float:
            with torch.inference_mode():
                return float(validate(self.average))

        score = self.ranks.from_leader(measured)
        state, loss = self.state, sum(self.losses) / len(self.losses)
        self.losses.clear()
        state.history.append({"step": state.step, "loss": loss, "score": score})
        if score > state.best_score:
            state.best_score, state.best_step = score, state.step
            self.best = copy.deepcopy(self.average.state_dict())
        self.save()
        return loss

    def save(self) -> None:
        """Write all that `restore` needs."""
        self.ranks.from_leader(self._write)

    def _write(self) -> None:
        with atomic_path(self.folder / _LAST) as part:
            torch.save(
                {
                    "state": asdict(self.state),
                    "losses": self.losses,
                    "network": self.network.state_dict(),
                    "average": self.average.state_dict(),
                    "optimiser": self.optimiser.state_dict(),
                    "scaler": self.scaler.state_dict(),
                    "best": self.best,
                },
                part,
            )
        with atomic_path(self.folder / "history.json") as part:
            part.write_text(json.dumps(self.state.history, indent=1), encoding="utf-8")
        self.saved_at = time.monotonic()

    def restore(self) -> None:
        """Go on from what `save` wrote last."""
        file = self.folder / _LAST
        if not file.is_file():
            raise DatasetError(f"There is nothing to resume at '{file}'; start without --resume.")
        saved: dict[str, Any] = torch.load(
            file, map_location=self.options.device, weights_only=True
        )
        self.network.load_state_dict(saved["network"])
        self.average.load_state_dict(saved["average"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.scaler.load_state_dict(saved["scaler"])
        self.state, self.best = FitState(**saved["state"]), saved["best"]
        self.losses = saved["losses"]


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
