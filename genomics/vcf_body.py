"""The rules of a VCF record: what each column may hold."""

from __future__ import annotations

import re
from collections.abc import Sequence

from genomics.variant import Genotype
from genomics.vcf_header import FIXED_COLUMNS, VcfHeader

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


def parse_genotype(text: str, phase_set: str | None = None) -> Genotype:
    """Parse a GT value: ``0/1``, ``1|0``, ``./.``, ``0/.``, ``1``, ``.``."""
    body = text[1:] if text[0] in "/|" else text
    parts = body.replace("|", "/").split("/")
    return Genotype(
        tuple(None if part == "." else int(part) for part in parts),
        # VCF 4.4 lets a leading separator say whether the first allele is phased.
        phased="/" not in text and "|" in text,
        phase_set=phase_set,
    )


def _check_place(fields: Sequence[str], header: VcfHeader) -> None:
    chrom, position, identifier = fields[:3]
    if not _CHROM.match(chrom):
        raise RecordRuleError(f"CHROM must be a sequence name, or <name>; found {chrom!r}")
    if ":" in chrom and header.version < "VCFv4.3" and chrom not in header.contigs:
        raise RecordRuleError(f"CHROM must not hold a colon before VCF 4.3; found {chrom!r}")
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
    keys = fields[8].split(":")
    if "GT" in keys[1:]:
        raise RecordRuleError("GT must be the first key of FORMAT")
    if len(set(keys)) != len(keys):
        raise RecordRuleError(f"FORMAT names a key twice: {fields[8]!r}")
    bad = next((key for key in keys if key != "." and not _FORMAT_KEY.match(key)), None)
    if bad is not None:
        raise RecordRuleError(f"FORMAT keys are letters, digits, '_' and '.'; found {bad!r}")
    for sample in fields[9:]:
        if sample.count(":") >= len(keys):
            raise RecordRuleError(f"a sample has more values than FORMAT has keys: {sample[:60]!r}")
        if keys[0] == "GT":
            _check_genotype(sample.split(":", 1)[0], alleles)


def _check_genotype(text: str, alleles: int) -> None:
    if not _GENOTYPE.match(text):
        raise RecordRuleError(f"GT must be numbers joined by '/' or '|'; found {text[:40]!r}")
    highest = max((int(digits) for digits in re.findall(r"\d+", text)), default=0)
    # A record without ALT may keep the genotypes of the alleles that were taken out of it.
    if highest >= alleles > 1:
        raise RecordRuleError(f"GT {text!r} names allele {highest}; there are {alleles - 1} ALT")
