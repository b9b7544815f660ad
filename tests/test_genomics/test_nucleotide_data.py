"""Consequence classes, contexts and splits on the toy genome, worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from genomics_toys import EXON2, MINUS, PLUS, reverse_complement, write_toy_genome
from hypothesis import given
from hypothesis import strategies as st
from nucleotide_toys import write_mpra

from genomics.errors import TableError
from genomics.genes import Genes
from genomics.nucleotide.context import FLANK_BP, SiteContext, layout
from genomics.nucleotide.dataset import (
    MITOCHONDRIAL_RNA,
    UNPLACED,
    consequence_class,
    locus,
    read_dna_table,
    read_gene_sequences,
    read_mpra,
    with_consequences,
)
from genomics.nucleotide.natural import natural_sites
from genomics.nucleotide.split import (
    TEST_PERCENT,
    development_folds,
    folds_of_units,
    is_test_unit,
)

_COLUMNS = ("gene", "chr", "pos", "ref", "alt", "label", "left100", "right100")
PADDED = "N" * FLANK_BP + PLUS + "N" * FLANK_BP


def _row(position: int, alt: str, label: int = 0, gene: str = "PLUS", chrom: str = "chr1") -> dict:
    """A labelled change of the + strand of ``toy_plus``, where the table has its own numbers."""
    middle = position - 1 + FLANK_BP
    return {
        "gene": gene,
        "chr": chrom,
        "pos": 5_000_000 + position,
        "ref": PADDED[middle],
        "alt": alt,
        "label": label,
        "left100": PADDED[middle - FLANK_BP : middle],
        "right100": PADDED[middle + 1 : middle + 1 + FLANK_BP],
    }


def _write(path: Path, rows: list[dict]) -> Path:
    pd.DataFrame(rows, columns=list(_COLUMNS)).to_csv(path, sep="\t", index=False)
    return path


@pytest.fixture
def genes(tmp_path: Path) -> Path:
    files = write_toy_genome(tmp_path)
    folder = tmp_path / "genes"
    folder.mkdir()
    files.fasta.rename(folder / "toy.fasta")
    files.gff3.rename(folder / "toy.gff3")
    return folder


def test_a_window_is_placed_on_its_gene_and_gets_its_consequence(genes: Path) -> None:
    rows = [
        _row(36, "C"),  # the fourth base of the intron
        _row(26, "C"),  # GCT -> GCC, alanine stays
        _row(45, "A"),  # deep in the intron
        _row(33, "C"),  # the donor's G
        _row(18, "T"),
        _row(80, "A"),
        _row(25, "T"),
    ]
    placed = with_consequences(pd.DataFrame(rows), read_gene_sequences(genes))
    assert list(placed["class"]) == [
        "splice_region_variant",
        "synonymous_variant",
        "intron_variant",
        "splice_donor_variant",
        "5_prime_UTR_variant",
        "3_prime_UTR_variant",
        "missense_variant",
    ]
    assert set(placed["unit"]) == {"PLUS"}
    assert placed["terms"][0] == "splice_region_variant,intron_variant|protein_coding"


def test_a_gene_of_the_minus_strand_is_read_in_its_own_direction(genes: Path) -> None:
    sequences = read_gene_sequences(genes)
    plus = with_consequences(pd.DataFrame([_row(36, "C")]), sequences)
    # The same change, written on the other strand's gene and its genomic + strand.
    padded = "N" * FLANK_BP + MINUS + "N" * FLANK_BP
    middle = 98 - 36 - 1 + FLANK_BP
    row = _row(36, "C") | {
        "gene": "MINUS",
        "ref": padded[middle],
        "alt": "G",
        "left100": padded[middle - FLANK_BP : middle],
        "right100": padded[middle + 1 : middle + 1 + FLANK_BP],
    }
    minus = with_consequences(pd.DataFrame([row]), sequences)
    for column in ("class", "window", "change", "layout"):
        assert list(minus[column]) == list(plus[column])


def test_a_window_of_no_known_gene_is_said_to_be_unplaced(genes: Path) -> None:
    elsewhere = _row(36, "C") | {"left100": "A" * 100, "right100": "C" * 100}
    rows = pd.DataFrame([elsewhere, _row(36, "C", gene="OTHER")])
    placed = with_consequences(rows, read_gene_sequences(genes))
    assert list(placed["class"]) == [UNPLACED, UNPLACED]
    assert list(placed["unit"]) == ["PLUS", "OTHER"]
    assert set(placed["layout"]) == {"?" * 201}


def test_the_layout_names_every_base_of_the_toy_gene(genes: Path) -> None:
    transcripts = Genes.read(genes / "toy.gff3").by_contig
    plus, minus = (transcripts[name][0] for name in ("toy_plus", "toy_minus"))
    expected = "-" * 10 + "u" * 10 + "012" * 4 + "i" * 30 + "012" * 5 + "u" * 10 + "-" * 10
    assert layout(plus, 1, 97) == expected
    assert layout(minus, 1, 97) == expected[::-1]
    assert layout(plus, -4, 3) == "-" * 8
    window = PADDED[62:263]
    site = SiteContext.on(plus, 63, window, "C")
    assert site.window[100:115] == EXON2
    assert site.layout[97:103] == "iii012"
    turned = SiteContext.on(minus, 98 - 63, reverse_complement(window), "G")
    assert turned == site


@pytest.mark.parametrize(
    ("term", "chrom", "expected"),
    [
        ("intron_variant", "chr1", "intron_variant"),
        ("splice_donor_5th_base_variant", "1", "splice_region_variant"),
        ("non_coding_transcript_exon_variant", "chrM", MITOCHONDRIAL_RNA),
        ("non_coding_transcript_exon_variant", "chr1", "non_coding_transcript_exon_variant"),
        ("synonymous_variant", "NC_012920.1", "chrM synonymous_variant"),
    ],
)
def test_classes(term: str, chrom: str, expected: str) -> None:
    assert consequence_class(term, chrom) == expected


def test_only_snvs_are_read_and_a_broken_table_is_refused(tmp_path: Path) -> None:
    rows = [_row(36, "C"), _row(36, "CC"), _row(40, "A") | {"ref": "AT"}]
    assert len(read_dna_table(_write(tmp_path / "t.tsv", rows))) == 1
    for broken in ({"label": 2}, {"left100": "ACGT"}):
        with pytest.raises(TableError, match="needs SNVs"):
            read_dna_table(_write(tmp_path / "t.tsv", [_row(36, "C") | broken]))
    with pytest.raises(TableError, match="needs SNVs"):
        read_dna_table(_write(tmp_path / "t.tsv", [_row(36, "CC")]))
    with pytest.raises(TableError, match="give the folder"):
        read_dna_table(tmp_path / "genes")


def test_an_elements_sequence_is_put_together_from_its_changes(tmp_path: Path) -> None:
    rows = [
        "1 11 A C 50 1 1 0.5 0.1 SORT1 GRCh38",
        "1 12 C T 50 1 1 -0.5 0.1 SORT1 GRCh38",
        "1 12 C - 50 1 1 9 0.1 SORT1 GRCh38",
        "1 13 G T 9 1 1 9 0.1 SORT1 GRCh38",
        "1 15 T A 50 1 1 1.5 0.1 SORT1 GRCh38",
        "1 11 A C 50 1 1 7 0.1 SORT1 GRCh37",
        "NA NA NA NA 50 1 1 7 0.1 SORT1 GRCh38",
    ]
    table = read_mpra(write_mpra(tmp_path / "mpra", rows))
    # Position 14 was never changed, so its base is not known.
    assert [window[98:107] for window in table["window"]] == [
        "NNACGNTNN",
        "NACGNTNNN",
        "GNTNNNNNN",
    ]
    assert list(table["change"]) == ["C", "T", "A"]
    assert list(table["distance"]) == [2, 1, 2]
    assert table["effect"].std(ddof=0) == pytest.approx(1)


def test_one_locus_measured_twice_is_one_unit() -> None:
    assert [locus(name) for name in ("SORT1-flip", "SORT1.2", "SORT1", "TERT-GBM")] == [
        *["SORT1"] * 3,
        "TERT",
    ]


@given(st.dictionaries(st.text("ABC", min_size=1), st.integers(0, 9), max_size=20))
def test_folds_share_their_weight_and_no_unit_is_in_two(weights: dict[str, int]) -> None:
    folds = folds_of_units(weights, 3)
    assert folds.keys() == weights.keys()
    load = [sum(max(weights[unit], 1) for unit in folds if folds[unit] == k) for k in range(3)]
    assert max(load) - min(load) <= max([1, *weights.values()])


def test_a_test_unit_is_in_no_fold_and_stays_where_it_is() -> None:
    units = [f"GENE{number}" for number in range(400)]
    table = pd.DataFrame({"unit": units * 2, "label": [0, 1] * 400})
    folds = development_folds(table, 3, "label")
    assert set(folds) == {unit for unit in units if not is_test_unit(unit)}
    assert abs(len(folds) / 400 - (1 - TEST_PERCENT / 100)) < 0.1
    assert is_test_unit("USH2A")
    assert not is_test_unit("BRCA2")


def test_natural_places_are_the_genes_own_bases(genes: Path) -> None:
    sites = natural_sites(read_gene_sequences(genes))
    assert set(sites["unit"]) == {"PLUS", "MINUS"}
    assert (sites["window"].str[100] == sites["change"]).all()
    one, other = (
        {tuple(row[1:4]) for row in rows.itertuples()} for _, rows in sites.groupby("unit")
    )
    # Both genes are the same sequence; the places near their splice sites are all there.
    donor = sites[sites["layout"].str[98:102] == "12ii"]
    assert set(donor["window"].str[100:102]) == {"GT"}
    assert len(one & other) > 30


@pytest.mark.data
def test_the_shared_windows_are_placed(shared_data: Path) -> None:
    table = read_dna_table(shared_data).sample(300, random_state=0)
    placed = with_consequences(table, read_gene_sequences(shared_data / "genomics" / "genes"))
    known = placed[placed["class"] != UNPLACED]
    # WT1 is the one gene without a sequence in the shared data.
    assert set(placed.loc[placed["class"] == UNPLACED, "gene"]) <= {"WT1", "BRCA2"}
    assert len(known) > 280
    stops = known[known["class"] == "stop_gained"]
    assert stops["label"].mean() > 0.95
    assert known.loc[known["class"] == "synonymous_variant", "label"].mean() < 0.05
