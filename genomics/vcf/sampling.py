"""A bounded look into a VCF: its first records, and some from places spread over the rest.

A preflight must answer within two seconds on any file, so it cannot read it all; and the first
records of a genome are all of chromosome 1.
"""

from __future__ import annotations

import gzip
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import dropwhile, islice
from pathlib import Path
from typing import BinaryIO

from Bio import bgzf

from genomics.errors import VcfOrderError
from genomics.vcf import Deviations, RecordOrder, VcfHeader, VcfRecord, read_vcf
from genomics.vcf.body import RecordRuleError, RecordRules

_FIRST_RECORDS = 6_000
_FIRST_SECONDS, _SPREAD_SECONDS = 0.7, 0.4
_PLACES, _LEAST_PLACES, _RECORDS_PER_PLACE = 200, 12, 20
_BGZIP_MAGIC = b"\x1f\x8b\x08\x04"
_BGZIP_FIELD = b"BC\x02\x00"
_BLOCK_BYTES = 1 << 16
UNKNOWN_LINE = 0
"""Line number of a record that was found by jumping into the file."""


@dataclass(frozen=True)
class RecordSample:
    """Some of a VCF's records.

    Attributes
    ----------
    header : VcfHeader
    records : tuple of VcfRecord
        In the file's order; those found by jumping have :data:`UNKNOWN_LINE`.
    complete : bool
        Whether these are all records of the file.
    spread : bool
        Whether the rest of the file was looked into; a gzip that is not bgzip does not allow it.
    disorder : VcfOrderError or None
        The first record that breaks the sorting, as far as was seen.
    deviations : Deviations or None
        What a lenient reading let pass among the first records.
    """

    header: VcfHeader
    records: tuple[VcfRecord, ...]
    complete: bool
    spread: bool
    disorder: VcfOrderError | None
    deviations: Deviations | None


def sample_records(path: Path, *, lenient: bool = False) -> RecordSample:
    """Read the first records of a VCF, and some from places spread over the rest.

    Raises
    ------
    VcfError
        The file is not a VCF, or one of its first records breaks a rule.
    """
    vcf = read_vcf(path, lenient=lenient)
    first: list[VcfRecord] = []
    disorder, complete = None, False
    until = time.monotonic() + _FIRST_SECONDS
    try:
        for record in vcf.records:
            first.append(record)
            if len(first) >= _FIRST_RECORDS or time.monotonic() > until:
                break
        else:
            complete = True
    except VcfOrderError as error:
        disorder = error
    if complete or disorder is not None:
        return RecordSample(vcf.header, tuple(first), complete, False, disorder, vcf.deviations)
    later = _after(first, _spread_records(path, vcf.header))
    order = RecordOrder(vcf.header.version)
    for record in (first[-1], *later):
        broken = order.broken_by(record.chrom, record.position)
        if broken:
            disorder = VcfOrderError(path, None, f"{broken}; sort it (bcftools sort)")
            break
    return RecordSample(vcf.header, (*first, *later), False, bool(later), disorder, vcf.deviations)


def _after(first: list[VcfRecord], records: Iterator[VcfRecord]) -> list[VcfRecord]:
    """Return the records behind those that were read in order."""
    last, seen = first[-1], {record.chrom for record in first}
    return list(
        dropwhile(
            lambda each: (
                each.chrom in seen and (each.chrom != last.chrom or each.position <= last.position)
            ),
            records,
        )
    )


def _spread_records(path: Path, header: VcfHeader) -> Iterator[VcfRecord]:
    """Yield records from evenly spread places; those that break a rule are left out.

    The whole reading says which they are, and with their line.
    """
    rules = RecordRules(header)
    size = path.stat().st_size
    found: list[tuple[int, int, list[str]]] = []
    with path.open("rb") as stream:
        lines_at = _opener(stream)
        if lines_at is None:
            return
        until = time.monotonic() + _SPREAD_SECONDS
        for place in _coarse_to_fine():
            if len(found) >= _LEAST_PLACES and time.monotonic() > until:
                break
            start = size * place // _PLACES
            given = list(islice(lines_at(start), _RECORDS_PER_PLACE))
            if given:
                found.append((start, given[-1][0], [line for _, line in given]))
    reached = 0
    for start, end, lines in sorted(found):
        # Places that lie close together give the same lines twice.
        if start < reached:
            continue
        reached = end
        for line in lines:
            fields = tuple(line.rstrip("\r\n").split("\t"))
            try:
                rules.check(fields)
            except RecordRuleError:
                continue
            yield VcfRecord(UNKNOWN_LINE, fields)


def _coarse_to_fine() -> Iterator[int]:
    """Yield the places so that the whole file is covered early, should the time run out."""
    seen = set()
    for step in (16, 8, 4, 2, 1):
        for place in range(step, _PLACES, step):
            if place not in seen:
                seen.add(place)
                yield place


def _opener(stream: BinaryIO) -> Callable[[int], Iterator[tuple[int, str]]] | None:
    """Return what gives whole lines from about a byte on; None where the file forbids it.

    Each line comes with the byte from which on nothing that was given comes again.
    """
    start = stream.read(18)
    if start[:2] != _BGZIP_MAGIC[:2]:
        return lambda place: _plain_lines(stream, place)
    if start[:4] == _BGZIP_MAGIC and start[12:16] == _BGZIP_FIELD:
        return lambda place: _bgzip_lines(stream, place)
    return None


def _plain_lines(stream: BinaryIO, place: int) -> Iterator[tuple[int, str]]:
    # One byte before: a place at the beginning of a line gives that line.
    stream.seek(place - 1)
    stream.readline()
    while line := stream.readline():
        yield stream.tell(), line.decode("utf-8", "replace")


def _bgzip_lines(stream: BinaryIO, place: int) -> Iterator[tuple[int, str]]:
    stream.seek(place)
    found = _block_start(stream.read(2 * _BLOCK_BYTES))
    if found is None:
        return
    try:
        stream.seek(0)
        reader = bgzf.BgzfReader(fileobj=stream, mode="rb", max_cache=1)
        reader.seek(bgzf.make_virtual_offset(place + found, 0))
        reader.readline()
        while line := reader.readline():
            block, _ = bgzf.split_virtual_offset(reader.tell())
            yield block + 1, line.decode("utf-8", "replace")
    except (ValueError, EOFError, OSError, zlib.error, gzip.BadGzipFile):
        # Damage, or bytes that only looked like a block; the whole reading will tell.
        return


def _block_start(content: bytes) -> int | None:
    """Return where the first bgzip block begins (SAM specification, section 4.1)."""
    found = content.find(_BGZIP_MAGIC)
    while found >= 0:
        if content[found + 12 : found + 16] == _BGZIP_FIELD:
            return found
        found = content.find(_BGZIP_MAGIC, found + 1)
    return None
