"""Nothing leaves the machine: every socket that leads elsewhere is blocked, and none is asked for.

An audit hook sits in every Python process from its start (``sitecustomize``), children of children
too. It sees what goes through Python's own sockets and name look-ups; a library in C++ that opened
a socket of its own would escape it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from running_service import running

from genomics.synthetic import SyntheticCase

HOOK = """
    import ipaddress, os, sys

    _LOG = os.environ["PRECIMED_TEST_SOCKETS"]
    _WITH_ADDRESS = {"socket.connect", "socket.sendto", "socket.sendmsg", "socket.bind"}
    _WITH_NAME = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}

    def _note(text):
        handle = os.open(_LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(handle, f"{os.getpid()} {text}\\n".encode())
        os.close(handle)

    def _is_here(host):
        if isinstance(host, bytes):
            host = host.decode()
        if host in (None, "", "localhost"):
            return True
        try:
            return ipaddress.ip_address(host.partition("%")[0]).is_loopback
        except ValueError:
            return False

    def _watch(event, args):
        if event in _WITH_ADDRESS:
            address = args[1]
            host = address[0] if isinstance(address, tuple) else None  # else a file of this machine
            elsewhere = not _is_here(host) or (event == "socket.bind" and host == "")
        elif event in _WITH_NAME:
            elsewhere = not _is_here(args[0])
        else:
            return
        if elsewhere:
            _note(f"BLOCKED {event} {args[1:] if event in _WITH_ADDRESS else args}")
            raise PermissionError(f"{event} to another machine is blocked by the test")

    _note("WATCHED")
    sys.addaudithook(_watch)
"""


class Watch:
    """The environment of a watched process, and what was seen."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "sockets.log"
        (folder / "sitecustomize.py").write_text(textwrap.dedent(HOOK))
        path = [str(folder), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        self.env = {"PYTHONPATH": os.pathsep.join(path), "PRECIMED_TEST_SOCKETS": str(self._log)}

    def run(self, *command: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *map(str, command)],
            env={**os.environ, **self.env},
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def processes(self) -> set[int]:
        """Every process that was watched."""
        return {int(line.split()[0]) for line in self._lines() if line.endswith("WATCHED")}

    @property
    def blocked(self) -> list[str]:
        return [line for line in self._lines() if "BLOCKED" in line]

    def _lines(self) -> list[str]:
        return self._log.read_text().splitlines() if self._log.exists() else []


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
