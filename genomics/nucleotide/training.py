"""Fitting ``nucleotide-lstm``: cross-fitted members, calibration, and where it must keep silent."""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from genomics.metrics import Floats, auroc, spearman
from genomics.model_folder import expect_new_folder, write_model_folder
from genomics.nucleotide.dataset import (
    DNA_TABLE,
    MPRA_TABLE,
    SCORABLE,
    find_table,
)
from genomics.nucleotide.folds import Fold, Labelled, NucleotideData
from genomics.nucleotide.metrics import (
    base_change_effects,
    base_change_scores,
    mpra_measures,
)
from genomics.nucleotide.network import (
    NucleotideBatch,
    NucleotideEnsemble,
    NucleotideLstm,
    NucleotideLstmConfig,
    expression_of,
    log_odds_of,
)
from genomics.nucleotide.split import SPLIT_SEED, TEST_PERCENT, is_test_unit
from genomics.nucleotide.verdicts import baseline_fractions, judge_classes

MODEL_NAME = "nucleotide-lstm"
Log = Callable[[str], None]
_BATCH = 512


@dataclass(frozen=True)
class NucleotideFitOptions:
    """How the networks are fitted.

    Attributes
    ----------
    epochs, patience : int
        At most so many; training stops when ``patience`` of them bring no better score on the
        held-out fold.
    first_steps : int
        Steps before the labels are shown, on which the network learns to tell real bases.
    steps : int
        Steps per epoch, each on ``labelled_batch`` labelled and ``mpra_batch`` MPRA variants, and
        on ``natural_batch`` real bases.
    natural_batch, labelled_batch, mpra_batch : int
    mpra_weight : float
        Of the MPRA loss beside the labels' loss; 0 leaves MPRA out.
    learning_rate, labelled_rate, weight_decay : float
        Of Adam with decoupled weight decay; the rate before the labels are shown, and after.
    seed : int
        Of initialisation and shuffling.
    """

    epochs: int = 20
    patience: int = 4
    first_steps: int = 600
    steps: int = 20
    natural_batch: int = 128
    labelled_batch: int = 128
    mpra_batch: int = 96
    mpra_weight: float = 0.25
    learning_rate: float = 2e-3
    labelled_rate: float = 5e-4
    weight_decay: float = 1e-2
    seed: int = 0


def train_nucleotide(
    data: Path,
    out: Path,
    network: NucleotideLstmConfig | None = None,
    options: NucleotideFitOptions | None = None,
    log: Log = print,
) -> dict[str, Any]:
    """Train the ensemble and write it as a model folder.

    Each member holds out another fold of the genes and loci, stops by it, and scores it: so every
    gene outside the test part is scored once by a network that has not seen it. On these scores
    rest the calibration and, class by class, the verdict whether the model may speak.

    Parameters
    ----------
    data : Path
        Folder of the labelled windows, ``genes/`` (FASTA with GFF3) and ``mpra/``.
    out : Path
        Folder to write; it appears only when training is done. Must not exist or be empty.
    log : callable
        Receives one line per epoch.

    Returns
    -------
    dict
        The model's configuration, as written.

    Raises
    ------
    TableError
        The tables are not in the format, or have too few genes.
    OutputError
        ``out`` holds something already.
    """
    network, options = network or NucleotideLstmConfig(), options or NucleotideFitOptions()
    expect_new_folder(out)
    tables = NucleotideData.read(data, network)
    began = time.perf_counter()
    fitted = fit_members(tables, network, options, log)
    config = describe(fitted, tables, network, options)
    config["training"] |= {
        "data_sha256": {
            name: hashlib.sha256(find_table(data, name, folder).read_bytes()).hexdigest()
            for name, folder in ((DNA_TABLE, ""), (MPRA_TABLE, "mpra"))
        },
        "seconds": round(time.perf_counter() - began, 1),
    }
    write_model_folder(out, config, fitted.ensemble.state_dict())
    return config


def describe(
    fitted: Fitted,
    tables: NucleotideData,
    network: NucleotideLstmConfig,
    options: NucleotideFitOptions,
) -> dict[str, Any]:
    """Return the configuration of a fitted ensemble, with the verdict on every class.

    This is where the test part is looked at.
    """
    known = tables.mpra.where(tables.mpra_known).rows
    return {
        "name": MODEL_NAME,
        "format": 1,
        "task": "probability that a single-base change outside the protein is pathogenic",
        "network": {"class": "NucleotideLstm", **asdict(network)},
        "classes": list(SCORABLE),
        "verdicts": judge_classes(
            tables.dna.rows, tables.dna_folds, fitted.out_of_fold, _test_log_odds(fitted, tables)
        ),
        "consequence_only": baseline_fractions(tables.dna.rows, tables.dna_folds),
        "base_change": base_change_effects(known),
        "mpra": {"validation": fitted.mpra_validation},
        "split": _split(tables),
        "training": {
            "options": asdict(options),
            "left_out_by_class": dict(tables.left_out),
            "history": fitted.histories,
            "torch": str(torch.__version__),
        },
    }


def _test_log_odds(fitted: Fitted, tables: NucleotideData) -> Floats:
    """Return the ensemble's mean log-odds in the test part, nan outside it, shape (n,)."""
    held = ~tables.dna.rows["unit"].isin(list(tables.dna_folds))
    found = np.full(len(held), np.nan)
    test = tables.dna.where(held)
    networks = fitted.ensemble.networks
    if len(test.rows):
        found[held.to_numpy()] = np.mean([predict_log_odds(n, test) for n in networks], axis=0)
    return found


def _split(tables: NucleotideData) -> dict[str, Any]:
    units = sorted({*tables.dna.rows["unit"], *tables.mpra.rows["unit"]})
    return {
        "rule": "sha256('seed:unit') modulo 100 of 75 or more is the test part",
        "test_percent": TEST_PERCENT,
        "seed": SPLIT_SEED,
        "folds": {"genes": dict(tables.dna_folds), "loci": dict(tables.mpra_folds)},
        "test": [unit for unit in units if is_test_unit(unit)],
    }


@dataclass(frozen=True)
class Fitted:
    """The members, and what each said of the fold that it had not seen."""

    ensemble: NucleotideEnsemble
    out_of_fold: Floats
    histories: list[list[float]]
    mpra_validation: dict[str, Any]


def fit_members(
    tables: NucleotideData, network: NucleotideLstmConfig, options: NucleotideFitOptions, log: Log
) -> Fitted:
    """Fit every member on all folds but its own; the test part is read by none."""
    ensemble = NucleotideEnsemble(network, len(SCORABLE))
    log_odds = np.full(len(tables.dna.rows), np.nan)
    effects, base_change = (np.full(len(tables.mpra.rows), np.nan) for _ in range(2))
    histories = []
    for index, member in enumerate(ensemble.networks):
        fold = tables.fold(index)
        torch.manual_seed(options.seed + index)
        net = NucleotideLstm(network, len(SCORABLE))
        histories.append(_fit(net, fold, options, _prefixed(log, f"net {index}: ")))
        member.load_state_dict(net.state_dict())
        log_odds[fold.held_dna] = predict_log_odds(net, fold.dna_held)
        effects[fold.held_mpra] = predict_effects(net, fold.mpra_held)
        base_change[fold.held_mpra] = base_change_scores(
            base_change_effects(fold.mpra.rows), fold.mpra_held.rows
        )
    known = tables.mpra_known.to_numpy()
    measures = mpra_measures(tables.mpra.rows[known], effects[known], base_change[known])
    return Fitted(ensemble.eval(), log_odds, histories, measures)


def _prefixed(log: Log, prefix: str) -> Log:
    return lambda line: log(prefix + line)


def _fit(
    net: NucleotideLstm,
    fold: Fold,
    options: NucleotideFitOptions,
    log: Log,
) -> list[float]:
    """Fit one network in place, keep its best epoch, return the held-out score per epoch."""
    optimiser = torch.optim.AdamW(
        net.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
    )
    natural_rows = _endless(len(fold.natural.targets), options.natural_batch)
    labelled_rows = _endless(len(fold.dna.targets), options.labelled_batch)
    mpra_rows = _endless(len(fold.mpra.targets), options.mpra_batch)

    def step(with_labels: bool) -> float:
        loss = _natural_loss(net, fold.natural, next(natural_rows))
        if with_labels:
            loss = loss + _labelled_loss(net, fold.dna, next(labelled_rows))
        if options.mpra_weight > 0:
            loss = loss + options.mpra_weight * _mpra_loss(net, fold.mpra, next(mpra_rows))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        return loss.item()

    best, history = copy.deepcopy(net.state_dict()), list[float]()
    for epoch in range(options.epochs + 1):
        net.train()
        steps = options.steps if epoch else options.first_steps
        for group in optimiser.param_groups:
            group["lr"] = options.labelled_rate if epoch else options.learning_rate
        loss = float(np.mean([step(with_labels=epoch > 0) for _ in range(steps)] or [np.nan]))
        within, rho = held_out_scores(net, fold)
        log(f"epoch {epoch}: loss {loss:.4f}, AUROC within class {within:.4f}, MPRA {rho:.4f}")
        score = within + options.mpra_weight * rho
        if not history or score > max(history):
            best = copy.deepcopy(net.state_dict())
        history.append(score)
        if len(history) - 1 - int(np.argmax(history)) >= options.patience:
            break
    net.load_state_dict(best)
    return history


def _endless(count: int, batch: int) -> Iterator[torch.Tensor]:
    """Yield batches of shuffled row numbers for ever."""
    while True:
        yield from torch.randperm(count).split(batch)


def _labelled_loss(net: NucleotideLstm, data: Labelled, rows: torch.Tensor) -> torch.Tensor:
    inputs = data.inputs[rows].with_random_strands()
    return nn.functional.binary_cross_entropy_with_logits(
        net.log_odds(inputs, data.classes[rows]), data.targets[rows]
    )


def _natural_loss(net: NucleotideLstm, data: Labelled, rows: torch.Tensor) -> torch.Tensor:
    """Ask which of two bases is the real one; it is shown as the reference's in half the cases."""
    batch = data.inputs[rows]
    middle = batch.bases.shape[1] // 2
    real = batch.bases[:, middle]
    other = (real + torch.randint(1, 4, real.shape)) % 4
    swapped = torch.rand(len(rows)) < 0.5
    bases = batch.bases.clone()
    bases[:, middle] = torch.where(swapped, other, real)
    shown = NucleotideBatch(bases, torch.where(swapped, real, other), batch.layout)
    return nn.functional.binary_cross_entropy_with_logits(
        net.naturalness(shown), (~swapped).float()
    )


def _mpra_loss(net: NucleotideLstm, data: Labelled, rows: torch.Tensor) -> torch.Tensor:
    inputs = data.inputs[rows].with_random_strands()
    return nn.functional.smooth_l1_loss(net.expression(inputs), data.targets[rows])


def predict_log_odds(net: NucleotideLstm, data: Labelled) -> Floats:
    """Return one network's mean log-odds over both strands, shape (n,)."""
    net.eval()
    with torch.inference_mode():
        parts = [log_odds_of(net, data.inputs[rows], data.classes[rows]) for rows in _slices(data)]
    return torch.cat(parts).double().numpy()


def predict_effects(net: NucleotideLstm, data: Labelled) -> Floats:
    """Return one network's mean effect over both strands, shape (n,)."""
    net.eval()
    with torch.inference_mode():
        parts = [expression_of(net, data.inputs[rows]) for rows in _slices(data)]
    return torch.cat(parts).double().numpy()


def _slices(data: Labelled) -> list[slice]:
    return [slice(start, start + _BATCH) for start in range(0, len(data.targets), _BATCH)]


def held_out_scores(net: NucleotideLstm, fold: Fold) -> tuple[float, float]:
    """Return the AUROC inside classes, weighted by pathogenic changes, and MPRA's mean rho."""
    dna, mpra = fold.dna_held, fold.mpra_held
    log_odds = predict_log_odds(net, dna)
    rows, inside = dna.rows, []
    for name in SCORABLE:
        members = (rows["class"] == name).to_numpy()
        labels = rows["label"].to_numpy()[members]
        if 0 < labels.sum() < len(labels):
            inside.append((auroc(labels, log_odds[members]), int(labels.sum())))
    values, weights = zip(*inside, strict=True) if inside else ((0.5,), (1,))
    within = float(np.average(values, weights=weights))
    effects, truth = predict_effects(net, mpra), mpra.rows["effect"].to_numpy()
    groups = mpra.rows.groupby("element").indices.values()
    return within, float(np.mean([spearman(truth[rows], effects[rows]) for rows in groups]))
