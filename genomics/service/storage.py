"""The folder of one service: uploads and results, readable by its user only, and its removal."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import tempfile
from pathlib import Path

import psutil

OUTPUTS = {
    "json": "application/json",
    "jsonl": "application/jsonl",
    "tsv": "text/tab-separated-values",
    "vcf": "text/plain",
    "vcf.gz": "application/gzip",
}
"""What a job can make, and its media type.

``json`` is ``VariantReport.to_json``, ``jsonl`` the same in lines (:mod:`genomics.report_lines`).
"""
# Containers may share a folder and not their process ids, so the machine's name belongs to it.
_PREFIX = f"precimed-genomics-{re.sub(r'[^A-Za-z0-9.]', '', platform.node())}-"
_OURS = re.compile(rf"{re.escape(_PREFIX)}(\d+)-.+")


class Storage:
    """A temporary folder that goes with the service.

    ``tempfile.mkdtemp`` makes it for its user only. Its name holds the machine and the process id,
    so that what a killed service could not remove is found, and removed, by the next one.
    """

    def __init__(self) -> None:
        _remove_orphans()
        self.root = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))

    def folder_for(self, name: str) -> Path:
        """Make and return the folder of a job."""
        folder = self.root / name
        folder.mkdir(mode=0o700)
        return folder

    def remove(self, folder: Path) -> None:
        """Remove a job's folder."""
        shutil.rmtree(folder, ignore_errors=True)

    def remove_file(self, path: Path) -> None:
        """Remove a file, if it is there."""
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.root, ignore_errors=True)


def output_path(folder: Path, output: str) -> Path:
    """Return where a job's result in that format lies."""
    return folder / f"report.{output}"


def _remove_orphans() -> None:
    """Remove the folders of services that are no longer alive; other users' cannot be."""
    with contextlib.suppress(OSError):
        for folder in Path(tempfile.gettempdir()).iterdir():
            named = _OURS.fullmatch(folder.name)
            if named and not folder.is_symlink() and not psutil.pid_exists(int(named[1])):
                shutil.rmtree(folder, ignore_errors=True)
