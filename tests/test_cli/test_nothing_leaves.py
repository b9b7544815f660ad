"""Nothing leaves the machine: no socket that leads elsewhere is asked for, or it is blocked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from running_service import running
from socket_watch import Watch

from genomics.synthetic import SyntheticCase


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    folder = tmp_path / "watch"
    folder.mkdir()
    return Watch(folder)


def spawned(code: str) -> str:
    """The code, run in a process that multiprocessing starts, as the service starts its workers."""
    return (
        "import multiprocessing as m\n"
        f"p = m.get_context('spawn').Process(target=exec, args=({code!r},)); p.start(); p.join()"
    )


@pytest.mark.parametrize(
    "code",
    [
        "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)",
        "import socket; socket.getaddrinfo('server.example', 443)",
        "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))",
        "import socket; socket.create_server(('', 0))",
        "import httpx; httpx.get('http://192.0.2.1', trust_env=False)",
        "import urllib.request; urllib.request.urlopen('http://server.example')",
    ],
)
@pytest.mark.parametrize("started", [lambda code: code, spawned], ids=["child", "spawned"])
def test_the_watch_sees_what_would_leave(
    watch: Watch, code: str, started: Callable[[str], str]
) -> None:
    done = watch.run("-c", started(code))
    assert watch.blocked
    assert "blocked by the test" in done.stderr or "Error" in done.stderr


def test_loopback_and_plain_names_pass_the_watch(watch: Watch) -> None:
    code = (
        "import socket\n"
        "s = socket.create_server(('127.0.0.1', 0))\n"
        "socket.create_connection(('localhost', s.getsockname()[1])).close()\n"
    )
    assert watch.run("-c", code).returncode == 0
    assert watch.blocked == []


def test_scoring_sends_nothing(watch: Watch, genome: SyntheticCase, tmp_path: Path) -> None:
    out = tmp_path / "out.vcf.gz"
    done = watch.run("-m", "genomics", "score", genome.vcf, "--reference", genome.fasta,
                     "--genes", genome.gff3, "-o", out)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert out.exists()
    assert watch.processes
    assert watch.blocked == []


def test_the_service_and_its_workers_send_nothing(
    watch: Watch, genome: SyntheticCase, tmp_path: Path
) -> None:
    with running("--child", log=tmp_path / "log", env=watch.env) as service:
        job = service.order(
            vcf=str(genome.vcf), reference=str(genome.fasta), genes=str(genome.gff3)
        )
        assert service.wait(job)["state"] == "done"
        workers = {worker.pid for worker in service.workers()}
        assert workers
        assert workers | {service.process.pid} <= watch.processes
    assert watch.blocked == []


@pytest.mark.slow
def test_a_whole_case_is_analysed_and_reported_without_a_word_to_anyone(
    watch: Watch, small_ct: Path, genome: SyntheticCase, tmp_path: Path
) -> None:
    out = tmp_path / "results"
    done = watch.run("-m", "napari_precimed", "analyse", small_ct, "--patient", "P1",
                     "--vcf", genome.vcf, "--reference", genome.fasta, "--genes", genome.gff3,
                     "--model", "lung-nodule", "--out", out)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {"labels.nii.gz", "variants.tsv", "report.html", "report.pdf"} <= {
        path.name for path in out.iterdir()
    }
    assert watch.processes
    assert watch.blocked == []
