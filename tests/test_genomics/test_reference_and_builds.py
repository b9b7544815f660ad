from __future__ import annotations

from pathlib import Path

import pytest
from genomics_toys import MINUS, PLUS, write_toy_genome, write_vcf

from genomics.contigs import (
    BUILD_LENGTHS,
    build_from_accession,
    build_from_lengths,
    build_from_text,
    canonical_name,
)
from genomics.errors import BuildMismatchError, ReferenceGenomeError
from genomics.reference import Reference
from genomics.vcf import read_vcf


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("chr1", "1"),
        ("1", "1"),
        ("NC_000001.11", "1"),
        ("NC_000023.10", "X"),
        ("chrM", "MT"),
        ("M", "MT"),
        ("NC_012920.1", "MT"),
        ("NC_060948.1", "Y"),
        ("GL000192.1", "GL000192.1"),
        ("HLA-DRB1*15:01:01:01", "HLA-DRB1*15:01:01:01"),
    ],
)
def test_one_name_however_it_is_written(written: str, name: str) -> None:
    assert canonical_name(written) == name


@pytest.mark.data
def test_chromosome_lengths_agree_with_real_files(shared_data: Path) -> None:
    real = shared_data / "genomics/vcf/real"
    for name in ("643594.clinical.vcf.gz", "hcc1395_vep.vcf.gz"):
        header = read_vcf(real / name).header
        known = BUILD_LENGTHS[str(header.build)]
        declared = {canonical_name(contig): length for contig, length in header.contigs.items()}
        assert {name: declared[name] for name in known} == known


def test_builds_are_told_by_length_accession_and_text() -> None:
    assert build_from_lengths({"chr7": 159345973}) == "GRCh38"
    assert build_from_lengths({"7": 159138663}) == "GRCh37"
    assert build_from_lengths({"7": 159138663, "8": 145138636}) is None
    assert build_from_lengths({"7": 100}) is None
    assert build_from_accession("NC_000017.10") == "GRCh37"
    assert build_from_accession("NC_000017.11") == "GRCh38"
    assert build_from_accession("NC_060941.1") == "T2T-CHM13"
    assert build_from_text("##reference=file:///ref/human_g1k_v37.fasta") == "GRCh37"
    assert build_from_text("lifted from hg19 to hg38") is None


def test_bases_are_one_based_and_upper_case(tmp_path: Path) -> None:
    fasta = tmp_path / "a.fa"
    fasta.write_text(">chr1 first\nacgtACGT\nTTTT\n>2\nNNAC\n")
    reference = Reference.open(fasta)
    assert reference.bases("1", 1, 4) == "ACGT"
    assert reference.bases("chr1", 8, 10) == "TTT"
    assert reference.bases("chr2", 3, 4) == "AC"
    assert reference.bases("2", 3, 2) == ""
    with pytest.raises(ReferenceGenomeError, match="leaves the sequence of 4 bases"):
        reference.bases("2", 3, 5)
    with pytest.raises(ReferenceGenomeError, match="no sequence 'chr3'"):
        reference.bases("chr3", 1, 1)


def test_the_index_is_not_written_beside_the_reference(tmp_path: Path) -> None:
    files = write_toy_genome(tmp_path)
    reference = Reference.open(files.fasta)
    assert reference.bases("toy_plus", 1, 97) == PLUS
    assert reference.bases("toy_minus", 1, 97) == MINUS
    assert sorted(path.name for path in tmp_path.iterdir()) == ["toy.fa", "toy.gff3"]


def test_a_changed_reference_is_indexed_anew(tmp_path: Path) -> None:
    fasta = tmp_path / "a.fa"
    fasta.write_text(">1\nACGT\n")
    assert Reference.open(fasta).lengths == {"1": 4}
    fasta.write_text(">1\nACGTACGT\n>2\nAC\n")
    assert Reference.open(fasta).lengths == {"1": 8, "2": 2}


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("", "holds no sequence"),
        ("ACGT\n", "begins with '>'"),
        (">1\nACGT\nAC\nACGT\n", "differ in length"),
        (">1\nAC\n>1\nAC\n", "without its own name"),
    ],
)
def test_what_is_not_a_fasta_is_refused(tmp_path: Path, content: str, rule: str) -> None:
    fasta = tmp_path / "bad.fa"
    fasta.write_text(content)
    with pytest.raises(ReferenceGenomeError, match=rule):
        Reference.open(fasta)


def test_a_contradicted_ref_is_told_with_both_bases(tmp_path: Path) -> None:
    reference = Reference.open(write_toy_genome(tmp_path).fasta)
    rows = [
        "toy_plus 21 . A C . . .",
        "toy_plus 22 . G C . . .",
        "toy_plus 23 . N C . . .",
        "toy_plus 97 . CA C . . .",
        "elsewhere 5 . A C . . .",
    ]
    good, wrong, open_, beyond, foreign = read_vcf(write_vcf(tmp_path / "a.vcf", rows)).records
    assert reference.agrees(good) is True
    assert reference.agrees(open_) is True
    assert reference.agrees(wrong) is False
    assert reference.contradiction(wrong) == "toy_plus:22: REF is G, the reference toy.fa has T"
    assert reference.agrees(beyond) is False
    assert reference.contradiction(beyond).startswith("toy_plus:97: REF is CA")
    assert reference.agrees(foreign) is None


def test_another_build_is_refused_by_name(tmp_path: Path) -> None:
    fasta = tmp_path / "g.fa"
    fasta.write_text(">NC_000017.11\nACGT\n")
    vcf = write_vcf(tmp_path / "a.vcf", [], header=("##contig=<ID=17,length=81195210>",))
    with pytest.raises(BuildMismatchError, match=r"GRCh37.*GRCh38"):
        Reference.open(fasta).check_header(read_vcf(vcf).header, vcf)


def test_another_length_of_a_sequence_is_refused(tmp_path: Path) -> None:
    reference = Reference.open(write_toy_genome(tmp_path).fasta)
    vcf = write_vcf(tmp_path / "a.vcf", [], header=("##contig=<ID=toy_plus,length=98>",))
    with pytest.raises(BuildMismatchError, match=r"98 bases.*97"):
        reference.check_header(read_vcf(vcf).header, vcf)
