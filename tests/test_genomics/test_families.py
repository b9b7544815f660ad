from __future__ import annotations

import random
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genomics.catalogue import open_model
from genomics.dataset import part_of_gene, read_missense_table
from genomics.families import (
    SHARED_KMER,
    find_families,
    find_relatives,
    pieces_of_genes,
    representative,
    split_by_family,
)
from genomics.missense.language_model import relatives_among

_LETTERS = "ACDEFGHIKLMNPQRSTVWY"


def _protein(seed: object, length: int = 200) -> str:
    draw = random.Random(str(seed))
    return "".join(draw.choice(_LETTERS) for _ in range(length))


def _diverged(protein: str, identity: float, seed: int = 0) -> str:
    """Change every residue but a share of them, drawn by chance."""
    draw = random.Random(seed)
    kept = set(draw.sample(range(len(protein)), round(identity * len(protein))))
    return "".join(
        letter if place in kept else draw.choice(_LETTERS.replace(letter, ""))
        for place, letter in enumerate(protein)
    )


def test_unrelated_proteins_are_families_of_their_own() -> None:
    proteins = {f"P{k}": [_protein(k)] for k in range(60)}
    assert find_families(proteins) == {name: name for name in proteins}


@pytest.mark.parametrize("identity", [1.0, 0.9, 0.7, 0.6])
def test_a_paralog_is_found_at_any_place_and_offset(identity: float) -> None:
    for seed in range(10):
        ours = _protein(f"ours{seed}")
        theirs = _protein("head", 37 + seed) + _diverged(ours, identity, seed) + _protein("tail")
        found = find_families({"B": [theirs], "A": [ours], "C": [_protein("other")]})
        assert found == {"A": "A", "B": "A", "C": "C"}


@pytest.mark.parametrize("identity", [0.0, 0.15])
def test_what_resembles_less_is_no_relative(identity: float) -> None:
    ours = {f"A{k}": [_protein(k)] for k in range(20)}
    theirs = {f"B{k}": [_diverged(_protein(k), identity, k)] for k in range(20)}
    assert find_relatives(ours, theirs) == set()


def test_exactly_fifteen_shared_residues_make_relatives_fourteen_do_not() -> None:
    ours = _protein("ours")
    fifteen, fourteen = ours[80 : 80 + SHARED_KMER], ours[80 : 80 + SHARED_KMER - 1]
    # The residue after the shared stretch must differ, or the stretch is longer than it says.
    stop = "A" if ours[80 + len(fourteen)] != "A" else "C"
    others = {
        "fifteen": [_protein("x", 90) + fifteen + _protein("y", 90)],
        "fourteen": [_protein("z", 90) + fourteen + stop + _protein("w", 90)],
    }
    assert find_relatives({"ours": [ours]}, others) == {("ours", "fifteen")}


def test_low_complexity_gaps_and_unknown_residues_relate_nothing() -> None:
    draw = random.Random(0)
    acidic = {name: ["".join(draw.choice("ED") for _ in range(120))] for name in ("A", "B")}
    gaps = {name: [_protein(name, 60) + "X" * 60 + "-" * 60] for name in ("C", "D")}
    families = find_families(acidic | gaps)
    assert len(set(families.values())) == 4


def test_relatives_of_relatives_are_one_family() -> None:
    one, two = _protein("domain 1", 80), _protein("domain 2", 80)
    proteins = {"C": [two], "B": [one + two], "A": [one], "D": [_protein("alone")]}
    assert find_families(proteins) == {"A": "A", "B": "A", "C": "A", "D": "D"}


@settings(max_examples=20, deadline=None)
@given(st.permutations([f"P{k}" for k in range(8)]))
def test_families_do_not_depend_on_the_order(names: list[str]) -> None:
    base = {f"P{k}": [_diverged(_protein(k // 2), 0.8, k)] for k in range(8)}
    assert find_families({name: base[name] for name in names}) == find_families(base)


def test_a_family_stays_in_its_part_when_the_table_grows() -> None:
    """A new member moves its family only where it speaks for it, once in n + 1 cases."""
    families = [[f"F{family}-{k}" for k in range(9)] for family in range(400)]
    moved = [representative([*each, f"{each[0]}-NEW"], 0) == f"{each[0]}-NEW" for each in families]
    assert 0.05 < sum(moved) / len(moved) < 0.15
    assert representative(["G1"], 0) == "G1"


def _table(genes: dict[str, str]) -> pd.DataFrame:
    rows = []
    for gene, protein in genes.items():
        padded = "-" * 50 + protein + "-" * 50
        rows += [
            {"gene": gene, "pos": place + 1, "wt_window101": padded[place : place + 101]}
            for place in range(3, len(protein), 17)
        ]
    return pd.DataFrame(rows)


def test_windows_are_laid_over_each_other_into_the_protein() -> None:
    protein = _protein("whole", 300)
    table = _table({"G": protein})
    assert pieces_of_genes(table) == {"G": [protein]}
    shuffled = table.sample(frac=1, random_state=0)
    assert pieces_of_genes(shuffled) == {"G": [protein]}
    # Far apart, they are two pieces; an isoform that says otherwise is one of its own.
    assert pieces_of_genes(table.iloc[[0, -1]]) == {"G": [protein[:54], protein[242:]]}
    isoform = _table({"G": _protein("other", 300)})
    assert len(pieces_of_genes(pd.concat([table, isoform]))["G"]) > 1


def test_paralogs_are_split_together_and_others_by_their_own_name() -> None:
    genes = {f"G{k}": _protein(k) for k in range(60)}
    genes |= {f"G{k}-LIKE": _diverged(_protein(k), 0.7, k) for k in range(0, 60, 2)}
    split = split_by_family(_table(genes), seed=0)
    part = dict(zip(genes, split.part_of(genes), strict=True))
    assert split.families == 60
    assert all(part[f"G{k}"] == part[f"G{k}-LIKE"] for k in range(0, 60, 2))
    assert all(part[f"G{k}"] == part_of_gene(f"G{k}", 0) for k in range(1, 60, 2))
    assert set(part.values()) == {"train", "validation", "test"}
    assert set(split.held_out()) == {name for name in genes if part[name] != "train"}


def test_proteins_like_a_held_out_gene_are_found_whatever_they_are_called() -> None:
    held_out = {"G": [_protein("g")]}
    proteins = {"G": _protein("another"), "ENSP1": _diverged(_protein("g"), 0.7), "X": _protein(1)}
    assert relatives_among(proteins, held_out) == {"ENSP1"}


@pytest.mark.data
def test_no_test_window_shares_fifteen_residues_with_training(shared_data: Path) -> None:
    """The split that ships, checked by brute force and without the code that made it."""
    table = read_missense_table(shared_data)
    genes = open_model("missense-lstm").config["split"]["genes"]
    stretches = {}
    for part in ("train", "validation", "test"):
        windows = table[table["gene"].isin(genes[part])]["wt_window101"].unique()
        stretches[part] = {
            window[start : start + SHARED_KMER]
            for window in windows
            for start in range(len(window) - SHARED_KMER + 1)
        }
        stretches[part] = {each for each in stretches[part] if not set("-X") & set(each)}
    assert min(map(len, stretches.values())) > 100_000
    assert not stretches["test"] & stretches["train"]
    assert not stretches["test"] & stretches["validation"]
    assert not stretches["validation"] & stretches["train"]
