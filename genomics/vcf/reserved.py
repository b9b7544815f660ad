"""What the VCF specification reserves: INFO and FORMAT keys with their Number and Type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Definition(NamedTuple):
    """How many values a key has, and of which type.

    Attributes
    ----------
    number : str
        A count, ``A`` (one per ALT), ``R`` (one per allele), ``G`` (one per genotype), ``P`` (one
        per allele of GT), ``LA``/``LR``/``LG`` (the same, of the sample's local alleles), ``M``
        (base modifications) or ``.`` (open).
    type : str
        Integer, Float, Flag, Character or String.
    """

    number: str
    type: str


_INTEGER, _FLOAT, _FLAG, _STRING = "Integer", "Float", "Flag", "String"

# VCF 4.3, tables 1 and 2; AD, ADF and ADR are reserved from 4.3 on, GLE up to 4.2. SB is left out:
# the specification's own files and every caller write it otherwise than the table says.
_INFO = {
    "AA": Definition("1", _STRING),
    "AC": Definition("A", _INTEGER),
    "AD": Definition("R", _INTEGER),
    "ADF": Definition("R", _INTEGER),
    "ADR": Definition("R", _INTEGER),
    "AF": Definition("A", _FLOAT),
    "AN": Definition("1", _INTEGER),
    "BQ": Definition("1", _FLOAT),
    "CIGAR": Definition("A", _STRING),
    "DB": Definition("0", _FLAG),
    "DP": Definition("1", _INTEGER),
    "END": Definition("1", _INTEGER),
    "H2": Definition("0", _FLAG),
    "H3": Definition("0", _FLAG),
    "MQ": Definition("1", _FLOAT),
    "MQ0": Definition("1", _INTEGER),
    "NS": Definition("1", _INTEGER),
    "SOMATIC": Definition("0", _FLAG),
    "VALIDATED": Definition("0", _FLAG),
    "1000G": Definition("0", _FLAG),
}
_FORMAT = {
    "AD": Definition("R", _INTEGER),
    "ADF": Definition("R", _INTEGER),
    "ADR": Definition("R", _INTEGER),
    "DP": Definition("1", _INTEGER),
    "EC": Definition("A", _INTEGER),
    "FT": Definition("1", _STRING),
    "GL": Definition("G", _FLOAT),
    "GLE": Definition("G", _STRING),
    "GP": Definition("G", _FLOAT),
    "GQ": Definition("1", _INTEGER),
    "GT": Definition("1", _STRING),
    "HQ": Definition("2", _INTEGER),
    "MQ": Definition("1", _INTEGER),
    "PL": Definition("G", _INTEGER),
    "PQ": Definition("1", _INTEGER),
    "PS": Definition("1", _INTEGER),
}
# VCF 4.4, section 1.6.2, and 4.5: phase set lists; reference blocks of one sample.
_FORMAT_4_4 = {
    "PSL": Definition("P", _STRING),
    "PSO": Definition("P", _INTEGER),
    "PSQ": Definition("P", _INTEGER),
}
_FORMAT_4_5 = {
    "LAA": Definition(".", _INTEGER),
    "LAD": Definition("LR", _INTEGER),
    "LEN": Definition("1", _INTEGER),
}
_FROM_4_3 = frozenset({"AD", "ADF", "ADR"})
COUNTS = frozenset({"AC", "AF", "AN", "DP", "END", "MQ0", "NS"})
"""INFO keys that cannot be negative."""

# Declared otherwise by callers in wide use, and read without loss: the other type.
_ALSO_WRITTEN = {
    ("FORMAT", "GQ"): _FLOAT,  # freebayes, GLnexus
    ("FORMAT", "PS"): _STRING,  # older phasers name the set "chrom:position"
    ("INFO", "MQ"): _INTEGER,  # the specification's tables before 4.3
    ("INFO", "CADD"): _FLOAT,  # vcfanno's scores under an Integer of the header's
}

_ONE_PER_TRANSCRIPT = "dbNSFP_"
"""SnpSift declares these keys with Number=A and writes a value for each transcript."""


def reserved(kind: str, version: str) -> Mapping[str, Definition]:
    """Return the reserved keys of a version of the specification.

    Parameters
    ----------
    kind : str
        "INFO" or "FORMAT".
    version : str
        For instance "VCFv4.2".
    """
    if kind == "INFO":
        keys = dict(_INFO)
    else:
        keys = dict(_FORMAT)
        if version >= "VCFv4.4":
            keys |= _FORMAT_4_4
        if version >= "VCFv4.5":
            keys |= _FORMAT_4_5
    dropped = {"GLE"} if version >= "VCFv4.3" else _FROM_4_3
    return {key: keys[key] for key in keys if key not in dropped}


def contradiction(kind: str, key: str, given: Definition, version: str) -> str | None:
    """Return how a header's definition contradicts a reserved one; None where it does not.

    A Number of ``.`` says less than the specification, not otherwise: callers wrote AD and PL so
    before the allele-wise Numbers existed.
    """
    expected = reserved(kind, version).get(key)
    if expected is None:
        return None
    looser = given.number == "." and expected.number in {"A", "R", "G"}
    if given.number != expected.number and not looser:
        return f"##{kind} ID={key}: Number must be {expected.number}; found {given.number!r}"
    if given.type not in {expected.type, _ALSO_WRITTEN.get((kind, key))}:
        return f"##{kind} ID={key}: Type must be {expected.type}; found {given.type!r}"
    return None


def as_written(kind: str, key: str, declared: Definition) -> Definition:
    """Return what a key's values are in practice: the definition, widened to known uses."""
    types = {declared.type, _ALSO_WRITTEN.get((kind, key))}
    if kind == "INFO" and key in _INFO:
        types.add(_INFO[key].type)
    type_ = _FLOAT if _FLOAT in types else declared.type
    number = "." if key.startswith(_ONE_PER_TRANSCRIPT) else declared.number
    return Definition(number, type_)
