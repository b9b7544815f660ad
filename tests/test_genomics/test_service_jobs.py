"""Jobs of the service: what comes back is what the library gives, whoever else is served."""

from __future__ import annotations

import gzip
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running_service import ENDED, Service, long_vcf, patient_vcf, running

from genomics.report import VariantReport
from genomics.report_lines import read_report_lines
from genomics.score import score_vcf
from genomics.synthetic import SyntheticCase, write_synthetic_case

PATIENTS = 50


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> SyntheticCase:
    return write_synthetic_case(tmp_path_factory.mktemp("case"), "P1")


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service as the viewer starts it."""
    log = tmp_path_factory.mktemp("near") / "log"
    with running("--child", "--workers", 2, "--jobs", 60, log=log) as service:
        yield service


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory, case: SyntheticCase) -> Iterator[Service]:
    """A service that reads no files by path; its references are those of the case."""
    log = tmp_path_factory.mktemp("far") / "log"
    with running("--references", case.fasta.parent, "--upload-mib", 0.05, log=log) as service:
        yield service


def files(case: SyntheticCase) -> dict[str, str]:
    return {"reference": str(case.fasta), "genes": str(case.gff3)}


def expect_same(got: VariantReport, expected: VariantReport) -> None:
    """The same but for timings; scores to what another number of threads may change."""
    assert got.sample_id == expected.sample_id
    assert got.ledger == expected.ledger
    timed = {"seconds", "options"}
    assert {k: v for k, v in got.run.items() if k not in timed} == {
        k: v for k, v in expected.run.items() if k not in timed
    }
    assert len(got.scored) == len(expected.scored)
    for ours, theirs in zip(got.scored, expected.scored, strict=True):
        ours_fields, their_fields = ours.to_dict(), theirs.to_dict()
        for name in ("score", "doubt"):
            value = ours_fields.pop(name)
            assert value == pytest.approx(their_fields.pop(name), abs=1e-6)
        assert ours_fields == their_fields


def test_fifty_patients_at_once_are_not_mixed(
    near: Service, case: SyntheticCase, tmp_path: Path
) -> None:
    """Ordered, followed, fetched and deleted in a random order; five are cancelled meanwhile."""
    draw = random.Random(4)
    paths = {number: patient_vcf(case, tmp_path, number) for number in range(PATIENTS)}
    held: dict[int, dict[str, Any]] = {}
    got: dict[int, VariantReport] = {}
    cancelled = set(draw.sample(range(PATIENTS), 5))
    waiting = list(paths)
    draw.shuffle(waiting)
    while waiting or held:
        if waiting and (not held or draw.random() < 0.6):
            number = waiting.pop()
            held[number] = near.order(vcf=str(paths[number]), **files(case))
            if number in cancelled:
                near.http.post(f"/jobs/{held[number]['id']}/cancel")
            continue
        number = draw.choice(list(held))
        job = near.status(held[number])
        if job["state"] == "done":
            got[number] = VariantReport.from_json(near.result(job).text)
        if job["state"] in ENDED:
            assert job["message"] is None
            assert near.http.delete(f"/jobs/{job['id']}").status_code == 204
            del held[number]
    assert set(got) >= set(paths) - cancelled
    assert len({report.ledger["alleles"] for report in got.values()}) > 5  # they do differ
    for number, report in got.items():
        assert report.sample_id == f"PATIENT-{number:03d}"
        expect_same(report, score_vcf(paths[number], reference=case.fasta, genes=case.gff3))
    assert set(near.http.get("/").json()["jobs"].values()) == {0}


def test_every_format_holds_the_same_result(
    near: Service, case: SyntheticCase, tmp_path: Path
) -> None:
    job = near.order(vcf=str(case.vcf), outputs=["json", "jsonl", "tsv", "vcf.gz"], **files(case))
    assert near.wait(job)["state"] == "done"
    report = VariantReport.from_json(near.result(job, "json").text)
    expect_same(report, score_vcf(case.vcf, reference=case.fasta, genes=case.gff3))
    assert read_report_lines(near.result(job, "jsonl").text.splitlines()) == report
    assert near.result(job, "tsv").text == report.to_tsv()
    scored = gzip.decompress(near.result(job, "vcf.gz").content).decode()
    assert scored.count("PRECIMED_SCORE=") == len(
        {s.record.line_number for s in report.scored if s.score is not None and s.record}
    )
    refused = near.result(job, "vcf")
    assert refused.status_code == 409
    assert "vcf is not there" in refused.json()["detail"]


def test_progress_is_told_and_cancel_stops_the_work(
    near: Service, case: SyntheticCase, tmp_path: Path
) -> None:
    path = long_vcf(case, tmp_path / "long.vcf")
    job = near.order(vcf=str(path), **files(case))
    at_work = near.wait(job, lambda now: now["done"] > 0)
    assert at_work["state"] == "running"
    assert at_work["total"] == 3 * 24_000
    later = near.wait(job, lambda now: now["done"] > at_work["done"])
    assert later["done"] <= later["total"]
    assert near.result(job).status_code == 409
    workers = {each.pid for each in near.workers()}
    near.http.post(f"/jobs/{job['id']}/cancel")
    asked = time.monotonic()
    assert near.wait(job)["state"] == "cancelled"
    assert time.monotonic() - asked < 4  # it stopped by itself: the grace was not needed
    assert {each.pid for each in near.workers()} == workers
    assert near.http.delete(f"/jobs/{job['id']}").status_code == 204
    assert near.http.get(f"/jobs/{job['id']}").status_code == 404


def test_what_is_wrong_with_the_input_is_told_as_the_library_says_it(
    near: Service, tmp_path: Path
) -> None:
    path = tmp_path / "text.vcf"
    path.write_text("hello\n")
    ended = near.wait(near.order(vcf=str(path)))
    assert (ended["state"], ended["expected"]) == ("failed", True)
    assert "not a VCF" in ended["message"]
    assert ended["message"].startswith("text.vcf")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"vcf": "/no/such.vcf"}, "no such file"),
        ({"vcf": "variants.vcf"}, "not an absolute path"),
        ({"vcf": "/dev/zero"}, "no such file"),
        ({"model": "other"}, "there is missense-lstm"),
        ({"reference": "/no/such.fa"}, "no such file"),
    ],
)
def test_an_order_that_cannot_be_met_is_refused_at_once(
    near: Service, body: dict[str, str], says: str
) -> None:
    answer = near.http.post("/jobs", json=body)
    assert answer.status_code == 404
    assert says in answer.json()["detail"]


@pytest.mark.parametrize("zipped", [False, True])
def test_an_uploaded_vcf_is_scored_under_its_own_name_and_removed(
    far: Service, case: SyntheticCase, tmp_path: Path, zipped: bool
) -> None:
    path = patient_vcf(case, tmp_path, 3)
    content = gzip.compress(path.read_bytes()) if zipped else path.read_bytes()
    job = far.order(name=path.name, reference="genome.fa", genes="genes.gff3")
    assert job["state"] == "awaiting_upload"
    sent = far.http.put(f"/jobs/{job['id']}/vcf", content=content)
    assert sent.json()["state"] == "queued"
    assert far.wait(job)["state"] == "done"
    again = far.http.put(f"/jobs/{job['id']}/vcf", content=content)
    assert again.status_code == 409
    report = VariantReport.from_json(far.result(job).text)
    expected = score_vcf(path, reference=case.fasta, genes=case.gff3)
    if zipped:
        assert report.run["input"] == path.name
        assert report.ledger == expected.ledger
    else:
        expect_same(report, expected)


def test_a_broken_upload_is_told_under_the_users_name_for_it(far: Service) -> None:
    job = far.order(name="mother.vcf", reference="genome.fa", genes="genes.gff3")
    far.http.put(f"/jobs/{job['id']}/vcf", content=b"hello\n")
    message = far.wait(job)["message"]
    assert message.startswith("mother.vcf")
    assert "upload" not in message


def test_a_service_for_others_reads_no_file_by_path(far: Service, case: SyntheticCase) -> None:
    for body in (
        {"vcf": str(case.vcf)},
        {"reference": str(case.fasta)},
        {"genes": "../genes.gff3"},
        {"model": str(case.vcf.parent)},
    ):
        answer = far.http.post("/jobs", json=body)
        assert answer.status_code in (403, 404), body
    assert (
        "it has genes.gff3, genome.fa, variants.vcf"
        in far.http.post("/jobs", json={"reference": "other.fa"}).json()["detail"]
    )


def test_an_upload_beyond_the_limit_is_refused_announced_or_not(far: Service) -> None:
    too_large = bytes(60_000)
    job = far.order()
    announced = far.http.put(f"/jobs/{job['id']}/vcf", content=too_large)
    assert announced.status_code == 413
    chunked = far.http.put(f"/jobs/{job['id']}/vcf", content=iter([too_large[:30_000]] * 2))
    assert chunked.status_code == 413
    assert "limit" in chunked.json()["detail"]
    empty = far.http.put(f"/jobs/{job['id']}/vcf", content=b"")
    assert empty.status_code == 400
    # None of them was taken for the VCF.
    assert far.status(job)["state"] == "awaiting_upload"
    order = far.http.post("/jobs", content=b" " * 70_000)
    assert order.status_code == 413
