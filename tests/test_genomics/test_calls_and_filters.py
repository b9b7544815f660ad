"""Alleles that were not called for the sample, and records that failed the caller's filters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from genomics_toys import write_toy_genome, write_vcf

from genomics.report import VariantReport
from genomics.score import score_vcf
from napari_precimed.export.variants import variant_table

# toy_plus 24 is the first base of codon 2 (GCT, alanine): A, C and T are missense.
# 29 is the last of codon 3 (TGG): A is a stop. 26 is the last of codon 2: any change is silent.
_MISSENSE, _STOP, _SILENT = "toy_plus 24 . G", "toy_plus 29 . G A", "toy_plus 26 . T C"


def _scored(
    folder: Path, *rows: str, samples: str = "P", sample: str | None = None
) -> VariantReport:
    files = write_toy_genome(folder)
    vcf = write_vcf(folder / "v.vcf", list(rows), samples)
    return score_vcf(vcf, reference=files.fasta, genes=files.gff3, sample=sample)


@pytest.mark.parametrize("genotype", ["./.", ".", ".|.", "./0", "0|."])
def test_an_allele_whose_genotype_was_not_called_has_that_reason(
    tmp_path: Path, genotype: str
) -> None:
    report = _scored(
        tmp_path,
        f"{_MISSENSE} A . . . GT {genotype}",
        f"{_SILENT} . . . GT {genotype}",
        f"{_STOP} . . . GT {genotype}",
    )
    assert [each.reason for each in report.scored] == [
        f"the genotype was not called: {genotype}"
    ] * 3
    assert all(each.score is None and each.classification is None for each in report.scored)
    assert report.ledger["not_scored"] == {"the genotype was not called": 3}


def test_a_partly_missing_genotype_that_has_the_allele_carries_it(tmp_path: Path) -> None:
    report = _scored(tmp_path, f"{_MISSENSE} A,C . . . GT ./2")
    first, second = report.scored
    assert first.reason == "the genotype was not called: ./2"
    assert second.score is not None
    assert second.zygosity is None


def test_a_record_without_gt_is_scored_and_its_zygosity_is_unknown(tmp_path: Path) -> None:
    (only,) = _scored(tmp_path, f"{_MISSENSE} A . . . DP 30").scored
    assert only.score is not None
    assert only.genotype is None
    assert only.zygosity is None


def test_a_merged_file_gives_each_sample_only_its_own(tmp_path: Path) -> None:
    rows = (f"{_MISSENSE} A . . . GT 0/1 ./.", f"{_STOP} . . . GT ./. 0/1")
    mine = _scored(tmp_path, *rows, samples="P Q", sample="P").ledger
    theirs = _scored(tmp_path, *rows, samples="P Q", sample="Q").ledger
    assert (mine["scored"], mine["by_rule"]) == (1, 0)
    assert (theirs["scored"], theirs["by_rule"]) == (0, 1)


def test_an_allele_with_a_reason_ranks_below_every_other_and_the_uncalled_last(
    tmp_path: Path,
) -> None:
    report = _scored(
        tmp_path,
        f"{_MISSENSE} A . . . GT ./.",
        "toy_plus 25 . C T . . . GT 0/1",  # missense
        f"{_SILENT} . . . GT 0/1",
        "toy_plus 28 . G A . . . GT ./.",  # a stop, as the next
        f"{_STOP} . . . GT 0/1",
        "toy_plus 45 . C A . . . GT 0/1",  # intron
    )
    ranked = [each.variant.position for each in report.ranked()]
    assert ranked == [29, 25, 26, 45, 24, 28]


@pytest.fixture(scope="module")
def filtered(tmp_path_factory: pytest.TempPathFactory) -> VariantReport:
    return _scored(
        tmp_path_factory.mktemp("filtered"),
        "toy_plus 24 . G A . MAPQ0 . GT 0/1",
        "toy_plus 25 . C T . . . GT 0/1",
        "toy_plus 28 . G A . MAPQ0;LowQual . GT 0/1",
        "toy_plus 29 . G A . PASS . GT 0/1",
    )


def test_the_filters_that_failed_stay_with_the_allele(filtered: VariantReport) -> None:
    failed = ["MAPQ0", None, "MAPQ0;LowQual", None]
    assert [each.failed_filters for each in filtered.scored] == failed
    back = VariantReport.from_json(filtered.to_json())
    assert [each.failed_filters for each in back.scored] == failed
    assert list(filtered.to_frame()["filter"].fillna("")) == ["MAPQ0", "", "MAPQ0;LowQual", "PASS"]
    assert "\tMAPQ0;LowQual\t" in filtered.to_tsv()


def test_what_failed_a_filter_ranks_after_what_passed_within_its_class(
    filtered: VariantReport,
) -> None:
    suspect, clean, *stops = filtered.scored
    assert suspect.score is not None
    ordered = VariantReport("P", (replace(suspect, score=0.9), replace(clean, score=0.1), *stops))
    assert [each.variant.position for each in ordered.ranked()] == [29, 28, 25, 24]


def test_the_reports_table_says_which_filters_failed(filtered: VariantReport) -> None:
    table = variant_table(filtered)
    by_place = {row[3].splitlines()[0]: row[4] for row in table.rows}
    assert by_place["toy_plus:28"].endswith("filtered: MAPQ0;LowQual")
    assert "filtered" not in by_place["toy_plus:29"] + by_place["toy_plus:25"]
    assert any(note.startswith("Filtered:") for note in table.notes)


def test_the_window_says_which_filters_failed(filtered: VariantReport) -> None:
    pytest.importorskip("PySide6", reason="the window needs Qt")
    from napari_precimed.ui.variant_text import details_html, variant_columns

    (column,) = [each for each in variant_columns() if each.title == "Filter"]
    assert [column.text(each) for each in filtered.scored] == [
        "filtered: MAPQ0",
        "–",
        "filtered: MAPQ0;LowQual",
        "PASS",
    ]
    assert "filtered: MAPQ0;LowQual" in details_html(filtered.scored[2])
