"""A missense model measured on genes that it has never seen."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from genomics.calibration import coverage_table, reliability_table
from genomics.catalogue import LANGUAGE_MODEL
from genomics.dataset import find_missense_table, read_missense_table
from genomics.errors import TableError
from genomics.metrics import (
    auroc,
    missense_metrics,
    missense_subgroups,
    substitution_scores,
)
from genomics.missense.evidence import Calibration, observed_evidence
from genomics.missense.judgement import OUT_OF_DISTRIBUTION, Judgement
from genomics.missense.language_model import read_language_model, zero_shot
from genomics.run_record import evaluation_record
from genomics.score import MissenseModel
from genomics.seen_windows import were_seen

if TYPE_CHECKING:
    import pandas as pd


def evaluate_missense(name: str | Path, data: Path) -> dict[str, Any]:
    """Measure a missense model on the genes of a table that it has never seen.

    Parameters
    ----------
    name : str or Path
        A built-in model, or the folder of a trained one.
    data : Path
        See :func:`genomics.dataset.read_missense_table`. Left out and counted are variants of
        genes that training or validation saw, and those whose protein window they saw under
        another gene's symbol.

    Returns
    -------
    dict
        ``model``, ``data``, ``n`` (genes, cases and what was left out), ``metrics``,
        ``subgroups``, ``reliability``, ``coverage``, ``abstention``, ``evidence`` and ``run``.

    Raises
    ------
    TableError
        The table is not in the format, or all of its variants were seen.
    ModelError
        There is no such model, or its files are damaged.
    """
    began = time.perf_counter()
    model = MissenseModel.load(name)
    source = find_missense_table(data)
    table = read_missense_table(source)
    seen = table["gene"].isin(model.folder.genes_seen())
    twins = ~seen & were_seen(model.folder.path, table["wt_window101"])
    unseen = table[~seen & ~twins]
    if unseen.empty:
        raise TableError(
            f"{source}: training or validation saw every gene of it; give a table of other genes"
        )
    windows, mutants = list(unseen["wt_window101"]), list(unseen["mt"])
    judged = model.judge(windows, mutants)
    probability = np.array([each.score for each in judged])
    substitution = substitution_scores(
        model.folder.config["substitution_only"], list(unseen["wt"]), mutants
    )
    expected = model.folder.path / LANGUAGE_MODEL
    return {
        "model": model.folder.name,
        "data": str(source),
        "n": {
            "genes": int(unseen["gene"].nunique()),
            "cases": len(unseen),
            "pathogenic": int(unseen["label"].sum()),
            "left_out_seen_genes": int(table[seen]["gene"].nunique()),
            "left_out_seen_cases": int(seen.sum()),
            "left_out_seen_windows": int(twins.sum()),
        },
        "metrics": missense_metrics(
            unseen["gene"],
            unseen["label"],
            probability,
            substitution,
            _zero_shot(model, windows, mutants) if expected.is_file() else None,
        ),
        "subgroups": missense_subgroups(unseen, probability),
        **_limits(model, unseen, judged),
        "run": evaluation_record(model.folder, "genes", began, source),
    }


def _zero_shot(
    model: MissenseModel, windows: Sequence[str], mutants: Sequence[str]
) -> npt.NDArray[np.float64]:
    language_model = model.network.build_language_model()
    language_model.load_state_dict(read_language_model(model.folder.path))
    return zero_shot(language_model, windows, mutants)


def _limits(
    model: MissenseModel, table: pd.DataFrame, judged: Sequence[Judgement]
) -> dict[str, Any]:
    """Return how far the scores may be trusted: by probability, by certainty, and as evidence."""
    labels = table["label"].to_numpy()
    probability = np.array([each.score for each in judged])
    doubt = np.array([each.doubt for each in judged])
    unusual = np.array([(each.abstention or "").startswith(OUT_OF_DISTRIBUTION) for each in judged])
    calls = np.array([each.abstention is None for each in judged])
    right = (probability >= 0.5) == (labels == 1)
    usual = ~unusual
    data = Calibration(table["gene"].to_numpy()[usual], labels[usual], probability[usual])
    return {
        "reliability": reliability_table(labels, probability),
        "coverage": {
            "by_distance": coverage_table(labels, probability, np.abs(probability - 0.5)),
            "by_doubt": coverage_table(labels, probability, -doubt),
        },
        "abstention": {
            "called": int(calls.sum()),
            "accuracy_called": _share(right[calls]),
            "accuracy_all": _share(right),
            "out_of_distribution": int(unusual.sum()),
            "auroc_out_of_distribution": _defined(auroc(labels[unusual], probability[unusual])),
        },
        "evidence": observed_evidence(data, model.folder.config["evidence"]),
    }


def _share(right: npt.NDArray[np.bool_]) -> float | None:
    return float(right.mean()) if len(right) else None


def _defined(value: float) -> float | None:
    return value if np.isfinite(value) else None
