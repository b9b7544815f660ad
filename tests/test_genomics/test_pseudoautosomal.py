"""Variants where X and Y are one sequence."""

from __future__ import annotations

from pathlib import Path

import pytest
from genomics_toys import EXON1, EXON2, INTRON

from genomics.caller import PSEUDOAUTOSOMAL, GeneCaller
from genomics.genes import Genes
from genomics.par import home_on_x, is_pseudoautosomal
from genomics.reference import Reference
from genomics.variant import Variant

_FIRST = 10_101
"""Where the toy gene's coding sequence begins on X of GRCh38: in PAR1, which starts at 10,001."""


@pytest.mark.parametrize(
    ("build", "chrom", "position", "inside", "home"),
    [
        ("GRCh38", "chrY", 10_001, True, 10_001),
        ("GRCh38", "Y", 10_000, False, None),
        ("GRCh38", "Y", 2_781_480, False, None),
        ("GRCh38", "Y", 57_217_415, True, 156_030_895),
        ("GRCh37", "Y", 10_001, True, 60_001),
        ("GRCh37", "Y", 59_034_050, True, 154_931_044),
        ("GRCh37", "X", 60_001, True, None),
        ("T2T-CHM13", "chrY", 5, True, None),
        (None, "Y", 10_001, False, None),
        ("GRCh38", "1", 10_001, False, None),
    ],
)
def test_the_regions_and_their_copies_on_x(
    build: str | None, chrom: str, position: int, inside: bool, home: int | None
) -> None:
    assert is_pseudoautosomal(build, chrom, position) is inside
    assert home_on_x(build, chrom, position) == home


@pytest.fixture
def caller(tmp_path: Path) -> GeneCaller:
    """X and Y of which only the first 20,000 bases are here; the gene is listed on X only."""
    text = ("A" * (_FIRST - 1) + EXON1 + INTRON + EXON2).ljust(20_000, "A")
    fasta, gff3 = tmp_path / "xy.fa", tmp_path / "xy.gff3"
    # As analysis sets have it, Y's copy is masked.
    fasta.write_text(f">chrX\n{text}\n>chrY\n{'N' * 15_000}{'A' * 5_000}\n")
    second = _FIRST + len(EXON1 + INTRON)
    spans = ((_FIRST, _FIRST + len(EXON1) - 1), (second, second + len(EXON2) - 1))
    rows = ["##gff-version 3"]
    for chrom, gene in (("chrX", "G"), ("chrY", "OTHER")):
        first = spans[0][0] if gene == "G" else 17_000
        last = spans[1][1] if gene == "G" else 17_100
        rows.append(f"{chrom}\tt\tmRNA\t{first}\t{last}\t.\t+\t.\tID={gene};gene={gene}")
        for begin, end in spans if gene == "G" else ((17_000, 17_100),):
            rows.append(f"{chrom}\tt\texon\t{begin}\t{end}\t.\t+\t.\tParent={gene}")
            if gene == "G":
                rows.append(f"{chrom}\tt\tCDS\t{begin}\t{end}\t.\t+\t0\tParent={gene}")
    gff3.write_text("\n".join(rows) + "\n")
    return GeneCaller(Reference.open(fasta), Genes.read(gff3))


def test_ys_copy_is_read_on_x_and_says_so(caller: GeneCaller) -> None:
    on_y = caller.consequence(Variant("GRCh38", "chrY", _FIRST + 3, "G", "A"))
    on_x = caller.consequence(Variant("GRCh38", "chrX", _FIRST + 3, "G", "A"))
    assert on_y.hgvs_p == on_x.hgvs_p == "p.Ala2Thr"
    assert on_y.hgvs_g == f"g.{_FIRST + 3}G>A"
    assert on_y.note == on_x.note == PSEUDOAUTOSOMAL


def test_without_a_build_no_copy_is_guessed(caller: GeneCaller) -> None:
    found = caller.consequence(Variant(None, "chrY", _FIRST + 3, "G", "A"))
    assert found.terms == ("intergenic_variant",)
    assert found.note is None
