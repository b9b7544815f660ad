"""Rules of form for a VCF header: what it breaks can still be read, but says the file is unsound.

The reader refuses such a file too, unless it was asked to be lenient. Names of callers stand where
their wide use decided that something is let pass.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from genomics.vcf.header import HeaderRuleError, QuotedText
from genomics.vcf.reserved import Definition, contradiction

_ALT_TYPES = frozenset({"DEL", "INS", "DUP", "INV", "CNV", "BND"})
# What structural callers write before a colon, beside the specification's types: GATK-SV (ME, CPX,
# CTX), Sniffles (DUP, INVDUP, TRA), ExpansionHunter (STR), 1000 Genomes (CN).
_ALT_TYPES_OF_CALLERS = re.compile(r"(?:ME|CPX|CTX|TRA|INVDUP|STR\d*|CN\d*)$")
_NUMBERED_ALT_TYPE = re.compile(r"(?:DEL|INS|DUP|INV)\d")
# HLA alleles are contigs of the GRCh38 reference with alternates, their names hold '*' and ':'.
HLA_CONTIG = re.compile(r"HLA-[A-Z0-9]+\*\d+(?::\d+)*[A-Z]?$")
_PEDIGREE_VALUE = re.compile(r"[\w.+-]+$")
_SAMPLE_ID = re.compile(r"[^\s,*<>]+$")
_META_NUMBER = re.compile(r"(\d+|[AGR.])$")
_META_TYPES = frozenset({"Integer", "Float", "Character", "String"})


def check_header_form(kind: str, value: str | Mapping[str, str], version: str) -> None:
    """Check the form of one meta-information line.

    Parameters
    ----------
    kind : str
        What stands before the first ``=``.
    value : str or mapping
        The line's value as :func:`~genomics.vcf.header.parse_meta_line` gives it.
    version : str
        For instance "VCFv4.2".

    Raises
    ------
    HeaderRuleError
    """
    if isinstance(value, str):
        if kind in {"assembly", "pedigreeDB"}:
            _check_url(kind, value)
        return
    first = next(iter(value), "")
    if kind in {"INFO", "FORMAT", "ALT", "FILTER", "contig", "META", "SAMPLE"} and first != "ID":
        raise HeaderRuleError(f"##{kind} must begin with ID; found {first} first")
    if kind in {"INFO", "FORMAT", "FILTER", "ALT"} and not isinstance(
        value["Description"], QuotedText
    ):
        raise HeaderRuleError(
            f"##{kind} ID={value['ID']}: Description must stand in double quotes; "
            f"found {value['Description'][:60]!r}"
        )
    if kind in {"INFO", "FORMAT"}:
        _check_definition(kind, value, version)
    elif kind == "ALT":
        _check_alt(value, version)
    elif kind == "contig":
        _check_name("contig", value["ID"], version)
    elif kind == "META":
        _check_meta(value)
    elif kind == "SAMPLE":
        _check_sample(value, version)
    elif kind == "PEDIGREE":
        _check_pedigree(value, version)


def _check_url(kind: str, value: str) -> None:
    url = value[1:-1] if value.startswith("<") and value.endswith(">") else value
    if not url:
        raise HeaderRuleError(f"##{kind} must name a file or a URL; found {value!r}")
    if "://" not in url or url.startswith("file:"):
        return
    host = urlsplit(url).netloc.rpartition("@")[2].partition(":")[0]
    address = re.fullmatch(r"\d+(?:\.\d+){3}", host)
    if not address and not re.fullmatch(r"[\w.-]*[A-Za-z][\w.-]*", host):
        raise HeaderRuleError(f"##{kind}: {host!r} is not the name of a host; found {url[:60]!r}")


def _check_definition(kind: str, value: Mapping[str, str], version: str) -> None:
    given = Definition(value["Number"], value["Type"])
    contradicted = contradiction(kind, value["ID"], given, version)
    if contradicted:
        raise HeaderRuleError(f"{contradicted}, though the specification reserves the key")


def _check_alt(value: Mapping[str, str], version: str) -> None:
    name = value["ID"]
    _check_number_and_type("ALT", value)
    keys = list(value)
    if {"Number", "Type"} <= set(keys) and keys.index("Number") > keys.index("Type"):
        raise HeaderRuleError(f"##ALT ID={name}: Number must stand before Type")
    first, colon, _ = name.partition(":")
    if colon and first not in _ALT_TYPES and not _ALT_TYPES_OF_CALLERS.match(first):
        raise HeaderRuleError(
            f"##ALT ID={name}: the type before the first ':' must be one of "
            f"{', '.join(sorted(_ALT_TYPES))}; found {first!r}"
        )
    if version < "VCFv4.3" and _NUMBERED_ALT_TYPE.match(first):
        raise HeaderRuleError(
            f"##ALT ID={name}: a subtype is joined to its type by ':' ({first[:3]}:...)"
        )


def _check_number_and_type(kind: str, value: Mapping[str, str]) -> None:
    """Of a line that need not give them."""
    name = value["ID"]
    if not _META_NUMBER.match(value.get("Number", ".")):
        raise HeaderRuleError(
            f"##{kind} ID={name}: Number must be a count, A, R, G or '.'; found {value['Number']!r}"
        )
    if value.get("Type", "String") not in _META_TYPES:
        raise HeaderRuleError(
            f"##{kind} ID={name}: Type must be one of {', '.join(sorted(_META_TYPES))}; "
            f"found {value['Type']!r}"
        )


def _check_name(kind: str, name: str, version: str) -> None:
    if "*" in name and version >= "VCFv4.3" and not HLA_CONTIG.match(name):
        raise HeaderRuleError(f"##{kind}: an ID must not hold '*'; found {name!r}")


def _check_meta(value: Mapping[str, str]) -> None:
    name = value["ID"]
    _check_number_and_type("META", value)
    values = value.get("Values", "[]")
    if not (values.startswith("[") and values.endswith("]")):
        raise HeaderRuleError(
            f"##META ID={name}: Values must stand in square brackets; found {values[:60]!r}"
        )


def _check_sample(value: Mapping[str, str], version: str) -> None:
    name = value["ID"]
    if not _SAMPLE_ID.match(name):
        raise HeaderRuleError(
            f"##SAMPLE: an ID has no white space, ',', '*', '<' or '>'; found {name!r}"
        )
    if version >= "VCFv4.3":
        return
    if "Mixture" in value and "Genomes" not in value:
        raise HeaderRuleError(f"##SAMPLE ID={name}: Mixture needs Genomes, whose shares it gives")
    if isinstance(value.get("Mixture"), QuotedText) or isinstance(value.get("Genomes"), QuotedText):
        raise HeaderRuleError(f"##SAMPLE ID={name}: only Description stands in quotes")


def _check_pedigree(value: Mapping[str, str], version: str) -> None:
    if version >= "VCFv4.3" and "ID" not in value:
        raise HeaderRuleError(f"##PEDIGREE needs an ID; found {dict(value)}")
    for key, name in value.items():
        if not isinstance(name, QuotedText) and not _PEDIGREE_VALUE.match(name):
            raise HeaderRuleError(
                f"##PEDIGREE {key}: a name is letters, digits, '_', '.', '+' and '-'; "
                f"found {name[:60]!r}"
            )
