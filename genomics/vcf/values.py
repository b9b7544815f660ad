"""The values of INFO and of sample columns, held against their definitions.

A whole sample column is matched by one pattern per FORMAT; only what the pattern refuses is taken
apart to say why. That keeps the check at a few microseconds a record.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from math import comb

from genomics.vcf.reserved import COUNTS, Definition

_PATTERNS = {
    "Integer": r"[+-]?\d{1,9}",
    "Float": r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|(?i:[+-]?(?:nan|inf|infinity))",
    "Character": r"[^,]",
}
_ANY_INTEGER = re.compile(r"[+-]?\d+$")
_CIGAR = re.compile(r"(?:\d+[MIDNSHPX=])+$")
_NOTHING = re.compile(r"(?!)")
_LEAST_INTEGER, _GREATEST_INTEGER = -(2**31) + 8, 2**31 - 1
"""Below the least, BCF keeps eight values for itself (VCF 4.3, section 1.3)."""


def expected_count(number: str, alts: int, ploidy: int | None) -> int | None:
    """Return how many values a Number asks for; None where that is open.

    Parameters
    ----------
    number : str
        As in the header.
    alts : int
        ALT alleles of the record.
    ploidy : int or None
        Of the sample; None where there is none, as in INFO.
    """
    if number.isdigit():
        return int(number)
    if not alts:
        # The values may be of the alleles that were taken out of the record.
        return None
    if number == "A":
        return alts
    if number == "R":
        return alts + 1
    if ploidy is None:
        # How many values an INFO key of Number=G has is not defined.
        return None
    if number == "G":
        return comb(alts + ploidy, ploidy)
    return ploidy if number == "P" else None


@cache
def info_pattern(key: str, definition: Definition, alts: int) -> re.Pattern[str]:
    """Return the pattern of an INFO value, "" for a key alone."""
    if definition.type == "Flag":
        return re.compile(r"[01]?$")
    count = expected_count(definition.number, alts, None)
    pattern = _value_pattern(definition, count, none=".*", inside="[^,]")
    sign = "(?!-|.*,-)" if key in COUNTS else ""
    return re.compile(f"{sign}(?:{pattern})?$") if key != "CIGAR" else _NOTHING


def check_info_value(key: str, value: str | None, definition: Definition, alts: int) -> str | None:
    """Return the rule that an INFO value breaks; None where it breaks none.

    Parameters
    ----------
    key : str
    value : str or None
        What stands after ``=``; None for a key alone.
    definition : Definition
    alts : int
        ALT alleles of the record.
    """
    if definition.type == "Flag":
        return f"INFO {key} is a flag and has no value; found {value!r}"
    if value is None or value == ".":
        return None
    broken = _explain(f"INFO {key}", value, definition, alts, None)
    if broken:
        return broken
    if key in COUNTS and "-" in value and any(_negative(one) for one in value.split(",")):
        return f"INFO {key} must not be negative; found {value!r}"
    if key == "CIGAR" and not all(one == "." or _CIGAR.match(one) for one in value.split(",")):
        return f"INFO CIGAR must be operations such as 1M54D; found {value[:40]!r}"
    return None


def _negative(text: str) -> bool:
    try:
        return float(text) < 0
    except ValueError:
        return False


@cache
def sample_pattern(
    definitions: tuple[Definition | None, ...], alts: int, ploidy: int | None
) -> re.Pattern[str]:
    """Return the pattern of a whole sample column; trailing values may be dropped."""
    pattern = ""
    for definition in reversed(definitions):
        count = expected_count(definition.number, alts, ploidy) if definition else None
        value = _value_pattern(definition, count, none=r"[^:]*", inside=r"[^:,]")
        pattern = f"(?:{value})" + (f"(?::{pattern})?" if pattern else "")
    return re.compile(pattern + "$")


def explain_sample(
    column: str,
    keys: Sequence[str],
    definitions: Sequence[Definition | None],
    alts: int,
    ploidy: int | None,
) -> str | None:
    """Return which value of a sample column contradicts its definition; None where none does."""
    for key, value, definition in zip(keys, column.split(":"), definitions, strict=False):
        if definition is not None and value != ".":
            broken = _explain(key, value, definition, alts, ploidy)
            if broken:
                return broken
    return None


def _value_pattern(definition: Definition | None, count: int | None, none: str, inside: str) -> str:
    """Return the pattern of one key's values, ``none`` where nothing is asked of them."""
    if definition is None or definition.type == "Flag":
        return none
    one = _PATTERNS.get(definition.type, f"{inside}*")
    if definition.type == "Character":
        one = inside
    one = rf"(?:{one}|\.)"
    if count is None:
        # From 4.5 on a list may have no value at all.
        return rf"(?:{one}(?:,{one})*)?"
    if count == 0:
        return r"\.?"
    return rf"\.|{one}(?:,{one}){{{count - 1}}}"


def _explain(
    name: str, value: str, definition: Definition, alts: int, ploidy: int | None
) -> str | None:
    count = expected_count(definition.number, alts, ploidy)
    values = value.split(",") if value or count is not None else []
    if count is not None and len(values) != count:
        of = f" (Number={definition.number})" if not definition.number.isdigit() else ""
        return (
            f"{name} must have {count} value{'s' * (count != 1)}{of}; found {len(values)}: "
            f"{value[:40]!r}"
        )
    written = (one for one in values if one != ".")
    return next(filter(None, (_broken_type(name, one, definition.type) for one in written)), None)


def _broken_type(name: str, value: str, type_: str) -> str | None:
    if type_ == "Integer":
        if not _ANY_INTEGER.match(value):
            return f"{name} must be a whole number; found {value[:40]!r}"
        if not _LEAST_INTEGER <= int(value) <= _GREATEST_INTEGER:
            return (
                f"{name} must be from {_LEAST_INTEGER} to {_GREATEST_INTEGER}; found {value[:40]}"
            )
    elif type_ == "Float" and not re.fullmatch(_PATTERNS["Float"], value):
        return f"{name} must be a number; found {value[:40]!r}"
    elif type_ == "Character" and len(value) != 1:
        return f"{name} must be one character; found {value[:40]!r}"
    return None
