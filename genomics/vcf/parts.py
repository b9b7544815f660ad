"""Where each chromosome's lines stand in a VCF, so that several processes can share it."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from genomics.vcf.lines import Part

_CHUNK_BYTES = 2**20
# Header of a bgzip block up to its length (SAM specification, section 4.1).
_BLOCK_HEADER = struct.Struct("<4sIBBHBBHH")
_BLOCK_MAGIC = b"\x1f\x8b\x08\x04"


class _Place(NamedTuple):
    """A byte of the text: where reading can begin, and what to skip from there."""

    offset: int
    skip: int


@dataclass
class _Run:
    """Lines of one sequence that stand together."""

    sequence: bytes
    first: int
    place: _Place
    lines: int = 0


def parts_by_sequence(path: Path, wanted: int) -> list[Part]:
    """Divide the body of a VCF at the borders of its sequences.

    Parameters
    ----------
    path : Path
        Plain, gzip or bgzip.
    wanted : int
        Neighbouring sequences come into one part until it has this share of the lines.

    Returns
    -------
    list of Part
        In order, without gaps, the last one open to the end of the file. Empty where the file
        cannot be divided: it is damaged, holds no record, or a sequence stands in it twice.
    """
    try:
        runs = _runs(path)
    except (OSError, EOFError, zlib.error, struct.error):
        return []
    if len({run.sequence for run in runs}) != len(runs):
        return []
    enough = sum(run.lines for run in runs) / wanted
    groups: list[list[_Run]] = []
    for run in runs:
        taken = sum(each.lines for each in groups[-1]) if groups else enough
        if taken + run.lines / 2 > enough:
            groups.append([])
        groups[-1].append(run)
    firsts = [group[0] for group in groups]
    lasts: list[int | None] = [following.first - 1 for following in firsts[1:]]
    return [
        Part(run.first, last, *run.place)
        for run, last in zip(firsts, [*lasts, None][: len(firsts)], strict=True)
    ]


def _runs(path: Path) -> list[_Run]:
    runs: list[_Run] = []
    number = 1
    for place, line, lines in _line_groups(path):
        if line.startswith(b"#") and not runs:
            number += lines
            continue
        # As the record's: ``<name>`` and ``name`` are one sequence.
        sequence = line.split(b"\t", 1)[0].strip(b"<>")
        if not runs or runs[-1].sequence != sequence:
            runs.append(_Run(sequence, number, place))
        runs[-1].lines += lines
        number += lines
    return runs


def _line_groups(path: Path) -> Iterator[tuple[_Place, bytes, int]]:
    """Yield where lines begin, the first of them, and how many of one sequence follow."""
    tail, tail_place = b"", _Place(0, 0)
    for place, data in _chunks(path):
        begin = tail_place if tail else place
        whole, end, rest = (tail + data).rpartition(b"\n")
        if not end:
            tail, tail_place = rest, begin
            continue
        # Only the first line can begin before this chunk.
        shift = place.skip - len(tail)
        for index, line, lines in _groups(whole):
            yield (_Place(place.offset, shift + index) if index else begin), line, lines
        tail, tail_place = rest, _Place(place.offset, shift + len(whole) + 1)
    if tail:
        yield tail_place, tail, 1


def _groups(whole: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Group lines by sequence; those between two lines of one sequence are of it as well.

    Where they are not, the file is not sorted, which the reader of that part will find.
    """
    first = whole[: whole.find(b"\t") + 1]
    last = whole[whole.rfind(b"\n") + 1 :]
    if first and not first.startswith(b"#") and last.startswith(first):
        yield 0, first, whole.count(b"\n") + 1
        return
    index = 0
    for line in whole.split(b"\n"):
        yield index, line, 1
        index += len(line) + 1


def _chunks(path: Path) -> Iterator[tuple[_Place, bytes]]:
    """Yield the text in pieces, each with the place of its first byte."""
    with path.open("rb") as stream:
        start = stream.read(_BLOCK_HEADER.size)
        stream.seek(0)
        if _is_bgzip(start):
            yield from ((_Place(offset, 0), data) for offset, data in _blocks(stream))
            return
        if start[:2] == b"\x1f\x8b":
            place = 0
            with gzip.open(stream, "rb") as text:
                while data := text.read(_CHUNK_BYTES):
                    yield _Place(0, place), data
                    place += len(data)
            return
        place = 0
        while data := stream.read(_CHUNK_BYTES):
            yield _Place(place, 0), data
            place += len(data)


def _is_bgzip(start: bytes) -> bool:
    return start[:4] == _BLOCK_MAGIC and start[12:14] == b"BC"


def _blocks(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while header := stream.read(_BLOCK_HEADER.size):
        length = _BLOCK_HEADER.unpack(header)[-1] + 1
        if not _is_bgzip(header):
            raise EOFError("a bgzip block does not follow the last one")
        block = stream.read(length - _BLOCK_HEADER.size)
        yield offset, zlib.decompress(block[:-8], wbits=-15)
        offset += length
