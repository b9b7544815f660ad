from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from genomics_toys import write_toy_genome, write_vcf

from genomics.__main__ import app, run
from genomics.synthetic import write_synthetic_case
from genomics.vcf import read_vcf


def _call(*arguments: object) -> int:
    """Run a command in this process, as ``main`` does."""
    return run(lambda: app([str(each) for each in arguments], standalone_mode=False))


def test_score_writes_a_table_and_prints_one_json_object(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = write_synthetic_case(tmp_path, "P1")
    out = tmp_path / "out.tsv"
    options = ("--reference", case.fasta, "--genes", case.gff3, "-o", out, "--json")
    assert _call("score", case.vcf, *options) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["sample"] == "P1"
    assert summary["ledger"]["alleles"] == len(out.read_text().splitlines()) - 1


@pytest.mark.parametrize("name", ["out.vcf", "out.vcf.gz"])
def test_the_scored_vcf_keeps_every_record_and_scores_again_alike(
    tmp_path: Path, name: str
) -> None:
    case = write_synthetic_case(tmp_path, "P1")
    options = ("--reference", case.fasta, "--genes", case.gff3)
    first, second = tmp_path / name, tmp_path / f"again.{name}"
    assert _call("score", case.vcf, *options, "-o", first) == 0
    assert _call("score", first, *options, "-o", second) == 0
    before, after = list(read_vcf(case.vcf).records), list(read_vcf(first).records)
    assert [r.fields[:7] + r.fields[8:] for r in before] == [
        r.fields[:7] + r.fields[8:] for r in after
    ]
    assert [r.fields for r in read_vcf(second).records] == [r.fields for r in after]
    assert read_vcf(second).header.lines == read_vcf(first).header.lines
    assert any(record.info("PRECIMED_SCORE") for record in after)


def test_bcftools_reads_the_scored_vcf(tmp_path: Path) -> None:
    pytest.importorskip("pysam", reason="pysam has no wheel for this platform")
    case = write_synthetic_case(tmp_path, "P1")
    out = tmp_path / "out.vcf.gz"
    assert _call("score", case.vcf, "--reference", case.fasta, "--genes", case.gff3, "-o", out) == 0
    call = "import pysam, sys; print(sum(1 for _ in pysam.VariantFile(sys.argv[1])))"
    done = subprocess.run(
        [sys.executable, "-c", call, str(out)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == 41


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing.vcf", "no such file"),
        ("text.vcf", "not a VCF"),
        ("mismatch.vcf", "REF is C"),
        ("two.vcf", "--sample"),
    ],
)
def test_bad_input_is_one_line_exit_code_2_and_nothing_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, says: str
) -> None:
    files = write_toy_genome(tmp_path)
    (tmp_path / "text.vcf").write_text("hello\n")
    write_vcf(tmp_path / "mismatch.vcf", ["toy_plus 24 . C A . . . GT 0/1"], "P")
    write_vcf(tmp_path / "two.vcf", ["toy_plus 24 . G A . . . GT 0/1 0/0"], "P Q")
    folder = tmp_path / "out"
    folder.mkdir()
    options = ("--reference", files.fasta, "--genes", files.gff3, "-o", folder / "out.tsv")
    assert _call("score", tmp_path / name, *options) == 2
    output = capsys.readouterr()
    assert says in output.err
    assert len(output.err.strip().splitlines()) == 1
    assert output.out == ""
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("out", "says"),
    [("out.xlsx", "must end in"), ("none/out.tsv", "no such folder"), ("", "must end in")],
)
def test_an_output_that_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], out: str, says: str
) -> None:
    assert _call("score", tmp_path / "absent.vcf", "-o", tmp_path / out) == 2
    assert says in capsys.readouterr().err


def test_the_users_own_file_is_never_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = write_synthetic_case(tmp_path, "P1")
    before = case.vcf.read_bytes()
    options = ("--reference", case.fasta, "--genes", case.gff3)
    assert _call("score", case.vcf, *options, "-o", case.vcf) == 2
    assert "is the VCF that is scored" in capsys.readouterr().err
    assert case.vcf.read_bytes() == before


def test_an_unknown_recipe_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _call("train", "other", "--data", tmp_path, "--out", tmp_path / "o") == 2
    assert "missense-lstm" in capsys.readouterr().err


def test_the_module_runs_and_a_mistyped_option_exits_with_2() -> None:
    command = [sys.executable, "-m", "genomics"]
    shown = subprocess.run([*command, "--help"], capture_output=True, text=True, check=False)
    assert shown.returncode == 0
    assert all(name in shown.stdout for name in ("score", "train", "evaluate"))
    wrong = subprocess.run([*command, "score", "--nope"], capture_output=True, check=False)
    assert wrong.returncode == 2


def test_reading_reporting_and_placing_load_no_torch() -> None:
    call = (
        "import sys, genomics, genomics.vcf, genomics.report, genomics.consequence, "
        "genomics.annotation, genomics.caller, genomics.catalogue, genomics.synthetic, "
        "genomics.preflight, genomics.report_table; "
        "sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", call], check=False).returncode == 0
