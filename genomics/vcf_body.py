"""The rules of a VCF record: what each column may hold."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from genomics.variant import Genotype
from genomics.vcf_header import FIXED_COLUMNS, VcfHeader
from genomics.vcf_header_form import HLA_CONTIG
from genomics.vcf_reserved import Definition
from genomics.vcf_values import (
    ValueRuleError,
    check_info_value,
    explain_sample,
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
# vt decompose leaves each sample the values of the record as it was before it was split.
_SPLIT_BY_VT = "OLD_MULTIALLELIC="
_FORMAT_KEY = re.compile(r"[A-Za-z_][0-9A-Za-z_.]*$")


class RecordRuleError(ValueError):
    """A record breaks a rule; the message is the rule, the reader adds file and line."""


def check_record(fields: Sequence[str], header: VcfHeader) -> None:
    """Check one record, split at its tabs.

    Raises
    ------
    RecordRuleError
    """
    expected = len(FIXED_COLUMNS) + (1 + len(header.samples) if header.samples else 0)
    if len(fields) != expected:
        raise RecordRuleError(
            f"expected {expected} columns separated by tabs, found {len(fields)}: "
            f"{' '.join(fields)[:60]!r}"
        )
    if "" in fields[: len(FIXED_COLUMNS) + 1]:
        raise RecordRuleError(f"column {fields.index('') + 1} is empty; write '.' for missing")
    _check_place(fields, header)
    _check_alleles(fields[3], fields[4])
    _check_quality(fields[5])
    _check_filter(fields[6])
    _check_info(fields[7], header)
    if header.samples:
        _check_samples(fields, 1 if fields[4] == "." else fields[4].count(",") + 2)


def check_record_form(fields: Sequence[str], header: VcfHeader) -> None:
    """Check what :func:`check_record` lets pass because the record can still be read.

    Raises
    ------
    RecordRuleError
    """
    chrom, identifier = fields[0], fields[2]
    if (":" in chrom or "*" in chrom) and not HLA_CONTIG.match(chrom):
        _check_odd_name(chrom, header)
    if ";" in identifier and header.version >= "VCFv4.3":
        names = identifier.split(";")
        if len(set(names)) != len(names):
            raise RecordRuleError(f"ID names one identifier twice: {identifier!r}")
    alts = 0 if fields[4] == "." else fields[4].count(",") + 1
    try:
        if fields[7] != ".":
            _check_info_values(fields[7], header, alts)
        if header.samples:
            _check_sample_values(fields, header, alts)
    except ValueRuleError as error:
        raise RecordRuleError(str(error)) from None


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
    return Genotype(
        tuple(None if part == "." else int(part) for part in parts), phased, phase_set
    )


def _check_place(fields: Sequence[str], header: VcfHeader) -> None:
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


def _check_info(info: str, header: VcfHeader) -> None:
    if info == ".":
        return
    if header.version < "VCFv4.3" and _SPACE.search(info):
        raise RecordRuleError("INFO must not hold white space")
    entries = info.split(";")
    for entry in entries:
        if not entry or entry.startswith("="):
            raise RecordRuleError(f"INFO must be key[=value] joined by ';'; found {entry[:40]!r}")
    keys = [entry.partition("=")[0] for entry in entries]
    if len(set(keys)) != len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise RecordRuleError(f"INFO has {twice} twice")


def _check_samples(fields: Sequence[str], alleles: int) -> None:
    keys = _format_keys(fields[8])
    for sample in fields[9:]:
        if sample.count(":") >= len(keys):
            raise RecordRuleError(f"a sample has more values than FORMAT has keys: {sample[:60]!r}")
        if keys[0] == "GT":
            _check_genotype(sample.partition(":")[0], alleles)


@lru_cache(maxsize=1024)
def _format_keys(text: str) -> tuple[str, ...]:
    keys = tuple(text.split(":"))
    if "GT" in keys[1:]:
        raise RecordRuleError("GT must be the first key of FORMAT")
    if len(set(keys)) != len(keys):
        raise RecordRuleError(f"FORMAT names a key twice: {text!r}")
    bad = next((key for key in keys if key != "." and not _FORMAT_KEY.match(key)), None)
    if bad is not None:
        raise RecordRuleError(f"FORMAT keys are letters, digits, '_' and '.'; found {bad!r}")
    return keys


@lru_cache(maxsize=4096)
def _check_genotype(text: str, alleles: int) -> None:
    if not _GENOTYPE.match(text):
        raise RecordRuleError(f"GT must be numbers joined by '/' or '|'; found {text[:40]!r}")
    highest = max((int(digits) for digits in re.findall(r"\d+", text)), default=0)
    # A record without ALT may keep the genotypes of the alleles that were taken out of it.
    if highest >= alleles > 1:
        raise RecordRuleError(f"GT {text!r} names allele {highest}; there are {alleles - 1} ALT")


def _check_odd_name(chrom: str, header: VcfHeader) -> None:
    if "*" in chrom and header.version >= "VCFv4.3":
        raise RecordRuleError(f"CHROM must not hold '*'; found {chrom!r}")
    if ":" in chrom and chrom not in header.contigs:
        raise RecordRuleError(
            f"CHROM must not hold a colon unless a ##contig line has the name; found {chrom!r}"
        )


def _check_info_values(info: str, header: VcfHeader, alts: int) -> None:
    definitions = header.info_definitions
    for entry in info.split(";"):
        key, equals, value = entry.partition("=")
        if " " in key:
            raise RecordRuleError(f"an INFO key must not hold white space; found {key[:40]!r}")
        definition = definitions.get(key)
        if definition is not None:
            check_info_value(key, value if equals else None, definition, alts)


def _check_sample_values(fields: Sequence[str], header: VcfHeader, alts: int) -> None:
    keys = _format_keys(fields[8])
    definitions = _format_definitions(fields[8], header)
    if _SPLIT_BY_VT in fields[7]:
        alts = 0
    has_gt = keys[0] == "GT"
    for column in fields[9:]:
        ploidy = _ploidy(column.partition(":")[0]) if has_gt else 2
        if not sample_pattern(definitions, alts, ploidy).match(column):
            explain_sample(column, keys, definitions, alts, ploidy)


def _format_definitions(text: str, header: VcfHeader) -> tuple[Definition | None, ...]:
    known = header.formats_seen.get(text)
    if known is None:
        keys = _format_keys(text)
        for key in keys:
            if key not in header.definitions.get("FORMAT", {}) and header.version < "VCFv4.3":
                if not key.isalnum() and key != ".":
                    raise RecordRuleError(
                        f"FORMAT keys are letters and digits before VCF 4.3, unless the header "
                        f"defines them; found {key!r}"
                    )
        known = tuple(header.format_definitions.get(key) for key in keys)
        header.formats_seen[text] = known
    return known


@lru_cache(maxsize=4096)
def _ploidy(genotype: str) -> int | None:
    """Return the number of copies; None where a single ``.`` leaves even that open."""
    copies = len(genotype.lstrip("/|").replace("|", "/").split("/"))
    return None if copies == 1 and "." in genotype else copies
