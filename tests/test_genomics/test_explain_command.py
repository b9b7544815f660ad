from __future__ import annotations

import json
from pathlib import Path

import pytest
from genomics_toys import ToyFiles, write_toy_genome
from PIL import Image

from genomics.__main__ import app, run
from genomics.errors import VariantNameError
from genomics.explain.of_variant import parse_variant
from genomics.score import MissenseModel

# Codon 2 is GCT (Ala) at 24-26; C>T at 25 makes it GTT (Val).
MISSENSE = "toy_plus:25:C:T"


@pytest.fixture
def toy(tmp_path: Path) -> ToyFiles:
    return write_toy_genome(tmp_path)


def _explain(variant: str, files: ToyFiles, out: Path, *options: str) -> int:
    arguments = ["explain", variant, "--reference", str(files.fasta), "--genes", str(files.gff3)]
    arguments += ["-o", str(out), *options]
    return run(lambda: app(arguments, standalone_mode=False))


def test_json_says_all_and_agrees_with_the_score(
    toy: ToyFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _explain(MISSENSE, toy, tmp_path / "out.tsv", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    window = "-" * 49 + "MAWRKLYE" + "-" * 44
    probability, doubt = MissenseModel.load("missense-lstm").probability([window], ["V"])
    assert found["consequence"]["hgvs_p"] == "p.Ala2Val"
    assert found["score"] == pytest.approx(float(probability[0]))
    assert found["doubt"] == pytest.approx(float(doubt[0]))
    assert [row["residue"] for row in found["residues"]] == [*"MAWRKLYE", "V"]
    total = sum(row["attribution"] for row in found["residues"])
    assert total == pytest.approx(found["log_odds"] - found["baseline_log_odds"], abs=0.01)
    assert -1 <= found["agreement"] <= 1
    assert found["precedents"] == []
    assert "explain --data looks in a labelled table" in found["precedents_from"]
    assert found["run"]["weights_sha256"]


def test_the_table_has_one_row_per_residue(toy: ToyFiles, tmp_path: Path) -> None:
    out = tmp_path / "out.tsv"
    assert _explain(MISSENSE, toy, out) == 0
    lines = out.read_text().splitlines()
    table = [line.split("\t") for line in lines if not line.startswith("#")]
    assert table[0][:4] == ["offset", "role", "residue", "attribution"]
    assert [row[2] for row in table[1:]] == [*"MAWRKLYE", "V"]
    assert all(len(row) == len(table[0]) for row in table)
    assert any("Not a medical device" in line for line in lines)


@pytest.mark.data
def test_precedents_come_from_the_table_that_is_named(
    toy: ToyFiles, tmp_path: Path, shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.tsv"
    assert _explain(MISSENSE, toy, out, "--json", "--data", str(shared_data / "genomics")) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["precedents"]) == 8
    assert out.read_text().count("# precedent\t") == 8


def test_the_picture_is_drawn_and_the_same_each_time(toy: ToyFiles, tmp_path: Path) -> None:
    first, second = tmp_path / "one.png", tmp_path / "two.png"
    assert _explain(MISSENSE, toy, first) == 0
    assert _explain("toy_plus-25-c-t", toy, second) == 0
    with Image.open(first) as picture:
        assert picture.width >= 2000
        assert len(picture.convert("RGB").getcolors(2**24) or []) > 50
    assert first.read_bytes() == second.read_bytes()


def test_a_gene_on_the_other_strand_is_explained_alike(
    toy: ToyFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = []
    for variant in (MISSENSE, "toy_minus:73:G:A"):
        assert _explain(variant, toy, tmp_path / "out.tsv", "--json") == 0
        results.append(json.loads(capsys.readouterr().out))
    plus, minus = results
    assert minus["residues"] == plus["residues"]
    assert minus["score"] == plus["score"]


@pytest.mark.parametrize(
    ("variant", "says"),
    [
        ("toy_plus:25:G:T", "has C there"),
        ("toy_plus:26:T:C", "no missense score"),
        ("toy_plus:29:G:A", "disruptive by rule"),
        ("toy_plus:45:C:T", "no missense score"),
        ("nowhere:5:A:C", "no sequence"),
        ("toy_plus:9000:A:C", "leaves the sequence"),
        ("toy_plus:25:C", "write it as chrom:pos:ref:alt"),
        ("toy_plus:25:C:C", "two different alleles"),
        ("toy_plus:25:C:<DEL>", "write it as chrom:pos:ref:alt"),
    ],
)
def test_what_cannot_be_explained_is_said_in_one_line_and_nothing_is_written(
    toy: ToyFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str], variant: str, says: str
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    assert _explain(variant, toy, folder / "out.png") == 2
    output = capsys.readouterr()
    assert says in output.err
    assert len(output.err.strip().splitlines()) == 1
    assert output.out == ""
    assert list(folder.iterdir()) == []


def test_another_ending_is_refused(
    toy: ToyFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _explain(MISSENSE, toy, tmp_path / "out.pdf") == 2
    assert "must end in one of .png, .tsv" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("17:7674220:G:A", "17-7674220-G-A"),
        ("chr17-7674220-g-a", "chr17-7674220-G-A"),
        ("chr17:7674220:G>A", "chr17-7674220-G-A"),
        ("HLA-A*01:01:01:25:C:T", "HLA-A*01:01:01-25-C-T"),
        ("1-5-AC-T", "1-5-AC-T"),
    ],
)
def test_variants_are_read_as_people_write_them(text: str, key: str) -> None:
    assert parse_variant(text).key == key


@pytest.mark.parametrize("text", ["", "17", "17:x:G:A", "17:5:G", "17:5:G:", "17:5:R:A"])
def test_anything_else_is_no_variant(text: str) -> None:
    with pytest.raises(VariantNameError):
        parse_variant(text)
