"""The harness that fits any missense network: an LSTM and a Transformer go through the same."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from genomics.encode import MissenseBatch
from genomics.metrics import auroc
from genomics.missense.networks import MissenseNetwork

Log = Callable[[str], None]


@dataclass(frozen=True)
class FitOptions:
    """How the networks are fitted: first the classifier alone, then all of it.

    A classifier without training would spoil the encoder that it sits on (Kumar et al.,
    Fine-Tuning can Distort Pretrained Features, ICLR 2022). While it alone is fitted, the flanks
    are encoded once and not once per epoch.

    Attributes
    ----------
    head_epochs, epochs : int
        At most, of the classifier and of the whole network. The learning rate falls to zero along
        a cosine over them, and training stops when ``patience`` epochs bring no better validation
        AUROC.
    patience : int
    batch : int
        Variants per step.
    head_learning_rate, learning_rate, weight_decay : float
        Of Adam with decoupled weight decay.
    averaging : float
        The whole network's weights are a running mean over the steps, with this share of the mean
        before.
    gene_power : float
        A variant of a gene with n labelled ones weighs n to the minus this, so that a few genes
        with thousands of variants do not decide what is learnt for all.
    bfloat16 : bool
        Run the encoders in bfloat16, see :class:`genomics.missense.language_model.PretrainOptions`.
    split_seed, seed : int
        Of the split by family, and of initialisation and shuffling.
    """

    head_epochs: int = 6
    epochs: int = 3
    patience: int = 3
    batch: int = 256
    head_learning_rate: float = 1e-3
    learning_rate: float = 5e-4
    weight_decay: float = 1e-2
    averaging: float = 0.995
    gene_power: float = 0.3
    bfloat16: bool = False
    split_seed: int = 0
    seed: int = 0


@dataclass(frozen=True)
class LabelledBatch:
    """Encoded substitutions with their labels and weights (float32, shape (n,))."""

    inputs: MissenseBatch
    labels: torch.Tensor
    weights: torch.Tensor


@dataclass(frozen=True)
class Parts:
    """What a network learns from, and what decides when to stop."""

    train: LabelledBatch
    validation: LabelledBatch


def encode_flanks(net: MissenseNetwork, inputs: MissenseBatch, batch: int = 1024) -> torch.Tensor:
    """Return the flanks of all substitutions as the network encodes them now, shape (n, width)."""
    net.eval()
    with torch.no_grad():
        encoded = [net.flanks(inputs[slice(i, i + batch)]) for i in range(0, len(inputs), batch)]
    return torch.cat(encoded)


def fit_head(
    net: MissenseNetwork,
    encoded: tuple[torch.Tensor, ...],
    parts: Parts,
    options: FitOptions,
    log: Log = print,
) -> list[float]:
    """Fit the classifier of a network in place and keep its best epoch.

    Parameters
    ----------
    encoded : tuple of torch.Tensor
        From :func:`encode_flanks`, of the training and of the validation variants.

    Returns
    -------
    list of float
        The validation AUROC after each epoch.
    """
    learn, check = encoded
    train, validation = parts.train.inputs, parts.validation.inputs

    def guess(rows: torch.Tensor) -> torch.Tensor:
        return net.classify(learn[rows], train.wild_type[rows], train.mutant[rows])

    def measure() -> float:
        net.eval()
        with torch.no_grad():
            odds = net.classify(check, validation.wild_type, validation.mutant)
        return auroc(parts.validation.labels.numpy(), odds.numpy())

    # A running mean over so few steps would lag behind.
    step = _Step(net, net.classifier, options.head_learning_rate, replace(options, averaging=0.0))
    return _fit(step, guess, measure, parts.train, options.head_epochs, _prefixed(log, "head, "))


def fit_network(
    net: MissenseNetwork, parts: Parts, options: FitOptions, log: Log = print
) -> list[float]:
    """Fit all of a network in place and keep its best epoch, or what it was where none is better.

    Returns
    -------
    list of float
        The validation AUROC before the first epoch and after each.
    """
    step = _Step(net, net, options.learning_rate, options)

    def guess(rows: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=options.bfloat16):
            return net(parts.train.inputs[rows]).float()

    def measure() -> float:
        odds = log_odds(step.mean.module, parts.validation.inputs)
        return auroc(parts.validation.labels.numpy(), odds)

    return _fit(step, guess, measure, parts.train, options.epochs, log, first=measure())


class _Step:
    """An optimiser's step on some of a network's weights, and the running mean of all of them."""

    def __init__(
        self, net: MissenseNetwork, moving: nn.Module, rate: float, options: FitOptions
    ) -> None:
        self.net, self.options = net, options
        self.moving = [value for value in moving.parameters() if value.requires_grad]
        self.optimiser = torch.optim.AdamW(self.moving, lr=rate, weight_decay=options.weight_decay)
        self.mean = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(options.averaging))

    def __call__(self, loss: torch.Tensor) -> None:
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.moving, 1.0)
        self.optimiser.step()
        self.mean.update_parameters(self.net)


def _fit(
    step: _Step,
    guess: Callable[[torch.Tensor], torch.Tensor],
    measure: Callable[[], float],
    train: LabelledBatch,
    epochs: int,
    log: Log,
    first: float | None = None,
) -> list[float]:
    size = step.options.batch
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        step.optimiser, max(1, epochs * -(-len(train.labels) // size))
    )
    best = copy.deepcopy(step.net.state_dict())
    history = [] if first is None else [first]
    for epoch in range(epochs):
        step.net.train()
        total = 0.0
        for rows in torch.randperm(len(train.labels)).split(size):
            loss = nn.functional.binary_cross_entropy_with_logits(
                guess(rows), train.labels[rows], train.weights[rows]
            )
            step(loss)
            schedule.step()
            total += loss.item() * len(rows)
        score = measure()
        log(
            f"epoch {epoch + 1}: loss {total / len(train.labels):.4f}, validation AUROC {score:.4f}"
        )
        if not history or score > max(history):
            best = copy.deepcopy(step.mean.module.state_dict())
        history.append(score)
        if len(history) - 1 - int(np.argmax(history)) >= step.options.patience:
            break
    step.net.load_state_dict(best)
    return history


def _prefixed(log: Log, prefix: str) -> Log:
    return lambda line: log(prefix + line)


def log_odds(net: nn.Module, inputs: MissenseBatch, batch: int = 2048) -> npt.NDArray[np.float64]:
    """Return the network's log-odds, shape (n,) or for an ensemble (n, members)."""
    net.eval()
    with torch.inference_mode():
        parts = [net(inputs[slice(i, i + batch)]) for i in range(0, len(inputs), batch)]
    return torch.cat(parts).double().numpy()
