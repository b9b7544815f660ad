"""The harness that fits any missense network: an LSTM and a Transformer go through the same."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from genomics.encode import MissenseBatch
from genomics.metrics import auroc

Log = Callable[[str], None]
_PRETRAINED_RATE = 0.3
"""What was pre-trained moves at this share of the learning rate."""


@dataclass(frozen=True)
class FitOptions:
    """How the networks are fitted.

    Attributes
    ----------
    epochs : int
        At most; the learning rate falls to a tenth along a cosine over them, and training stops
        when ``patience`` epochs bring no better validation AUROC.
    patience : int
    batch : int
        Variants per step.
    learning_rate, weight_decay : float
        Of Adam with decoupled weight decay.
    averaging : float
        The weights kept are a running mean over the steps, with this share of the mean before.
    gene_power : float
        A variant of a gene with n labelled ones weighs n to the minus this, so that a few genes
        with thousands of variants do not decide what is learnt for all.
    bfloat16 : bool
        Run the encoders in bfloat16, see :class:`genomics.language_model.PretrainOptions`.
    split_seed, seed : int
        Of the split by family, and of initialisation and shuffling.
    """

    epochs: int = 8
    patience: int = 2
    batch: int = 256
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    averaging: float = 0.998
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


def fit_network(
    net: nn.Module,
    train: LabelledBatch,
    validation: LabelledBatch,
    options: FitOptions,
    log: Log = print,
) -> list[float]:
    """Fit one network in place and keep its best epoch.

    Parameters
    ----------
    net : torch.nn.Module
        Takes a :class:`MissenseBatch` and returns log-odds, shape (n,). Its parameters outside
        ``classifier`` count as pre-trained.

    Returns
    -------
    list of float
        The validation AUROC after each epoch.
    """
    optimiser = torch.optim.AdamW(_groups(net, options), weight_decay=options.weight_decay)
    per_epoch = -(-len(train.labels) // options.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, options.epochs * per_epoch)
    mean = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(options.averaging))
    best = copy.deepcopy(net.state_dict())
    history: list[float] = []
    for epoch in range(options.epochs):
        loss = _one_epoch(net, mean, train, optimiser, schedule, options)
        score = auroc(validation.labels.numpy(), log_odds(mean.module, validation.inputs))
        log(f"epoch {epoch + 1}: loss {loss:.4f}, validation AUROC {score:.4f}")
        if not history or score > max(history):
            best = copy.deepcopy(mean.module.state_dict())
        history.append(score)
        if len(history) - 1 - int(np.argmax(history)) >= options.patience:
            break
    net.load_state_dict(best)
    return history


def _groups(net: nn.Module, options: FitOptions) -> list[dict[str, object]]:
    fresh = [value for name, value in net.named_parameters() if name.startswith("classifier")]
    known = [value for name, value in net.named_parameters() if not name.startswith("classifier")]
    return [
        {"params": fresh, "lr": options.learning_rate},
        {"params": known, "lr": options.learning_rate * _PRETRAINED_RATE},
    ]


def _one_epoch(
    net: nn.Module,
    mean: AveragedModel,
    train: LabelledBatch,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    options: FitOptions,
) -> float:
    """Return the mean loss of one pass over the training variants."""
    net.train()
    total = 0.0
    for rows in torch.randperm(len(train.labels)).split(options.batch):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=options.bfloat16):
            guess = net(train.inputs[rows]).float()
        loss = nn.functional.binary_cross_entropy_with_logits(
            guess, train.labels[rows], train.weights[rows]
        )
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        mean.update_parameters(net)
        total += loss.item() * len(rows)
    return total / len(train.labels)


def log_odds(net: nn.Module, inputs: MissenseBatch, batch: int = 2048) -> npt.NDArray[np.float64]:
    """Return the network's log-odds, shape (n,) or for an ensemble (n, members)."""
    net.eval()
    with torch.inference_mode():
        parts = [net(inputs[slice(i, i + batch)]) for i in range(0, len(inputs), batch)]
    return torch.cat(parts).double().numpy()
