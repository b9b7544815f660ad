"""Results to files: TSV, JSON and the user's own VCF with the scores added.

Each file is written beside its place and renamed, so that a failure leaves nothing behind.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from Bio import bgzf

from genomics.errors import OutputError
from genomics.report import ScoredVariant, VariantReport
from genomics.vcf import read_vcf
from genomics.vcf_lines import line_end

SUFFIXES = (".tsv", ".json", ".vcf", ".vcf.gz")
_PROBE_BYTES = 2**20
_INFO_LINES = (
    '##INFO=<ID=PRECIMED_SCORE,Number=A,Type=Float,Description="Calibrated probability that the '
    'missense change is pathogenic">',
    '##INFO=<ID=PRECIMED_MODEL,Number=1,Type=String,Description="Model of PRECIMED_SCORE">',
    '##INFO=<ID=PRECIMED_CLASS,Number=A,Type=String,Description="Class by rule, percent-encoded">',
    '##INFO=<ID=PRECIMED_CSQ,Number=A,Type=String,Description="gene|consequence|HGVS.c|HGVS.p, '
    'percent-encoded">',
    # A record without ALT has a reason too, so that their number is not that of the ALT alleles.
    '##INFO=<ID=PRECIMED_REASON,Number=.,Type=String,Description="Why there is neither a score '
    'nor a class, one per ALT, percent-encoded">',
    '##INFO=<ID=PRECIMED_NORM,Number=A,Type=String,Description="chrom-pos-ref-alt of the '
    'normalised allele where it differs from the record, percent-encoded">',
)
_OWN_LINES = ("##INFO=<ID=PRECIMED_", "##PRECIMED_")


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


def write_report(report: VariantReport, vcf: Path, path: Path) -> None:
    """Write a report as the ending of ``path`` asks.

    Parameters
    ----------
    report : VariantReport
    vcf : Path
        The file that was scored; its lines are kept where VCF is written.
    path : Path
        ``.tsv``, ``.json``, ``.vcf`` or ``.vcf.gz`` (bgzip).

    Raises
    ------
    OutputError
        The file cannot be written there; nothing is left of it.
    """
    if path.name.endswith(".tsv"):
        write_atomically(path, lambda stream: stream.write(report.to_tsv().encode("utf-8")))
        return
    if path.name.endswith(".json"):
        write_atomically(path, lambda stream: stream.write(report.to_json().encode("utf-8")))
        return
    end = line_end(vcf)
    lines = (line.encode("utf-8") + end for line in _scored_lines(report, vcf))
    if path.name.endswith(".vcf"):
        write_atomically(path, lambda stream: stream.writelines(lines))
        return
    write_atomically(path, lambda stream: _bgzip(lines, stream))


def _bgzip(lines: Iterator[bytes], stream: BinaryIO) -> None:
    writer = bgzf.BgzfWriter(fileobj=stream)
    for line in lines:
        writer.write(line)
    writer.flush()
    # The empty block that marks a whole bgzip file (SAM specification, section 4.1.2).
    stream.write(bgzf._bgzf_eof)


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


def _scored_lines(report: VariantReport, vcf: Path) -> Iterator[str]:
    """Yield the VCF's own lines with the report's INFO added."""
    # What breaks a rule of form was refused, or let pass, when the file was scored.
    opened = read_vcf(vcf, lenient=True)
    kept = [line for line in opened.header.lines if not line.startswith(_OWN_LINES)]
    yield from kept[:-1]
    yield from _INFO_LINES
    yield _ledger_line(report.ledger)
    yield kept[-1]
    by_line: dict[int, list[ScoredVariant]] = {}
    for each in report.scored:
        if each.record is not None:
            by_line.setdefault(each.record.line_number, []).append(each)
    for record in opened.records:
        fields = list(record.fields)
        fields[7] = _with_scores(fields[7], by_line[record.line_number])
        yield "\t".join(fields)


def _ledger_line(ledger: Mapping[str, Any]) -> str:
    """Return the account as one header line, so that the file tells what became of its records."""
    fields = {"records": ledger["records"], "alleles": ledger["alleles"]}
    fields |= {key: ledger[key] for key in ("scored", "by_rule")}
    listed = ",".join(f"{key}={value}" for key, value in fields.items())
    reasons = ",".join(
        f'"{_encoded(reason)}"={count}' for reason, count in ledger["not_scored"].items()
    )
    return f"##PRECIMED_ledger={listed},not_scored={{{reasons}}}"


def _with_scores(info: str, alleles: Sequence[ScoredVariant]) -> str:
    own = [entry for entry in info.split(";") if not entry.startswith("PRECIMED_")]
    kept = [entry for entry in own if entry not in {"", "."}]
    values: dict[str, list[str | None]] = {
        "PRECIMED_SCORE": [None if a.score is None else f"{a.score:.4f}" for a in alleles],
        "PRECIMED_MODEL": [next((a.model for a in alleles if a.model), None)],
        "PRECIMED_CLASS": [
            _encoded(a.classification.label) if a.classification else None for a in alleles
        ],
        "PRECIMED_CSQ": [_consequence(a) for a in alleles],
        "PRECIMED_REASON": [_encoded(a.reason) if a.reason else None for a in alleles],
        "PRECIMED_NORM": [_normalised(a) for a in alleles],
    }
    added = [
        f"{key}={','.join(value or '.' for value in each)}"
        for key, each in values.items()
        if any(each)
    ]
    return ";".join(kept + added) or "."


def _normalised(each: ScoredVariant) -> str | None:
    if each.normalised is None or each.normalised == each.variant:
        return None
    return _encoded(each.normalised.key)


def _consequence(each: ScoredVariant) -> str | None:
    if each.consequence is None:
        return None
    found = each.consequence
    parts = (found.gene, "&".join(found.terms), found.hgvs_c, found.hgvs_p)
    return "|".join(_encoded(part or "") for part in parts)


def _encoded(text: str) -> str:
    """Percent-encode what would break an INFO value (VCF 4.3, section 1.2)."""
    return quote(text, safe="()*+-./<>?&_'")
