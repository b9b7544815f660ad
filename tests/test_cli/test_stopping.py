"""Ctrl-C and a scheduler's stop: exit code 3, one line, nothing left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from endings import tree

pty = pytest.importorskip("pty", reason="a terminal is made with pty, which Windows has not")

PRECIMED = [sys.executable, "-m", "napari_precimed"]
CTRL_C = b"\x03"


def _read_until(terminal: int, wanted: bytes, timeout_s: float = 240) -> bytes:
    """What a program prints on its terminal, until `wanted` comes or the program ends."""
    shown, ends = b"", time.monotonic() + timeout_s
    while wanted not in shown or not wanted:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # the other end is closed
            break
        shown += part
        if not part or time.monotonic() > ends:
            break
    return shown


def _heed_ctrl_c() -> None:
    """Undo what a shell does to the jobs it starts in the background, the test run among them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _stop(line: list[str], when: bytes, stop: Callable[[int, int], None]) -> tuple[int, str]:
    """Run a program on a terminal, stop it when it shows `when`; exit code and last words."""
    pid, terminal = pty.fork()
    if pid == 0:
        _heed_ctrl_c()
        os.execv(line[0], line)
    try:
        shown = _read_until(terminal, when)
        assert when in shown, shown.decode(errors="replace")
        stop(pid, terminal)
        after = _read_until(terminal, b"")
    finally:
        os.close(terminal)
        _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), after.decode(errors="replace")


@pytest.mark.slow
@pytest.mark.parametrize(
    "stop",
    [
        pytest.param(lambda pid, terminal: os.write(terminal, CTRL_C), id="ctrl-c"),
        pytest.param(lambda pid, terminal: os.kill(pid, signal.SIGTERM), id="sigterm"),
    ],
)
def test_stopped_while_it_segments(tmp_path: Path, stop: Callable[[int, int], None]) -> None:
    line = [*PRECIMED, "demo", "--no-viewer", "--out", str(tmp_path / "a" / "results")]
    code, words = _stop(line, b"segment", stop)
    assert code == 3
    assert "precimed: Stopped by the user; no result was written." in words
    assert "Traceback" not in words
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_scoring_is_stopped_while_it_reads(tmp_path: Path, number: signal.Signals) -> None:
    pipe = tmp_path / "variants.vcf"
    os.mkfifo(pipe)
    line = [sys.executable, "-m", "genomics", "score", str(pipe), "-o", str(tmp_path / "out.tsv")]
    program = subprocess.Popen(line, stderr=subprocess.PIPE, text=True, preexec_fn=_heed_ctrl_c)
    with pipe.open("w"):  # opens when the program reads; it then waits for the first line
        program.send_signal(number)
        _, err = program.communicate(timeout=120)
    assert program.returncode == 3
    assert err == "genomics: cancelled; nothing was written\n"
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_reader_that_has_enough_is_no_failure_of_ours() -> None:
    """`precimed models | head -0`: no traceback, no message."""
    program = subprocess.Popen(
        [*PRECIMED, "models"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    assert program.stderr is not None
    program.stdout.close()
    assert program.stderr.read() == ""
    program.stderr.close()
    program.wait()
