"""Fitting a missense model: families split, pre-trained, fitted, calibrated and written down."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from genomics.calibration import abstention_band, fit_platt, sigmoid
from genomics.catalogue import LANGUAGE_MODEL, MISSENSE_FORMAT, open_model
from genomics.dataset import (
    PROTEINS,
    SPLIT_PERCENT,
    find_missense_table,
    read_missense_table,
    read_proteins,
)
from genomics.errors import ModelError
from genomics.explain.precedents import Precedents
from genomics.families import split_by_family
from genomics.lstm import FlankLstmConfig
from genomics.metrics import auroc, fit_substitution_baseline
from genomics.missense.evidence import PRIOR, Calibration, evidence_thresholds
from genomics.missense.fitting import (
    FitOptions,
    LabelledBatch,
    Log,
    Parts,
    encode_flanks,
    fit_head,
    fit_network,
    log_odds,
)
from genomics.missense.labelled import Work
from genomics.missense.language_model import (
    PretrainOptions,
    pretrain,
    read_language_model,
    relatives_among,
    zero_shot,
)
from genomics.missense.networks import Ensemble, MissenseNetwork, NetworkConfig
from genomics.missense.novelty import fit_novelty
from genomics.missense.transformer import WindowTransformerConfig
from genomics.model_folder import expect_new_folder, halved, write_model_folder
from genomics.seen_windows import write_seen_windows

RECIPES: dict[str, Callable[..., NetworkConfig]] = {
    "missense-lstm": FlankLstmConfig,
    "missense-transformer": WindowTransformerConfig,
}
State = dict[str, torch.Tensor]


def train_missense(
    data: Path,
    out: Path,
    network: NetworkConfig | None = None,
    options: FitOptions | None = None,
    pretraining: PretrainOptions | Path | None = None,
    log: Log = print,
    name: str = "missense-lstm",
    checkpoints: Path | None = None,
) -> dict[str, Any]:
    """Train a missense ensemble and write it as a model folder.

    Parameters
    ----------
    data : Path
        The labelled table, see :func:`genomics.dataset.read_missense_table`. Where
        ``proteins.fasta.gz`` lies beside it, the networks are pre-trained on it.
    out : Path
        Folder to write; it appears only when training is done. Must not exist or be empty.
    network, options : optional
        Hyper-parameters and fitting options.
    pretraining : PretrainOptions or Path, optional
        How to pre-train, or the folder of a model whose language model is taken as it is.
    log : callable
        Receives one line per epoch.
    name : str
        One of ``RECIPES``.
    checkpoints : Path, optional
        Folder that keeps each fitted network. What lies there of the same seed, options and data
        is not fitted again, so that a training that was stopped goes on.

    Returns
    -------
    dict
        The model's configuration, as written.

    Raises
    ------
    TableError
        The table is not in the format, or has too few genes to be split.
    ModelError
        The language model to start from is damaged or knows genes of this validation or test.
    OutputError
        ``out`` holds something already.
    """
    network, options = network or RECIPES[name](), options or FitOptions()
    expect_new_folder(out)
    began = time.perf_counter()
    source = find_missense_table(data)
    table = read_missense_table(source)
    work = Work(table, split_by_family(table, options.split_seed), network, options, log)
    parts = Parts(work.batch("train"), work.batch("validation"))
    language_model, about = _language_model(work, source, pretraining)
    if language_model is None:
        # An encoder that nothing has taught must learn from the labels.
        network = replace(network, shared_encoder=False)  # type: ignore[type-var]
        work = replace(work, network=network)
    ensemble, histories = _fit_members(work, parts, language_model, checkpoints)
    config = {
        "name": name,
        "format": MISSENSE_FORMAT,
        "task": "probability that a missense variant is pathogenic",
        "network": {"class": type(network.build()).__name__, **asdict(network)},  # type: ignore[call-overload]
        "language_model": about,
        **_calibration(work, ensemble, parts.validation),
        "novelty": fit_novelty(
            *(list(work.rows(part)["wt_window101"]) for part in ("train", "validation"))
        ),
        "substitution_only": _substitution_only(work.rows("train")),
        "split": work.describe_split(),
        "training": {
            "options": asdict(options),
            "data": source.name,
            "data_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
            "variants": {part: int((work.parts == part).sum()) for part in SPLIT_PERCENT},
            "pathogenic_fraction": float(work.rows("train")["label"].mean()),
            "parameters": sum(value.numel() for value in ensemble.parameters()),
            "history": histories,
            "seconds": round(time.perf_counter() - began, 1),
            "torch": str(torch.__version__),
        },
    }

    def complete(folder: Path) -> None:
        if language_model is not None:
            torch.save(halved(language_model), folder / LANGUAGE_MODEL)
        known = table[work.parts != "test"]
        write_seen_windows(folder, known["wt_window101"])
        Precedents.of(known).write(folder)

    # Half precision loses nothing: the members were rounded to it before they were calibrated.
    write_model_folder(out, config, halved(ensemble.state_dict()), complete)
    return config


def _language_model(
    work: Work, source: Path, pretraining: PretrainOptions | Path | None
) -> tuple[State | None, dict[str, Any] | None]:
    """Return the weights to start from and what is known of them; None without proteins."""
    if isinstance(pretraining, Path):
        return _borrowed(work, pretraining)
    path = source.with_name(PROTEINS)
    if not path.is_file():
        work.log(f"{path}: not there, so that nothing is pre-trained")
        return None, None
    proteins = read_proteins(path)
    apart = relatives_among(proteins, work.split.held_out())
    model, about = pretrain(
        {key: sequence for key, sequence in proteins.items() if key not in apart},
        {key: sequence for key, sequence in proteins.items() if key in apart},
        work.network,
        pretraining or PretrainOptions(bfloat16=work.options.bfloat16),
        work.log,
    )
    rows = work.rows("validation")
    score = zero_shot(model, list(rows["wt_window101"]), list(rows["mt"]))
    about |= {
        "proteins_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "auroc_zero_shot_validation": auroc(rows["label"], score),
        "split_seed": work.options.split_seed,
        "held_out_genes": sorted(work.split.held_out()),
    }
    return model.state_dict(), about


def _borrowed(work: Work, folder: Path) -> tuple[State, dict[str, Any]]:
    config = open_model(folder).config
    about = config.get("language_model")
    if not about or not set(work.split.held_out()) <= set(about["held_out_genes"]):
        raise ModelError(
            f"{folder}: its language model has seen genes that are validation or test here; "
            "pre-train on this table, without --language-model"
        )
    state = read_language_model(folder)
    try:
        work.network.build_language_model().load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(f"{folder}: its language model is of another size: {error}") from error
    return state, dict(about)


def _fit_members(
    work: Work, parts: Parts, language_model: State | None, checkpoints: Path | None
) -> tuple[Ensemble, list[list[float]]]:
    ensemble = Ensemble(work.network)
    histories = []
    encoded = None
    for index, member in enumerate(ensemble.members):
        seed = work.options.seed + index
        kept = checkpoints and checkpoints / f"{_fingerprint(work, language_model)}-{seed}.pt"
        if kept and kept.is_file():
            state, history = torch.load(kept, weights_only=True)
        else:
            torch.manual_seed(seed)
            fresh = work.network.build()
            if language_model is not None:
                fresh.start_from(language_model)
                # The same for every member: all start with the same encoder.
                encoded = encoded or tuple(
                    encode_flanks(fresh, part.inputs) for part in (parts.train, parts.validation)
                )
            history = _fit(fresh, encoded, parts, work, f"net {index}: ")
            state = fresh.state_dict()
            if kept:
                kept.parent.mkdir(parents=True, exist_ok=True)
                torch.save((state, history), kept)
        member.load_state_dict(_halved(state))
        histories.append(history)
    return ensemble, histories


def _fit(
    net: MissenseNetwork,
    encoded: tuple[torch.Tensor, ...] | None,
    parts: Parts,
    work: Work,
    prefix: str,
) -> list[float]:
    def say(line: str) -> None:
        work.log(prefix + line)

    head = [] if encoded is None else fit_head(net, encoded, parts, work.options, say)
    if work.network.shared_encoder:
        return head
    return head + fit_network(net, parts, work.options, say)


def _fingerprint(work: Work, language_model: State | None) -> str:
    """Return a word for all that a fitted network depends on, but its seed."""
    asked = {**asdict(work.options), **asdict(work.network), "seed": None, "members": None}  # type: ignore[call-overload]
    word = hashlib.sha256(json.dumps(asked, sort_keys=True).encode())
    word.update(pd.util.hash_pandas_object(work.table, index=False).to_numpy().tobytes())
    for value in (language_model or {}).values():
        word.update(value.half().numpy().tobytes())
    return word.hexdigest()[:16]


def _halved(state: State) -> State:
    """Return weights as they are stored, so that calibration sees the ones that ship."""
    return {key: value.half().float() for key, value in state.items()}


def _calibration(work: Work, ensemble: Ensemble, validation: LabelledBatch) -> dict[str, Any]:
    """Return all that is fitted to the scores of the validation families."""
    raw = log_odds(ensemble, validation.inputs).mean(axis=1)
    labels = validation.labels.numpy()
    seen = work.table[work.parts != "test"]["label"].mean()
    slope, intercept = fit_platt(raw, labels, float(seen))
    probability = sigmoid(slope * raw + intercept)
    low, high = abstention_band(labels, probability)
    genes = work.rows("validation")["gene"].to_numpy()
    return {
        "calibration": {
            "method": "Platt, classes weighted to the share among all genes but the test's",
            "slope": slope,
            "intercept": intercept,
            "pathogenic_share": float(seen),
        },
        "abstention": {"low": low, "high": high},
        "evidence": {
            "method": "Pejaver 2022, on the validation families, bootstrapped by gene",
            "prior": PRIOR,
            **evidence_thresholds(Calibration(genes, labels, probability)),
        },
    }


def _substitution_only(train: pd.DataFrame) -> dict[str, float]:
    return fit_substitution_baseline(list(train["wt"]), list(train["mt"]), list(train["label"]))
