"""The tables of ``nucleotide-lstm`` encoded, and divided into folds of whole genes and loci."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from genomics.errors import TableError
from genomics.nucleotide.context import SiteContext
from genomics.nucleotide.dataset import (
    CANONICAL_SPLICE,
    DNA_TABLE,
    SCORABLE,
    find_table,
    read_dna_table,
    read_gene_sequences,
    read_mpra,
    with_consequences,
)
from genomics.nucleotide.natural import natural_sites
from genomics.nucleotide.network import (
    NucleotideBatch,
    NucleotideLstmConfig,
    class_index,
    encode_sites,
)
from genomics.nucleotide.split import development_folds, is_test_unit

TRAINED = (*SCORABLE, *CANONICAL_SPLICE)
"""Classes that training reads: canonical splice sites teach what a site looks like."""


@dataclass(frozen=True)
class Labelled:
    """Rows of one table with their encoding.

    Attributes
    ----------
    rows : DataFrame
    inputs : NucleotideBatch
    targets : torch.Tensor
        float32, shape (n,): label, or effect on expression.
    classes : torch.Tensor
        int64, shape (n,): see :func:`genomics.nucleotide.network.class_index`; zeros for MPRA.
    """

    rows: pd.DataFrame
    inputs: NucleotideBatch
    targets: torch.Tensor
    classes: torch.Tensor

    @classmethod
    def of(cls, rows: pd.DataFrame, target: str, flank: int) -> Labelled:
        """Encode a table; ``target`` names the column to learn."""
        names = rows["class"] if "class" in rows else [SCORABLE[0]] * len(rows)
        return cls(
            rows.reset_index(drop=True),
            encode_sites(sites_of(rows), flank),
            torch.tensor(rows[target].to_numpy(), dtype=torch.float32),
            torch.tensor([class_index(name) for name in names], dtype=torch.int64),
        )

    def where(self, chosen: pd.Series) -> Labelled:
        """Return the rows for which ``chosen`` is True."""
        index = torch.from_numpy(np.flatnonzero(chosen.to_numpy(dtype=bool)))
        return Labelled(
            self.rows[chosen.to_numpy(dtype=bool)].reset_index(drop=True),
            self.inputs[index],
            self.targets[index],
            self.classes[index],
        )


@dataclass(frozen=True)
class Fold:
    """What one member is fitted on, and what it holds out.

    Attributes
    ----------
    dna, mpra, natural : Labelled
        To fit on.
    dna_held, mpra_held : Labelled
        Held out, with whole genes and loci.
    held_dna, held_mpra : ndarray of bool
        Which rows of the whole tables those are.
    """

    dna: Labelled
    mpra: Labelled
    natural: Labelled
    dna_held: Labelled
    mpra_held: Labelled
    held_dna: npt.NDArray[np.bool_]
    held_mpra: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class NucleotideData:
    """Both tables encoded, with the fold of every unit outside the test part."""

    dna: Labelled
    mpra: Labelled
    natural: Labelled
    dna_folds: Mapping[str, int]
    mpra_folds: Mapping[str, int]
    left_out: Mapping[str, int]

    @property
    def mpra_known(self) -> pd.Series:
        """Whether each MPRA row lies outside the test part."""
        return self.mpra.rows["unit"].isin(list(self.mpra_folds))

    def fold(self, index: int) -> Fold:
        """Return what the member ``index`` is fitted on; nothing of it is of the test part."""
        dna = self.dna.rows["unit"].map(dict(self.dna_folds))
        mpra = self.mpra.rows["unit"].map(dict(self.mpra_folds))
        hidden = {*self.dna.rows["unit"][dna == index], *self.mpra.rows["unit"][mpra == index]}
        units = self.natural.rows["unit"]
        return Fold(
            self.dna.where(dna.notna() & (dna != index)),
            self.mpra.where(mpra.notna() & (mpra != index)),
            self.natural.where(~units.isin(list(hidden)) & ~units.map(is_test_unit)),
            self.dna.where(dna == index),
            self.mpra.where(mpra == index),
            (dna == index).to_numpy(),
            (mpra == index).to_numpy(),
        )

    @classmethod
    def read(cls, path: Path, network: NucleotideLstmConfig) -> NucleotideData:
        """Read the tables and gene sequences of a data folder.

        Raises
        ------
        TableError
            A table is missing or damaged, or has too few genes for as many folds as members.
        """
        dna = read_dna_table(path)
        genes = find_table(path, DNA_TABLE).parent / "genes"
        sequences = read_gene_sequences(genes)
        dna, natural = with_consequences(dna, sequences), natural_sites(sequences)
        used = dna["class"].isin(TRAINED)
        left_out = {str(k): int(n) for k, n in dna[~used]["class"].value_counts().items()}
        dna, mpra = dna[used], read_mpra(path)
        dna_folds = development_folds(dna, network.members, "label")
        mpra_folds = development_folds(mpra, network.members, None)
        if min(len(set(folds.values())) for folds in (dna_folds, mpra_folds)) < network.members:
            raise TableError(f"{path}: has fewer genes or elements than {network.members} folds")
        return cls(
            Labelled.of(dna, "label", network.flank),
            Labelled.of(mpra, "effect", network.flank),
            Labelled.of(natural.assign(real=1.0), "real", network.flank),
            dna_folds,
            mpra_folds,
            left_out,
        )


def sites_of(rows: pd.DataFrame) -> list[SiteContext]:
    """Return the contexts of a table's rows."""
    columns = (rows["window"], rows["change"], rows["layout"])
    return [SiteContext(*each) for each in zip(*columns, strict=True)]
