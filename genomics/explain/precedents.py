"""Labelled variants that a score can be compared with: the nearest ones that training has seen.

They are looked for in the labelled table that the user names, or in the extract that training
leaves beside the weights of a user's own model. None ships with the built-in one: most of the table
that it was trained on states no licence.
"""

from __future__ import annotations

import gzip
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from Bio.Align import substitution_matrices

from genomics.dataset import WINDOW_RESIDUES, read_tab_separated
from genomics.output import write_atomically

PRECEDENTS = "precedents.tsv.gz"
NEIGHBOUR_RESIDUES = 25
_FLANK = 7
_MOST_PER_RELATION = 3
_COLUMNS = ("gene", "pos", "wt", "mt", "label", "sources", "window15")
_LETTERS = "ARNDCQEGHILKMFPSTWYVX-"

SAME_CHANGE, SAME_RESIDUE = "the same change", "the same residue"
SAME_GENE, SIMILAR = "near by in the gene", "another gene, alike"


@dataclass(frozen=True)
class Precedent:
    """One labelled variant of the training data.

    Attributes
    ----------
    gene : str
    position : int
        1-based, in the protein that the label's source counts on.
    wild_type, mutant : str
    pathogenic : bool
    source : str
    relation : str
        How it is related to the variant asked about; ``SAME_CHANGE`` says that training has seen
        this very variant, so its score is no independent evidence.
    similarity : float
        At most 1: the mean of three BLOSUM62 ratios (neighbourhood, residue before, residue
        after), 1 where all are the same.
    distance : int or None
        Residues between the two, in one gene; None for another gene.
    """

    gene: str
    position: int
    wild_type: str
    mutant: str
    pathogenic: bool
    source: str
    relation: str
    similarity: float
    distance: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        label = "pathogenic" if self.pathogenic else "benign"
        change = f"{self.gene} {self.wild_type}{self.position}{self.mutant}"
        near = f"likeness {self.similarity:.2f}"
        if self.relation == SAME_GENE:
            near = f"{self.distance} residue{'s' if self.distance != 1 else ''} away"
        return f"{change}: {label} ({self.relation}, {near}; {self.source})"


@dataclass(frozen=True)
class Precedents:
    """Labelled variants to look among, as a table with the columns of ``PRECEDENTS``."""

    table: pd.DataFrame

    @classmethod
    def read(cls, path: Path) -> Precedents:
        """Read the extract beside a model's weights.

        Raises
        ------
        TableError
            It is damaged.
        """
        return cls(read_tab_separated(path, _COLUMNS))

    @classmethod
    def of(cls, table: pd.DataFrame) -> Precedents:
        """Take the rows of a table of missense variants, see :mod:`genomics.dataset`."""
        middle = WINDOW_RESIDUES // 2
        window = table["wt_window101"].str[middle - _FLANK : middle + _FLANK + 1]
        source = table.get("sources", "not stated")
        return cls(table.assign(window15=window, sources=source)[list(_COLUMNS)])

    def of_genes(self, genes: Iterable[str]) -> Precedents:
        """Keep the variants of some genes: those that a model's training has seen."""
        return Precedents(self.table[self.table["gene"].isin(set(genes))])

    def write(self, folder: Path) -> None:
        """Write the table as ``PRECEDENTS`` into a model's folder; the same rows, the same bytes.

        Raises
        ------
        OutputError
        """
        text = self.table.to_csv(
            sep="\t", index=False, lineterminator="\n", columns=list(_COLUMNS)
        ).encode()
        write_atomically(
            folder / PRECEDENTS, lambda stream: stream.write(gzip.compress(text, mtime=0))
        )

    def nearest(
        self, gene: str | None, window: str, mutant: str, count: int = 8
    ) -> list[Precedent]:
        """Return the labelled variants most like a substitution.

        Parameters
        ----------
        gene : str or None
        window : str
            The wild-type protein around it, of odd length, ``-`` beyond the protein's ends.
        mutant : str
            The residue that replaces the middle one.
        count : int
            At most so many.

        Returns
        -------
        list of Precedent
            First changes of the same residue, then of residues at most ``NEIGHBOUR_RESIDUES`` away
            in the same gene (nearest first), at most three of each; then the most similar changes
            in any other gene. The residue is known by the 15 residues around it, not by its
            number, which differs between isoforms.
        """
        middle = len(window) // 2
        near = window[middle - _FLANK : middle + _FLANK + 1]
        if self.table.empty:
            return []
        similarity = _similarities(near, mutant, self.table)
        ranked = self.table.assign(similarity=similarity)
        own = ranked["gene"] == gene
        ranked["distance"] = _distances(ranked[own], window)
        same = own & (ranked["distance"] == 0)
        beside = ranked[own & (ranked["distance"] > 0)]
        groups = (
            (ranked[same].sort_values("similarity", ascending=False), SAME_RESIDUE),
            (beside.sort_values(["distance", "similarity"], ascending=[True, False]), SAME_GENE),
        )
        found = [
            _precedent(row, _relation(row, mutant, relation))
            for rows, relation in groups
            for row in rows.head(_MOST_PER_RELATION).to_dict("records")
        ]
        others = ranked[~own].nlargest(max(count - len(found), 0), "similarity")
        found += [_precedent(row, SIMILAR) for row in others.to_dict("records")]
        return found[:count]


def _relation(row: Mapping[Hashable, Any], mutant: str, relation: str) -> str:
    return SAME_CHANGE if relation == SAME_RESIDUE and row["mt"] == mutant else relation


def _precedent(row: Mapping[Hashable, Any], relation: str) -> Precedent:
    return Precedent(
        gene=row["gene"],
        position=int(row["pos"]),
        wild_type=row["wt"],
        mutant=row["mt"],
        pathogenic=bool(row["label"]),
        source=row["sources"].replace("|", ", "),
        relation=relation,
        similarity=round(float(row["similarity"]), 3),
        distance=None if np.isnan(row["distance"]) else int(row["distance"]),
    )


def _distances(rows: pd.DataFrame, window: str) -> pd.Series:
    """Return how many residues away each row is; nan where its surroundings are not in sight."""
    middle = len(window) // 2
    padded = "-" * _FLANK + window + "-" * _FLANK
    places = {
        padded[start : start + 2 * _FLANK + 1]: abs(start - middle)
        for start in range(middle - NEIGHBOUR_RESIDUES, middle + NEIGHBOUR_RESIDUES + 1)
        if 0 <= start < len(window)
    }
    return rows["window15"].map(places)


def _similarities(near: str, mutant: str, table: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Return the similarity of each row, see :class:`Precedent`.

    BLOSUM62: Henikoff and Henikoff, PNAS 1992. A ratio is the score of one against the other, over
    that of the first against itself.
    """
    matrix = _blosum62()
    windows = _codes("".join(table["window15"])).reshape(-1, 2 * _FLANK + 1)
    asked, after = _codes(near), _codes(mutant)[0]
    context = np.delete(np.arange(2 * _FLANK + 1), _FLANK)
    scores = matrix[asked[context], windows[:, context]].sum(axis=1)
    parts = (
        scores / matrix[asked[context], asked[context]].sum(),
        matrix[asked[_FLANK], windows[:, _FLANK]] / matrix[asked[_FLANK], asked[_FLANK]],
        matrix[after, _codes("".join(table["mt"]))] / matrix[after, after],
    )
    return np.asarray(np.mean(parts, axis=0))


def _codes(letters: str) -> npt.NDArray[np.intp]:
    unknown = _LETTERS.index("X")
    places = {letter: index for index, letter in enumerate(_LETTERS)}
    return np.array([places.get(letter, unknown) for letter in letters], dtype=np.intp)


@cache
def _blosum62() -> npt.NDArray[np.float64]:
    table = substitution_matrices.load("BLOSUM62")
    names = [letter.replace("-", "*") for letter in _LETTERS]
    matrix = np.array([[float(table[one][other]) for other in names] for one in names])
    unknown = _LETTERS.index("X")
    # Two unknown residues are no sign of likeness, but a ratio needs a positive denominator.
    matrix[unknown, unknown] = 1.0
    return matrix
