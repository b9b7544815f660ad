from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from genomics_toys import write_vcf

from genomics.errors import SampleError, VcfError
from genomics.variant import Genotype
from genomics.vcf import alleles, choose_sample, read_vcf, samples
from genomics.vcf.lines import count_records


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "records", "build", "people"),
    [
        ("643594.clinical.vcf.gz", 680, "GRCh37", ["ADM1059A1", "ADM1059A2", "ADM1059A3"]),
        ("643594.clinical.SV.vcf.gz", 19, "GRCh37", ["ADM1059A1", "ADM1059A2", "ADM1059A3"]),
        ("hcc1395_vep.vcf.gz", 1470, "GRCh38", ["HCC1395_NORMAL_DNA", "HCC1395_TUMOR_DNA"]),
    ],
)
def test_real_files_read_whole(
    shared_data: Path, name: str, records: int, build: str, people: list[str]
) -> None:
    path = shared_data / "genomics/vcf/real" / name
    vcf = read_vcf(path)
    assert vcf.header.build == build
    assert samples(path) == people
    assert sum(1 for _ in vcf.records) == count_records(path) == records


@pytest.mark.parametrize(
    ("line", "row", "rule"),
    [
        (3, "1 12x . A C . . .", "POS"),
        (3, "1 -4 . A C . . .", "POS"),
        (3, "1 10 . R C . . .", "REF"),
        (3, "1 10 . A C,Q . . .", "ALT"),
        (3, "1 10 . A C high . .", "QUAL"),
        (3, "1 10 . A C . 0 .", "FILTER"),
        (3, "1 10 . A C . . ;;", "INFO"),
        (3, "1 10 . A C . .", "8 columns"),
        (3, "1 10 . A C . . . GT", "8 columns"),
    ],
)
def test_a_broken_record_is_refused_by_line_and_rule(
    tmp_path: Path, line: int, row: str, rule: str
) -> None:
    path = write_vcf(tmp_path / "bad.vcf", [row])
    with pytest.raises(VcfError, match=rule) as refused:
        list(read_vcf(path).records)
    assert refused.value.line_number == line
    assert str(path) in str(refused.value)


def test_an_unsorted_file_is_refused_with_the_mend(tmp_path: Path) -> None:
    path = write_vcf(tmp_path / "bad.vcf", ["1 20 . A C . . .", "1 10 . A C . . ."])
    with pytest.raises(VcfError, match=r"line 4.*sort") as refused:
        list(read_vcf(path).records)
    assert refused.value.line_number == 4


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"", "not a VCF"),
        (b"hello\nworld\n", "not a VCF"),
        (b"##fileformat=VCFv4.2\n", "ends without the #CHROM"),
        (b"##fileformat=VCFv4.2\n1\t10\t.\tA\tC\t.\t.\t.\n", "#CHROM column line"),
        (b"##fileformat=VCFv9.9\n", "version"),
        (b"##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\n", "column line"),
        (b"\xff\xfe\x00binary", "not text in UTF-8"),
        (b'##fileformat=VCFv4.2\n##INFO=<ID=X,Number=many,Type=Float,Description="">\n', "Number"),
    ],
)
def test_what_is_not_a_vcf_is_refused(tmp_path: Path, content: bytes, rule: str) -> None:
    path = tmp_path / "bad.vcf"
    path.write_bytes(content)
    with pytest.raises(VcfError, match=rule):
        read_vcf(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VcfError, match="no such file"):
        read_vcf(tmp_path / "none.vcf")
    with pytest.raises(VcfError, match="folder"):
        read_vcf(tmp_path)


def test_compression_is_told_by_content_and_a_cut_file_is_refused(tmp_path: Path) -> None:
    plain = write_vcf(tmp_path / "a.vcf", [f"1 {n} . A C . . ." for n in range(1, 3000)])
    zipped = gzip.compress(plain.read_bytes())
    whole, cut = tmp_path / "named.vcf", tmp_path / "cut.vcf.gz"
    whole.write_bytes(zipped)
    cut.write_bytes(zipped[: len(zipped) // 2])
    assert sum(1 for _ in read_vcf(whole).records) == 2999
    with pytest.raises(VcfError, match="damaged or cut short"):
        list(read_vcf(cut).records)


def test_genotypes_keep_missing_copies_and_phase(tmp_path: Path) -> None:
    row = "1 10 . A C,G . . . GT:PS {}"
    written = ["0/1", "2|1:77", "./.", "0/.", "1", "."]
    path = write_vcf(tmp_path / "a.vcf", [row.format(" ".join(written))], "a b c d e f")
    (record,) = read_vcf(path).records
    assert [record.genotype(index) for index in range(6)] == [
        Genotype((0, 1)),
        Genotype((2, 1), phased=True, phase_set="77"),
        Genotype((None, None)),
        Genotype((0, None)),
        Genotype((1,)),
        Genotype((None,)),
    ]


def test_a_genotype_beyond_the_alleles_is_refused(tmp_path: Path) -> None:
    path = write_vcf(tmp_path / "a.vcf", ["1 10 . A C . . . GT 0/2"], "a")
    with pytest.raises(VcfError, match="names allele 2"):
        list(read_vcf(path).records)


def test_alleles_are_split_in_order_and_keep_their_record(tmp_path: Path) -> None:
    path = write_vcf(
        tmp_path / "a.vcf",
        ["1 10 . a c,<DEL>,*,ANN,A[2:5[ . . .", "1 11 . A . . . .", "1 12 . A <NON_REF> . . ."],
    )
    first, second, third = read_vcf(path).records
    split = alleles(first, "GRCh38")
    assert [each.variant.alt for each in split] == ["C", "<DEL>", "*", "ANN", "A[2:5["]
    assert [each.index for each in split] == [1, 2, 3, 4, 5]
    assert split[0].unscorable is None
    assert [each.unscorable.split(":")[0] for each in split[1:] if each.unscorable] == [
        "symbolic allele",
        "the allele is missing because of an upstream deletion (*)",
        "an allele has unknown bases (N)",
        "breakend",
    ]
    assert first.key == "1-10-a-c,<DEL>,*,ANN,A[2:5["
    assert alleles(second, None)[0].index == 0
    assert "reference block" in str(alleles(third, None)[0].unscorable)


def test_the_patient_must_be_named_where_there_are_several(tmp_path: Path) -> None:
    two = write_vcf(tmp_path / "two.vcf", [], "tumour normal")
    header = read_vcf(two).header
    with pytest.raises(SampleError, match=r"tumour, normal.*--sample"):
        choose_sample(header, None, two)
    with pytest.raises(SampleError, match=r"no sample 'x'.*tumour, normal"):
        choose_sample(header, "x", two)
    assert choose_sample(header, "normal", two) == 1
    none = write_vcf(tmp_path / "none.vcf", [])
    assert choose_sample(read_vcf(none).header, None, none) is None
