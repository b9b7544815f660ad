"""Fitting a missense model: genes split, an ensemble trained, calibrated and written down."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import nn

from genomics.catalogue import CONFIG, WEIGHTS
from genomics.dataset import (
    SPLIT_PERCENT,
    find_missense_table,
    part_of_gene,
    read_missense_table,
    split_genes,
)
from genomics.encode import MissenseBatch, encode_missense
from genomics.errors import OutputError, TableError
from genomics.lstm import Ensemble, FlankLstm, FlankLstmConfig
from genomics.metrics import auroc, fit_substitution_baseline
from genomics.seen_windows import write_seen_windows

MODEL_NAME = "missense-lstm"
Log = Callable[[str], None]


@dataclass(frozen=True)
class FitOptions:
    """How the networks are fitted.

    Attributes
    ----------
    epochs : int
        At most; training stops when ``patience`` epochs bring no better validation AUROC.
    patience : int
    batch : int
        Variants per step.
    learning_rate, weight_decay : float
        Of Adam with decoupled weight decay; the rate falls to 0.3 of itself after an epoch that
        brought no better validation AUROC.
    split_seed, seed : int
        Of the split by gene, and of initialisation and shuffling.
    """

    epochs: int = 20
    patience: int = 3
    batch: int = 256
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    split_seed: int = 0
    seed: int = 0


@dataclass(frozen=True)
class LabelledBatch:
    """Encoded substitutions with their labels (float32 0 or 1, shape (n,))."""

    inputs: MissenseBatch
    labels: torch.Tensor


def train_missense(
    data: Path,
    out: Path,
    network: FlankLstmConfig | None = None,
    options: FitOptions | None = None,
    log: Log = print,
) -> dict[str, Any]:
    """Train the missense ensemble and write it as a model folder.

    Parameters
    ----------
    data : Path
        The labelled table, see :func:`genomics.dataset.read_missense_table`.
    out : Path
        Folder to write; it appears only when training is done. Must not exist or be empty.
    network, options : optional
        Hyper-parameters and fitting options.
    log : callable
        Receives one line per epoch.

    Returns
    -------
    dict
        The model's configuration, as written.

    Raises
    ------
    TableError
        The table is not in the format, or has too few genes to be split.
    OutputError
        ``out`` holds something already.
    """
    network, options = network or FlankLstmConfig(), options or FitOptions()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out}: exists and is not an empty folder; name a new one")
    table = read_missense_table(data)
    parts = _split(table, network, options)
    ensemble = Ensemble(network)
    began = time.perf_counter()
    histories = []
    for index, member in enumerate(ensemble.members):
        torch.manual_seed(options.seed + index)
        fresh = FlankLstm(network)
        histories.append(_fit(fresh, parts, options, _prefixed(log, f"net {index}: ")))
        member.load_state_dict(fresh.state_dict())
    slope, intercept = _calibrate(ensemble, parts["validation"])
    train = table[[part_of_gene(gene, options.split_seed) == "train" for gene in table["gene"]]]
    genes = split_genes(table["gene"], options.split_seed)
    config = {
        "name": MODEL_NAME,
        "format": 1,
        "task": "probability that a missense variant is pathogenic",
        "network": {"class": "FlankLstm", **asdict(network)},
        "calibration": {"method": "Platt", "slope": slope, "intercept": intercept},
        "substitution_only": fit_substitution_baseline(
            list(train["wt"]), list(train["mt"]), list(train["label"])
        ),
        "split": {
            "rule": "sha256('seed:gene') modulo 100",
            "percent": dict(SPLIT_PERCENT),
            "seed": options.split_seed,
            "genes": genes,
        },
        "training": {
            "options": asdict(options),
            "data": find_missense_table(data).name,
            "data_sha256": hashlib.sha256(find_missense_table(data).read_bytes()).hexdigest(),
            "variants": {part: len(batch.labels) for part, batch in parts.items()},
            "pathogenic_fraction": float(train["label"].mean()),
            "history": histories,
            "seconds": round(time.perf_counter() - began, 1),
            "torch": str(torch.__version__),
        },
    }
    seen = table[table["gene"].isin([*genes["train"], *genes["validation"]])]
    _write(out, config, ensemble, seen["wt_window101"])
    return config


def _split(
    table: pd.DataFrame, network: FlankLstmConfig, options: FitOptions
) -> dict[str, LabelledBatch]:
    part = np.array([part_of_gene(gene, options.split_seed) for gene in table["gene"]])
    batches = {}
    for name in ("train", "validation"):
        rows = table[part == name]
        if rows["label"].nunique() < 2:
            raise TableError(
                f"the {name} genes hold {len(rows)} variants of one class or none; "
                "give a table with more genes"
            )
        batches[name] = LabelledBatch(
            encode_missense(list(rows["wt_window101"]), list(rows["mt"]), network.flank),
            torch.tensor(rows["label"].to_numpy(), dtype=torch.float32),
        )
    return batches


def _prefixed(log: Log, prefix: str) -> Log:
    return lambda line: log(prefix + line)


def _fit(
    net: FlankLstm, parts: dict[str, LabelledBatch], options: FitOptions, log: Log
) -> list[float]:
    """Fit one network in place, keep its best epoch, return the validation AUROC per epoch."""
    train, validation = parts["train"], parts["validation"]
    optimiser = torch.optim.AdamW(
        net.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
    )
    slower = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, "max", factor=0.3, patience=0)
    loss_of = nn.BCEWithLogitsLoss()
    best = copy.deepcopy(net.state_dict())
    history: list[float] = []
    for epoch in range(options.epochs):
        net.train()
        total = 0.0
        for rows in torch.randperm(len(train.labels)).split(options.batch):
            loss = loss_of(net(train.inputs[rows]), train.labels[rows])
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            total += loss.item() * len(rows)
        score = auroc(validation.labels.numpy(), log_odds(net, validation.inputs))
        log(
            f"epoch {epoch + 1}: loss {total / len(train.labels):.4f}, validation AUROC {score:.4f}"
        )
        if not history or score > max(history):
            best = copy.deepcopy(net.state_dict())
        history.append(score)
        slower.step(score)
        if len(history) - 1 - int(np.argmax(history)) >= options.patience:
            break
    net.load_state_dict(best)
    return history


def log_odds(net: nn.Module, inputs: MissenseBatch, batch: int = 2048) -> npt.NDArray[np.float64]:
    """Return the network's log-odds, shape (n,) or for an ensemble (n, members)."""
    net.eval()
    with torch.inference_mode():
        parts = [net(inputs[slice(i, i + batch)]) for i in range(0, len(inputs), batch)]
    return torch.cat(parts).double().numpy()


def _calibrate(ensemble: Ensemble, validation: LabelledBatch) -> tuple[float, float]:
    """Return Platt's slope and intercept on the validation genes.

    Platt, Probabilistic Outputs for Support Vector Machines, 1999; fitted by LBFGS.
    """
    raw = torch.from_numpy(log_odds(ensemble, validation.inputs).mean(axis=1))
    labels = validation.labels.double()
    line = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([line], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(line[0] * raw + line[1], labels)
        loss.backward()
        return loss

    optimiser.step(closure)
    slope, intercept = (float(value) for value in line.detach())
    if not (math.isfinite(slope) and slope > 0):
        # A slope of zero or less means that nothing was learnt; say so through the raw log-odds.
        return 1.0, 0.0
    return slope, intercept


def _write(out: Path, config: dict[str, Any], ensemble: Ensemble, seen: Iterable[str]) -> None:
    partial = out.with_name(out.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        text = json.dumps(config, indent=1, sort_keys=True)
        (partial / CONFIG).write_text(text + "\n", encoding="utf-8")
        torch.save(ensemble.state_dict(), partial / WEIGHTS)
        write_seen_windows(partial, seen)
        if out.exists():
            out.rmdir()
        partial.rename(out)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise OutputError(f"{out}: cannot write the model there: {error}") from error
