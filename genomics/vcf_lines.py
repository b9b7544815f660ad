"""The lines of a VCF file, plain, gzip or bgzip."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from genomics.errors import VcfError

_GZIP_MAGIC = b"\x1f\x8b"
_COUNTABLE_BYTES = 50_000_000
_SKIPPED_BYTES = 2**20


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
        with path.open("rb") as raw:
            zipped = raw.read(2) == _GZIP_MAGIC
        with path.open("rb") as raw, gzip.open(raw, "rb") if zipped else raw as stream:
            if part is not None:
                _go_to(raw, stream, part)
            for number, line in enumerate(stream, start=part.first if part else 1):
                if not line.endswith(b"\n"):
                    # The last line may lack its end; a truncated gzip raises by itself.
                    line += b"\n"
                yield number, line[:-1].removesuffix(b"\r").decode("utf-8")
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


def _go_to(raw: BinaryIO, stream: IO[bytes] | gzip.GzipFile, part: Part) -> None:
    raw.seek(part.offset)
    left = part.skip
    while left:
        passed = len(stream.read(min(left, _SKIPPED_BYTES)))
        if not passed:
            raise EOFError("the file is shorter than it was")
        left -= passed


def count_records(path: str | Path) -> int | None:
    """Return the number of records, or None for a file too large to be worth a second reading."""
    path = Path(path)
    if path.stat().st_size > _COUNTABLE_BYTES:
        return None
    return sum(not line.startswith("#") for _, line in numbered_lines(path))
