"""Large files: what a report lists, what it counts, and that every output has every record."""

from __future__ import annotations

from pathlib import Path

import pytest

from genomics.errors import OutputError
from genomics.listing import Listing, is_always_listed
from genomics.output import write_report
from genomics.report import ScoredVariant, VariantReport
from genomics.report_lines import read_report_lines, report_lines
from genomics.score import score_vcf
from genomics.synthetic import SyntheticCase, write_synthetic_case


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> SyntheticCase:
    return write_synthetic_case(tmp_path_factory.mktemp("listing"), "P1")


@pytest.fixture(scope="module")
def whole(case: SyntheticCase) -> VariantReport:
    return score_vcf(case.vcf, reference=case.fasta, genes=case.gff3)


def _records(report: VariantReport) -> list[list[ScoredVariant]]:
    by_line: dict[int, list[ScoredVariant]] = {}
    for each in report.scored:
        assert each.record is not None
        by_line.setdefault(each.record.line_number, []).append(each)
    return list(by_line.values())


def _listed(records: list[list[ScoredVariant]], limit: int) -> VariantReport:
    listing = Listing(limit)
    for record in records:
        listing.add(record)
    scored, counted = listing.result()
    return VariantReport("P1", scored, {}, counted)


def test_the_account_is_the_same_whether_listed_or_counted(whole: VariantReport) -> None:
    few = _listed(_records(whole), 2)
    assert len(few.scored) < len(whole.scored)
    assert few.ledger == whole.ledger | {"listed": len(few.scored)}
    assert [each for each in whole.scored if each.reason is None] == [
        each for each in few.scored if each.reason is None
    ]
    touched = {"inframe_deletion", "splice_region_variant"}
    assert touched & {each.consequence.term for each in few.scored if each.consequence}


def test_a_file_with_few_enough_others_is_listed_whole(whole: VariantReport) -> None:
    records = _records(whole)
    others = sum(not is_always_listed(record) for record in records)
    assert _listed(records, others).scored == whole.scored
    assert _listed(records, others - 1).ledger["listed"] < len(whole.scored)


@pytest.mark.parametrize("limit", [0, 2, 3, 100])
@pytest.mark.parametrize("cut", [0, 1, 17, 40])
def test_parts_put_together_list_what_the_whole_lists(
    whole: VariantReport, limit: int, cut: int
) -> None:
    records = _records(whole)
    first, second = Listing(limit), Listing(limit)
    for record in records[:cut]:
        first.add(record)
    for record in records[cut:]:
        second.add(record)
    first.extend(second)
    assert VariantReport("P1", *_in_order(first)) == _listed(records, limit)


def _in_order(listing: Listing) -> tuple[object, ...]:
    scored, counted = listing.result()
    return scored, {}, counted


def test_a_report_that_counts_comes_back_from_json_and_older_ones_do_too(
    whole: VariantReport,
) -> None:
    few = _listed(_records(whole), 2)
    back = VariantReport.from_json(few.to_json())
    assert back == few
    assert back.ledger == few.ledger
    assert read_report_lines(report_lines(few)) == few
    older = whole.to_json().replace('"counted": {"alleles": {}, "records": {}}, ', "")
    assert "counted" not in older
    assert VariantReport.from_json(older) == whole


@pytest.mark.parametrize("name", ["out.tsv", "out.vcf", "out.vcf.gz"])
def test_what_is_written_on_the_way_has_every_record(
    case: SyntheticCase,
    whole: VariantReport,
    tmp_path: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    afterwards, on_the_way = tmp_path / f"after.{name}", tmp_path / f"way.{name}"
    write_report(whole, case.vcf, afterwards)
    monkeypatch.setattr("genomics.listing.Listing.__init__.__defaults__", (2,))
    monkeypatch.setattr("genomics.stream.RECORDS_AT_ONCE", 3)
    few = score_vcf(case.vcf, reference=case.fasta, genes=case.gff3, out=on_the_way)
    assert few.ledger["listed"] < few.ledger["alleles"] == len(whole.scored)
    assert on_the_way.read_bytes() == afterwards.read_bytes()
    with pytest.raises(OutputError, match=r"lists \d+ of 42 alleles"):
        write_report(few, case.vcf, tmp_path / f"never.{name}")
    assert len(list(tmp_path.iterdir())) == 2


def test_several_outputs_of_a_windows_file_are_written_at_once(
    case: SyntheticCase, whole: VariantReport, tmp_path: Path
) -> None:
    vcf = tmp_path / "in.vcf"
    vcf.write_bytes(case.vcf.read_bytes().replace(b"\n", b"\r\n"))
    names = ("out.tsv", "out.vcf", "out.json", "out.vcf.gz")
    outs = [tmp_path / name for name in names]
    report = score_vcf(vcf, reference=case.fasta, genes=case.gff3, out=outs)
    assert report.scored == whole.scored
    for out in outs:
        write_report(report, vcf, tmp_path / f"after.{out.name}")
        assert out.read_bytes() == (tmp_path / f"after.{out.name}").read_bytes()
    lines = outs[1].read_bytes().splitlines(keepends=True)
    assert all(line.endswith(b"\r\n") for line in lines)
    assert any(line.startswith(b"##PRECIMED_ledger=records=") for line in lines)


def test_the_table_written_on_the_way_is_the_reports_own(
    case: SyntheticCase, whole: VariantReport, tmp_path: Path
) -> None:
    write_report(whole, case.vcf, tmp_path / "out.tsv")
    assert (tmp_path / "out.tsv").read_text(encoding="utf-8") == whole.to_tsv()
