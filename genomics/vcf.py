"""VCF 4.0 to 4.5, plain, gzip or bgzip, read as a stream and checked as it is read.

Every record keeps the line it came from. :func:`read_vcf` gives the header at once and the records
one by one; :func:`alleles` splits a record into one :class:`~genomics.variant.Variant` per
alternate allele without losing which record, and which allele of it, each came from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from genomics.errors import SampleError, VcfError
from genomics.variant import Genotype, Variant
from genomics.vcf_body import RecordRuleError, check_record, parse_genotype
from genomics.vcf_header import (
    VERSIONS,
    HeaderRuleError,
    VcfHeader,
    check_definition,
    parse_column_line,
    parse_meta_line,
)
from genomics.vcf_lines import Part, numbered_lines


@dataclass(frozen=True)
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
        return parse_genotype(written["GT"], None if phase_set == "." else phase_set)


@dataclass(frozen=True)
class VcfFile:
    """An open VCF: its header, and its records to be read once.

    Iterating raises :class:`~genomics.errors.VcfError` at the first record that breaks a rule.
    """

    path: Path
    header: VcfHeader
    records: Iterator[VcfRecord]


@dataclass(frozen=True)
class Allele:
    """One alternate allele of a record.

    Attributes
    ----------
    variant : Variant
        As the record has it, bases in upper case; ``alt`` is "." for a record without ALT.
    index : int
        1 for the first ALT, as genotypes count; 0 for a record without ALT.
    unscorable : str or None
        Why no base change can be read from it; None where both alleles are bases.
    """

    variant: Variant
    index: int
    unscorable: str | None


def samples(path: str | Path) -> list[str]:
    """Return the names of the samples in a VCF, in the order of its columns.

    Raises
    ------
    VcfError
        The file is missing, not a VCF, or its header breaks a rule.
    """
    return list(read_vcf(path).header.samples)


def choose_sample(header: VcfHeader, sample: str | None, path: Path) -> int | None:
    """Return the index of the sample to read; None where the VCF has no samples at all.

    Raises
    ------
    SampleError
        ``sample`` is not in the VCF, or several are there and none was named.
    """
    listed = ", ".join(header.samples) or "none"
    if sample is not None:
        if sample not in header.samples:
            raise SampleError(f"{path}: no sample {sample!r}; the file has: {listed}")
        return header.samples.index(sample)
    if len(header.samples) > 1:
        raise SampleError(
            f"{path}: {len(header.samples)} samples ({listed}); choose the patient's with --sample"
        )
    return 0 if header.samples else None


def read_vcf(path: str | Path, *, part: Part | None = None) -> VcfFile:
    """Open a VCF, read and check its header, and give its records as a stream.

    Parameters
    ----------
    path : str or Path
        Plain, gzip or bgzip; told apart by content, not by name.
    part : Part, optional
        Lines of the body to read instead of all.

    Raises
    ------
    VcfError
        The file is missing or unreadable, or a line breaks a rule of the specification.
    """
    path = Path(path)
    lines = numbered_lines(path)
    header = _read_header(path, lines)
    if part is not None:
        lines = numbered_lines(path, part)
    return VcfFile(path, header, _read_records(path, header, lines))


def alleles(record: VcfRecord, build: str | None) -> list[Allele]:
    """Split a record into its alternate alleles, in the record's order."""
    chrom, position, ref = record.chrom, record.position, record.ref.upper()
    if not record.alts:
        variant = Variant(build, chrom, position, ref, ".")
        return [Allele(variant, 0, "the record has no alternate allele")]
    found = []
    for index, alt in enumerate(record.alts, start=1):
        reason = _why_unscorable(ref, alt)
        written = alt if reason else alt.upper()
        found.append(Allele(Variant(build, chrom, position, ref, written), index, reason))
    return found


def _why_unscorable(ref: str, alt: str) -> str | None:
    if alt in {"<*>", "<NON_REF>"}:
        return "reference block: no alternate allele was seen"
    if alt == "*":
        return "the allele is missing because of an upstream deletion (*)"
    if alt == ".":
        return "the record has no alternate allele"
    if alt.startswith("<"):
        return "symbolic allele: its sequence is not written out"
    if "[" in alt or "]" in alt or alt.startswith(".") or alt.endswith("."):
        return "breakend: a rearrangement, not a base change"
    if alt.upper() == ref:
        return "the alternate allele equals the reference"
    if "N" in ref or "N" in alt.upper():
        return "an allele has unknown bases (N)"
    return None


def _read_header(path: Path, lines: Iterator[tuple[int, str]]) -> VcfHeader:
    number, first = next(lines, (1, ""))
    if not first.startswith("##fileformat="):
        raise VcfError(
            path,
            number,
            f"not a VCF: the first line must be ##fileformat=VCFv4.x; found {first[:60]!r}",
        )
    version = first.removeprefix("##fileformat=")
    if version not in VERSIONS:
        raise VcfError(path, number, f"version {version!r}; this reads {', '.join(VERSIONS)}")
    kept, contigs = [first], {}
    definitions: dict[str, dict[str, dict[str, str]]] = {}
    for number, line in lines:
        try:
            if line.startswith("##"):
                kept.append(line)
                _add_definition(line, definitions)
            elif line.startswith("#"):
                names = parse_column_line(line)
                kept.append(line)
                break
            else:
                raise HeaderRuleError(
                    f"expected a ## line or the #CHROM column line; found {line[:60]!r}"
                )
        except HeaderRuleError as error:
            raise VcfError(path, number, str(error)) from None
    else:
        raise VcfError(path, number, "the file ends without the #CHROM column line")
    for name, fields in definitions.get("contig", {}).items():
        contigs[name] = int(fields["length"]) if "length" in fields else None
    return VcfHeader(version, names, contigs, definitions, tuple(kept))


def _add_definition(line: str, definitions: dict[str, dict[str, dict[str, str]]]) -> None:
    kind, value = parse_meta_line(line)
    if isinstance(value, str):
        return
    check_definition(kind, value)
    if "ID" in value:
        definitions.setdefault(kind, {})[value["ID"]] = value


def _read_records(
    path: Path, header: VcfHeader, lines: Iterator[tuple[int, str]]
) -> Iterator[VcfRecord]:
    chrom, position = "", 0
    finished: set[str] = set()
    for number, line in lines:
        fields = tuple(line.split("\t"))
        try:
            check_record(fields, header)
            name = fields[0].strip("<>")
            if name != chrom:
                if name in finished:
                    raise RecordRuleError(
                        f"records of {name} stand apart; sort the file (bcftools sort)"
                    )
                finished.add(name)
                chrom, position = name, 0
            # From 4.5 on the specification's own files are not sorted within a sequence.
            if int(fields[1]) < position and header.version < "VCFv4.5":
                raise RecordRuleError(
                    f"position {fields[1]} comes after {position}; sort the file (bcftools sort)"
                )
        except RecordRuleError as error:
            raise VcfError(path, number, str(error)) from None
        position = int(fields[1])
        yield VcfRecord(number, fields)
