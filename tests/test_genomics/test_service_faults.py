"""What may go wrong around a service: killed, starved, flooded, orphaned."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from running_service import Service, gone, long_vcf, running

from genomics.synthetic import SyntheticCase, write_synthetic_case


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> SyntheticCase:
    return write_synthetic_case(tmp_path_factory.mktemp("case"), "P1")


@pytest.fixture(scope="module")
def long(case: SyntheticCase) -> Path:
    return long_vcf(case, case.vcf.parent / "long.vcf")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of one worker that holds two jobs."""
    log = tmp_path_factory.mktemp("shared") / "log"
    with running("--child", "--workers", 1, "--jobs", 2, log=log) as service:
        yield service


@pytest.fixture
def service(shared: Service) -> Iterator[Service]:
    """The shared service, without jobs before and after."""
    ordered: list[str] = []
    order = shared.order

    def noted(**body: Any) -> dict[str, Any]:
        job = order(**body)
        ordered.append(job["id"])
        return job

    shared.order = noted  # type: ignore[method-assign]
    yield shared
    shared.order = order  # type: ignore[method-assign]
    for name in ordered:
        shared.http.delete(f"/jobs/{name}")


@pytest.fixture
def scratch(tmp_path: Path) -> dict[str, str]:
    """The environment of a service whose temporary folder is the test's own, to look into."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    return {"TMPDIR": str(folder), "TEMP": str(folder), "TMP": str(folder)}


def files(case: SyntheticCase) -> dict[str, str]:
    return {"reference": str(case.fasta), "genes": str(case.gff3)}


def left_in(scratch: dict[str, str]) -> list[Path]:
    return list(Path(scratch["TMPDIR"]).rglob("*"))


def test_a_killed_worker_is_a_message_and_the_next_job_gets_another(
    service: Service, case: SyntheticCase, long: Path
) -> None:
    job = service.order(vcf=str(long), **files(case))
    behind = service.order(vcf=str(case.vcf), **files(case))
    service.wait(job, lambda now: now["done"] > 0)
    (worker,) = service.workers()
    worker.kill()
    killed = time.monotonic()
    ended = service.wait(job)
    assert time.monotonic() - killed < 10
    assert (ended["state"], ended["expected"]) == ("failed", False)
    assert "long.vcf ended before it was done" in ended["message"]
    assert "Score it again" in ended["message"]
    if os.name == "posix":
        assert "killed by signal 9, SIGKILL" in ended["message"]
    assert service.wait(behind)["state"] == "done"
    (other,) = service.workers()
    assert other.pid != worker.pid


def test_an_upload_that_breaks_off_can_be_sent_again(service: Service, case: SyntheticCase) -> None:
    job = service.order()
    head = (
        f"PUT /jobs/{job['id']}/vcf HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
        f"Authorization: Bearer {service.token}\r\nContent-Length: 100000\r\n\r\n"
    )
    port = int(service.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as broken:
        broken.sendall(head.encode())
        assert b"100 Continue" in broken.recv(1000)  # it has begun to read
        broken.sendall(case.vcf.read_bytes()[:500])
        assert service.http.put(f"/jobs/{job['id']}/vcf", content=b"x").status_code == 409
    service.wait(job, lambda now: now["state"] == "awaiting_upload")
    ends = time.monotonic() + 10
    while service.http.put(f"/jobs/{job['id']}/vcf", content=b"hello\n").status_code != 200:
        assert time.monotonic() < ends
        time.sleep(0.1)
    assert "not a VCF" in service.wait(job)["message"]
    assert "Traceback" not in service.log.read_text()


def test_results_that_were_fetched_make_room_and_others_do_not(
    service: Service, case: SyntheticCase
) -> None:
    first = service.wait(service.order(vcf=str(case.vcf), **files(case)))
    second = service.wait(service.order(vcf=str(case.vcf), **files(case)))
    kept = service.http.post("/jobs", json={})
    assert kept.status_code == 429
    assert int(kept.headers["retry-after"]) > 2
    assert service.result(second).status_code == 200
    service.order()
    assert service.http.get(f"/jobs/{second['id']}").status_code == 404
    assert service.result(first).status_code == 200


def test_a_worker_that_does_not_heed_cancel_is_ended(
    service: Service, case: SyntheticCase, long: Path
) -> None:
    job = service.order(vcf=str(long), **files(case))
    service.wait(job, lambda now: now["done"] > 0)
    (worker,) = service.workers()
    worker.suspend()
    service.http.post(f"/jobs/{job['id']}/cancel")
    assert service.wait(job, seconds=20)["state"] == "cancelled"
    assert gone([worker])


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--job-memory-gib", 0.05, "more than the limit of this service (0.05 GiB)"),
        ("--job-minutes", 0.01, "longer than 0.6 s"),
    ],
)
def test_a_job_beyond_its_limit_is_ended_and_says_which(
    case: SyntheticCase, long: Path, tmp_path: Path, option: str, value: float, says: str
) -> None:
    with running("--child", "--workers", 1, option, value, log=tmp_path / "log") as service:
        ended = service.wait(service.order(vcf=str(long), **files(case)))
        assert ended["state"] == "failed"
        assert says in ended["message"]
        assert option in ended["message"]
        assert service.workers() == []
        assert service.http.get("/").status_code == 200


def test_more_jobs_than_it_holds_are_sent_away_with_a_time(tmp_path: Path) -> None:
    with running("--jobs", 2, "--keep-minutes", 0.05, log=tmp_path / "log") as service:
        jobs = [service.order() for _ in range(2)]
        full = service.http.post("/jobs", json={})
        assert full.status_code == 429
        assert 1 <= int(full.headers["retry-after"]) <= 60
        assert "ask again later" in full.json()["detail"]
        service.http.delete(f"/jobs/{jobs[0]['id']}")
        service.order()
        # What nobody uploads to, or fetches, is forgotten after --keep-minutes, here 3 s.
        time.sleep(3.2)
        assert service.http.get(f"/jobs/{jobs[1]['id']}").status_code == 404
        assert set(service.http.get("/").json()["jobs"].values()) == {0}


@pytest.mark.parametrize("how", ["stdin closes", "SIGTERM", "Ctrl-C"])
def test_it_ends_with_its_parent_and_leaves_nothing(
    case: SyntheticCase, long: Path, tmp_path: Path, scratch: dict[str, str], how: str
) -> None:
    if how != "stdin closes" and sys.platform == "win32":
        pytest.skip("Windows has no such signals")
    token_file = tmp_path / "token"
    options = ("--child", "--token-file", token_file)
    with running(*options, log=tmp_path / "log", env=scratch) as service:
        job = service.order(vcf=str(long), **files(case))
        if how == "stdin closes":
            service.wait(job, lambda now: now["done"] > 0)
        assert left_in(scratch)
        family = service.family()
        if how == "stdin closes":
            service.process.stdin.close()
        else:
            number = signal.SIGTERM if how == "SIGTERM" else signal.SIGINT
            service.process.send_signal(number)
        assert service.process.wait(20) == 0
        assert gone(family)
    assert left_in(scratch) == []
    assert not token_file.exists()
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_a_killed_service_takes_its_workers_and_files_with_it(
    case: SyntheticCase, long: Path, tmp_path: Path, scratch: dict[str, str]
) -> None:
    with running("--child", log=tmp_path / "log", env=scratch) as service:
        job = service.order(vcf=str(long), **files(case))
        service.wait(job, lambda now: now["done"] > 0)
        family = service.family()
        service.process.kill()
        assert gone(family)
    assert left_in(scratch) == []


def test_what_a_killed_service_left_is_removed_by_the_next(
    tmp_path: Path, scratch: dict[str, str]
) -> None:
    folder = Path(scratch["TMPDIR"])
    dead = next(pid for pid in range(50_000, 4_000_000) if not psutil.pid_exists(pid))
    with running("--child", log=tmp_path / "log", env=scratch) as service:
        (own,) = left_in(scratch)
        name = str(service.process.pid)
    orphan = folder / own.name.replace(name, str(dead))
    alive = folder / own.name.replace(name, str(os.getpid()))
    other = folder / "precimed-genomics-notes"
    for each in (orphan, alive, other):
        each.mkdir()
        (each / "upload").write_text("a patient's")
    with running("--child", log=tmp_path / "log", env=scratch):
        assert not orphan.exists()
        assert (alive / "upload").exists()
        assert (other / "upload").exists()


def test_a_killed_parent_is_noticed(tmp_path: Path, scratch: dict[str, str]) -> None:
    """The viewer is killed outright: its end of the pipe closes, and the service ends."""
    viewer = (
        "import subprocess, sys, time\n"
        "line = [sys.executable, '-m', 'genomics', 'serve', '--child']\n"
        "child = subprocess.Popen(line, stdin=subprocess.PIPE)\n"
        "print(child.pid, file=sys.stderr, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", viewer],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **scratch},
    )
    service = psutil.Process(int(parent.stderr.readline()))
    assert parent.stdout.readline().startswith(b'{"url"')
    parent.kill()
    parent.wait()
    assert gone([service])
    assert left_in(scratch) == []
    parent.stdout.close()
    parent.stderr.close()


def test_service_folders_are_for_their_user_only(tmp_path: Path, scratch: dict[str, str]) -> None:
    if os.name != "posix":
        pytest.skip("modes are POSIX's")
    assert tempfile.gettempdir() != scratch["TMPDIR"]
    with running(log=tmp_path / "log", env=scratch) as service:
        service.order()
        folders = left_in(scratch)
        assert len(folders) == 2
        assert {each.stat().st_mode & 0o777 for each in folders} == {0o700}
        assert isinstance(service, Service)
