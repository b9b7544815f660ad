"""The lines of a VCF file, plain, gzip or bgzip."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from genomics.errors import VcfError

_GZIP_MAGIC = b"\x1f\x8b"
_COUNTABLE_BYTES = 50_000_000


class UnendedLine(str):
    """A last line without a line end."""

    __slots__ = ()


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield each line with its number from 1, without its end.

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
        with _open(path) as stream:
            for number, line in enumerate(stream, start=1):
                if line.endswith(b"\n"):
                    yield number, line[:-1].removesuffix(b"\r").decode("utf-8")
                else:
                    yield number, UnendedLine(line.decode("utf-8"))
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


def line_end(path: Path) -> bytes:
    """Return how a file ends its lines, told by its first: as Windows does, or as others do."""
    with _open(path) as stream:
        return b"\r\n" if stream.readline().endswith(b"\r\n") else b"\n"


def _open(path: Path) -> BinaryIO:
    with path.open("rb") as raw:
        zipped = raw.read(2) == _GZIP_MAGIC
    return cast(BinaryIO, gzip.open(path, "rb")) if zipped else path.open("rb")


def count_records(path: str | Path) -> int | None:
    """Return the number of records, or None for a file too large to be worth a second reading."""
    path = Path(path)
    if path.stat().st_size > _COUNTABLE_BYTES:
        return None
    return sum(not line.startswith("#") for _, line in numbered_lines(path))
