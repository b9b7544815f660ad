"""The lines of a VCF file, plain, gzip or bgzip."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from genomics.errors import VcfError

_GZIP_MAGIC = b"\x1f\x8b"
_COUNTABLE_BYTES = 50_000_000
_SKIPPED_BYTES = 2**20


class UnendedLine(str):
    """A last line without a line end."""

    __slots__ = ()


@dataclass(frozen=True)
class Part:
    """Lines that stand together in the body of a file, and where to find them.

    Attributes
    ----------
    first : int
        Number of the first line, from 1.
    last : int or None
        Number of the last line; None for the rest of the file.
    offset : int
        Byte of the file at which reading can begin: in a gzip file the start of a member (in
        bgzip, of a block).
    skip : int
        Bytes of text between there and the first line.
    """

    first: int
    last: int | None
    offset: int
    skip: int


def numbered_lines(path: Path, part: Part | None = None) -> Iterator[tuple[int, str]]:
    """Yield each line, or each of a part, with its number from 1, without its end.

    A last line that lacks its end is an :class:`UnendedLine`: that a file was cut short shows
    nowhere else where it is not compressed.

    Raises
    ------
    VcfError
        The file is missing, cut short, or not text.
    """
    if not path.exists():
        raise VcfError(path, None, "no such file")
    if path.is_dir():
        raise VcfError(path, None, "is a folder; give one VCF file")
    number = 0
    try:
        with _open(path, part) as stream:
            for number, line in enumerate(stream, start=part.first if part else 1):
                if line.endswith(b"\n"):
                    yield number, line[:-1].removesuffix(b"\r").decode("utf-8")
                else:
                    yield number, UnendedLine(line.decode("utf-8"))
                if part is not None and number == part.last:
                    return
    except UnicodeDecodeError as error:
        raise VcfError(
            path, number, f"not text in UTF-8 ({error.reason}); a VCF is a text file"
        ) from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise VcfError(
            path, number + 1, f"the compressed file is damaged or cut short ({error}); copy it anew"
        ) from error
    except OSError as error:
        raise VcfError(path, None, f"cannot be read: {error.strerror or error}") from error


def line_end(path: Path) -> str:
    """Return how a file ends its lines, told by its first: as Windows does, or as others do."""
    with _open(path) as stream:
        return "\r\n" if stream.readline().endswith(b"\r\n") else "\n"


@contextmanager
def _open(path: Path, part: Part | None = None) -> Iterator[BinaryIO]:
    with path.open("rb") as raw:
        zipped = raw.read(2) == _GZIP_MAGIC
        raw.seek(part.offset if part else 0)
        # What a GzipFile is given to read from, it does not close.
        with cast(BinaryIO, gzip.open(raw, "rb")) if zipped else raw as stream:
            if part is not None:
                _skip(stream, part.skip)
            yield stream


def _skip(stream: BinaryIO, count: int) -> None:
    while count:
        passed = len(stream.read(min(count, _SKIPPED_BYTES)))
        if not passed:
            raise EOFError("the file is shorter than it was")
        count -= passed


def count_records(path: str | Path) -> int | None:
    """Return the number of records, or None for a file too large to be worth a second reading."""
    path = Path(path)
    if path.stat().st_size > _COUNTABLE_BYTES:
        return None
    return sum(not line.startswith("#") for _, line in numbered_lines(path))
