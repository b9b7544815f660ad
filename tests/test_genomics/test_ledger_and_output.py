"""Nothing is lost on the way through, and nothing of the user's own file is changed."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from genomics_toys import MINUS, PLUS, ToyFiles, write_toy_genome, write_vcf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genomics.errors import GenomicsError, RefMismatchError, ReportFormatError
from genomics.ledger import expect_closed
from genomics.normalise import normalised
from genomics.output import write_report
from genomics.reference import Reference
from genomics.report import VariantReport
from genomics.report_table import read_table, write_table
from genomics.score import score_vcf
from genomics.variant import Variant
from genomics.vcf import read_vcf

_SEQUENCES = {"toy_plus": PLUS, "toy_minus": MINUS}
_PROFILE = settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> ToyFiles:
    return write_toy_genome(tmp_path_factory.mktemp("toy"))


@st.composite
def _records(draw: st.DrawFn) -> list[str]:
    """Rows of any kind of allele and call on the toy genome, sorted, no allele twice."""
    rows = []
    for chrom, sequence in _SEQUENCES.items():
        places = draw(st.lists(st.integers(1, len(sequence) - 3), max_size=8, unique=True))
        for position in sorted(places):
            ref = sequence[position - 1 : position - 1 + draw(st.integers(1, 3))]
            written = st.text("ACGT", min_size=1, max_size=3).filter(
                lambda alt, ref=ref: alt != ref
            )
            special = st.sampled_from(["<DEL>", "*", "<NON_REF>", "<*>", "A[toy_minus:5[", "AN"])
            alts = draw(st.lists(written | special, max_size=3, unique=True))
            count = len(alts)
            copy = st.sampled_from([".", *map(str, range(count + 1))])
            call = draw(st.lists(copy, min_size=1, max_size=3))
            joined = draw(st.sampled_from("/|")).join(call)
            info = draw(st.sampled_from([".", "DB", "X=a%3Bb;DB", "X=1,2"]))
            rows.append(
                f"{chrom} {position} . {ref} {','.join(alts) or '.'} . . {info} GT {joined}"
            )
    return rows


@_PROFILE
@given(rows=_records())
def test_the_ledger_closes_whatever_the_vcf_holds(
    tmp_path: Path, toy: ToyFiles, rows: list[str]
) -> None:
    vcf = write_vcf(tmp_path / "v.vcf", rows, "P")
    # Two rows may state one allele in two writings, which only the lenient reader lets pass.
    report = score_vcf(vcf, reference=toy.fasta, genes=toy.gff3, lenient=True)
    ledger = report.ledger
    expect_closed(ledger)
    alts = [row.split(" ")[4] for row in rows]
    assert ledger["records"] == len(rows)
    assert ledger["alleles"] == sum(1 + each.count(",") for each in alts)
    for part, whole in ((ledger, "alleles"), (ledger["by_record"], "records")):
        counted = part["scored"] + part["by_rule"] + sum(part["not_scored"].values())
        assert counted == ledger[whole]


@_PROFILE
@given(rows=_records())
def test_a_scored_vcf_changes_nothing_but_our_own_info_and_writes_alike_again(
    tmp_path: Path, toy: ToyFiles, rows: list[str]
) -> None:
    vcf = write_vcf(tmp_path / "v.vcf", rows, "P", header=('##x="kept, as it is"',))
    first, second = tmp_path / "first.vcf", tmp_path / "second.vcf"
    write_report(_score(vcf, toy), vcf, first)
    assert _without_ours(first) == vcf.read_text().splitlines()
    write_report(_score(first, toy), first, second)
    assert second.read_bytes() == first.read_bytes()


def _score(vcf: Path, toy: ToyFiles) -> VariantReport:
    return score_vcf(vcf, reference=toy.fasta, genes=toy.gff3, lenient=True)


def _without_ours(path: Path) -> list[str]:
    kept = []
    for line in path.read_text().splitlines():
        if line.startswith(("##INFO=<ID=PRECIMED_", "##PRECIMED_")):
            continue
        fields = line.split("\t")
        if not line.startswith("#"):
            own = [each for each in fields[7].split(";") if not each.startswith("PRECIMED_")]
            fields[7] = ";".join(own) or "."
        kept.append("\t".join(fields))
    return kept


_AWKWARD = [
    "toy_plus 24 . G A . . . GT 0/1",
    "toy_plus 25 rs1;rs2 C T 12.50 q10;s50 DB;FLAG;T=a%3Bb%3Dc%2Cd%25;N=,;E= GT 0|1",
    "toy_plus 26 . T C . PASS PRECIMEDX=1;X=PRECIMED_SCORE GT:XY 1:.",
    "toy_plus 29 . G A,<NON_REF> . . END=29 GT ./1",
    "toy_plus 45 . C . . . . GT 0/0",
    "toy_plus 60 . TAG T,* . . . GT 1/2",
]


@pytest.fixture(scope="module")
def awkward(tmp_path_factory: pytest.TempPathFactory, toy: ToyFiles) -> tuple[Path, VariantReport]:
    vcf = write_vcf(tmp_path_factory.mktemp("awkward") / "v.vcf", _AWKWARD, "P")
    return vcf, _score(vcf, toy)


@pytest.mark.parametrize("name", ["out.vcf", "out.vcf.gz"])
def test_awkward_info_is_kept_byte_for_byte(
    tmp_path: Path, awkward: tuple[Path, VariantReport], toy: ToyFiles, name: str
) -> None:
    vcf, report = awkward
    first, second = tmp_path / name, tmp_path / f"again.{name}"
    write_report(report, vcf, first)
    before = [record.fields for record in read_vcf(vcf).records]
    after = [record.fields for record in read_vcf(first).records]
    for own, scored in zip(before, after, strict=True):
        assert scored[:7] + scored[8:] == own[:7] + own[8:]
        assert scored[7].startswith("PRECIMED_" if own[7] == "." else f"{own[7]};PRECIMED_")
    write_report(_score(first, toy), first, second)
    assert second.read_bytes() == first.read_bytes()


def test_the_line_ends_of_windows_are_kept(
    tmp_path: Path, awkward: tuple[Path, VariantReport], toy: ToyFiles
) -> None:
    vcf, unix, out = tmp_path / "w.vcf", tmp_path / "unix.vcf", tmp_path / "out.vcf"
    vcf.write_bytes(awkward[0].read_bytes().replace(b"\n", b"\r\n"))
    write_report(_score(vcf, toy), vcf, out)
    write_report(awkward[1], awkward[0], unix)
    assert out.read_bytes() == unix.read_bytes().replace(b"\n", b"\r\n")


def test_our_keys_are_described_and_have_the_number_of_values_that_they_say(
    tmp_path: Path, awkward: tuple[Path, VariantReport]
) -> None:
    vcf, report = awkward
    out = tmp_path / "out.vcf"
    write_report(report, vcf, out)
    opened = read_vcf(out)
    described = opened.header.definitions["INFO"]
    seen = set()
    for record in opened.records:
        for entry in record.fields[7].split(";"):
            key, _, value = entry.partition("=")
            if not key.startswith("PRECIMED_"):
                continue
            seen.add(key)
            if described[key]["Number"] == "A":
                assert value.count(",") + 1 == len(record.alts)
    assert {"PRECIMED_SCORE", "PRECIMED_CLASS", "PRECIMED_REASON", "PRECIMED_CSQ"} <= seen
    assert f"records={len(_AWKWARD)}," in next(
        line for line in opened.header.lines if line.startswith("##PRECIMED_ledger=")
    )


@pytest.mark.parametrize("name", ["out.vcf", "out.vcf.gz"])
def test_bcftools_view_takes_the_scored_vcf_without_a_word(
    tmp_path: Path, awkward: tuple[Path, VariantReport], name: str
) -> None:
    pytest.importorskip("pysam", reason="pysam has no wheel for this platform")
    out, viewed = tmp_path / name, tmp_path / "viewed.vcf"
    write_report(awkward[1], awkward[0], out)
    call = (
        "import pysam.bcftools as b, sys; "
        "b.view('--no-version', '-o', sys.argv[2], sys.argv[1], catch_stdout=False)"
    )
    done = subprocess.run(
        [sys.executable, "-c", call, str(out), str(viewed)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # bcftools warns of what the user's own header lacks, never of our keys.
    assert "PRECIMED_" not in done.stderr
    theirs = [line.split("\t") for line in viewed.read_text().splitlines() if line[0] != "#"]
    assert [fields[:5] for fields in theirs] == [
        list(record.fields[:5]) for record in read_vcf(out).records
    ]
    assert all("PRECIMED_" in fields[7] for fields in theirs)


def test_a_report_written_as_json_reads_and_writes_alike(
    tmp_path: Path, awkward: tuple[Path, VariantReport]
) -> None:
    vcf, report = awkward
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    write_report(report, vcf, first)
    back = VariantReport.from_json(first.read_text())
    assert back == report
    write_report(back, vcf, second)
    assert second.read_bytes() == first.read_bytes()
    assert json.loads(first.read_text())["ledger"] == report.ledger


@_PROFILE
@given(rows=_records())
def test_a_table_reads_and_writes_alike(tmp_path: Path, toy: ToyFiles, rows: list[str]) -> None:
    vcf = write_vcf(tmp_path / "v.vcf", rows, "P")
    text = _score(vcf, toy).to_tsv()
    table = read_table(text)
    assert write_table(table) == text
    assert len(table) == text.count("\n") - 1
    assert table["score"].isna().sum() + table["score"].notna().sum() == len(table)


@pytest.mark.parametrize("text", ["", "a\tb\n1\t2\n", "chrom\n1\n"])
def test_what_is_not_our_table_is_refused(text: str) -> None:
    with pytest.raises(ReportFormatError, match="not a table of scored variants"):
        read_table(text)


def test_a_ledger_that_does_not_close_is_a_fault_and_not_a_result() -> None:
    whole: dict[str, Any] = {"scored": 1, "by_rule": 1, "not_scored": {"a": 2}}
    closed = {"records": 4, "alleles": 4, **whole, "by_record": whole}
    expect_closed(closed)
    with pytest.raises(GenomicsError, match=r"5 records were read, 4 are accounted for"):
        expect_closed(closed | {"records": 5})
    with pytest.raises(GenomicsError, match=r"3 alleles were read, 4 are accounted for"):
        expect_closed(closed | {"alleles": 3})


def _many_rows(wrong: int) -> list[str]:
    """Two single-base changes at every place of toy_plus, the first ``wrong`` with another REF."""
    rows = []
    for place, base in enumerate(PLUS):
        others = [each for each in "ACGT" if each != base]
        ref, alts = (base, others[:2]) if place >= wrong else (others[0], others[1:])
        rows += [f"toy_plus {place + 1} . {ref} {alt} . . . GT 0/1" for alt in alts]
    return rows


def test_a_record_that_contradicts_the_reference_has_that_reason_and_many_are_refused(
    tmp_path: Path, toy: ToyFiles
) -> None:
    one = _many_rows(wrong=1)[1:]
    report = _score(write_vcf(tmp_path / "a.vcf", one, "P"), toy)
    assert report.scored[0].reason is not None
    assert report.scored[0].reason.startswith(
        "REF contradicts the reference: toy_plus:1: REF is A, the reference toy.fa has T"
    )
    assert report.ledger["not_scored"]["REF contradicts the reference"] == 1
    expect_closed(report.ledger)
    with pytest.raises(RefMismatchError, match=r"at 190 of 194 places"):
        _score(write_vcf(tmp_path / "b.vcf", _many_rows(wrong=2), "P"), toy)


def test_the_users_own_writing_stands_beside_the_normalised_one(tmp_path: Path) -> None:
    fasta, gff3 = write_toy_genome(tmp_path)
    fasta.write_text(fasta.read_text() + ">chr1\nGGCACACATTGGTCA\n")
    # A deletion of one CA in the repeat, written at its right end and with needless bases.
    vcf = write_vcf(tmp_path / "v.vcf", ["1 5 mine CACA CA,CACT . . . GT 1/2"], "P")
    deletion, substitution = score_vcf(vcf, reference=fasta, genes=gff3).scored
    assert deletion.record
    assert deletion.record.key == "1-5-CACA-CA,CACT"
    assert (deletion.variant.position, deletion.variant.ref, deletion.variant.alt) == (
        5,
        "CACA",
        "CA",
    )
    assert deletion.normalised == Variant(None, "1", 2, "GCA", "G")
    assert substitution.normalised == Variant(None, "1", 8, "A", "T")
    out = tmp_path / "out.vcf"
    write_report(VariantReport("P", (deletion, substitution)), vcf, out)
    (record,) = read_vcf(out).records
    assert record.info("PRECIMED_NORM") == "1-2-GCA-G,1-8-A-T"


@_PROFILE
@given(data=st.data())
def test_the_normalised_writing_is_the_same_change_and_the_leftmost(
    data: st.DataObject, toy: ToyFiles
) -> None:
    reference = Reference.open(toy.fasta)
    start = data.draw(st.integers(1, len(PLUS) - 6))
    ref = PLUS[start - 1 : start - 1 + data.draw(st.integers(1, 5))]
    alt = data.draw(st.text("ACGT", min_size=1, max_size=5).filter(lambda each: each != ref))
    own = Variant(None, "toy_plus", start, ref, alt)
    found = normalised(own, reference)
    assert found is not None
    assert _applied(found) == _applied(own)
    assert found == own.left_aligned(lambda first, last: PLUS[first - 1 : last])


def _applied(variant: Variant) -> str:
    start = variant.position - 1
    assert PLUS[start : start + len(variant.ref)] == variant.ref
    return PLUS[:start] + variant.alt + PLUS[start + len(variant.ref) :]


@pytest.mark.parametrize("alt", ["<DEL>", "*", "A[2:5[", ".", "A"])
def test_what_is_no_change_of_bases_has_no_normalised_writing(toy: ToyFiles, alt: str) -> None:
    reference = Reference.open(toy.fasta)
    assert normalised(Variant(None, "toy_plus", 21, "A", alt), reference) is None


def test_beyond_the_sequence_there_is_nothing_to_align(toy: ToyFiles) -> None:
    reference = Reference.open(toy.fasta)
    assert normalised(Variant(None, "toy_plus", len(PLUS), "CA", "C"), reference) is None
    assert normalised(Variant(None, "elsewhere", 5, "CA", "C"), reference) == Variant(
        None, "elsewhere", 5, "CA", "C"
    )


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "sample"),
    [
        ("643594.clinical.vcf.gz", "ADM1059A2"),
        ("643594.clinical.SV.vcf.gz", "ADM1059A2"),
        ("hcc1395_vep.vcf.gz", "HCC1395_TUMOR_DNA"),
    ],
)
def test_real_files_come_back_as_they_were(
    tmp_path: Path, shared_data: Path, name: str, sample: str
) -> None:
    vcf = shared_data / "genomics/vcf/real" / name
    report = score_vcf(vcf, sample=sample)
    expect_closed(report.ledger)
    out = tmp_path / "out.vcf"
    write_report(report, vcf, out)
    assert _without_ours(out) == gzip.decompress(vcf.read_bytes()).decode().splitlines()
    assert sum(1 for _ in read_vcf(out).records) == report.ledger["records"]
    assert write_table(read_table(report.to_tsv())) == report.to_tsv()
