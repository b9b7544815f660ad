"""VCF 4.0 to 4.5, plain, gzip or bgzip, read as a stream and checked as it is read.

Every record keeps the line it came from. :func:`read_vcf` gives the header at once and the records
one by one; :func:`alleles` splits a record into one :class:`~genomics.variant.Variant` per
alternate allele without losing which record, and which allele of it, each came from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from genomics.errors import SampleError
from genomics.variant import Variant
from genomics.vcf.header import VcfHeader
from genomics.vcf.lines import Part, numbered_lines
from genomics.vcf.reader import Deviations, LineReader, RecordOrder, VcfRecord

__all__ = [
    "UNSPECIFIED",
    "Allele",
    "Deviations",
    "RecordOrder",
    "VcfFile",
    "VcfHeader",
    "VcfRecord",
    "alleles",
    "choose_sample",
    "read_vcf",
    "samples",
]

UNSPECIFIED = frozenset({"<*>", "<NON_REF>"})
"""ALT of a gVCF's reference block, and of any allele that was not seen (VCF 4.3, section 5.5)."""


@dataclass(frozen=True)
class VcfFile:
    """An open VCF: its header, and its records to be read once.

    Iterating raises :class:`~genomics.errors.VcfError` at the first record that breaks a rule.

    Attributes
    ----------
    path : Path
    header : VcfHeader
    records : iterator of VcfRecord
    deviations : Deviations or None
        Filled while the records are read; None where nothing is let pass.
    """

    path: Path
    header: VcfHeader
    records: Iterator[VcfRecord]
    deviations: Deviations | None = None


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


def read_vcf(path: str | Path, *, lenient: bool = False, part: Part | None = None) -> VcfFile:
    """Open a VCF, read and check its header, and give its records as a stream.

    Parameters
    ----------
    path : str or Path
        Plain, gzip or bgzip; told apart by content, not by name.
    lenient : bool
        Let pass, and note in :attr:`VcfFile.deviations`, what breaks a rule of form only: the
        record can be read, but the file is not as its own header or the specification says.
    part : Part, optional
        Lines of the body to read instead of all.
        A deviation of the header is noted with the part that follows it.

    Raises
    ------
    VcfError
        The file is missing or unreadable, or a line breaks a rule of the specification.
    """
    path = Path(path)
    noted = Deviations() if lenient else None
    reader = LineReader(path, numbered_lines(path), noted)
    header = reader.header()
    if part is not None:
        # Parts are added up: only one of them may speak of the header.
        if lenient and part.first > len(header.lines) + 1:
            noted = Deviations()
        reader = LineReader(path, numbered_lines(path, part), noted)
    return VcfFile(path, header, reader.records(header), noted)


def alleles(record: VcfRecord, build: str | None) -> list[Allele]:
    """Split a record into its alternate alleles, in the record's order."""
    chrom, position, ref = record.chrom, record.position, record.ref.upper()
    if not record.alts:
        variant = Variant(build, chrom, position, ref, ".")
        return [Allele(variant, 0, "the record has no alternate allele")]
    found = []
    for index, alt in enumerate(record.alts, start=1):
        reason = _why_unscorable(ref, alt, len(record.alts))
        written = alt if reason else alt.upper()
        found.append(Allele(Variant(build, chrom, position, ref, written), index, reason))
    return found


def _why_unscorable(ref: str, alt: str, alts: int) -> str | None:
    if alt in UNSPECIFIED:
        if alts == 1:
            return "reference block: no alternate allele was seen"
        return f"unspecified allele: {alt} stands for any that was not seen"
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
