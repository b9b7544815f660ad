"""A missense model measured on genes that it has never seen."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

from genomics.dataset import find_missense_table, read_missense_table
from genomics.errors import TableError
from genomics.metrics import BOOTSTRAPS, missense_metrics, missense_subgroups, substitution_scores
from genomics.score import MissenseModel, library_versions
from genomics.seen_windows import were_seen


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
        ``subgroups`` and ``run``.

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
    probability, _ = model.probability(list(unseen["wt_window101"]), list(unseen["mt"]))
    substitution = substitution_scores(
        model.folder.config["substitution_only"], list(unseen["wt"]), list(unseen["mt"])
    )
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
        "metrics": missense_metrics(unseen["gene"], unseen["label"], probability, substitution),
        "subgroups": missense_subgroups(unseen, probability),
        "run": {
            "weights_sha256": model.folder.weights_sha256(),
            "data_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
            "bootstraps": BOOTSTRAPS,
            "resampled": "genes",
            "versions": library_versions(),
            "device": "cpu",
            "seconds": round(time.perf_counter() - began, 1),
        },
    }
