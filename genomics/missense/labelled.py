"""The labelled variants of one training, by part of the split, ready for a network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from genomics.dataset import SPLIT_PERCENT
from genomics.encode import encode_missense
from genomics.errors import TableError
from genomics.families import IDENTITY, SHARED_KMER, STRETCH, FamilySplit
from genomics.missense.fitting import FitOptions, LabelledBatch, Log
from genomics.missense.networks import NetworkConfig


@dataclass(frozen=True)
class Work:
    """One training: what was asked for, and the labelled variants by part.

    Attributes
    ----------
    table : pandas.DataFrame
        From :func:`genomics.dataset.read_missense_table`.
    split : FamilySplit
        Of its genes.
    network, options, log
        What :func:`genomics.training.train_missense` was asked for.
    parts : ndarray of str
        The part that each row of ``table`` is in.
    """

    table: pd.DataFrame
    split: FamilySplit
    network: NetworkConfig
    options: FitOptions
    log: Log
    parts: npt.NDArray[Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", self.split.part_of(self.table["gene"]))

    def rows(self, part: str) -> pd.DataFrame:
        """Return the variants of a part."""
        return self.table[self.parts == part]

    def batch(self, part: str) -> LabelledBatch:
        """Return the variants of a part, encoded and weighted.

        Raises
        ------
        TableError
            They are all of one class.
        """
        rows = self.rows(part)
        if rows["label"].nunique() < 2:
            raise TableError(
                f"the {part} genes hold {len(rows)} variants of one class or none; "
                "give a table with more genes"
            )
        per_gene = rows.groupby("gene")["gene"].transform("size").to_numpy(dtype=np.float64)
        weight = per_gene**-self.options.gene_power
        return LabelledBatch(
            encode_missense(list(rows["wt_window101"]), list(rows["mt"]), self.network.flank),
            torch.tensor(rows["label"].to_numpy(), dtype=torch.float32),
            torch.tensor(weight / weight.mean(), dtype=torch.float32),
        )

    def describe_split(self) -> dict[str, Any]:
        """Return the rule of the split and the genes of each part, for a model's configuration."""
        return {
            "rule": "by family; sha256('seed:gene') modulo 100 of its representative",
            "family": f"{SHARED_KMER} residues in a row the same, or {IDENTITY:.0%} of {STRETCH}",
            "families": self.split.families,
            "percent": dict(SPLIT_PERCENT),
            "seed": self.options.split_seed,
            "genes": self.split.genes,
        }
