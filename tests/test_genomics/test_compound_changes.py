"""Changes that meet in a codon, worked out by hand on the toy gene.

Codon 2 is GCT (bases 24 to 26, alanine): G>A at 24 gives ACT (Thr), C>A at 25 gives GAT (Asp), both
together AAT (Asn).
"""

from __future__ import annotations

from pathlib import Path

import pytest
from genomics_toys import write_toy_genome, write_vcf

from genomics.caller import GeneCaller
from genomics.compound import Placed, phase_of, read_together
from genomics.consequence import Consequence
from genomics.genes import Genes
from genomics.reference import Reference
from genomics.report import VariantReport
from genomics.score import score_vcf
from genomics.variant import Genotype, Variant

FIRST, SECOND = Variant(None, "toy_plus", 24, "G", "A"), Variant(None, "toy_plus", 25, "C", "A")


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> GeneCaller:
    files = write_toy_genome(tmp_path_factory.mktemp("toy"))
    return GeneCaller(Reference.open(files.fasta), Genes.read(files.gff3))


def _genotype(text: str, phase_set: str | None = None) -> Genotype:
    alleles = [None if each == "." else int(each) for each in text.replace("|", "/").split("/")]
    return Genotype(tuple(alleles), "|" in text, phase_set)


def _read(caller: GeneCaller, *calls: tuple[Variant, Genotype]) -> list[Consequence]:
    placed = [
        Placed(variant, genotype, line, 1, caller.consequence(variant))
        for line, (variant, genotype) in enumerate(calls, start=10)
    ]
    found = list(read_together(placed, caller))
    assert len(found) == len(calls)
    return [each for each in found if each is not None]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (_genotype("0|1"), _genotype("0|1")),
        (_genotype("1|0", "7"), _genotype("1|0", "7")),
        (_genotype("1/1"), _genotype("1/1")),
        (_genotype("1"), _genotype("1")),
    ],
    ids=["phased", "one phase set", "homozygous", "haploid"],
)
def test_on_one_haplotype_they_are_one_missense(
    caller: GeneCaller, one: Genotype, other: Genotype
) -> None:
    for found in _read(caller, (FIRST, one), (SECOND, other)):
        assert (found.terms, found.hgvs_p) == (("missense_variant",), "p.Ala2Asn")
        assert found.hgvs_c == "c.4_5delinsAA"
        # Missense on the haplotype: the model of substitutions reads it.
        assert (found.wild_type, found.mutant) == ("A", "N")
        assert found.window is not None
        assert found.window[50] == "A"
        assert found.compound is not None
        assert found.compound.phase == "cis"
        assert found.compound.alone is not None
    first, second = _read(caller, (FIRST, one), (SECOND, other))
    assert first.compound is not None
    assert first.compound.partners == ("toy_plus-25-C-A",)
    assert first.compound.alone is not None
    assert first.compound.alone.hgvs_p == "p.Ala2Thr"
    assert second.compound is not None
    assert second.compound.alone is not None
    assert second.compound.alone.hgvs_p == "p.Ala2Asp"


def test_on_two_haplotypes_they_are_read_apart(caller: GeneCaller) -> None:
    first, second = _read(caller, (FIRST, _genotype("0|1")), (SECOND, _genotype("1|0")))
    assert (first.hgvs_p, second.hgvs_p) == ("p.Ala2Thr", "p.Ala2Asp")
    assert first.compound is None
    assert second.compound is None


@pytest.mark.parametrize(
    ("one", "other", "phase"),
    [
        (_genotype("0/1"), _genotype("0/1"), "unphased"),
        (_genotype("0|1", "7"), _genotype("0|1", "8"), "unphased"),
        (_genotype("0|1"), _genotype("0/1"), "unphased"),
        (_genotype("./1"), _genotype("0|1"), "unphased"),
        (_genotype("1/1"), _genotype("0/1"), "cis on one of two"),
        (_genotype("0/1"), _genotype("./."), "uncalled"),
    ],
)
def test_where_it_is_not_told_both_readings_are_given(
    caller: GeneCaller, one: Genotype, other: Genotype, phase: str
) -> None:
    first, *_ = _read(caller, (FIRST, one), (SECOND, other))
    assert first.hgvs_p == "p.Ala2Thr"
    assert first.compound is not None
    assert first.compound.phase == phase
    assert first.compound.together is not None
    assert first.compound.together.hgvs_p == "p.Ala2Asn"
    assert str(one) in first.compound.evidence


def test_a_heterozygous_change_beside_a_homozygous_one_is_read_together(caller: GeneCaller) -> None:
    _, second = _read(caller, (FIRST, _genotype("1/1")), (SECOND, _genotype("0/1")))
    assert second.hgvs_p == "p.Ala2Asn"


def test_what_is_not_carried_is_not_read_with_it(caller: GeneCaller) -> None:
    first, _ = _read(caller, (FIRST, _genotype("0/1")), (SECOND, _genotype("0/0")))
    assert first.compound is None


def test_two_alleles_of_one_record_are_never_on_one_haplotype(caller: GeneCaller) -> None:
    genotype = _genotype("1/2")
    one = Placed(FIRST, genotype, 10, 1, None)
    assert phase_of(one, Placed(FIRST, genotype, 10, 2, None)) == "trans"


def test_a_restored_frame_is_an_in_frame_change(caller: GeneCaller) -> None:
    # ATG GCT TGG CGT without its 5th base and with an A after its 9th: ATG GTT GGA CGT.
    deletion = Variant(None, "toy_plus", 24, "GC", "G")
    insertion = Variant(None, "toy_plus", 29, "G", "GA")
    alone = [caller.consequence(each).term for each in (deletion, insertion)]
    assert alone == ["frameshift_variant", "frameshift_variant"]
    cis = _genotype("0|1")
    first, second = _read(caller, (deletion, cis), (insertion, cis))
    assert first.term == second.term == "missense_variant"
    assert first.hgvs_p == "p.Ala2_Trp3delinsValGly"
    assert first.hgvs_c == "c.[5del;9_10insA]"
    apart, _ = _read(caller, (deletion, cis), (insertion, _genotype("1|0")))
    assert apart.term == "frameshift_variant"


def test_a_codon_split_by_an_intron_is_read_whole(tmp_path: Path) -> None:
    # The exons moved by one base: codon 4 is CG|T, read across the intron.
    files = write_toy_genome(tmp_path)
    text = (
        files.gff3.read_text()
        .replace("\t11\t32\t", "\t11\t31\t")
        .replace("\t21\t32\t", "\t21\t31\t")
    )
    text = text.replace("\t63\t87\t", "\t62\t87\t").replace("\t63\t77\t", "\t62\t77\t")
    files.gff3.write_text(text)
    caller = GeneCaller(Reference.open(files.fasta), Genes.read(files.gff3))
    # CG|G: C>A at 30 gives AGG (Arg), G>C at 62 CGC (Arg); together AGC, serine.
    left, right = Variant(None, "toy_plus", 30, "C", "A"), Variant(None, "toy_plus", 62, "G", "C")
    cis = _genotype("1|0")
    between = (Variant(None, "toy_plus", 45, "C", "T"), _genotype("0/1"))
    first, middle, last = _read(caller, (left, cis), between, (right, cis))
    assert first.hgvs_p == last.hgvs_p == "p.Arg4Ser"
    assert first.hgvs_c == "c.[10C>A;12G>C]"
    assert middle.compound is None


def test_both_readings_reach_the_report_and_come_back(tmp_path: Path) -> None:
    files = write_toy_genome(tmp_path)
    # Codon 7, TAC: T>C at 69 alone CAC (His); C>A at 71 alone TAA (stop); together CAA (Gln).
    vcf = write_vcf(
        tmp_path / "in.vcf",
        [
            "toy_plus 24 . G A . PASS . GT 0|1",
            "toy_plus 25 . C A . PASS . GT 0|1",
            "toy_plus 69 . T C . PASS . GT 0/1",
            "toy_plus 71 . C A . PASS . GT 0/1",
        ],
        samples="P",
        header=(
            "##contig=<ID=toy_plus,length=97>",
            '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">',
        ),
    )
    report = score_vcf(vcf, reference=files.fasta, genes=files.gff3)
    together, _, his, stop = report.scored
    assert together.consequence is not None
    assert together.consequence.hgvs_p == "p.Ala2Asn"
    assert together.score is not None
    assert his.consequence is not None
    assert his.consequence.hgvs_p == "p.Tyr7His"
    assert stop.classification is not None
    assert stop.classification.label == "possibly disruptive"
    assert "missense_variant (p.Tyr7Gln) together with toy_plus-69-T-C" in stop.classification.rule
    assert VariantReport.from_json(report.to_json()) == report
    row = report.to_frame().iloc[3]
    assert row["read_with"].startswith("unphased: toy_plus-69-T-C; ")
    assert row["other_reading"].endswith("missense_variant:c.19_21delinsCAA:p.Tyr7Gln")


def test_the_panel_and_the_report_show_both_readings(tmp_path: Path) -> None:
    """A clinician who sees one reading of an unphased pair must see the other beside it."""
    from napari_precimed.export.variants import variant_table
    from napari_precimed.ui.variant_text import details_html

    files = write_toy_genome(tmp_path)
    rows = ["toy_plus 24 . G A . PASS . GT 0/1", "toy_plus 25 . C A . PASS . GT 0/1"]
    vcf = write_vcf(tmp_path / "pair.vcf", rows, "P")
    report = score_vcf(vcf, reference=files.fasta, genes=files.gff3)
    shown = details_html(report.scored[0])
    assert "unphased" in shown
    assert "If read together" in shown
    assert "Asn" in shown
    assert any("read with unphased" in row[1] for row in variant_table(report).rows)
