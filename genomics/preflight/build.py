"""On which genome build a VCF stands, and how it names chromosomes; mixtures are found here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from genomics.contigs import (
    BUILD_LENGTHS,
    build_from_accession,
    build_from_text,
    canonical_name,
    naming_style,
)
from genomics.errors import InputError, MixtureError, ReferenceGenomeError, RefMismatchError
from genomics.reference import Reference
from genomics.vcf import VcfRecord
from genomics.vcf.header import VcfHeader
from genomics.vcf.sampling import UNKNOWN_LINE

LEAST_REF_MATCH = 0.99
_OLD_MITOCHONDRION = 16_571


@dataclass(frozen=True)
class BuildFinding:
    """The build of a VCF and what speaks for it.

    Attributes
    ----------
    build : str or None
    evidence : tuple of str
    problems : tuple of InputError
        Why the file cannot be on one build.
    warnings : tuple of str
    """

    build: str | None
    evidence: tuple[str, ...]
    problems: tuple[InputError, ...]
    warnings: tuple[str, ...]


def find_build(name: str, header: VcfHeader, records: Sequence[VcfRecord]) -> BuildFinding:
    """Find the build from the contigs' lengths and accessions, the header's words, the positions.

    Parameters
    ----------
    name : str
        The file, for messages.
    header : VcfHeader
    records : sequence of VcfRecord
    """
    by_length = _votes_of_lengths(header.contigs)
    by_accession = Counter(filter(None, map(build_from_accession, _names(header, records))))
    said = _said(header)
    evidence = [
        *([f"contig lengths: {_listed(by_length, 'contig')}"] if by_length else []),
        *([f"accessions: {_listed(by_accession, 'name')}"] if by_accession else []),
        *([f"the header's words: {', '.join(sorted(said))}"] if said else []),
    ]
    sure = set(by_length) | set(by_accession)
    if len(sure) > 1:
        mixed = MixtureError(
            f"{name}: its contigs are of several builds ({' and '.join(sorted(sure))}): "
            f"{'; '.join(evidence)}. Call or lift all records on one build, and give that file"
        )
        return BuildFinding(None, tuple(evidence), (mixed,), _warnings(header, None, said))
    build = next(iter(sure or (said if len(said) == 1 else ())), None)
    possible = _builds_that_hold(records)
    problems: list[InputError] = []
    if build and build not in possible:
        problems.append(_beyond_the_end(name, build, records))
    elif build is None and len(possible) == 1:
        build = possible.pop()
        evidence.append(f"positions: beyond the chromosome's end on every build but {build}")
    return BuildFinding(build, tuple(evidence), tuple(problems), _warnings(header, build, said))


def _warnings(header: VcfHeader, build: str | None, said: set[str]) -> tuple[str, ...]:
    warnings = []
    if build and said and said != {build}:
        warnings.append(
            f"the header speaks of {' and '.join(sorted(said))}, but its contigs are {build}'s; "
            "the contigs are believed"
        )
    lengths = {length for name, length in header.contigs.items() if canonical_name(name) == "MT"}
    if _OLD_MITOCHONDRION in lengths:
        warnings.append(
            "the mitochondrial sequence has 16571 bases: it is the one of UCSC's first hg19 "
            "(NC_001807), not the revised Cambridge sequence; its positions differ"
        )
    return tuple(warnings)


def _votes_of_lengths(contigs: Mapping[str, int | None]) -> Counter[str]:
    """Count the contigs whose length only one build has."""
    votes: Counter[str] = Counter()
    for contig, length in contigs.items():
        fitting = [
            b for b, known in BUILD_LENGTHS.items() if known.get(canonical_name(contig)) == length
        ]
        if length and len(fitting) == 1:
            votes[fitting[0]] += 1
    return votes


def _said(header: VcfHeader) -> set[str]:
    speaking = ("##reference=", "##assembly=", "##contig=")
    lines = (line for line in header.lines if line.startswith(speaking))
    return {build for build in map(build_from_text, lines) if build}


def _names(header: VcfHeader, records: Iterable[VcfRecord]) -> list[str]:
    return list(dict.fromkeys([*header.contigs, *(record.chrom for record in records)]))


def _listed(votes: Mapping[str, int], what: str) -> str:
    return ", ".join(
        f"{build} ({count} {what}{'s' * (count != 1)})" for build, count in sorted(votes.items())
    )


def _builds_that_hold(records: Iterable[VcfRecord]) -> set[str]:
    """Return the builds whose chromosomes are long enough for every record."""
    furthest: dict[str, int] = {}
    for record in records:
        end = record.position + len(record.ref) - 1
        furthest[record.chrom] = max(end, furthest.get(record.chrom, 0))
    return {
        build
        for build, lengths in BUILD_LENGTHS.items()
        # One base further is the telomere (VCF 4.3, section 1.6.1.2).
        if all(end <= lengths.get(canonical_name(c), end) + 1 for c, end in furthest.items())
    }


def _beyond_the_end(name: str, build: str, records: Iterable[VcfRecord]) -> InputError:
    lengths = BUILD_LENGTHS[build]
    beyond = next(
        record
        for record in records
        if record.position + len(record.ref) - 2 > lengths.get(canonical_name(record.chrom), 2**40)
    )
    return MixtureError(
        f"{name}: {beyond.chrom}:{beyond.position} lies beyond the end of {beyond.chrom} on "
        f"{build} ({lengths[canonical_name(beyond.chrom)]} bases), the build of its contigs; "
        "records of another build were mixed in, or the header belongs to another file"
    )


@dataclass(frozen=True)
class NamingFinding:
    """How a VCF writes chromosome names.

    Attributes
    ----------
    style : str or None
        "chr1", "1" or "NC_000001.11"; None where no chromosome is named.
    reconciled : str or None
        How the reference's names differ; they are read as the same sequences.
    problems : tuple of InputError
    """

    style: str | None
    reconciled: str | None
    problems: tuple[InputError, ...]


def find_naming(
    name: str, header: VcfHeader, records: Iterable[VcfRecord], reference: Reference | None
) -> NamingFinding:
    """Find the naming of the records, or of the header where there is no record."""
    used = list(dict.fromkeys(record.chrom for record in records)) or list(header.contigs)
    example: dict[str, str] = {}
    for chrom in used:
        style = naming_style(chrom)
        if style is not None:
            example.setdefault(style, chrom)
    if len(example) > 1:
        shown = " and ".join(example[style] for style in sorted(example))
        problem = MixtureError(
            f"{name}: its records name chromosomes in {len(example)} ways ({shown}): two files "
            "were joined, perhaps of two builds; rename one (bcftools annotate --rename-chrs) "
            "after checking that both are on one build"
        )
        return NamingFinding(None, None, (problem,))
    if not example:
        return NamingFinding(None, None, ())
    style, chrom = next(iter(example.items()))
    theirs = reference.name_of(chrom) if reference else None
    if theirs is None or theirs == chrom:
        return NamingFinding(style, None, ())
    return NamingFinding(style, f"{chrom} here is {theirs} in the reference", ())


@dataclass(frozen=True)
class RefMatch:
    """How often REF is what the reference has.

    Attributes
    ----------
    compared, agreed : int
        Records; those on sequences that the reference lacks are not compared.
    absent : tuple of str
        Sequences that the reference lacks.
    problem : InputError or None
        Why this cannot be the reference.
    """

    compared: int
    agreed: int
    absent: tuple[str, ...]
    problem: InputError | None

    @property
    def rate(self) -> float | None:
        """Share of the compared records, 0 to 1."""
        return self.agreed / self.compared if self.compared else None


def match_ref(
    name: str,
    records: Iterable[VcfRecord],
    reference: Reference,
    build: str | None,
    is_annotated: bool,
) -> RefMatch:
    """Hold every record's REF against the reference.

    Parameters
    ----------
    name : str
        The file, for messages.
    records : iterable of VcfRecord
    reference : Reference
    build : str or None
        The VCF's, for messages.
    is_annotated : bool
        Whether the VCF brings consequences of its own, so that it can be scored on sequences that
        the reference lacks.
    """
    agreed, wrong, absent = 0, [], {}
    for record in records:
        agrees = reference.agrees(record)
        if agrees:
            agreed += 1
        elif agrees is False:
            wrong.append(record)
        elif record.position > 0:
            absent[record.chrom] = True
    compared = agreed + len(wrong)
    problem: InputError | None = None
    if absent and not compared and not is_annotated:
        problem = ReferenceGenomeError(
            f"{name}: none of its sequences ({', '.join(absent)[:80]}) is in the reference; "
            "give the reference that the VCF was called on"
        )
    elif wrong and agreed < LEAST_REF_MATCH * compared:
        first = wrong[0]
        line = "" if first.line_number == UNKNOWN_LINE else f"line {first.line_number}, "
        on = f"; by its contigs the VCF is on {build}" if build else ""
        problem = RefMismatchError(
            f"{name}: REF agrees with the reference at {agreed} of {compared} places (chance alone "
            f"gives about a quarter){on}; first, {line}{reference.contradiction(first)}; give the "
            "reference that the VCF was called on"
        )
    return RefMatch(compared, agreed, tuple(absent), problem)
