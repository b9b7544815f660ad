"""The labelled missense variants and their split by gene, and the proteins without labels."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import pandas as pd

from genomics.errors import TableError

MISSENSE_TABLE = "missense_windows.tsv.gz"
WINDOW_RESIDUES = 101
PROTEINS = "proteins.fasta.gz"
SPLIT_PERCENT: Mapping[str, int] = {"train": 80, "validation": 10, "test": 10}

Part = Literal["train", "validation", "test"]
_COLUMNS = ("gene", "pos", "wt", "mt", "label", "wt_window101")


def find_missense_table(path: Path) -> Path:
    """Return the table at ``path``: the file itself, its folder or the folder above that."""
    candidates = [path, path / MISSENSE_TABLE, path / "genomics" / MISSENSE_TABLE]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise TableError(
        f"{path}: no table of missense variants there; give {MISSENSE_TABLE}, "
        "or the folder that holds it"
    )


def read_missense_table(path: Path) -> pd.DataFrame:
    """Read labelled missense variants.

    Parameters
    ----------
    path : Path
        A tab-separated table, plain or gzipped, with at least the columns gene, pos, wt, mt,
        label (1 = pathogenic, 0 = benign) and wt_window101 (101 residues, the substituted one
        in the middle, ``-`` beyond the protein's ends); or a folder that holds one.

    Returns
    -------
    pandas.DataFrame
        One row per variant, in the file's order.

    Raises
    ------
    TableError
        The table is missing, damaged or breaks that format.
    """
    source = find_missense_table(path)
    table = read_tab_separated(source, _COLUMNS)
    _check_rows(source, table)
    return table


def read_tab_separated(source: Path, columns: Sequence[str], as_text: bool = False) -> pd.DataFrame:
    """Read a tab-separated table, plain or gzipped, that has at least ``columns``.

    Parameters
    ----------
    as_text : bool
        Whether numbers stay text.

    Raises
    ------
    TableError
        It is damaged or lacks a column.
    """
    types = dict.fromkeys(columns, str) if as_text else {"gene": str}
    try:
        # "NA" is a gene's or residue's possible name here, never a missing value.
        table = pd.read_csv(source, sep="\t", keep_default_na=False, dtype=types)
    except (OSError, EOFError, gzip.BadGzipFile, zlib.error, UnicodeError, ValueError) as error:
        raise TableError(f"{source}: not a readable tab-separated table: {error}") from error
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise TableError(f"{source}: column {missing[0]!r} is missing; expected {tuple(columns)}")
    return table


def _check_rows(source: Path, table: pd.DataFrame) -> None:
    if table.empty:
        raise TableError(f"{source}: holds no variant")
    windows = table["wt_window101"].astype(str)
    checks = {
        "label must be 0 or 1": ~table["label"].isin([0, 1]),
        f"wt_window101 must have {WINDOW_RESIDUES} residues": windows.str.len() != WINDOW_RESIDUES,
        "the middle of wt_window101 must be wt": windows.str[WINDOW_RESIDUES // 2] != table["wt"],
        "mt must be one residue": table["mt"].astype(str).str.len() != 1,
    }
    for rule, broken in checks.items():
        if broken.any():
            row = int(broken.to_numpy().argmax())
            raise TableError(f"{source}, line {row + 2}: {rule}; found {table.iloc[row].to_dict()}")


def part_of_gene(gene: str, seed: int) -> Part:
    """Return the part of the split that a gene belongs to.

    The rule is the gene's own: SHA-256 of ``"seed:gene"``, modulo 100, against
    ``SPLIT_PERCENT``. A gene therefore stays in its part when the table grows.
    """
    percent = int.from_bytes(hashlib.sha256(f"{seed}:{gene}".encode()).digest()[:8], "big") % 100
    if percent < SPLIT_PERCENT["train"]:
        return "train"
    return "validation" if percent < 100 - SPLIT_PERCENT["test"] else "test"


def read_proteins(path: Path) -> dict[str, str]:
    """Read a FASTA file of proteins, plain or gzipped, as ``{name: sequence}``.

    Raises
    ------
    TableError
        It cannot be read or holds no protein.
    """
    try:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="ascii") as stream:
            records = stream.read().split(">")[1:]
    except (OSError, EOFError, gzip.BadGzipFile, zlib.error, UnicodeError) as error:
        raise TableError(f"{path}: not a readable FASTA file of proteins: {error}") from error
    proteins = {}
    for record in records:
        head, _, body = record.partition("\n")
        name = head.split()[0] if head.strip() else ""
        proteins[name] = "".join(body.split()).upper()
    if not any(proteins.values()):
        raise TableError(f"{path}: holds no protein; give a FASTA file of protein sequences")
    return proteins
