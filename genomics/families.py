"""Protein families: which genes resemble each other too much to stand on both sides of a split.

Two sequences are relatives where they share ``SHARED_KMER`` residues in a row, or a stretch of
``STRETCH`` residues, aligned without gaps, of which at least ``IDENTITY`` are the same. Stretches
are found by shared ``SEED_KMER``-mers and then verified residue by residue, so that a relative may
be missed where no seed is shared, and none is made up. Families are the connected components.

Everything is exact and without chance: the same sequences give the same families.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from genomics.dataset import Part, part_of_gene

SHARED_KMER = 15
SEED_KMER = 5
STRETCH = 50
IDENTITY = 0.4
# A seed of one or two letters, and a match of few different residues, is low complexity: two
# runs of glutamate resemble each other without being related.
_SEED_LETTERS = 3
_STRETCH_LETTERS = 8
_CHUNK = 200_000
_PAD = STRETCH + SHARED_KMER
_OUTSIDE = 0

Integers = npt.NDArray[np.int64]
Sequences = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class _Residues:
    """All sequences behind each other, each with ``_PAD`` empty places (0) on either side."""

    letters: npt.NDArray[np.uint8]
    owner: npt.NDArray[np.int32]

    @classmethod
    def of(cls, sequences: Sequences) -> _Residues:
        gap = "\0" * _PAD
        owners = [index for index, parts in enumerate(sequences.values()) for _ in parts]
        pieces = [gap + part + gap for parts in sequences.values() for part in parts]
        text = "".join(pieces).encode("latin-1", "replace")
        letters = np.frombuffer(text, dtype=np.uint8).copy()
        # What stands for "no residue" or "unknown" never matches anything.
        letters[np.isin(letters, list(b"-X*?"))] = _OUTSIDE
        lengths = [len(piece) for piece in pieces]
        return cls(letters, np.repeat(np.array(owners, dtype=np.int32), lengths))

    def kmers(self, k: int, letters: int = 1) -> tuple[npt.NDArray[np.uint64], Integers]:
        """Return the codes of k-mers with that many different letters, and where they start."""
        rows = np.lib.stride_tricks.sliding_window_view(self.letters, k)
        whole = np.ones(len(rows), dtype=bool)
        code = np.zeros(len(rows), dtype=np.uint64)
        kinds = np.zeros(len(rows), dtype=np.int8)
        for column in range(k):
            whole &= rows[:, column] != _OUTSIDE
            # Wraps round beyond 64 bits: a hash, of which a collision only joins two families.
            code = code * np.uint64(31) + (rows[:, column].astype(np.uint64) - np.uint64(64))
            if letters > 1:
                kinds += ~(rows[:, :column] == rows[:, column : column + 1]).any(axis=1)
        start = np.flatnonzero(whole & (kinds >= letters) if letters > 1 else whole)
        return code[start], start


def find_relatives(left: Sequences, right: Sequences) -> set[tuple[str, str]]:
    """Return the pairs (name in ``left``, other name in ``right``) that are relatives.

    Parameters
    ----------
    left, right : mapping of str to sequence of str
        The sequences, or the known pieces of them, of each name. ``-`` and ``X`` match nothing.
        Pairs of one and the same name are left out.
    """
    one, other = _Residues.of(left), _Residues.of(right)
    names, others = list(left), list(right)
    same = {(names[a], others[b]) for a, b in _exact_pairs(one, other)}
    alike = {(names[a], others[b]) for a, b in _verified_pairs(one, other)}
    return {(a, b) for a, b in same | alike if a != b}


def _exact_pairs(one: _Residues, other: _Residues) -> set[tuple[int, int]]:
    found: set[tuple[int, int]] = set()
    for here, there in _meetings(one, other, SHARED_KMER, 1):
        found.update(_owners(one.owner[here], other.owner[there]))
    return found


def _verified_pairs(one: _Residues, other: _Residues) -> set[tuple[int, int]]:
    found: set[tuple[int, int]] = set()
    for here, there in _meetings(one, other, SEED_KMER, _SEED_LETTERS):
        alike = _resemble(one.letters, other.letters, here, there)
        found.update(_owners(one.owner[here[alike]], other.owner[there[alike]]))
    return found


def _owners(a: npt.NDArray[np.int32], b: npt.NDArray[np.int32]) -> Iterator[tuple[int, int]]:
    for pair in np.unique((a.astype(np.int64) << 32) | b):
        yield int(pair) >> 32, int(pair) & 0xFFFFFFFF


def _meetings(
    one: _Residues, other: _Residues, k: int, letters: int
) -> Iterator[tuple[Integers, Integers]]:
    """Yield places in either that begin the same k-mer, in chunks."""
    code, start = one.kmers(k, letters)
    target_code, target_start = other.kmers(k, letters)
    order = np.argsort(target_code, kind="stable")
    target_code, target_start = target_code[order], target_start[order]
    low = np.searchsorted(target_code, code, "left")
    count = np.searchsorted(target_code, code, "right") - low
    cuts = np.searchsorted(np.cumsum(count), np.arange(_CHUNK, count.sum() + _CHUNK, _CHUNK))
    for first, last in zip(np.r_[0, cuts], np.r_[cuts + 1, len(code)], strict=True):
        part = slice(first, last)
        here = np.repeat(start[part], count[part])
        within = np.arange(len(here)) - np.repeat(np.cumsum(count[part]) - count[part], count[part])
        there = target_start[np.repeat(low[part], count[part]) + within]
        apart = one.owner[here] != other.owner[there] if one is other else slice(None)
        yield here[apart], there[apart]


def _resemble(
    a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8], here: Integers, there: Integers
) -> npt.NDArray[np.bool_]:
    """Return whether the stretches around each pair of places resemble each other."""
    reach = np.arange(SEED_KMER - STRETCH, STRETCH)
    left, right = a[here[:, None] + reach], b[there[:, None] + reach]
    same = (left == right) & (left != _OUTSIDE)
    run = np.cumsum(np.pad(same, ((0, 0), (1, 0))), axis=1, dtype=np.int16)
    identical = run[:, STRETCH:] - run[:, :-STRETCH]
    best = identical.argmax(axis=1)
    alike = identical[np.arange(len(best)), best] >= IDENTITY * STRETCH
    for row in np.flatnonzero(alike):
        window = slice(int(best[row]), int(best[row]) + STRETCH)
        alike[row] = len(np.unique(left[row, window][same[row, window]])) >= _STRETCH_LETTERS
    return alike


def find_families(sequences: Sequences) -> dict[str, str]:
    """Return the family of each name: the same word for relatives, and for theirs."""
    parent = {name: name for name in sorted(sequences)}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for a, b in sorted(find_relatives(sequences, sequences)):
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    return {name: root(name) for name in parent}


def representative(members: Iterable[str], seed: int) -> str:
    """Return the member that speaks for a family: the one with the least SHA-256.

    Taken so, and not as the first by name, it stays the same under a new member in all but one
    of n + 1 cases.
    """
    return min(members, key=lambda name: hashlib.sha256(f"{seed}:family:{name}".encode()).digest())


@dataclass(frozen=True)
class FamilySplit:
    """Which part of the split each gene is in; the genes of a family are in the same one.

    Attributes
    ----------
    genes : mapping of str to list of str
        The sorted genes of each part.
    pieces : mapping of str to list of str
        What is known of each gene's proteins.
    families : int
        How many there are.
    """

    genes: Mapping[Part, list[str]]
    pieces: Sequences
    families: int

    def part_of(self, genes: Iterable[str]) -> npt.NDArray[Any]:
        """Return the part of each gene, shape (n,)."""
        parts = {gene: part for part, names in self.genes.items() for gene in names}
        return np.array([parts[gene] for gene in genes])

    def held_out(self) -> Sequences:
        """Return the pieces of the genes that no training may see."""
        apart = {*self.genes["validation"], *self.genes["test"]}
        return {gene: pieces for gene, pieces in self.pieces.items() if gene in apart}


def split_by_family(table: pd.DataFrame, seed: int) -> FamilySplit:
    """Split the genes of a table so that no family straddles the parts.

    A family goes where :func:`genomics.dataset.part_of_gene` puts its representative. A gene
    without relatives is therefore in the same part whatever else the table holds.
    """
    pieces = pieces_of_genes(table)
    members: dict[str, list[str]] = {}
    for gene, family in find_families(pieces).items():
        members.setdefault(family, []).append(gene)
    genes: dict[Part, list[str]] = {"train": [], "validation": [], "test": []}
    for relatives in members.values():
        genes[part_of_gene(representative(relatives, seed), seed)] += relatives
    return FamilySplit({part: sorted(g) for part, g in genes.items()}, pieces, len(members))


def pieces_of_genes(table: pd.DataFrame) -> dict[str, list[str]]:
    """Return the stretches of each gene's proteins that the windows of a table show.

    Windows are laid over each other by their position; where they contradict each other
    (isoforms), another piece begins.
    """
    half = len(table["wt_window101"].iloc[0]) // 2
    pieces: dict[str, list[str]] = {}
    rows = table[["gene", "pos", "wt_window101"]].drop_duplicates()
    for gene, group in rows.sort_values(["gene", "pos", "wt_window101"]).groupby("gene"):
        pieces[str(gene)] = _lay_over(
            (int(pos) - half + (len(window) - len(window.lstrip("-"))), window.strip("-"))
            for pos, window in zip(group["pos"], group["wt_window101"], strict=True)
        )
    return pieces


def _lay_over(placed: Iterable[tuple[int, str]]) -> list[str]:
    done: list[list[Any]] = []
    for start, text in placed:
        for piece in done[-3:]:
            offset = start - piece[0]
            shared = len(piece[1]) - offset
            if (
                offset >= 0
                and shared >= SHARED_KMER
                and piece[1][offset:].startswith(text[:shared])
            ):
                piece[1] += text[shared:]
                break
            if offset >= 0 and text in piece[1][offset : offset + len(text)]:
                break
        else:
            done.append([start, text])
    return [text for _, text in done]
