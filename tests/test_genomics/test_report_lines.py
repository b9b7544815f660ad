from __future__ import annotations

from pathlib import Path

import pytest

from genomics.errors import ReportFormatError
from genomics.report import VariantReport
from genomics.report_lines import read_report_lines, report_lines
from genomics.score import score_vcf
from genomics.synthetic import write_synthetic_case


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> VariantReport:
    case = write_synthetic_case(tmp_path_factory.mktemp("case"), "P1")
    return score_vcf(case.vcf, reference=case.fasta, genes=case.gff3)


def test_a_report_survives_in_lines(report: VariantReport, tmp_path: Path) -> None:
    lines = list(report_lines(report))
    assert len(lines) == len(report.scored) + 1
    assert not any("\n" in line for line in lines)
    assert read_report_lines(lines) == report
    assert read_report_lines(lines).to_json() == report.to_json()
    empty = VariantReport(None, (), {})
    assert read_report_lines(report_lines(empty)) == empty


def test_a_report_cut_short_is_not_taken_for_a_smaller_one(report: VariantReport) -> None:
    lines = list(report_lines(report))
    with pytest.raises(ReportFormatError, match=f"{len(lines) - 2} of {len(lines) - 1} variants"):
        read_report_lines(lines[:-1])
    with pytest.raises(ReportFormatError, match="empty"):
        read_report_lines([])
    with pytest.raises(ReportFormatError, match="not a variant report"):
        read_report_lines([*lines[:-1], lines[-1][:-5]])
    with pytest.raises(ReportFormatError, match="format 99"):
        read_report_lines([lines[0].replace('"format": 1', '"format": 99'), *lines[1:]])
