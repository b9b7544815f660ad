"""The rules of a VCF record: what each column may hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from genomics.variant import Genotype
from genomics.vcf.header import FIXED_COLUMNS, VcfHeader
from genomics.vcf.header_form import HLA_CONTIG
from genomics.vcf.reserved import Definition
from genomics.vcf.values import (
    check_info_value,
    explain_sample,
    info_pattern,
    sample_pattern,
)

_REF = re.compile(r"[ACGTNacgtn]+$")
# Bases, a missing or overlapping allele, a symbolic allele, a breakend (VCF 4.3, section 1.6.1.5).
_ALT = re.compile(
    r"(?:[ACGTNacgtn]+|\*|<[^<>\s,]+>"
    r"|(?:[ACGTNacgtn]+|\.)?[\[\]](?:[^\[\]\s,:]+|<[^<>\s]+>)(?::\d+)?[\[\]](?:[ACGTNacgtn]+|\.)?"
    r"|\.[ACGTNacgtn]+|[ACGTNacgtn]+\.)$"
)
# Sequence names, VCF 4.3, section 1.4.7; HLA contigs of real references hold '*' as well.
_CHROM = re.compile(r"(?:<[^<>\s,]+>|[^<>\s,*=][^<>\s,]*)$")
_SPACE = re.compile(r"\s")
_GENOTYPE = re.compile(r"[/|]?(?:\.|\d+)(?:[/|](?:\.|\d+))*$")
_FORMAT_KEY = re.compile(r"[A-Za-z_][0-9A-Za-z_.]*$")
# The first seven columns of nearly every record; what it refuses is looked at column by column.
_PLAIN = re.compile(
    r"[A-Za-z0-9_.]+\t\d+\t[\w.]+\t[ACGTN]+\t[ACGTN]+(?:,[ACGTN]+)*\t(?:\.|\d+(?:\.\d+)?)\t(?:PASS|\.)$",
    re.ASCII,
)
# vt decompose leaves each sample the values of the record as it was before it was split.
_SPLIT_BY_VT = "OLD_MULTIALLELIC="

Match = Callable[[str], re.Match[str] | None]


class RecordRuleError(ValueError):
    """A record breaks a rule; the message is the rule, the reader adds file and line."""


class RecordRules:
    """The rules as they stand for the records of one file.

    What a record's columns ask for is worked out once and kept: by ALT count for INFO, by FORMAT
    and genotype for samples.
    """

    def __init__(self, header: VcfHeader) -> None:
        self._header = header
        self._columns = len(FIXED_COLUMNS) + (1 + len(header.samples) if header.samples else 0)
        self._info: dict[int, dict[str, Match | None]] = {}
        self._samples: dict[tuple[str, int, str], Match] = {}
        self._formats: dict[str, _Format] = {}

    def check(self, fields: Sequence[str]) -> str | None:
        """Check one record, split at its tabs.

        Returns
        -------
        str or None
            The first rule of form that it breaks: one that lets the record be read all the same.

        Raises
        ------
        RecordRuleError
            It breaks a rule without which it cannot be read.
        """
        if len(fields) != self._columns:
            raise RecordRuleError(
                f"expected {self._columns} columns separated by tabs, found {len(fields)}: "
                f"{' '.join(fields)[:60]!r}"
            )
        if "" in fields[: len(FIXED_COLUMNS) + 1]:
            raise RecordRuleError(f"column {fields.index('') + 1} is empty; write '.' for missing")
        deviation = None
        if not _PLAIN.match("\t".join(fields[:7])):
            _check_place(fields)
            _check_alleles(fields[3], fields[4])
            _check_quality(fields[5])
            _check_filter(fields[6])
            deviation = self._form_of_place(fields)
        alts = 0 if fields[4] == "." else fields[4].count(",") + 1
        if fields[7] != ".":
            found = self._check_info(fields[7], alts)
            deviation = deviation or found
        if self._header.samples:
            found = self._check_samples(fields, alts)
            deviation = deviation or found
        return deviation

    def _form_of_place(self, fields: Sequence[str]) -> str | None:
        chrom, identifier = fields[0], fields[2]
        if (":" in chrom or "*" in chrom) and not HLA_CONTIG.match(chrom):
            if "*" in chrom and self._header.version >= "VCFv4.3":
                return f"CHROM must not hold '*'; found {chrom!r}"
            if ":" in chrom and chrom not in self._header.contigs:
                return (
                    "CHROM must not hold a colon unless a ##contig line has the name; "
                    f"found {chrom!r}"
                )
        names = identifier.split(";")
        if self._header.version >= "VCFv4.3" and len(set(names)) != len(names):
            return f"ID names one identifier twice: {identifier!r}"
        return None

    def _check_info(self, info: str, alts: int) -> str | None:
        if self._header.version < "VCFv4.3" and _SPACE.search(info):
            raise RecordRuleError("INFO must not hold white space")
        patterns = self._info.setdefault(alts, {})
        entries = info.split(";")
        deviation = None
        keys = set()
        for entry in entries:
            key, equals, value = entry.partition("=")
            if not key:
                raise RecordRuleError(
                    f"INFO must be key[=value] joined by ';'; found {entry[:40]!r}"
                )
            keys.add(key)
            try:
                match = patterns[key]
            except KeyError:
                match = patterns[key] = self._info_match(key, alts)
            if match is not None and not match(value):
                deviation = deviation or self._explain_info(key, value if equals else None, alts)
            elif " " in key:
                deviation = deviation or (
                    f"an INFO key must not hold white space; found {key[:40]!r}"
                )
        if len(keys) != len(entries):
            raise RecordRuleError(f"INFO has {_twice(entries)} twice")
        return deviation

    def _info_match(self, key: str, alts: int) -> Match | None:
        definition = self._header.info_definitions.get(key)
        return None if definition is None else info_pattern(key, definition, alts).match

    def _explain_info(self, key: str, value: str | None, alts: int) -> str | None:
        definition = self._header.info_definitions[key]
        return None if definition is None else check_info_value(key, value, definition, alts)

    def _check_samples(self, fields: Sequence[str], alts: int) -> str | None:
        text = fields[8]
        format_ = self._formats.get(text)
        if format_ is None:
            format_ = self._formats[text] = _Format(text, self._header)
        counted = 0 if _SPLIT_BY_VT in fields[7] else alts
        deviation = format_.deviation
        for column in fields[9:]:
            genotype = column.partition(":")[0] if format_.has_genotype else ""
            key = (text, alts if counted else -alts, genotype)
            match = self._samples.get(key)
            if match is None:
                match = self._samples[key] = format_.match(genotype, alts, counted)
            if not match(column):
                found = format_.explain(column, genotype, counted)
                deviation = deviation or found
        return deviation


class _Format:
    """One FORMAT column: its keys and what their values must be."""

    def __init__(self, text: str, header: VcfHeader) -> None:
        self.keys = text.split(":")
        self._check_keys(text)
        self.definitions: tuple[Definition | None, ...] = tuple(
            header.format_definitions.get(key) for key in self.keys
        )
        self.has_genotype = self.keys[0] == "GT"
        declared = header.definitions.get("FORMAT", {})
        odd = [key for key in self.keys if not key.isalnum() and key != "." and key not in declared]
        self.deviation = None
        if odd and header.version < "VCFv4.3":
            self.deviation = (
                "FORMAT keys are letters and digits before VCF 4.3, unless the header defines "
                f"them; found {odd[0]!r}"
            )

    def _check_keys(self, text: str) -> None:
        if "GT" in self.keys[1:]:
            raise RecordRuleError("GT must be the first key of FORMAT")
        if len(set(self.keys)) != len(self.keys):
            raise RecordRuleError(f"FORMAT names a key twice: {text!r}")
        bad = next((key for key in self.keys if key != "." and not _FORMAT_KEY.match(key)), None)
        if bad is not None:
            raise RecordRuleError(f"FORMAT keys are letters, digits, '_' and '.'; found {bad!r}")

    def match(self, genotype: str, alts: int, counted: int) -> Match:
        """Return what matches a whole sample column that has this genotype."""
        if self.has_genotype:
            _check_genotype(genotype, alts + 1)
        return sample_pattern(self.definitions, counted, self._ploidy(genotype)).match

    def explain(self, column: str, genotype: str, counted: int) -> str | None:
        """Return the rule that a sample column breaks; None where it breaks none after all.

        Raises
        ------
        RecordRuleError
        """
        if column.count(":") >= len(self.keys):
            raise RecordRuleError(f"a sample has more values than FORMAT has keys: {column[:60]!r}")
        return explain_sample(column, self.keys, self.definitions, counted, self._ploidy(genotype))

    def _ploidy(self, genotype: str) -> int | None:
        """Return the number of copies; None where a single ``.`` leaves even that open."""
        if not self.has_genotype:
            return 2
        copies = len(genotype.lstrip("/|").replace("|", "/").split("/"))
        return None if copies == 1 and "." in genotype else copies


def parse_genotype(
    text: str, phase_set: str | None = None, phase_sets: str | None = None
) -> Genotype:
    """Parse a GT value: ``0/1``, ``1|0``, ``./.``, ``0/.``, ``1``, ``.``, ``|0/1`` (VCF 4.4).

    Parameters
    ----------
    text : str
        The GT value.
    phase_set : str, optional
        FORMAT/PS.
    phase_sets : str, optional
        FORMAT/PSL: one name per allele. Alleles of one name lie on one haplotype, and their order
        in GT tells nothing; so a genotype is phased by it only where every allele has a name, and
        only towards records that list the same names in the same order.
    """
    # VCF 4.4 lets a leading separator say whether the first allele is phased.
    body = text[1:] if text[0] in "/|" else text
    parts = body.replace("|", "/").split("/")
    phased = "/" not in text and "|" in text
    if phase_sets is not None:
        phased = phased and "." not in phase_sets.split(",")
        phase_set = phase_sets if phased else None
    return Genotype(tuple(None if part == "." else int(part) for part in parts), phased, phase_set)


def _check_place(fields: Sequence[str]) -> None:
    chrom, position, identifier = fields[:3]
    if not _CHROM.match(chrom):
        raise RecordRuleError(f"CHROM must be a sequence name, or <name>; found {chrom!r}")
    if not (position.isascii() and position.isdigit()):
        raise RecordRuleError(f"POS must be a whole number, 0 or more; found {position!r}")
    if _SPACE.search(identifier) or "" in identifier.split(";"):
        raise RecordRuleError(
            f"ID must be names joined by ';', no white space; found {identifier!r}"
        )


def _check_alleles(ref: str, alts: str) -> None:
    if not _REF.match(ref):
        raise RecordRuleError(f"REF must be bases A, C, G, T or N; found {ref[:40]!r}")
    if alts == ".":
        return
    for alt in alts.split(","):
        if not _ALT.match(alt):
            raise RecordRuleError(
                f"ALT must be bases, '*', a symbolic <ID> or a breakend; found {alt[:40]!r}"
            )
        if alt[0] in "[]" and alt[-1] in "[]":
            raise RecordRuleError(f"a breakend needs bases on one side; found {alt[:40]!r}")


def _check_quality(quality: str) -> None:
    if quality == ".":
        return
    try:
        negative = float(quality) < 0
    except ValueError:
        raise RecordRuleError(f"QUAL must be a number or '.'; found {quality[:40]!r}") from None
    if negative:
        raise RecordRuleError(f"QUAL must not be negative; found {quality!r}")


def _check_filter(filters: str) -> None:
    names = filters.split(";")
    if _SPACE.search(filters) or "" in names:
        raise RecordRuleError(f"FILTER must be names joined by ';'; found {filters!r}")
    if "0" in names:
        raise RecordRuleError("FILTER must not be '0', a reserved word")
    if len(names) > 1 and "." in names:
        raise RecordRuleError(f"FILTER cannot be '.' and something else; found {filters!r}")
    if len(set(names)) != len(names):
        raise RecordRuleError(f"FILTER names one filter twice: {filters!r}")


def _check_genotype(text: str, alleles: int) -> None:
    if not _GENOTYPE.match(text):
        raise RecordRuleError(f"GT must be numbers joined by '/' or '|'; found {text[:40]!r}")
    highest = max((int(digits) for digits in re.findall(r"\d+", text)), default=0)
    # A record without ALT may keep the genotypes of the alleles that were taken out of it.
    if highest >= alleles > 1:
        raise RecordRuleError(f"GT {text!r} names allele {highest}; there are {alleles - 1} ALT")


def _twice(entries: Sequence[str]) -> str:
    keys = [entry.partition("=")[0] for entry in entries]
    return next(key for key in keys if keys.count(key) > 1)
