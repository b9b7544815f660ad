"""The header of a VCF file: its meta-information lines, its samples, what they must obey."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from genomics.contigs import build_from_accession, build_from_lengths, build_from_text
from genomics.vcf.reserved import Definition, as_written, reserved

FIXED_COLUMNS = ("#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO")
VERSIONS = ("VCFv4.0", "VCFv4.1", "VCFv4.2", "VCFv4.3", "VCFv4.4", "VCFv4.5")
_STRUCTURED = frozenset({"INFO", "FORMAT", "FILTER", "ALT", "contig", "META", "SAMPLE", "PEDIGREE"})
_NUMBER = re.compile(r"(\d+|[AGR.]|P|LA|LG|LR|M)$")
_TYPES = {
    "INFO": frozenset({"Integer", "Float", "Flag", "Character", "String"}),
    "FORMAT": frozenset({"Integer", "Float", "Character", "String"}),
}
_KEY = re.compile(r"([^=,]+)=")


class HeaderRuleError(ValueError):
    """A header line breaks a rule; the message is the rule, the reader adds file and line."""


class QuotedText(str):
    """A value that stood in double quotes, without them."""

    __slots__ = ()


@dataclass(frozen=True)
class VcfHeader:
    """What a VCF file says about itself before its first record.

    Attributes
    ----------
    version : str
        For instance "VCFv4.2".
    samples : tuple of str
        Names of the sample columns, in order.
    contigs : dict
        Declared length by sequence name; None where the line has no length.
    definitions : dict
        Structured lines by kind ("INFO", "FORMAT", "FILTER", ...) and ID.
    lines : tuple of str
        Every line as it stands, the column line last, without line ends.
    """

    version: str
    samples: tuple[str, ...]
    contigs: Mapping[str, int | None]
    definitions: Mapping[str, Mapping[str, Mapping[str, str]]]
    lines: tuple[str, ...] = field(repr=False)

    @cached_property
    def build(self) -> str | None:
        """The genome build, from the contigs, their names or ``##reference``; None if unsaid."""
        lengths = {name: length for name, length in self.contigs.items() if length}
        by_length = build_from_lengths(lengths)
        if by_length:
            return by_length
        named = {build for build in map(build_from_accession, self.contigs) if build}
        if len(named) == 1:
            return named.pop()
        speaking = ("##reference=", "##assembly=", "##contig=")
        spoken = {build_from_text(line) for line in self.lines if line.startswith(speaking)}
        spoken.discard(None)
        return spoken.pop() if len(spoken) == 1 else None

    @cached_property
    def info_definitions(self) -> Mapping[str, Definition | None]:
        """What can be checked of INFO's values, by key; see :meth:`_known`."""
        return self._known("INFO")

    @cached_property
    def format_definitions(self) -> Mapping[str, Definition | None]:
        """What can be checked of the samples' values, by key; see :meth:`_known`."""
        return self._known("FORMAT")

    def _known(self, kind: str) -> dict[str, Definition | None]:
        """Return the definitions by key: the header's word first, else the specification's.

        A declared text is None, unless the specification reserves its key: a comma may be part of
        a text, so that its values cannot be counted.
        """
        standard = reserved(kind, self.version)
        known: dict[str, Definition | None] = dict(standard)
        for key, fields in self.definitions.get(kind, {}).items():
            given = Definition(fields["Number"], fields["Type"])
            if given.type != "String":
                known[key] = as_written(kind, key, given)
            elif key not in standard or standard[key].type != "String":
                known[key] = None
        return known

    def annotation_fields(self, info_id: str, separator: str) -> list[str] | None:
        """Return the field names that an annotation's description lists after ``separator``."""
        definition = self.definitions.get("INFO", {}).get(info_id)
        if definition is None or separator not in definition.get("Description", ""):
            return None
        listed = definition["Description"].split(separator, 1)[1]
        return [name.strip(" '\"") for name in listed.split("|")]


def parse_meta_line(line: str) -> tuple[str, str | dict[str, str]]:
    """Split ``##key=value``; a ``<...>`` value becomes a dictionary.

    Raises
    ------
    HeaderRuleError
    """
    key, equals, value = line[2:].partition("=")
    if not equals or not key or not value:
        raise HeaderRuleError(f"a meta-information line is ##key=value; found {line[:80]!r}")
    if key not in _STRUCTURED:
        return key, value
    if value.startswith("<") and value.endswith(">"):
        return key, _parse_structured(value[1:-1])
    raise HeaderRuleError(f"##{key} must be followed by <key=value,...>; found {value[:80]!r}")


def _parse_structured(text: str) -> dict[str, str]:
    """Split ``key=value,key="quoted, value"`` by the VCF's rules (4.3, section 1.2)."""
    fields: dict[str, str] = {}
    place = 0
    while place < len(text):
        match = _KEY.match(text, place)
        if not match:
            raise HeaderRuleError(f"expected key=value inside <...>; found {text[place:][:60]!r}")
        place = match.end()
        opening = text[place : place + 1]
        value: str
        if opening == '"':
            value, place = _quoted(text, place)
        elif opening == "[" and "]" in text[place:]:
            end = text.index("]", place) + 1
            value, place = text[place:end], end
        else:
            end = text.find(",", place)
            end = len(text) if end < 0 else end
            value, place = text[place:end], end
        if match[1] in fields:
            raise HeaderRuleError(f"{match[1]} stands twice in one line")
        fields[match[1]] = value
        if place < len(text) and text[place] != ",":
            raise HeaderRuleError(f"expected a comma before {text[place:][:60]!r}")
        place += 1
    return fields


def _quoted(text: str, place: int) -> tuple[QuotedText, int]:
    characters = []
    place += 1
    while place < len(text):
        if text[place] == "\\" and place + 1 < len(text):
            characters.append(text[place + 1])
            place += 2
        elif text[place] == '"':
            return QuotedText("".join(characters)), place + 1
        else:
            characters.append(text[place])
            place += 1
    raise HeaderRuleError("a quoted value is not closed")


def check_definition(kind: str, fields: Mapping[str, str]) -> None:
    """Check a structured line against the rules of its kind.

    Raises
    ------
    HeaderRuleError
    """
    if kind in {"INFO", "FORMAT", "FILTER", "ALT", "contig", "META", "SAMPLE"} and not fields.get(
        "ID"
    ):
        raise HeaderRuleError(f"##{kind} needs an ID; found {dict(fields)}")
    if kind in {"INFO", "FORMAT", "FILTER", "ALT"} and "Description" not in fields:
        raise HeaderRuleError(f"##{kind} ID={fields['ID']} needs a Description")
    if kind in _TYPES:
        _check_typed(kind, fields)
    if kind in {"contig", "SAMPLE", "FILTER", "ALT"} and " " in fields["ID"]:
        raise HeaderRuleError(f"##{kind}: an ID has no white space; found {fields['ID']!r}")
    if kind == "ALT" and re.search(r"[<>,]", fields["ID"]):
        raise HeaderRuleError(f"##ALT: an ID has no '<', '>' or ','; found {fields['ID']!r}")
    if kind == "contig" and not fields.get("length", "0").isdigit():
        raise HeaderRuleError(
            f"##contig ID={fields['ID']}: length must be a number of bases; "
            f"found {fields['length']!r}"
        )


def _check_typed(kind: str, fields: Mapping[str, str]) -> None:
    number, type_ = fields.get("Number"), fields.get("Type")
    if number is None or not _NUMBER.match(number):
        raise HeaderRuleError(
            f"##{kind} ID={fields['ID']}: Number must be a count, A, R, G or '.'; found {number!r}"
        )
    if type_ not in _TYPES[kind]:
        raise HeaderRuleError(
            f"##{kind} ID={fields['ID']}: Type must be one of {', '.join(sorted(_TYPES[kind]))}; "
            f"found {type_!r}"
        )


def parse_column_line(line: str) -> tuple[str, ...]:
    """Return the sample names of the ``#CHROM`` line.

    Raises
    ------
    HeaderRuleError
    """
    if not line.startswith("#"):
        raise HeaderRuleError(f"expected a ## line or the #CHROM column line; found {line[:60]!r}")
    columns = line.split("\t")
    if tuple(columns[: len(FIXED_COLUMNS)]) != FIXED_COLUMNS:
        raise HeaderRuleError(
            f"the column line must begin with {' '.join(FIXED_COLUMNS)}, separated by tabs; "
            f"found {line[:80]!r}"
        )
    rest = columns[len(FIXED_COLUMNS) :]
    if not rest:
        return ()
    if rest[0] != "FORMAT":
        raise HeaderRuleError(f"the ninth column must be FORMAT; found {rest[0]!r}")
    samples = tuple(rest[1:])
    if not samples:
        raise HeaderRuleError("FORMAT must be followed by at least one sample column")
    if "" in samples:
        raise HeaderRuleError("a sample column has no name")
    twice = next((name for name in samples if samples.count(name) > 1), None)
    if twice is not None:
        raise HeaderRuleError(f"sample {twice!r} stands twice in the column line")
    return samples
