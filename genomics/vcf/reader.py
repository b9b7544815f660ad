"""A VCF's lines, read once and checked as they are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from genomics.errors import VcfError, VcfOrderError
from genomics.variant import Genotype
from genomics.vcf.body import RecordRuleError, RecordRules, parse_genotype
from genomics.vcf.duplicates import StatedAlleles
from genomics.vcf.header import (
    VERSIONS,
    HeaderRuleError,
    VcfHeader,
    check_definition,
    parse_column_line,
    parse_meta_line,
)
from genomics.vcf.header_form import check_header_form
from genomics.vcf.lines import UnendedLine

_DEVIATIONS_KEPT = 20
_ENDS_WITH_LINE = ("VCFv4.3", "VCFv4.4")
"""Versions whose last line must have its end; 4.5 asks for it too, but its own files lack it."""


@dataclass(frozen=True, slots=True)
class VcfRecord:
    """One line of the body.

    Attributes
    ----------
    line_number : int
        In the file, from 1.
    fields : tuple of str
        The columns as they stand.
    """

    line_number: int
    fields: tuple[str, ...]

    @property
    def chrom(self) -> str:
        """The sequence's name; ``<name>`` refers to an assembly file and is the same name."""
        return self.fields[0].strip("<>")

    @property
    def position(self) -> int:
        """1-based position of REF's first base."""
        return int(self.fields[1])

    @property
    def ref(self) -> str:
        """The REF allele, as written."""
        return self.fields[3]

    @property
    def alts(self) -> tuple[str, ...]:
        """The ALT alleles; none where the column is ``.``."""
        return () if self.fields[4] == "." else tuple(self.fields[4].split(","))

    @property
    def key(self) -> str:
        """The record as the user wrote it: ``chrom-pos-ref-alt[,alt]``."""
        return "-".join((self.fields[0], self.fields[1], self.fields[3], self.fields[4]))

    def info(self, name: str) -> str | None:
        """Return the value of an INFO key, "" for a flag, None where it is absent."""
        for entry in self.fields[7].split(";"):
            key, _, value = entry.partition("=")
            if key == name:
                return value
        return None

    def genotype(self, sample_index: int) -> Genotype | None:
        """Return the genotype of a sample; None where the record has no GT."""
        keys = self.fields[8].split(":") if len(self.fields) > 8 else []
        if "GT" not in keys:
            return None
        values = self.fields[9 + sample_index].split(":")
        written = dict(zip(keys, values, strict=False))
        phase_set = written.get("PS")
        return parse_genotype(
            written["GT"], None if phase_set == "." else phase_set, written.get("PSL")
        )


@dataclass
class Deviations:
    """What a lenient reader let pass.

    Attributes
    ----------
    total : int
        Lines that broke a rule of form.
    first : list of str
        The first of them, each with its line number and the rule.
    """

    total: int = 0
    first: list[str] = field(default_factory=list)

    def note(self, line_number: int, rule: str) -> None:
        """Count a deviation, and keep it if it is among the first."""
        self.total += 1
        if len(self.first) < _DEVIATIONS_KEPT:
            self.first.append(f"line {line_number}: {rule}")

    def extend(self, following: Deviations) -> None:
        """Take what was let pass in the part of the file that follows."""
        self.total += following.total
        self.first = [*self.first, *following.first][:_DEVIATIONS_KEPT]


@dataclass(frozen=True)
class LineReader:
    """Reads the lines of one file once; raises, or notes, what breaks a rule."""

    path: Path
    lines: Iterator[tuple[int, str]]
    deviations: Deviations | None

    def header(self) -> VcfHeader:
        """Read the header, up to and with the column line."""
        number, first = next(self.lines, (1, ""))
        version = self._version(number, first)
        kept: list[str] = [first]
        definitions: dict[str, dict[str, dict[str, str]]] = {}
        for number, line in self.lines:
            kept.append(line)
            try:
                if not line.startswith("##"):
                    names = parse_column_line(line)
                    break
                kind, value = _add_definition(line, definitions)
            except HeaderRuleError as error:
                raise VcfError(self.path, number, str(error)) from None
            try:
                check_header_form(kind, value, version)
            except HeaderRuleError as error:
                self._deviates(number, str(error))
            self._expect_end(number, line, version)
        else:
            raise VcfError(self.path, len(kept), "the file ends without the #CHROM column line")
        self._expect_end(number, line, version)
        contigs = {
            name: int(fields["length"]) if "length" in fields else None
            for name, fields in definitions.get("contig", {}).items()
        }
        return VcfHeader(version, names, contigs, definitions, tuple(kept))

    def records(self, header: VcfHeader) -> Iterator[VcfRecord]:
        """Read the records, after the header was read."""
        rules, order, stated = RecordRules(header), RecordOrder(header.version), StatedAlleles()
        for number, line in self.lines:
            fields = tuple(line.split("\t"))
            try:
                deviation = rules.check(fields)
            except RecordRuleError as error:
                raise VcfError(self.path, number, str(error)) from None
            name, position = fields[0].strip("<>"), int(fields[1])
            unsorted = order.broken_by(name, position)
            if unsorted:
                raise VcfOrderError(self.path, number, f"{unsorted}; sort it (bcftools sort)")
            repeated = stated.repeated(name, position, fields[3], fields[4], number)
            deviation = deviation or repeated
            if deviation:
                self._deviates(number, deviation)
            self._expect_end(number, line, header.version)
            yield VcfRecord(number, fields)

    def _version(self, number: int, first: str) -> str:
        if not first.startswith("##fileformat="):
            raise VcfError(
                self.path,
                number,
                f"not a VCF: the first line must be ##fileformat=VCFv4.x; found {first[:60]!r}",
            )
        version = first.removeprefix("##fileformat=")
        if version not in VERSIONS:
            raise VcfError(
                self.path, number, f"version {version!r}; this reads {', '.join(VERSIONS)}"
            )
        return version

    def _deviates(self, number: int, rule: str) -> None:
        if self.deviations is None:
            raise VcfError(
                self.path,
                number,
                f"{rule}; mend the file, or have `python -m genomics score --lenient` read it",
            )
        self.deviations.note(number, rule)

    def _expect_end(self, number: int, line: str, version: str) -> None:
        if isinstance(line, UnendedLine) and version in _ENDS_WITH_LINE:
            self._deviates(number, "the last line has no line end; the file may be cut short")


class RecordOrder:
    """Whether records stand by sequence, and within each by position."""

    def __init__(self, version: str) -> None:
        # From 4.5 on the specification's own files are not sorted within a sequence.
        self._sorted = version < "VCFv4.5"
        self._chrom, self._position = "", 0
        self._finished: set[str] = set()

    def broken_by(self, chrom: str, position: int) -> str | None:
        """Take the next record's place; return how it breaks the order, None where it does not."""
        before, self._position = self._position, position
        if chrom != self._chrom:
            if chrom in self._finished:
                return f"records of {chrom} stand apart"
            self._finished.add(chrom)
            self._chrom = chrom
        elif self._sorted and position < before:
            return f"position {position} comes after {before}"
        return None


def _add_definition(
    line: str, definitions: dict[str, dict[str, dict[str, str]]]
) -> tuple[str, str | dict[str, str]]:
    kind, value = parse_meta_line(line)
    if isinstance(value, dict):
        check_definition(kind, value)
        if "ID" in value:
            definitions.setdefault(kind, {})[value["ID"]] = value
    return kind, value
