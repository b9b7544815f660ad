"""The records of a VCF as they are scored, written as rows of a table or as the VCF's own lines."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from Bio import bgzf

from genomics.errors import OutputError
from genomics.report import COLUMNS, ScoredVariant, table_row
from genomics.vcf import VcfRecord
from genomics.vcf.header import VcfHeader

_HELD_CHARACTERS = 2**16
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


class ScoredFile:
    """The records of a VCF as they are scored: the body of an output, or a part of it.

    Parameters
    ----------
    stream : BinaryIO
    out : Path
        The output; ends in ``.tsv``, ``.vcf`` or ``.vcf.gz`` (bgzip).
    end : str
        What ends a line of the VCF; a table's lines end in a line feed.

    Notes
    -----
    A bgzip block ends with each sequence. So parts that hold whole sequences, written apart and
    put together, are the file that one process writes, byte for byte.
    """

    def __init__(self, stream: BinaryIO, out: Path, end: str) -> None:
        self._stream, self._out, self._end = stream, out, end
        self._blocks = bgzf.BgzfWriter(fileobj=stream) if out.name.endswith(".gz") else None
        self._is_table = out.name.endswith(".tsv")
        self._text = io.StringIO(newline="")
        self._rows = csv.DictWriter(self._text, COLUMNS, delimiter="\t", lineterminator="\n")
        self._sequence = ""
        self._in_block = False

    def begin(self, header: VcfHeader, ledger: Mapping[str, Any]) -> None:
        """Write what comes before the first record."""
        if self._is_table:
            self._rows.writeheader()
        else:
            self._text.writelines(line + self._end for line in _scored_header(header, ledger))
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
            self._text.write("\t".join(fields) + self._end)
        if self._text.tell() > _HELD_CHARACTERS:
            self._pass_on()

    def flush(self) -> None:
        """Hand on what is held, and end the bgzip block."""
        self._pass_on()
        with writing(self._out):
            if self._blocks is not None and self._in_block:
                # An empty block would say that the file ends here.
                self._blocks.flush()
                self._in_block = False
            self._stream.flush()

    def _pass_on(self) -> None:
        data = self._text.getvalue().encode("utf-8")
        self._text.seek(0)
        self._text.truncate()
        if data:
            with writing(self._out):
                (self._stream if self._blocks is None else self._blocks).write(data)
            self._in_block = True


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Say of which output a failure to write is."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{out}: cannot be written: {error.strerror or error}") from error


def _scored_header(header: VcfHeader, ledger: Mapping[str, Any]) -> Iterator[str]:
    """Yield the VCF's own header lines with those of the report's INFO and account added."""
    kept = [line for line in header.lines if not line.startswith(_OWN_LINES)]
    yield from kept[:-1]
    yield from _INFO_LINES
    yield _ledger_line(ledger)
    yield kept[-1]


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
    kept = [] if info in {"", "."} else [info]
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


@lru_cache(maxsize=4096)
def _encoded(text: str) -> str:
    """Percent-encode what would break an INFO value (VCF 4.3, section 1.2)."""
    return quote(text, safe="()*+-./<>?&_'")
