"""Watches every socket of a program and its children, and blocks those that lead elsewhere.

An audit hook sits in every Python process from its start (``sitecustomize``), children of children
too. It sees what goes through Python's own sockets and name look-ups; a library in C++ that opened
a socket of its own would escape it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

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
