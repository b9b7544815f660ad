"""What the preflight says of a VCF, and what it refuses."""

from __future__ import annotations

import gzip
import json
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from Bio import bgzf
from genomics_toys import PLUS, write_toy_genome, write_vcf

from genomics.__main__ import app, run
from genomics.contigs import BUILD_LENGTHS, naming_style
from genomics.errors import BuildMismatchError, MixtureError, RefMismatchError, VcfOrderError
from genomics.par import REGIONS, is_pseudoautosomal
from genomics.preflight import preflight


def _contigs(build: str, style: str = "{}", only: tuple[str, ...] = ()) -> tuple[str, ...]:
    return tuple(
        f"##contig=<ID={style.format(name)},length={length}>"
        for name, length in BUILD_LENGTHS[build].items()
        if not only or name in only
    )


def _call(*arguments: object) -> int:
    return run(lambda: app([str(each) for each in arguments], standalone_mode=False))


@pytest.mark.parametrize("build", list(BUILD_LENGTHS))
def test_the_build_is_told_by_the_contigs_lengths(tmp_path: Path, build: str) -> None:
    vcf = write_vcf(tmp_path / "a.vcf", ["chr7 9 . A C . . ."], header=_contigs(build, "chr{}"))
    found = preflight(vcf)
    assert found.build == build
    assert found.build_evidence == (f"contig lengths: {build} (24 contigs)",)
    assert found.problems == ()


@pytest.mark.parametrize(
    ("row", "build"),
    [
        ("NC_000017.10 9 . A C . . .", "GRCh37"),
        ("NC_000017.11 9 . A C . . .", "GRCh38"),
        ("NC_060941.1 9 . A C . . .", "T2T-CHM13"),
        # Only on GRCh37 is chromosome 1 that long.
        ("1 249250600 . A C . . .", "GRCh37"),
        ("1 1000 . A C . . .", None),
    ],
)
def test_the_build_is_told_by_accessions_and_positions(
    tmp_path: Path, row: str, build: str | None
) -> None:
    assert preflight(write_vcf(tmp_path / "a.vcf", [row])).build == build


def test_words_of_the_header_are_believed_only_where_the_contigs_are_silent(
    tmp_path: Path,
) -> None:
    said = "##reference=file:///ref/hg19.fa"
    assert preflight(write_vcf(tmp_path / "a.vcf", [], header=(said,))).build == "GRCh37"
    found = preflight(write_vcf(tmp_path / "b.vcf", [], header=(said, *_contigs("GRCh38"))))
    assert found.build == "GRCh38"
    assert "the header speaks of GRCh37, but its contigs are GRCh38's" in found.warnings[0]


def test_contigs_of_two_builds_are_refused(tmp_path: Path) -> None:
    header = (*_contigs("GRCh37", only=("1",)), *_contigs("GRCh38", only=("2", "3")))
    found = preflight(write_vcf(tmp_path / "a.vcf", ["1 9 . A C . . ."], header=header))
    assert found.build is None
    with pytest.raises(MixtureError, match=r"GRCh37 \(1 contig\), GRCh38 \(2 contigs\)"):
        found.refuse()


def test_a_record_beyond_the_end_of_its_builds_chromosome_is_refused(tmp_path: Path) -> None:
    row = "21 48000000 . A C . . ."
    assert not preflight(write_vcf(tmp_path / "a.vcf", [row], header=_contigs("GRCh37"))).problems
    found = preflight(write_vcf(tmp_path / "b.vcf", [row], header=_contigs("GRCh38")))
    with pytest.raises(MixtureError, match=r"21:48000000 lies beyond the end of 21 on GRCh38"):
        found.refuse()


def test_two_ways_of_naming_in_one_file_are_refused(tmp_path: Path) -> None:
    rows = ["chr1 9 . A C . . .", "2 9 . A C . . ."]
    with pytest.raises(MixtureError, match=r"in 2 ways \(2 and chr1\)"):
        preflight(write_vcf(tmp_path / "a.vcf", rows)).refuse()
    # MT, decoys and unplaced sequences are named as they are in every style.
    rows = ["chr1 9 . A C . . .", "MT 9 . A C . . .", "GL000192.1 9 . A C . . ."]
    assert preflight(write_vcf(tmp_path / "b.vcf", rows)).problems == ()


@pytest.mark.parametrize(
    ("name", "style"),
    [
        ("chr1", "chr1"),
        ("X", "1"),
        ("NC_000001.11", "NC_000001.11"),
        ("chrM", None),
        ("hs37d5", None),
    ],
)
def test_naming_styles(name: str, style: str | None) -> None:
    assert naming_style(name) == style


def _with_reference(tmp_path: Path, name: str, rows: list[str]) -> tuple[Path, Path]:
    fasta = tmp_path / "ref.fa"
    fasta.write_text(f">{name}\n{PLUS}\n")
    return write_vcf(tmp_path / "v.vcf", rows), fasta


def test_names_are_reconciled_with_the_references_and_ref_is_held_against_it(
    tmp_path: Path,
) -> None:
    rows = ["chr1 24 . G A . . .", "chr1 25 . C T . . .", "chr9 5 . C T . . ."]
    found = preflight(*_with_reference(tmp_path, "1", rows))
    assert (found.naming, found.reconciled) == ("chr1", "chr1 here is 1 in the reference")
    assert (found.ref_compared, found.ref_agreed) == (2, 2)
    assert found.absent_sequences == ("chr9",)
    assert found.warnings == ("not in the reference ref.fa, so not scored: chr9",)
    assert found.problems == ()


def test_a_ref_match_that_fits_no_build_is_refused_with_its_rate(tmp_path: Path) -> None:
    rows = [f"1 {position} . A C . . ." for position in range(1, 40)]
    found = preflight(*_with_reference(tmp_path, "1", rows))
    agreed = PLUS[:39].count("A")
    assert (found.ref_compared, found.ref_agreed) == (39, agreed)
    with pytest.raises(RefMismatchError, match=rf"{agreed} of 39 places.*line 3, 1:1: REF is A"):
        found.refuse()


def test_another_length_than_the_references_is_refused(tmp_path: Path) -> None:
    files = write_toy_genome(tmp_path)
    header = ("##contig=<ID=toy_plus,length=5000>",)
    found = preflight(write_vcf(tmp_path / "a.vcf", [], header=header), files.fasta)
    with pytest.raises(BuildMismatchError, match="5000"):
        found.refuse()


def test_an_unsorted_file_is_said_and_refused(tmp_path: Path) -> None:
    found = preflight(write_vcf(tmp_path / "a.vcf", ["1 9 . A C . . .", "1 8 . A C . . ."]))
    assert not found.is_sorted
    with pytest.raises(VcfOrderError, match=r"line 4.*sort it"):
        found.refuse()


def _sex_rows(x: str, y: str, count: int = 40) -> list[str]:
    rows = [f"X {3_000_000 + n} . A C . . . GT {x}" for n in range(count)]
    # In the pseudoautosomal regions both sexes are heterozygous.
    par = [f"X {100_000 + n} . A C . . . GT 0/1" for n in range(count)]
    return par + rows + [f"Y {4_000_000 + n} . A C . . . GT {y}" for n in range(10)]


@pytest.mark.parametrize(
    ("x", "y", "sex"),
    [
        ("0/1", "./.", "XX"),
        ("1/1", "1/1", "XY"),
        ("1", "1", "XY"),
        # One X, or parents who are related: nothing on Y, so it stays open.
        ("1/1", "./.", None),
        # Heterozygous on X and variants on Y: contamination or XXY, so it stays open.
        ("0/1", "0/1", None),
    ],
)
def test_sex_is_told_outside_the_pseudoautosomal_regions(
    tmp_path: Path, x: str, y: str, sex: str | None
) -> None:
    vcf = write_vcf(tmp_path / "a.vcf", _sex_rows(x, y), "P", header=_contigs("GRCh38"))
    (person,) = preflight(vcf).people
    assert person.sex == sex
    assert "X has" in person.sex_evidence


def test_few_calls_on_x_leave_the_sex_open(tmp_path: Path) -> None:
    vcf = write_vcf(tmp_path / "a.vcf", _sex_rows("0/1", "./.", count=5), "P")
    assert preflight(vcf).people[0].sex is None


@pytest.mark.parametrize("build", list(BUILD_LENGTHS))
@pytest.mark.parametrize("chrom", ["X", "Y"])
def test_pseudoautosomal_regions_end_within_their_chromosome(build: str, chrom: str) -> None:
    (first, last), (start, end) = (spans[chrom == "Y"] for spans in REGIONS[build])
    assert 1 <= first < last < start < end <= BUILD_LENGTHS[build][chrom]
    assert is_pseudoautosomal(build, f"chr{chrom}", last)
    assert not is_pseudoautosomal(build, chrom, last + 1)
    assert not is_pseudoautosomal(build, "7", first)


def test_the_phased_share_counts_heterozygous_calls(tmp_path: Path) -> None:
    rows = ["1 8 . A C . . . GT 0|1", "1 9 . A C . . . GT 0/1", "1 10 . A C . . . GT 1/1"]
    (person,) = preflight(write_vcf(tmp_path / "a.vcf", rows, "P")).people
    assert (person.called, person.heterozygous, person.phased) == (3, 2, 1)


def _family(rng: random.Random, places: int) -> list[str]:
    rows = []
    for position in range(1, places):
        one, other = ([rng.randint(0, 1), rng.randint(0, 1)] for _ in range(2))
        child = sorted((rng.choice(one), rng.choice(other)))
        calls = " ".join("/".join(map(str, sorted(each))) for each in (one, child, other))
        rows.append(f"1 {position} . A C . . . GT {calls}")
    return rows


def test_a_trio_is_told_by_inheritance_and_strangers_are_none(tmp_path: Path) -> None:
    rng = random.Random(1)
    trio = preflight(write_vcf(tmp_path / "a.vcf", _family(rng, 300), "F C M"))
    assert trio.relation == "trio"
    assert "C fits as the child of F and M at 100%" in trio.relation_evidence
    calls = ("0/0", "0/1", "1/1")
    rows = [
        f"1 {p} . A C . . . GT {' '.join(rng.choice(calls) for _ in range(3))}"
        for p in range(1, 300)
    ]
    assert preflight(write_vcf(tmp_path / "b.vcf", rows, "F C M")).relation is None


def _depth_rows(fraction: float) -> list[str]:
    alt = round(100 * fraction)
    return [f"1 {p} . A C . . . GT:AD 0/1:{100 - alt},{alt}" for p in range(1, 60)]


@pytest.mark.parametrize(
    ("header", "fraction", "origin"),
    [((), 0.5, "germline"), ((), 0.12, "somatic"), (("##MutectVersion=2.2",), 0.5, "somatic")],
)
def test_germline_or_somatic_with_the_evidence(
    tmp_path: Path, header: tuple[str, ...], fraction: float, origin: str
) -> None:
    found = preflight(write_vcf(tmp_path / "a.vcf", _depth_rows(fraction), "P", header=header))
    assert found.origin == origin
    assert any(f"median {fraction:.2f}" in each for each in found.origin_evidence)
    assert any("inherited variants" in each for each in found.warnings) == (origin == "somatic")


def test_a_tumour_and_its_normal_are_a_pair(tmp_path: Path) -> None:
    found = preflight(write_vcf(tmp_path / "a.vcf", [], "HCC_NORMAL HCC_TUMOR"))
    assert found.relation == "tumour/normal pair"
    assert "tumour HCC_TUMOR, normal HCC_NORMAL" in found.relation_evidence
    assert preflight(write_vcf(tmp_path / "b.vcf", [], "P Q")).relation is None


def _bgzip(content: bytes) -> bytes:
    import io

    stream = io.BytesIO()
    writer = bgzf.BgzfWriter(fileobj=stream)
    writer.write(content)
    writer.flush()
    return stream.getvalue() + bgzf._bgzf_eof


@pytest.mark.parametrize(
    ("pack", "reaches_the_end"),
    [(bytes, True), (_bgzip, True), (gzip.compress, False)],
)
def test_a_big_file_is_looked_into_and_not_read_whole(
    tmp_path: Path, pack: Callable[[bytes], bytes], reaches_the_end: bool
) -> None:
    rows = [
        f"{chrom} {position} . A C . . DP={position} GT:AD 0/1:20,20"
        for chrom in ("1", "2", "X")
        for position in range(3_000_001, 3_020_001)
    ]
    plain = write_vcf(tmp_path / "plain.vcf", rows, "P")
    path = tmp_path / "big.vcf"
    path.write_bytes(pack(plain.read_bytes()))
    began = time.process_time()
    found = preflight(path)
    # Two seconds by the clock of an idle machine; a loaded one takes longer for the same work.
    assert time.process_time() - began < 2
    assert not found.complete
    assert 100 < found.records_looked_at < 15_000
    assert found.is_sorted
    assert (found.people[0].sex == "XX") == reaches_the_end
    assert any("only the first records" in each for each in found.warnings) != reaches_the_end


def test_check_prints_the_findings_and_refuses_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write_vcf(tmp_path / "a.vcf", ["1 9 . A C . . . GT 0|1"], "P", header=_contigs("GRCh37"))
    assert _call("check", good) == 0
    shown = capsys.readouterr().out
    assert "build: GRCh37" in shown
    assert "1 of 1 heterozygous calls phased" in shown
    bad = write_vcf(tmp_path / "b.vcf", ["chr1 9 . A C . . .", "2 9 . A C . . ."])
    assert _call("check", bad, "--json") == 2
    output = capsys.readouterr()
    assert "in 2 ways" in json.loads(output.out)["problems"][0]
    assert len(output.err.strip().splitlines()) == 1


@pytest.mark.data
def test_the_real_trio_and_the_tumour_pair_are_recognised(shared_data: Path) -> None:
    real = shared_data / "genomics/vcf/real"
    trio = preflight(real / "643594.clinical.vcf.gz")
    assert (trio.build, trio.naming, trio.origin) == ("GRCh37", "1", "germline")
    # As in the pedigree that Scout gives with the file.
    assert trio.relation == "trio"
    assert "ADM1059A2 fits as the child of ADM1059A1 and ADM1059A3" in trio.relation_evidence
    pair = preflight(real / "hcc1395_vep.vcf.gz")
    assert (pair.build, pair.naming, pair.origin) == ("GRCh38", "chr1", "somatic")
    assert "tumour HCC1395_TUMOR_DNA, normal HCC1395_NORMAL_DNA" in pair.relation_evidence


def test_what_a_lenient_look_let_pass_is_said(tmp_path: Path) -> None:
    rows = ["1 9 . A C . . DP=-1", "1 10 . A C . . DP=-2"]
    found = preflight(write_vcf(tmp_path / "a.vcf", rows), lenient=True)
    assert (
        "let pass: 2 lines that break a rule of form; first, line 3: INFO DP" in found.warnings[0]
    )


def test_the_old_mitochondrion_of_hg19_is_pointed_out(tmp_path: Path) -> None:
    header = ("##contig=<ID=chrM,length=16571>",)
    assert "NC_001807" in preflight(write_vcf(tmp_path / "a.vcf", [], header=header)).warnings[0]
