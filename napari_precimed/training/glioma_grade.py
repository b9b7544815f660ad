"""The recipe of `glioma-grade`: what a glioma's look on FLAIR says of its grade and its genome.

Logistic regression on the lesion's features, one question per output. Questions that the features
do not answer better than chance, by nested cross-validation, are not answered: the bundle names
them under "abstains".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_precimed.core.run import RunRecord
from napari_precimed.models.bundle import load_network, weights_sha256
from napari_precimed.models.catalogue import ModelEntry
from napari_precimed.models.inference import Engine
from napari_precimed.models.lesion_features import FEATURES, feature_chances, lesion_features
from napari_precimed.models.slice_grid import scale_sequence
from napari_precimed.training.clinical import age_of, patient_groups
from napari_precimed.training.lgg import Glioma, Gliomas, read_lgg
from napari_precimed.training.nested import (
    choose_penalty,
    fit_logistic,
    holm,
    nested_cross_validation,
)
from napari_precimed.training.scores import auroc, expected_calibration_error, metric, subgroups


@dataclass(frozen=True)
class Question:
    """One output: which code of which clinical column is the positive class.

    Attributes
    ----------
    name : str
        The output's name in the bundle.
    key : str
        The same for the names of metrics.
    column : str
    code : int
    """

    name: str
    key: str
    column: str
    code: int


QUESTIONS = (
    Question("grade III", "grade", "neoplasm_histologic_grade", 2),
    *(Question(f"COC cluster {k}", f"coc_{k}", "COCCluster", k) for k in (1, 2, 3)),
    *(Question(f"RNA cluster {k}", f"rna_{k}", "RNASeqCluster", k) for k in (1, 2, 3, 4)),
)
"""Clusters of which each class has ten patients or more: that over all platforms, and RNA."""
SIZE_ONLY = [FEATURES.index("log volume share")]
_SIGNIFICANT = 0.05
PERMUTATIONS = 200


def read(path: Path) -> Gliomas:
    """The data of this recipe."""
    return read_lgg(path)


def features_of(cases: Sequence[Glioma]) -> NDArray[np.float64]:
    """One row of `FEATURES` per patient, of the whole mask; NaN where there is no lesion."""
    rows = []
    for case in cases:
        known = case.mask.any()
        rows.append(
            lesion_features(scale_sequence(case.flair), case.mask)
            if known
            else np.full(len(FEATURES), np.nan)
        )
        case.forget()
    return np.array(rows)


def answers_to(question: Question, cases: Sequence[Glioma]) -> NDArray[np.float64]:
    """1 where the question is to be answered with yes, 0 with no, NaN where it is not known."""
    codes = [case.clinical.get(question.column) for case in cases]
    return np.array([np.nan if c is None else float(c == question.code) for c in codes])


def solve(network: torch.nn.Module, data: Gliomas, say: Callable[[str], None]) -> dict[str, Any]:
    """Fit all questions on the training and validation patients, and say which to keep quiet on.

    Parameters
    ----------
    network : torch.nn.Module
        Standardisation (`torch.nn.BatchNorm1d`), then one linear layer; filled in place.

    Returns
    -------
    dict
        "abstains": output -> why; "nested_cv": metric -> figure, with its permutation p.
    """
    cases = [*data.part("train"), *data.part("validation")]
    features = features_of(cases)
    figures: dict[str, Any] = {}
    for question in QUESTIONS:
        figures[question.key] = _measure(question, cases, features)
        say(f"{question.name}: {_in_words(figures[question.key])}")
    for question, p in zip(QUESTIONS, holm([figures[q.key]["p"] for q in QUESTIONS]), strict=True):
        figures[question.key]["p_holm"] = round(p, 4)
    _fill(network, cases, features)
    reasons = {q.name: why for q in QUESTIONS if (why := _why_not(figures[q.key]))}
    return {"abstains": reasons, "nested_cv": figures}


def _measure(question: Question, cases: Sequence[Glioma], features: NDArray) -> dict[str, Any]:
    """AUROC by nested cross-validation, of the features and of what needs none of them."""
    answer = answers_to(question, cases)
    known = np.flatnonzero(np.isfinite(answer))
    positive, patients = answer[known] == 1, [cases[int(k)].patient for k in known]
    age = np.array([[np.nan if age_of(c) is None else age_of(c)] for c in cases], float)
    found = nested_cross_validation(features[known], positive, permutations=PERMUTATIONS)
    out = {
        **metric(_ranked(found.chance, positive), patients),
        "p": round(found.p, 4),
        "share_positive": round(float(positive.mean()), 4),
    }
    for name, columns in (("age_only", age), ("size_only", features[:, SIZE_ONLY])):
        if not np.isfinite(columns[known]).any():
            out[name] = metric(lambda k: np.nan, [])
            continue
        base = nested_cross_validation(columns[known], positive, permutations=0)
        out[name] = metric(_ranked(base.chance, positive), patients)
    return out


def _ranked(logits: NDArray, positive: NDArray[np.bool_]) -> Callable[[NDArray[np.int_]], float]:
    return lambda k: auroc(logits[k], positive[k])


def _in_words(figure: dict[str, Any]) -> str:
    low, high = figure["ci95"]
    return (
        f"AUROC {figure['value']:.2f} ({low:.2f} to {high:.2f}) of {figure['n']} patients, "
        f"p = {figure['p']:.3f}"
    )


def _why_not(figure: dict[str, Any]) -> str | None:
    """Why a question should not be answered; None if it may be."""
    if figure["ci95"][0] is not None and figure["ci95"][0] > 0.5:
        if figure["p_holm"] < _SIGNIFICANT:
            return None
        return (
            f"no better than chance once {len(QUESTIONS)} questions are asked: "
            f"{_in_words(figure)}, {figure['p_holm']:.3f} corrected"
        )
    return f"no better than chance: {_in_words(figure)}"


def _fill(network: torch.nn.Module, cases: Sequence[Glioma], features: NDArray) -> None:
    """The final fit, on all patients whose answer is known; the penalty by cross-validation."""
    norm, linear = network[0], network[1]  # type: ignore[index]
    mean, spread = np.nanmean(features, axis=0), np.nanstd(features, axis=0) + 1e-9
    with torch.no_grad():
        norm.running_mean.copy_(torch.from_numpy(mean))
        norm.running_var.copy_(torch.from_numpy(spread**2))
        for k, question in enumerate(QUESTIONS):
            answer = answers_to(question, cases)
            known = np.flatnonzero(np.isfinite(answer))
            rows, positive = features[None, known], answer[known] == 1
            penalty = choose_penalty(rows, positive, np.random.default_rng(0))
            found = fit_logistic(rows, positive, penalty)
            weight = found.weight[0] * spread / found.spread[0]
            shift = ((mean - found.mean[0]) / found.spread[0]) @ found.weight[0]
            linear.weight[k].copy_(torch.from_numpy(weight))
            linear.bias[k] = float(found.bias[0] + shift)


def evaluate(entry: ModelEntry, cases: Sequence[Glioma], engine: Engine) -> dict[str, Any]:
    """AUROC per question on unseen patients, beside age and size, and what training measured.

    Metrics that end in ``_nested_cv`` are of the training and validation patients.
    """
    features = features_of(cases)
    usable = np.flatnonzero(np.isfinite(features).all(axis=1))
    cases, features = [cases[int(k)] for k in usable], features[usable]
    chance = feature_chances(load_network(entry).to(engine.device), features, engine)
    patients = [case.patient for case in cases]
    metrics: dict[str, Any] = {}
    for k, question in enumerate(QUESTIONS):
        metrics |= _on_unseen(question, cases, chance[:, k], features)
        metrics |= _from_training(question, entry.settings.get("nested_cv", {}))
    answered = len(QUESTIONS) - len(entry.settings["abstains"])
    metrics["coverage"] = metric(lambda index: answered / len(QUESTIONS), patients)
    grade = answers_to(QUESTIONS[0], cases)
    return {
        "n": {"patients": len(set(patients)), "cases": len(cases)},
        "metrics": metrics,
        "subgroups": subgroups(
            "auroc_grade", _known_auroc(chance[:, 0], grade), patients, patient_groups(cases)
        ),
        "abstains": entry.settings["abstains"],
        "run": RunRecord(
            task="evaluate",
            model=f"{entry.name} {entry.version}",
            weights_sha256=weights_sha256(entry),
            options={"questions": [q.name for q in QUESTIONS]},
            device=engine.device.type,
            precision="float32",
        ).to_dict(),
    }


def _on_unseen(
    question: Question, cases: Sequence[Glioma], chance: NDArray, features: NDArray
) -> dict[str, Any]:
    answer = answers_to(question, cases)
    known = np.flatnonzero(np.isfinite(answer))
    who = [cases[int(k)].patient for k in known]
    age = np.array([np.nan if age_of(case) is None else age_of(case) for case in cases], float)
    scores = {"": chance, "_age_only": age, "_size_only": features[:, SIZE_ONLY[0]]}
    out = {}
    for suffix, score in scores.items():
        both = known[np.isfinite(score[known])]
        theirs = [cases[int(k)].patient for k in both]
        out[f"auroc_{question.key}{suffix}"] = metric(_of(auroc, score, answer, both), theirs)
    out[f"ece_{question.key}"] = metric(
        lambda k: expected_calibration_error(chance[known[k]], answer[known[k]] == 1, bins=3), who
    )
    return out


def _of(
    score: Callable[..., float], values: NDArray, answer: NDArray, known: NDArray[np.int_]
) -> Callable[[NDArray[np.int_]], float]:
    return lambda k: score(values[known[k]], answer[known[k]] == 1)


def _known_auroc(chance: NDArray, answer: NDArray) -> Callable[[NDArray[np.int_]], float]:
    """Case indices -> AUROC over those whose answer is known."""

    def statistic(index: NDArray[np.int_]) -> float:
        known = index[np.isfinite(answer[index])]
        return auroc(chance[known], answer[known] == 1)

    return statistic


def _from_training(question: Question, figures: dict[str, Any]) -> dict[str, Any]:
    figure = figures.get(question.key)
    if figure is None:
        return {}
    own = {k: v for k, v in figure.items() if k not in ("age_only", "size_only")}
    name = f"auroc_{question.key}_nested_cv"
    return {
        name: own,
        f"{name}_age_only": figure["age_only"],
        f"{name}_size_only": figure["size_only"],
    }
