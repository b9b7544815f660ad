"""``nucleotide-lstm`` measured on genes and regulatory elements that it has never seen."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from genomics.errors import TableError
from genomics.metrics import Floats
from genomics.nucleotide.dataset import (
    DNA_TABLE,
    MPRA_TABLE,
    SCORABLE,
    UNPLACED,
    find_table,
    read_dna_table,
    read_gene_sequences,
    read_mpra,
    with_consequences,
)
from genomics.nucleotide.folds import Labelled
from genomics.nucleotide.metrics import (
    base_change_scores,
    class_measures,
    consequence_scores,
    mpra_measures,
)
from genomics.nucleotide.score import NucleotideModel
from genomics.nucleotide.training import predict_effects
from genomics.nucleotide.verdicts import test_measures
from genomics.run_record import evaluation_record

_OVERALL = ("auroc", "auroc_consequence_only", "difference")


def evaluate_nucleotide(name: str | Path, data: Path) -> dict[str, Any]:
    """Measure the model inside each consequence class, beside the consequence alone.

    Parameters
    ----------
    name : str or Path
        A built-in model, or the folder of a trained one.
    data : Path
        Folder of the labelled windows, ``genes/`` and ``mpra/``, as for training. Left out and
        counted are variants of genes, and elements of loci, that training or validation saw, and
        variants of classes that the model is not about.

    Returns
    -------
    dict
        ``model``, ``data``, ``n``, ``metrics``, ``subgroups`` (one per class, with ``scores``:
        whether the model speaks there) and ``run``. ``auroc_within_class`` counts only pairs of
        one class.

    Raises
    ------
    TableError
        A table is not in the format, or all of its variants were seen.
    ModelError
        There is no such model, or its files are damaged.
    """
    began = time.perf_counter()
    model = NucleotideModel.load(name)
    source = find_table(data, DNA_TABLE)
    rows, counts = _unseen_variants(model, data, source)
    labelled = Labelled.of(rows, "label", _flank(model))
    log_odds = model.log_odds_of(labelled.inputs, labelled.classes).mean(axis=1)
    fractions = model.folder.config["consequence_only"]
    classes = test_measures(rows, log_odds, fractions, model.verdicts)
    baseline = consequence_scores(fractions, list(rows["terms"]))
    every = class_measures(rows, log_odds, baseline, groups=rows["class"])
    metrics = {f"{key}_within_class": every[key] | {"n": every["n"]} for key in _OVERALL}
    elements = _unseen_elements(model, data)
    if not elements.empty:
        metrics |= _mpra(model, elements)
    return {
        "model": model.folder.name,
        "data": str(source),
        "n": counts | {"elements": int(elements["element"].nunique())},
        "metrics": metrics,
        "subgroups": [_subgroup(key, each, model) for key, each in classes.items()],
        "run": evaluation_record(model.folder, "genes, and loci of elements", began, source),
    }


def _flank(model: NucleotideModel) -> int:
    return int(model.folder.config["network"]["flank"])


def _unseen_variants(
    model: NucleotideModel, data: Path, source: Path
) -> tuple[pd.DataFrame, dict[str, int]]:
    table = with_consequences(read_dna_table(data), read_gene_sequences(source.parent / "genes"))
    seen = table["unit"].isin(list(model.folder.config["split"]["folds"]["genes"]))
    about = table["class"].isin(SCORABLE)
    rows = table[~seen & about].reset_index(drop=True)
    if rows.empty:
        raise TableError(
            f"{source}: holds no change of the model's classes in a gene that training has not "
            "seen, and whose sequence and GFF3 lie in genes/ beside it"
        )
    return rows, {
        "genes": int(rows["unit"].nunique()),
        "cases": len(rows),
        "pathogenic": int(rows["label"].sum()),
        "left_out_seen_cases": int((seen & about).sum()),
        "left_out_other_class": int((~about & (table["class"] != UNPLACED)).sum()),
        "left_out_unplaced": int((table["class"] == UNPLACED).sum()),
    }


def _unseen_elements(model: NucleotideModel, data: Path) -> pd.DataFrame:
    try:
        find_table(data, MPRA_TABLE, "mpra")
    except TableError:
        # Labelled windows alone will do; the result then says that it holds no element.
        return pd.DataFrame({"element": []})
    table = read_mpra(data)
    return table[~table["unit"].isin(list(model.folder.config["split"]["folds"]["loci"]))]


def _mpra(model: NucleotideModel, elements: pd.DataFrame) -> dict[str, dict[str, Any]]:
    encoded = Labelled.of(elements, "effect", _flank(model))
    members: list[Floats] = [predict_effects(net, encoded) for net in model.ensemble.networks]
    baseline = base_change_scores(model.folder.config["base_change"], encoded.rows)
    return mpra_measures(encoded.rows, np.mean(members, axis=0), baseline)


def _subgroup(name: str, measured: dict[str, Any], model: NucleotideModel) -> dict[str, Any]:
    metrics = {
        key: measured[key] | {"n": measured["n"]} for key in (*_OVERALL, "ece") if key in measured
    }
    return {
        "name": name,
        "genes": measured["genes"],
        "pathogenic": measured["pathogenic"],
        "genes_with_pathogenic": measured["genes_with_pathogenic"],
        "scores": model.scores(name),
        "metrics": metrics,
    }
