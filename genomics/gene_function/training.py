"""Fitting ``gene-function`` and its k-mer baseline, and measuring both on unseen families."""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from scipy.optimize import minimize_scalar
from torch import nn

from genomics.errors import TableError
from genomics.gene_function.dataset import FUNCTIONS, kmer_frequencies, read_functions
from genomics.gene_function.network import (
    MODEL_NAME,
    GeneFunctionConfig,
    GeneFunctionLstm,
    GeneFunctionModel,
    encode_proteins,
    logits_of,
    softmax,
)
from genomics.metrics import Floats, GeneBootstrap, auroc, expected_calibration_error
from genomics.model_folder import expect_new_folder, write_model_folder
from genomics.run_record import evaluation_record

Log = Callable[[str], None]
_PENALTIES = (1e-5, 1e-4, 1e-3)
_BASELINE_STEPS = 200


@dataclass(frozen=True)
class GeneFunctionFitOptions:
    """How the network is fitted.

    Attributes
    ----------
    epochs, patience : int
        At most so many; training stops when ``patience`` of them bring no better balanced accuracy
        on the validation families.
    batch : int
        Proteins per step.
    crop : int
        Residues of a random stretch that training reads of longer proteins.
    learning_rate, weight_decay : float
        Of Adam with decoupled weight decay.
    residue_dropout : float
        Probability, in training, of reading a residue as unknown.
    seed : int
    """

    epochs: int = 30
    patience: int = 6
    batch: int = 64
    crop: int = 512
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    residue_dropout: float = 0.1
    seed: int = 0


def train_gene_function(
    data: Path,
    out: Path,
    network: GeneFunctionConfig | None = None,
    options: GeneFunctionFitOptions | None = None,
    log: Log = print,
) -> dict[str, Any]:
    """Train the network and write it as a model folder; the test families are not read.

    Raises
    ------
    TableError
        The data are not in the format of :func:`genomics.gene_function.dataset.read_functions`.
    OutputError
        ``out`` holds something already.
    """
    network, options = network or GeneFunctionConfig(), options or GeneFunctionFitOptions()
    expect_new_folder(out)
    table = read_functions(data)
    parts = {str(name): rows for name, rows in table.groupby("part")}
    if not {"train", "validation"} <= parts.keys():
        raise TableError(f"{data}: has too few families of proteins to be split")
    began = time.perf_counter()
    torch.manual_seed(options.seed)
    net = GeneFunctionLstm(network, len(FUNCTIONS))
    history = _fit(net, parts["train"], parts["validation"], options, log)
    logits = logits_of(net, list(parts["validation"]["sequence"]))
    config = {
        "name": MODEL_NAME,
        "format": 1,
        "task": "the broad function of a protein",
        "functions": list(FUNCTIONS),
        "network": {"class": "GeneFunctionLstm", **asdict(network)},
        "calibration": {"temperature": _temperature(logits, _targets(parts["validation"]))},
        "split": {
            "rule": "by family; see genomics.gene_function.dataset.parts_of",
            "genes": {name: sorted(rows["gene"]) for name, rows in parts.items()},
        },
        "training": {
            "options": asdict(options),
            "proteins_sha256": _digest(table),
            "history": history,
            "seconds": round(time.perf_counter() - began, 1),
            "torch": str(torch.__version__),
        },
    }
    write_model_folder(out, config, net.state_dict())
    return config


def _digest(table: pd.DataFrame) -> str:
    text = "\n".join(table["gene"] + " " + table["function"] + " " + table["sequence"])
    return hashlib.sha256(text.encode()).hexdigest()


def _targets(rows: pd.DataFrame) -> npt.NDArray[np.int64]:
    places = {name: index for index, name in enumerate(FUNCTIONS)}
    return np.array([places[name] for name in rows["function"]], dtype=np.int64)


def _class_weights(targets: npt.NDArray[np.int64]) -> torch.Tensor:
    """Return weights under which every function counts alike."""
    counts = np.maximum(np.bincount(targets, minlength=len(FUNCTIONS)), 1)
    return torch.tensor(len(targets) / (len(FUNCTIONS) * counts), dtype=torch.float32)


def _fit(
    net: GeneFunctionLstm,
    train: pd.DataFrame,
    validation: pd.DataFrame,
    options: GeneFunctionFitOptions,
    log: Log,
) -> list[float]:
    """Fit in place, keep the best epoch, return the balanced accuracy per epoch."""
    optimiser = torch.optim.AdamW(
        net.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
    )
    targets = torch.from_numpy(_targets(train))
    loss_of = nn.CrossEntropyLoss(_class_weights(targets.numpy()))
    sequences, held = list(train["sequence"]), _targets(validation)
    best, history = copy.deepcopy(net.state_dict()), list[float]()
    for epoch in range(options.epochs):
        net.train()
        total = 0.0
        for rows in torch.randperm(len(targets)).split(options.batch):
            batch = _stretches([sequences[row] for row in rows.tolist()], options)
            loss = loss_of(net(batch), targets[rows])
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            total += loss.item() * len(rows) / len(targets)
        predicted = logits_of(net, list(validation["sequence"])).argmax(axis=1)
        score = balanced_accuracy(held, predicted, np.ones(len(held)))
        log(f"epoch {epoch + 1}: loss {total:.4f}, validation balanced accuracy {score:.4f}")
        if not history or score > max(history):
            best = copy.deepcopy(net.state_dict())
        history.append(score)
        if len(history) - 1 - int(np.argmax(history)) >= options.patience:
            break
    net.load_state_dict(best)
    return history


def _stretches(sequences: list[str], options: GeneFunctionFitOptions) -> torch.Tensor:
    """Encode a random stretch of each protein, some residues unknown."""
    starts = [
        int(torch.randint(max(len(sequence) - options.crop, 0) + 1, (1,))) for sequence in sequences
    ]
    cut = [sequence[start:] for sequence, start in zip(sequences, starts, strict=True)]
    batch = encode_proteins(cut, options.crop)
    unknown = encode_proteins(["X"], 1)[0, 0]
    dropped = (torch.rand(batch.shape) < options.residue_dropout) & (batch != 0)
    return torch.where(dropped, unknown, batch)


def _temperature(logits: Floats, targets: npt.NDArray[np.int64]) -> float:
    """Return the temperature of least cross-entropy; Guo et al., ICML 2017."""

    def loss(log_temperature: float) -> float:
        chosen = softmax(logits / np.exp(log_temperature))[np.arange(len(targets)), targets]
        return -float(np.log(np.maximum(chosen, 1e-12)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-2, 3), method="bounded").x))


def evaluate_gene_function(name: str | Path, data: Path) -> dict[str, Any]:
    """Measure the model and the k-mer baseline on families that training has not seen.

    Returns
    -------
    dict
        ``model``, ``data``, ``n``, ``metrics``, ``subgroups`` (recall of each function) and
        ``run``. Intervals are bootstrapped by family.

    Raises
    ------
    TableError
        The data are not in the format, or hold no unseen family.
    """
    began = time.perf_counter()
    model = GeneFunctionModel.load(name)
    table = read_functions(data)
    genes = model.folder.config["split"]["genes"]
    seen = table["gene"].isin([*genes["train"], *genes["validation"]])
    # A whole family was seen if one of its genes was.
    test = table[~table["family"].isin(table.loc[seen, "family"])]
    if test.empty:
        raise TableError(f"{data}: holds no family that training has not seen")
    train, validation = (table[table["gene"].isin(genes[part])] for part in ("train", "validation"))
    probability = model.probability(list(test["sequence"]))
    baseline = softmax(kmer_baseline(train, validation, test))
    return {
        "model": model.folder.name,
        "data": str(data),
        "n": {
            "genes": len(test),
            "families": int(test["family"].nunique()),
            "left_out_seen_genes": len(table) - len(test),
        },
        "metrics": _metrics(test, probability, baseline, train),
        "subgroups": _recalls(test, probability, baseline),
        "run": evaluation_record(model.folder, "families", began),
    }


def kmer_baseline(train: pd.DataFrame, validation: pd.DataFrame, test: pd.DataFrame) -> Floats:
    """Return the logits of a multinomial logistic regression on 2-mer and 3-mer frequencies.

    Its penalty is the one that does best on the validation families.
    """
    features = [
        torch.from_numpy(kmer_frequencies(list(rows["sequence"])))
        for rows in (train, validation, test)
    ]
    mean = features[0].mean(dim=0)
    scale = features[0].std(dim=0) + 1e-3
    features = [(each - mean) / scale for each in features]
    targets, held = _targets(train), _targets(validation)
    found: list[tuple[float, Floats]] = []
    for penalty in _PENALTIES:
        linear = _logistic(features[0], torch.from_numpy(targets), penalty)
        with torch.inference_mode():
            on_held, on_test = (linear(each).double().numpy() for each in features[1:])
        score = balanced_accuracy(held, on_held.argmax(axis=1), np.ones(len(held)))
        found.append((score, on_test))
    return max(found, key=lambda each: each[0])[1]


def _logistic(features: torch.Tensor, targets: torch.Tensor, penalty: float) -> nn.Linear:
    linear = nn.Linear(features.shape[1], len(FUNCTIONS))
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    loss_of = nn.CrossEntropyLoss(_class_weights(targets.numpy()))
    optimiser = torch.optim.Adam(linear.parameters(), lr=2e-3)
    for _ in range(_BASELINE_STEPS):
        loss = loss_of(linear(features), targets) + penalty * linear.weight.square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return linear


def balanced_accuracy(
    targets: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], weights: Floats
) -> float:
    """Return the mean recall over the functions that occur."""
    size = len(FUNCTIONS)
    present = np.bincount(targets, weights, minlength=size)
    right = np.bincount(targets, weights * (targets == predicted), minlength=size)
    return float((right[present > 0] / present[present > 0]).mean())


def macro_auroc(targets: npt.NDArray[np.int64], probability: Floats, weights: Floats) -> float:
    """Return the mean AUROC of each function that occurs against the others."""
    values = [
        auroc(targets == index, probability[:, index], weights)
        for index in np.unique(targets[weights > 0])
    ]
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")


def _metrics(
    test: pd.DataFrame, probability: Floats, baseline: Floats, train: pd.DataFrame
) -> dict[str, dict[str, Any]]:
    targets, resample = _targets(test), GeneBootstrap(test["family"].to_numpy())
    ours, theirs = probability.argmax(axis=1), baseline.argmax(axis=1)
    most = np.full(len(test), np.bincount(_targets(train)).argmax())
    statistics: dict[str, Callable[[Floats], float]] = {
        "balanced_accuracy": lambda w: balanced_accuracy(targets, ours, w),
        "balanced_accuracy_kmers": lambda w: balanced_accuracy(targets, theirs, w),
        "balanced_accuracy_difference": lambda w: (
            balanced_accuracy(targets, ours, w) - balanced_accuracy(targets, theirs, w)
        ),
        "accuracy": lambda w: float(np.average(targets == ours, weights=w)),
        "accuracy_kmers": lambda w: float(np.average(targets == theirs, weights=w)),
        "accuracy_most_frequent": lambda w: float(np.average(targets == most, weights=w)),
        "auroc": lambda w: macro_auroc(targets, probability, w),
        "auroc_kmers": lambda w: macro_auroc(targets, baseline, w),
        "ece": lambda w: expected_calibration_error(targets == ours, probability.max(axis=1), w),
    }
    every = np.ones(len(test))
    return {
        name: {"value": of(every), "ci95": resample.interval(of), "n": len(test)}
        for name, of in statistics.items()
    }


def _recalls(test: pd.DataFrame, probability: Floats, baseline: Floats) -> list[dict[str, Any]]:
    targets, found = _targets(test), []
    for index, name in enumerate(FUNCTIONS):
        own = targets == index
        if not own.any():
            continue
        figures = {
            key: {"value": float((of[own].argmax(axis=1) == index).mean()), "n": int(own.sum())}
            for key, of in (("recall", probability), ("recall_kmers", baseline))
        }
        found.append({"name": name, "genes": int(own.sum()), "metrics": figures})
    return found
