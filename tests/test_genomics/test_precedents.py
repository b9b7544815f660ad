from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genomics.errors import TableError
from genomics.explain.precedents import (
    PRECEDENTS,
    SAME_CHANGE,
    SAME_GENE,
    SAME_RESIDUE,
    SIMILAR,
    Precedents,
)

_LETTERS = "ACDEFGHIKLMNPQRSTVWY"
PROTEIN = (
    "MKVLAWTERNDCQGHISPFYMKRWLEADTNVQCGHYIPSFMELKWRADNT"
    "VCQYGHPISFLKMERADWTNVCQYHGPISFKLMERDAWNTVCYQHGIPSFKLE"
)


def _row(gene: str, position: int, mutant: str, label: int, source: str, protein: str) -> dict:
    padded = "-" * 50 + protein + "-" * 50
    window = padded[position - 1 : position + 100]
    return {
        "gene": gene,
        "pos": position,
        "wt": window[50],
        "mt": mutant,
        "label": label,
        "sources": source,
        "wt_window101": window,
    }


def _toy() -> tuple[Precedents, str]:
    """Return precedents and the window of A residue 30 of gene ONE."""
    other = PROTEIN[::-1]
    rows = [
        _row("ONE", 30, "P", 1, "UniProt_humsavar|VariPred_train", PROTEIN),
        _row("ONE", 30, "W", 0, "VariPred_train", PROTEIN),
        _row("ONE", 33, "A", 1, "UniProt_humsavar", PROTEIN),
        _row("ONE", 90, "A", 1, "UniProt_humsavar", PROTEIN),
        # A paralog with the same stretch, and a stranger.
        _row("TWO", 30, "P", 0, "UniProt_humsavar", PROTEIN),
        _row("THREE", 40, "A", 0, "VariPred_test", other),
    ]
    table = pd.DataFrame(rows)
    return Precedents.of(table), rows[0]["wt_window101"]


def test_the_same_residue_comes_first_then_its_neighbours_then_other_genes() -> None:
    precedents, window = _toy()
    found = precedents.nearest("ONE", window, "P")
    assert [(each.gene, each.position, each.relation) for each in found] == [
        ("ONE", 30, SAME_CHANGE),
        ("ONE", 30, SAME_RESIDUE),
        ("ONE", 33, SAME_GENE),
        ("TWO", 30, SIMILAR),
        ("THREE", 40, SIMILAR),
    ]
    assert [each.distance for each in found] == [0, 0, 3, None, None]
    assert found[0].similarity == 1
    assert found[3].similarity == 1
    assert found[4].similarity < 0.5
    assert found[0].pathogenic
    assert not found[1].pathogenic


def test_a_residue_is_known_by_its_surroundings_and_not_by_its_number() -> None:
    precedents, window = _toy()
    shifted = Precedents(precedents.table.assign(pos=precedents.table["pos"] + 200))
    assert [each.relation for each in shifted.nearest("ONE", window, "P")[:2]] == [
        SAME_CHANGE,
        SAME_RESIDUE,
    ]


def test_only_genes_asked_for_and_only_open_labels() -> None:
    precedents, window = _toy()
    kept = precedents.of_genes(["TWO"]).nearest("ONE", window, "P")
    assert [each.gene for each in kept] == ["TWO"]
    assert precedents.of_genes([]).nearest("ONE", window, "P") == []
    assert len(precedents.nearest("ONE", window, "P", count=3)) == 3


@given(st.text(_LETTERS + "X-", min_size=15, max_size=15), st.sampled_from(_LETTERS))
def test_nothing_is_more_like_a_change_than_itself(near: str, mutant: str) -> None:
    precedents, _ = _toy()
    window = "A" * 43 + near[:7] + "C" + near[8:] + "A" * 43
    own = precedents.table.iloc[[0]].assign(
        gene="X", wt="C", mt=mutant, window15=near[:7] + "C" + near[8:]
    )
    found = Precedents(pd.concat([precedents.table, own])).nearest(None, window, mutant)
    assert found[0].gene == "X"
    assert found[0].similarity == 1


def test_written_and_read_it_is_the_same(tmp_path: Path) -> None:
    precedents, _ = _toy()
    precedents.write(tmp_path)
    first = (tmp_path / PRECEDENTS).read_bytes()
    read = Precedents.read(tmp_path / PRECEDENTS)
    pd.testing.assert_frame_equal(read.table, precedents.table)
    read.write(tmp_path)
    assert (tmp_path / PRECEDENTS).read_bytes() == first
    (tmp_path / PRECEDENTS).write_bytes(b"nothing")
    with pytest.raises(TableError):
        Precedents.read(tmp_path / PRECEDENTS)
