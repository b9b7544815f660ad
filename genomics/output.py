"""Results to files: TSV, JSON and the user's own VCF with the scores added.

Each file is written beside its place and renamed, so that a failure leaves nothing behind.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from Bio import bgzf

from genomics.errors import OutputError
from genomics.report import COLUMNS, ScoredVariant, VariantReport, table_row
from genomics.vcf import VcfRecord, read_vcf
from genomics.vcf_header import VcfHeader

SUFFIXES = (".tsv", ".vcf", ".vcf.gz")
_PROBE_BYTES = 2**20
_HELD_CHARACTERS, _COPIED_BYTES = 2**16, 2**20
_INFO_LINES = (
    '##INFO=<ID=PRECIMED_SCORE,Number=A,Type=Float,Description="Calibrated probability that the '
    'missense change is pathogenic">',
    '##INFO=<ID=PRECIMED_MODEL,Number=1,Type=String,Description="Model of PRECIMED_SCORE">',
    '##INFO=<ID=PRECIMED_CLASS,Number=A,Type=String,Description="Class by rule, percent-encoded">',
    '##INFO=<ID=PRECIMED_CSQ,Number=A,Type=String,Description="gene|consequence|HGVS.c|HGVS.p, '
    'percent-encoded">',
    '##INFO=<ID=PRECIMED_REASON,Number=A,Type=String,Description="Why there is neither a score '
    'nor a class, percent-encoded">',
)


def check_output(path: Path, vcf: Path) -> None:
    """Refuse an output that cannot or must not be written, before the work begins.

    Raises
    ------
    OutputError
        The name's ending is unknown, the folder is missing or not writable, or the output is the
        VCF that is read.
    """
    if not path.name.endswith(SUFFIXES):
        raise OutputError(f"{path}: must end in one of {', '.join(SUFFIXES)}")
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; name a file")
    if path.exists() and vcf.exists() and path.samefile(vcf):
        raise OutputError(f"{path}: is the VCF that is scored; name another file")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise OutputError(f"{folder}: no such folder; make it first")
    try:
        # Only writing tells a full disk, a quota or a read-only one.
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(_PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be written: {error.strerror or error}; choose another folder"
        ) from error


class ScoredFile:
    """The records of a VCF as they are scored: the body of an output, or a part of it.

    Parameters
    ----------
    stream : BinaryIO
    name : str
        Of the output; ends in ``.tsv``, ``.vcf`` or ``.vcf.gz`` (bgzip).

    Notes
    -----
    A bgzip block ends with each sequence. So parts that hold whole sequences, written apart and
    put together, are the file that one process writes, byte for byte.
    """

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream = stream
        self._blocks = bgzf.BgzfWriter(fileobj=stream) if name.endswith(".gz") else None
        self._is_table = name.endswith(".tsv")
        self._text = io.StringIO(newline="")
        self._rows = csv.DictWriter(self._text, COLUMNS, delimiter="\t", lineterminator="\n")
        self._sequence = ""
        self._in_block = False

    def begin(self, header: VcfHeader) -> None:
        """Write what comes before the first record."""
        if self._is_table:
            self._rows.writeheader()
        else:
            self._text.writelines(f"{line}\n" for line in _scored_header(header))
        self.flush()

    def add(self, record: VcfRecord, alleles: Sequence[ScoredVariant]) -> None:
        """Write the next record with what was found of each of its alleles."""
        if record.fields[0] != self._sequence:
            self.flush()
            self._sequence = record.fields[0]
        if self._is_table:
            self._rows.writerows(map(table_row, alleles))
        else:
            fields = list(record.fields)
            fields[7] = _with_scores(fields[7], alleles)
            self._text.write("\t".join(fields) + "\n")
        if self._text.tell() > _HELD_CHARACTERS:
            self._pass_on()

    def flush(self) -> None:
        """Hand on what is held, and end the bgzip block."""
        self._pass_on()
        if self._blocks is not None and self._in_block:
            # An empty block would say that the file ends here.
            self._blocks.flush()
            self._in_block = False

    def _pass_on(self) -> None:
        data = self._text.getvalue().encode("utf-8")
        self._text.seek(0)
        self._text.truncate()
        if data:
            (self._stream if self._blocks is None else self._blocks).write(data)
            self._in_block = True


def write_parts(path: Path, header: VcfHeader, parts: Iterable[Path]) -> None:
    """Write an output of its parts' bodies.

    Parameters
    ----------
    path : Path
        ``.tsv``, ``.vcf`` or ``.vcf.gz`` (bgzip).
    header : VcfHeader
        Of the VCF that was scored.
    parts : iterable of Path
        Files that a :class:`ScoredFile` of this name wrote, in order; each is removed once taken.

    Raises
    ------
    OutputError
    """

    def write(stream: BinaryIO) -> None:
        ScoredFile(stream, path.name).begin(header)
        for part in parts:
            with part.open("rb") as body:
                shutil.copyfileobj(body, stream, _COPIED_BYTES)
            part.unlink()
        if path.name.endswith(".gz"):
            # The empty block that marks a whole bgzip file (SAM specification, section 4.1.2).
            stream.write(bgzf._bgzf_eof)

    write_atomically(path, write)


@contextmanager
def folder_of_parts(out: Path | None) -> Iterator[Path]:
    """Give a folder for an output's parts, beside it or else for temporary files; then remove it.

    Raises
    ------
    OutputError
        A part cannot be written, or the folder not be made.
    """
    beside = None if out is None else out.absolute().parent
    try:
        folder = Path(tempfile.mkdtemp(dir=beside, prefix=f".{out.name if out else 'genomics'}."))
    except OSError as error:
        raise OutputError(f"{out}: cannot be written: {error.strerror or error}") from error
    try:
        yield folder
    except OSError as error:
        if out is None:
            raise
        raise OutputError(f"{out}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_report(report: VariantReport, vcf: Path, path: Path) -> None:
    """Write a report as the ending of ``path`` asks.

    Parameters
    ----------
    report : VariantReport
        One that lists every allele; a file of which some are only counted is written while it is
        scored (:func:`genomics.score.score_vcf`).
    vcf : Path
        The file that was scored; its lines are kept where VCF is written.
    path : Path
        ``.tsv``, ``.vcf`` or ``.vcf.gz`` (bgzip).

    Raises
    ------
    OutputError
        The file cannot be written there, and nothing is left of it; or the report does not list
        every allele.
    """
    ledger = report.ledger
    if ledger["listed"] < ledger["alleles"]:
        raise OutputError(
            f"{path}: the report lists {ledger['listed']} of {ledger['alleles']} alleles; to write "
            "them all, name the output when the VCF is scored"
        )
    opened = read_vcf(vcf)
    by_line: dict[int, list[ScoredVariant]] = {}
    for each in report.scored:
        if each.record is not None:
            by_line.setdefault(each.record.line_number, []).append(each)
    with folder_of_parts(path) as folder:
        body = folder / "body"
        with body.open("wb") as stream:
            file = ScoredFile(stream, path.name)
            for record in opened.records:
                file.add(record, by_line[record.line_number])
            file.flush()
        write_parts(path, opened.header, [body])


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file beside its place and rename it there; a failure leaves nothing.

    Raises
    ------
    OutputError
    """
    partial: str | None = None
    try:
        handle, partial = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as stream:
            write(stream)
        Path(partial).chmod(0o666 & ~_umask())
        Path(partial).replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        if partial is not None:
            Path(partial).unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _scored_header(header: VcfHeader) -> Iterator[str]:
    """Yield the VCF's own header lines with those of the report's INFO added."""
    kept = [line for line in header.lines if not line.startswith("##INFO=<ID=PRECIMED_")]
    yield from kept[:-1]
    yield from _INFO_LINES
    yield kept[-1]


def _with_scores(info: str, alleles: Sequence[ScoredVariant]) -> str:
    kept = [] if info == "." else [info]
    if "PRECIMED_" in info:
        kept = [entry for entry in info.split(";") if not entry.startswith("PRECIMED_")]
    values: dict[str, list[str | None]] = {
        "PRECIMED_SCORE": [None if a.score is None else f"{a.score:.4f}" for a in alleles],
        "PRECIMED_MODEL": [next((a.model for a in alleles if a.model), None)],
        "PRECIMED_CLASS": [
            _encoded(a.classification.label) if a.classification else None for a in alleles
        ],
        "PRECIMED_CSQ": [_consequence(a) for a in alleles],
        "PRECIMED_REASON": [_encoded(a.reason) if a.reason else None for a in alleles],
    }
    added = [
        f"{key}={','.join(value or '.' for value in each)}"
        for key, each in values.items()
        if any(each)
    ]
    return ";".join(kept + added) or "."


def _consequence(each: ScoredVariant) -> str | None:
    if each.consequence is None:
        return None
    found = each.consequence
    parts = (found.gene, "&".join(found.terms), found.hgvs_c, found.hgvs_p)
    return "|".join(_encoded(part or "") for part in parts)


@lru_cache(maxsize=4096)
def _encoded(text: str) -> str:
    """Percent-encode what would break an INFO value (VCF 4.3, section 1.2)."""
    return quote(text, safe="()*+-./<>?&_'")
