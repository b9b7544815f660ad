"""Variants that cannot be this patient's, or cannot be read: found before the segmentation."""

from __future__ import annotations

from pathlib import Path

import pytest
from endings import Command, tree

from genomics.synthetic import CONTIG, SyntheticCase

pytestmark = pytest.mark.usefixtures("no_computing")


def _spoilt(genome: SyntheticCase, path: Path, what: str) -> Path:
    """The synthetic VCF with one thing wrong."""
    lines = genome.vcf.read_text().splitlines()
    if what == "no header":
        lines = [line for line in lines if not line.startswith("#")]
    elif what == "no column line":
        lines = [line for line in lines if not line.startswith("#CHROM")]
    elif what == "REF":
        fields = lines[-1].split("\t")
        fields[3] = next(base for base in "ACGT" if base != fields[3])
        fields[4] = next(base for base in "ACGT" if base not in fields[3:5])
        lines[-1] = "\t".join(fields)
    elif what == "length":
        lines = [line.replace("##contig=<ID=demo1,length=", "##contig=<ID=demo1,length=9")
                 for line in lines]  # fmt: skip
    elif what == "build":
        lines.insert(2, "##contig=<ID=17,length=81195210>")
    elif what == "contig":
        lines = [line.replace(f"{CONTIG}\t", "chr5\t") for line in lines]
    elif what == "cut":
        lines[-1] = lines[-1][:12]
    elif what == "two samples":
        lines = [line if line.startswith("##") else f"{line}\tP2" for line in lines]
        lines = [line.replace("\tP2", "\t0/1") if line.startswith(CONTIG) else line
                 for line in lines]  # fmt: skip
    path.write_text("\n".join(lines) + "\n")
    return path


BAD_VCFS = {
    "no header": ("P1", "not a VCF"),
    "no column line": ("P1", "#CHROM"),
    "REF": ("P1", "REF"),
    "length": ("P1", "bases"),
    "contig": ("P1", "none of its sequences (chr5)"),
    "cut": ("P1", "line "),
    "two samples": ("P9", "P1, P2"),
}


@pytest.mark.parametrize("what", BAD_VCFS)
def test_a_bad_vcf(
    precimed: Command, tmp_path: Path, small_ct: Path, genome: SyntheticCase, what: str
) -> None:
    patient, says = BAD_VCFS[what]
    vcf = _spoilt(genome, tmp_path / "bad.vcf", what)
    before = tree(tmp_path)
    ended = precimed(
        *("analyse", small_ct, "--vcf", vcf, "--reference", genome.fasta, "--genes", genome.gff3),
        *("--patient", patient, "--out", tmp_path / "results"),
    )
    assert ended.code == 2
    assert ended.said.startswith("precimed: ")
    assert says in ended.said
    assert tree(tmp_path) == before


@pytest.mark.parametrize("what", ["no header", "no column line", "REF", "length", "contig", "cut"])
def test_a_bad_vcf_alone(
    genomics: Command, tmp_path: Path, genome: SyntheticCase, what: str
) -> None:
    vcf = _spoilt(genome, tmp_path / "bad.vcf", what)
    before = tree(tmp_path)
    options = ("--reference", genome.fasta, "--genes", genome.gff3, "-o", tmp_path / "scored.tsv")
    ended = genomics("score", vcf, *options)
    assert ended.code == 2
    assert ended.said.startswith("genomics: ")
    assert BAD_VCFS[what][1] in ended.said
    assert tree(tmp_path) == before


def test_a_vcf_on_another_build_is_refused_with_both_named(
    precimed: Command, tmp_path: Path, small_ct: Path, genome: SyntheticCase
) -> None:
    vcf = _spoilt(genome, tmp_path / "grch37.vcf", "build")
    fasta = tmp_path / "grch38.fa"
    fasta.write_text(genome.fasta.read_text() + ">NC_000017.11\nACGT\n")
    before = tree(tmp_path)
    ended = precimed(
        *("analyse", small_ct, "--vcf", vcf, "--reference", fasta, "--genes", genome.gff3),
        *("--patient", "P1", "--out", tmp_path / "results"),
    )
    assert ended.code == 2
    assert "GRCh37" in ended.said
    assert "GRCh38" in ended.said
    assert tree(tmp_path) == before


def test_another_patients_variants_are_refused_with_both_named(
    precimed: Command, tmp_path: Path, genome: SyntheticCase
) -> None:
    ended = precimed(
        *("analyse", "phantom:ct", "--vcf", genome.vcf, "--reference", genome.fasta),
        *("--genes", genome.gff3, "--out", tmp_path / "a" / "b" / "results"),
    )
    assert ended.code == 2
    assert "'PHANTOM-01'" in ended.said
    assert "'P1'" in ended.said
    assert "--sample" in ended.said
    assert tree(tmp_path) == {}


def test_variants_for_a_scan_without_a_patient_must_be_mapped(
    precimed: Command, tmp_path: Path, small_ct: Path, genome: SyntheticCase
) -> None:
    options = ("--vcf", genome.vcf, "--reference", genome.fasta, "--genes", genome.gff3)
    ended = precimed("analyse", small_ct, *options, "--out", tmp_path / "results")
    assert ended.code == 2
    assert "'P1'" in ended.said
    assert "without an id" in ended.said
    assert tree(tmp_path) == {}


def test_a_sample_that_is_not_there(
    precimed: Command, tmp_path: Path, small_ct: Path, genome: SyntheticCase
) -> None:
    options = ("--vcf", genome.vcf, "--reference", genome.fasta, "--genes", genome.gff3)
    ended = precimed("analyse", small_ct, *options, "--sample", "P7", "--out", tmp_path / "results")
    assert ended.code == 2
    assert "'P7'" in ended.said
    assert "P1" in ended.said
    assert tree(tmp_path) == {}


def test_a_bare_vcf_needs_reference_and_genes(
    precimed: Command, tmp_path: Path, small_ct: Path, genome: SyntheticCase
) -> None:
    out = ("--patient", "P1", "--out", tmp_path / "results")
    neither = precimed("analyse", small_ct, "--vcf", genome.vcf, *out)
    one = precimed("analyse", small_ct, "--vcf", genome.vcf, "--reference", genome.fasta, *out)
    assert (neither.code, one.code) == (2, 2)
    assert "--reference FASTA and --genes GFF3" in neither.said
    assert "--genes GFF3 is missing" in one.said
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("option", ["--vcf", "--reference", "--genes"])
def test_a_file_that_is_not_there_is_named_with_its_option(
    precimed: Command, tmp_path: Path, small_ct: Path, genome: SyntheticCase, option: str
) -> None:
    files = {"--vcf": genome.vcf, "--reference": genome.fasta, "--genes": genome.gff3}
    files[option] = tmp_path / "absent"
    options = [part for pair in files.items() for part in pair]
    ended = precimed("analyse", small_ct, *options, "--out", tmp_path / "results")
    assert ended.code == 2
    assert f"absent' ({option})" in ended.said
    assert tree(tmp_path) == {}


def test_a_sample_without_a_vcf_is_not_ignored(
    precimed: Command, tmp_path: Path, small_ct: Path
) -> None:
    ended = precimed("analyse", small_ct, "--sample", "P1", "--out", tmp_path / "results")
    assert ended.code == 2
    assert "--vcf" in ended.said
