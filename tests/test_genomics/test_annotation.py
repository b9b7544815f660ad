from __future__ import annotations

from pathlib import Path

import pytest
from genomics_toys import write_vcf

from genomics.annotation import find_annotation, vep_allele
from genomics.rules import classify_by_rule
from genomics.vcf import alleles, read_vcf

_CSQ = (
    '##INFO=<ID=CSQ,Number=.,Type=String,Description="Consequence annotations from Ensembl VEP. '
    "Format: Allele|Consequence|SYMBOL|Feature|BIOTYPE|HGVSp|Protein_position|Amino_acids|"
    'CANONICAL|MANE_SELECT|WildtypeProtein">'
)
_ANN = (
    "##INFO=<ID=ANN,Number=.,Type=String,Description=\"Functional annotations: 'Allele | "
    "Annotation | Gene_Name | Feature_Type | Feature_ID | Transcript_BioType | HGVS.c | HGVS.p | "
    "AA.pos / AA.length'\">"
)


@pytest.mark.parametrize(
    ("ref", "alts", "alt", "named"),
    [
        ("A", ("G",), "G", "G"),
        ("AC", ("GT",), "GT", "GT"),
        ("A", ("AT",), "AT", "T"),
        ("ATG", ("A",), "A", "-"),
        ("AT", ("A", "ATT"), "ATT", "TT"),
        ("A", ("G", "*"), "G", "G"),
    ],
)
def test_alleles_are_named_as_vep_names_them(
    ref: str, alts: tuple[str, ...], alt: str, named: str
) -> None:
    assert vep_allele(ref, alts, alt) == named


def _vcf(tmp_path: Path, header: str, row: str) -> Path:
    return write_vcf(tmp_path / "a.vcf", [row], header=(header,))


def test_each_allele_of_a_record_gets_its_own_annotation(tmp_path: Path) -> None:
    entries = (
        "CSQ=T|missense_variant|G1|T1|protein_coding|P:p.Ala2Val|2|A/V|YES||MAWK,"
        "G|missense_variant|G1|T1|protein_coding|P:p.Ala2Gly|2|A/G|YES||MAWK"
    )
    vcf = read_vcf(_vcf(tmp_path, _CSQ, f"1 10 . C G,T . . {entries}"))
    annotation = find_annotation(vcf.header)
    assert annotation is not None
    (record,) = vcf.records
    found = [annotation.consequence(record, allele) for allele in alleles(record, None)]
    assert [each and each.hgvs_p for each in found] == ["p.Ala2Gly", "p.Ala2Val"]
    assert found[0] is not None
    assert found[0].window == "-" * 49 + "MAWK" + "-" * 48


def test_a_protein_that_contradicts_its_own_change_is_not_scored(tmp_path: Path) -> None:
    entry = "CSQ=T|missense_variant|G1|T1|protein_coding|p.Ala3Val|3|A/V|YES||MAWK"
    vcf = read_vcf(_vcf(tmp_path, _CSQ, f"1 10 . C T . . {entry}"))
    annotation = find_annotation(vcf.header)
    assert annotation is not None
    (record,) = vcf.records
    found = annotation.consequence(record, alleles(record, None)[0])
    assert found is not None
    assert found.window is None
    assert "residue 3" in str(found.note)
    assert "W" in str(found.note)


def test_the_mane_transcript_is_chosen_over_a_graver_one(tmp_path: Path) -> None:
    entries = (
        "CSQ=T|stop_gained|G1|T2|protein_coding|p.Trp3Ter|3|W/*|||MAWK,"
        "T|intron_variant|G1|T1|protein_coding||||YES|NM_1.1|"
    )
    vcf = read_vcf(_vcf(tmp_path, _CSQ, f"1 10 . C T . . {entries}"))
    annotation = find_annotation(vcf.header)
    assert annotation is not None
    (record,) = vcf.records
    found = annotation.consequence(record, alleles(record, None)[0])
    assert found is not None
    assert (found.transcript, found.term, found.preference) == ("T1", "intron_variant", 0)


def test_snpeff_gives_the_change_but_no_window(tmp_path: Path) -> None:
    entry = "ANN=T|missense_variant|G1|transcript|T1|protein_coding|c.5C>T|p.Ala2Val|2/4"
    vcf = read_vcf(_vcf(tmp_path, _ANN, f"1 10 . C T . . {entry}"))
    annotation = find_annotation(vcf.header)
    assert annotation is not None
    assert annotation.tool == "SnpEff"
    (record,) = vcf.records
    found = annotation.consequence(record, alleles(record, None)[0])
    assert found is not None
    assert (found.wild_type, found.protein_position, found.mutant) == ("A", 2, "V")
    assert found.window is None
    assert "--reference and --genes" in str(found.note)


def test_a_file_without_annotation_has_none(tmp_path: Path) -> None:
    assert find_annotation(read_vcf(write_vcf(tmp_path / "a.vcf", [])).header) is None


@pytest.mark.data
def test_every_missense_window_of_the_real_tumour_agrees_with_its_hgvs(shared_data: Path) -> None:
    from Bio.SeqUtils import seq3

    vcf = read_vcf(shared_data / "genomics/vcf/real/hcc1395_vep.vcf.gz")
    annotation = find_annotation(vcf.header)
    assert annotation is not None
    found = [
        annotation.consequence(record, allele)
        for record in vcf.records
        for allele in alleles(record, vcf.header.build)
    ]
    windowed = [each for each in found if each is not None and each.window is not None]
    wrong = [
        each
        for each in windowed
        if str(each.window)[50] != each.wild_type
        or each.hgvs_p != f"p.{seq3(each.wild_type)}{each.protein_position}{seq3(each.mutant)}"
    ]
    assert len(found) == 1470
    assert len(windowed) > 300
    assert wrong == []


@pytest.mark.parametrize(
    ("exon", "label"), [("5/12", "likely disruptive"), ("12/12", "possibly disruptive")]
)
def test_a_stop_that_vep_places_in_the_last_exon_is_weakened(
    tmp_path: Path, exon: str, label: str
) -> None:
    header = _CSQ.replace("|BIOTYPE", "|BIOTYPE|EXON")
    row = f"1 10 . C T . . CSQ=T|stop_gained|G1|T1|protein_coding|{exon}|p.Gln9Ter|9|Q/*|YES||MAWK"
    vcf = read_vcf(_vcf(tmp_path, header, row))
    annotation = find_annotation(vcf.header)
    assert annotation is not None
    (record,) = vcf.records
    found = annotation.consequence(record, alleles(record, None)[0])
    assert found is not None
    classification = classify_by_rule(found)
    assert classification is not None
    assert classification.label == label
