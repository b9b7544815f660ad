"""The index of a FASTA, in samtools' ``.fai`` form, made where it may be written.

pyfaidx refuses the empty lines with which NCBI ends its files, and writes beside the FASTA, which
may be read-only; so the index is made here, in the user's cache.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from genomics.errors import ReferenceGenomeError


@dataclass
class _Entry:
    name: str
    offset: int
    length: int = 0
    line_bases: int = 0
    line_bytes: int = 0
    ended: bool = False

    def add(self, line: bytes) -> bool:
        """Count a line of bases; False where its length breaks the sequence's pattern."""
        bases = len(line.rstrip(b"\r\n"))
        if bases == 0:
            self.ended = True
            return True
        if self.ended:
            return False
        if not self.line_bases:
            self.line_bases, self.line_bytes = bases, len(line)
        self.length += bases
        self.ended = bases < self.line_bases
        return bases <= self.line_bases

    def __str__(self) -> str:
        fields = (self.name, self.length, self.offset, self.line_bases, self.line_bytes)
        return "\t".join(map(str, fields))


def index_path(fasta: Path) -> Path:
    """Return an up-to-date index of a FASTA, made in the user's cache where there is none beside.

    Raises
    ------
    ReferenceGenomeError
        The file is not a FASTA, or no folder can hold the index.
    """
    beside = fasta.with_name(fasta.name + ".fai")
    if beside.is_file() and beside.stat().st_mtime >= fasta.stat().st_mtime:
        return beside
    stat = fasta.stat()
    identity = f"{fasta.resolve()}\n{stat.st_size}\n{stat.st_mtime_ns}"
    cached = _cache_folder(fasta) / f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.fai"
    if not cached.is_file() and fasta.suffix != ".gz":
        lines = "".join(f"{entry}\n" for entry in _entries(fasta))
        # Two processes may index the same file at once: each writes its own and renames it.
        handle, partial = tempfile.mkstemp(dir=cached.parent, suffix=".partial")
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(lines)
        Path(partial).replace(cached)
    return cached


def _entries(fasta: Path) -> Iterator[_Entry]:
    entry: _Entry | None = None
    names: set[str] = set()
    place = 0
    with fasta.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            place += len(line)
            if line.startswith(b">"):
                if entry is not None:
                    yield entry
                words = line[1:].decode("utf-8", "replace").split(maxsplit=1)
                if not words or words[0] in names:
                    raise ReferenceGenomeError(
                        f"{fasta}, line {number}: a sequence without its own name"
                    )
                names.add(words[0])
                entry = _Entry(words[0], place)
            elif entry is None:
                if line.strip():
                    raise ReferenceGenomeError(
                        f"{fasta}, line {number}: a FASTA begins with '>'; found {line[:40]!r}"
                    )
            elif not entry.add(line):
                raise ReferenceGenomeError(
                    f"{fasta}, line {number}: lines of {entry.name} differ in length; "
                    "rewrite the file with equal lines (samtools faidx writes them so)"
                )
    if entry is not None:
        yield entry


def _cache_folder(fasta: Path) -> Path:
    for folder in (
        user_cache_path("napari-precimed") / "fasta-index",
        Path(tempfile.gettempdir()) / "napari-precimed-fasta-index",
    ):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    raise ReferenceGenomeError(
        f"{fasta}: neither the user's cache nor the temporary folder can hold its index; "
        "make one beside it (samtools faidx)"
    )
