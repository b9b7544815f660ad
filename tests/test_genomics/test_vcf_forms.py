"""What callers really write: every version's genotypes, gVCF blocks, and slips of form."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from genomics_toys import write_toy_genome, write_vcf

from genomics.errors import VcfError, VcfOrderError
from genomics.score import score_vcf
from genomics.variant import Genotype
from genomics.vcf import alleles, read_vcf

_GT = '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">'


def _genotypes(path: Path) -> list[Genotype | None]:
    (record,) = read_vcf(path).records
    return [record.genotype(index) for index in range(len(record.fields) - 9)]


def test_a_leading_separator_says_how_the_first_allele_is_phased(tmp_path: Path) -> None:
    row = "1 10 . A C,G . . . GT |0|1 |0/1 /0|1 /0/1 |1 1 |. ./.|1"
    path = write_vcf(tmp_path / "a.vcf", [row], "a b c d e f g h", version="VCFv4.4")
    assert _genotypes(path) == [
        Genotype((0, 1), phased=True),
        Genotype((0, 1)),
        Genotype((0, 1)),
        Genotype((0, 1)),
        Genotype((1,), phased=True),
        Genotype((1,)),
        Genotype((None,), phased=True),
        Genotype((None, None, 1)),
    ]


def test_phase_set_lists_phase_only_where_every_allele_has_a_name(tmp_path: Path) -> None:
    rows = "1 10 . A C . . . GT:PSL:PSO:PSQ 0|1:h1,h2:.,.:30,31 |0/1:h1,. 0|1:.,h2 0|1"
    path = write_vcf(tmp_path / "a.vcf", [rows], "a b c d", version="VCFv4.5")
    assert _genotypes(path) == [
        Genotype((0, 1), phased=True, phase_set="h1,h2"),
        Genotype((0, 1)),
        Genotype((0, 1)),
        Genotype((0, 1), phased=True),
    ]


@pytest.mark.parametrize("version", ["VCFv4.4", "VCFv4.5"])
def test_a_phase_set_list_has_one_value_per_allele(tmp_path: Path, version: str) -> None:
    path = write_vcf(tmp_path / "a.vcf", ["1 9 . A C . . . GT:PSO 0|1:1"], "a", version=version)
    with pytest.raises(VcfError, match=r"PSO must have 2 values \(Number=P\); found 1"):
        list(read_vcf(path).records)


@pytest.mark.parametrize("pack", [lambda content: content, gzip.compress])
def test_haploid_calls_of_x_y_and_m_are_read(tmp_path: Path, pack: object) -> None:
    rows = [f"{name} 9 . A C . . . GT:PL 1:90,0" for name in ("chrM", "chrX", "chrY")]
    path = write_vcf(tmp_path / "a.vcf", rows, "a")
    path.write_bytes(pack(path.read_bytes()))  # type: ignore[operator]
    found = [record.genotype(0) for record in read_vcf(path).records]
    assert [each and each.zygosity(1) for each in found] == ["hemizygous"] * 3


def test_local_alleles_count_what_the_sample_has(tmp_path: Path) -> None:
    row = "1 9 . G A,C,T,<*> . . . GT:LAA:LAD:LPL 2/4:2,4:20,30,10:90,80,0,100,110,120 0/0::30:0"
    path = write_vcf(tmp_path / "a.vcf", [row], "a b", version="VCFv4.5")
    assert _genotypes(path) == [Genotype((2, 4)), Genotype((0, 0))]


def test_reference_blocks_are_no_variants_and_what_was_not_called_is_not_reference(
    tmp_path: Path,
) -> None:
    files = write_toy_genome(tmp_path)
    rows = [
        "toy_plus 21 . A <NON_REF> . . END=22 GT:DP 0/0:30",
        "toy_plus 23 . G <*> . . END=23 GT:DP ./.:0",
        "toy_plus 24 . G A,<NON_REF> . . . GT:DP 0/1:30",
        "toy_plus 25 . C . . . . GT:DP ./.:0",
        "toy_plus 26 . T . . . . GT:DP 0/0:9",
        "toy_plus 27 . T *,A . . . GT:DP 1/2:9",
    ]
    vcf = write_vcf(tmp_path / "g.vcf", rows, "P")
    report = score_vcf(vcf, reference=files.fasta, genes=files.gff3)
    assert [each.reason for each in report.scored] == [
        "reference block: no alternate allele was seen",
        "the genotype was not called: ./.",
        None,
        "unspecified allele: <NON_REF> stands for any that was not seen",
        "the genotype was not called: ./.",
        "the record has no alternate allele",
        "the allele is missing because of an upstream deletion (*)",
        None,
    ]
    assert report.run["preflight"]["is_gvcf"]
    assert report.ledger["by_record"]["scored"] == 2


_PLAIN = "1 10 . A C . . . GT 0/1"


@pytest.mark.parametrize("version", ["VCFv4.2", "VCFv4.3"])
@pytest.mark.parametrize(
    ("header", "row"),
    [
        (
            '##FORMAT=<ID=GQ,Number=1,Type=Float,Description="freebayes">',
            "1 10 . A C . . . GT:GQ 0/1:45.5",
        ),
        (
            '##FORMAT=<ID=AD,Number=.,Type=Integer,Description="GATK before 3.3">',
            "1 10 . A C,G . . . GT:AD 0/1:5,6",
        ),
        (
            '##FORMAT=<ID=PS,Number=1,Type=String,Description="chrom:position">',
            "1 10 . A C . . . GT:PS 0|1:1_10",
        ),
        (
            '##INFO=<ID=MQ,Number=1,Type=Integer,Description="before 4.3">',
            "1 10 . A C . . MQ=59.3 GT 0/1",
        ),
        (
            '##INFO=<ID=SB,Number=1,Type=Float,Description="strand bias">',
            "1 10 . A C . . SB=0.1 GT 0/1",
        ),
        (
            '##INFO=<ID=T,Number=1,Type=String,Description="a text with commas">',
            "1 10 . A C . . T=1,2|3,4 GT 0/1",
        ),
        (
            '##INFO=<ID=dbNSFP_GERP___NR,Number=A,Type=Float,Description="SnpSift">',
            "1 10 . A C . . dbNSFP_GERP___NR=4.7,4.7 GT 0/1",
        ),
        ('##ALT=<ID=ME:ALU,Description="GATK-SV">', "1 10 . A <ME:ALU> . . . GT 0/1"),
        ('##ALT=<ID=INVDUP,Description="Sniffles">', "1 10 . A <INVDUP> . . . GT 0/1"),
        ("##contig=<ID=HLA-A*01:01,length=3503>", "HLA-A*01:01 10 . A C . . . GT 0/1"),
        ('##SAMPLE=<ID=TUMOUR,Description="no mixture">', _PLAIN),
        ("##assembly=human_g1k_v37", _PLAIN),
    ],
)
def test_what_callers_in_wide_use_write_is_read(
    tmp_path: Path, header: str, row: str, version: str
) -> None:
    path = write_vcf(tmp_path / "a.vcf", [row], "P", header=(_GT, header), version=version)
    assert len(list(read_vcf(path).records)) == 1


def test_vt_leaves_the_samples_values_of_the_record_before_it_was_split(tmp_path: Path) -> None:
    row = "1 10 . A C . . {}GT:AD:PL 0/1:5,6,7:9,0,9,1,2,3"
    split = write_vcf(
        tmp_path / "a.vcf", [row.format("OLD_MULTIALLELIC=1:10:A/C/G ")], "P", header=(_GT,)
    )
    assert len(list(read_vcf(split).records)) == 1
    whole = write_vcf(tmp_path / "b.vcf", [row.format(". ")], "P", header=(_GT,))
    with pytest.raises(VcfError, match=r"PL must have 3 values \(Number=G\); found 6"):
        list(read_vcf(whole).records)


def test_what_breaks_form_only_is_read_and_noted_when_asked(tmp_path: Path) -> None:
    rows = ["1 10 . A C . . DP=-3", "1 10 . A C . . DP=4", "1 11 . A C . . DP=4"]
    path = write_vcf(tmp_path / "a.vcf", rows)
    with pytest.raises(VcfError, match=r"line 3: INFO DP must not be negative.*--lenient"):
        list(read_vcf(path).records)
    vcf = read_vcf(path, lenient=True)
    assert len(list(vcf.records)) == 3
    assert vcf.deviations
    assert vcf.deviations.total == 2
    assert vcf.deviations.first == [
        "line 3: INFO DP must not be negative; found '-3'",
        "line 4: 1-10-A-C was already stated in line 3; keep one of the two (bcftools norm "
        "--rm-dup exact)",
    ]


def test_lenient_reading_still_refuses_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(VcfError, match="POS"):
        list(read_vcf(write_vcf(tmp_path / "a.vcf", ["1 x . A C . . ."]), lenient=True).records)
    rows = ["1 9 . A C . . .", "1 8 . A C . . ."]
    with pytest.raises(VcfOrderError, match=r"line 4.*position 8 comes after 9; sort it"):
        list(read_vcf(write_vcf(tmp_path / "b.vcf", rows), lenient=True).records)


def test_one_allele_written_in_two_records_is_found_however_it_is_written(tmp_path: Path) -> None:
    twice = ["1 10 . TTTAT TTTGT,T . . .", "1 11 . TTAT CTAT . . .", "1 13 . A G . . ."]
    with pytest.raises(VcfError, match=r"line 5: 1-13-A-G was already stated in line 3"):
        list(read_vcf(write_vcf(tmp_path / "a.vcf", twice)).records)
    not_twice = ["1 10 . A C . . .", "1 10 . A G . . .", "1 10 . A <DEL> . . .", "2 10 . A C . . ."]
    assert len(list(read_vcf(write_vcf(tmp_path / "b.vcf", not_twice)).records)) == 4


def test_an_allele_beside_the_unspecified_one_is_read_as_itself(tmp_path: Path) -> None:
    (record,) = read_vcf(write_vcf(tmp_path / "a.vcf", ["1 9 . T TC,<*> . . ."])).records
    first, second = alleles(record, None)
    assert (first.unscorable, first.variant.alt) == (None, "TC")
    assert str(second.unscorable).startswith("unspecified allele")
