"""Results to files: TSV, JSON and the user's own VCF with the scores added.

Each file is written beside its place and renamed, so that a failure leaves nothing behind.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from Bio import bgzf

from genomics.errors import OutputError
from genomics.report import ScoredVariant, VariantReport
from genomics.scored_file import ScoredFile, writing
from genomics.vcf import read_vcf
from genomics.vcf.lines import line_end

SUFFIXES = (".tsv", ".json", ".vcf", ".vcf.gz")
_PROBE_BYTES = 2**20
_COPIED_BYTES = 2**20


def check_output(path: Path, vcf: Path, endings: tuple[str, ...] = SUFFIXES) -> None:
    """Refuse an output that cannot or must not be written, before the work begins.

    Raises
    ------
    OutputError
        The name's ending is unknown, the folder is missing or not writable, or the output is the
        VCF that is read.
    """
    if not path.name.endswith(endings):
        raise OutputError(f"{path}: must end in one of {', '.join(endings)}")
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


@dataclass(frozen=True)
class Body:
    """Where the records of an output, or of a part of it, are written on the way.

    Attributes
    ----------
    path : Path
    out : Path
        The output that it is for; its ending says how.
    """

    path: Path
    out: Path


def bodies_in(folder: Path, part: int, outs: Sequence[Path]) -> tuple[Body, ...]:
    """Return the bodies of a part, one for each output that is written on the way."""
    return tuple(
        Body(folder / f"{part}.{number}", out) for number, out in enumerate(outs) if _has_body(out)
    )


def _has_body(out: Path) -> bool:
    # JSON holds the report, not every record, and has the account in its beginning.
    return not out.name.endswith(".json")


@contextmanager
def scored_file(body: Body, vcf: Path) -> Iterator[ScoredFile]:
    """Open a body for the records of a VCF.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    end = line_end(vcf)
    with writing(body.out):
        stream = body.path.open("wb")
    try:
        file = ScoredFile(stream, body.out, end)
        yield file
        file.flush()
    finally:
        # What was flushed is written; what could not be has been said.
        with suppress(OSError):
            stream.close()


@contextmanager
def folder_of_parts(outs: Sequence[Path]) -> Iterator[Path]:
    """Give a folder for bodies, beside the first output or else for temporary files; remove it.

    Raises
    ------
    OutputError
        The folder cannot be made.
    """
    out = outs[0] if outs else Path(tempfile.gettempdir(), "genomics")
    with writing(out):
        folder = Path(tempfile.mkdtemp(dir=out.absolute().parent, prefix=f".{out.name}."))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_outputs(
    outs: Sequence[Path], report: VariantReport, vcf: Path, parts: Sequence[Sequence[Body]]
) -> None:
    """Write outputs whose records were written on the way.

    Parameters
    ----------
    outs : sequence of Path
        ``.tsv``, ``.json``, ``.vcf`` or ``.vcf.gz`` (bgzip).
    report : VariantReport
        Its account goes into the VCF's header; all of it into JSON.
    vcf : Path
        The file that was scored.
    parts : sequence of sequence of Body
        What :func:`bodies_in` gave for each part of the file, in order; each is removed once taken.

    Raises
    ------
    OutputError
    """
    for out in outs:
        if _has_body(out):
            bodies = [body.path for part in parts for body in part if body.out == out]
            _write_parts(out, vcf, report.ledger, bodies)
        else:
            _write_text(out, report.to_json())


def _write_parts(out: Path, vcf: Path, ledger: Mapping[str, Any], bodies: Iterable[Path]) -> None:
    # What breaks a rule of form was refused, or let pass, when the file was scored.
    header, end = read_vcf(vcf, lenient=True).header, line_end(vcf)

    def write(stream: BinaryIO) -> None:
        ScoredFile(stream, out, end).begin(header, ledger)
        for each in bodies:
            with each.open("rb") as body:
                shutil.copyfileobj(body, stream, _COPIED_BYTES)
            each.unlink()
        if out.name.endswith(".gz"):
            # The empty block that marks a whole bgzip file (SAM specification, section 4.1.2).
            stream.write(bgzf._bgzf_eof)

    write_atomically(out, write)


def _write_text(out: Path, text: str) -> None:
    write_atomically(out, lambda stream: stream.write(text.encode("utf-8")))


def write_report(report: VariantReport, vcf: Path, path: Path) -> None:
    """Write a report as the ending of ``path`` asks.

    Parameters
    ----------
    report : VariantReport
        For a table or VCF, one that lists every allele; a file of which some are only counted is
        written while it is scored (:func:`genomics.score.score_vcf`).
    vcf : Path
        The file that was scored; its lines are kept where VCF is written.
    path : Path
        ``.tsv``, ``.json``, ``.vcf`` or ``.vcf.gz`` (bgzip).

    Raises
    ------
    OutputError
        The file cannot be written there, and nothing is left of it; or the report does not list
        every allele.
    """
    if path.name.endswith(".json"):
        _write_text(path, report.to_json())
        return
    ledger = report.ledger
    if ledger["listed"] < ledger["alleles"]:
        raise OutputError(
            f"{path}: the report lists {ledger['listed']} of {ledger['alleles']} alleles; to write "
            "them all, name the output when the VCF is scored"
        )
    if path.name.endswith(".tsv"):
        _write_text(path, report.to_tsv())
        return
    by_line: dict[int, list[ScoredVariant]] = {}
    for each in report.scored:
        if each.record is not None:
            by_line.setdefault(each.record.line_number, []).append(each)
    with folder_of_parts([path]) as folder:
        bodies = bodies_in(folder, 0, [path])
        with scored_file(bodies[0], vcf) as file:
            for record in read_vcf(vcf, lenient=True).records:
                file.add(record, by_line[record.line_number])
        write_outputs([path], report, vcf, [bodies])


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
