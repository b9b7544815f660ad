"""What a VCF is, before it is scored: build, names, REF, order, phase, sex, origin, samples.

Two seconds on any file: a bounded sample of records is looked at, and how many is said.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from genomics.annotation import find_annotation
from genomics.errors import BuildMismatchError, InputError
from genomics.preflight.build import RefMatch, find_build, find_naming, match_ref
from genomics.preflight.samples import (
    SampleFinding,
    describe_samples,
    find_origin,
    find_relation,
    genotypes_of,
)
from genomics.reference import Reference
from genomics.vcf import UNSPECIFIED
from genomics.vcf.sampling import RecordSample, sample_records

_SOMATIC_SCORES = (
    "scores and classes come from inherited variants: of a somatic one they say what it does to "
    "the protein, not what it does in the tumour"
)


@dataclass(frozen=True)
class Preflight:
    """What was found; whatever could not be told is None.

    Attributes
    ----------
    input : str
        The file's name.
    version : str
        For instance "VCFv4.2".
    records_looked_at : int
    complete : bool
        Whether that is all of them.
    build : str or None
    build_evidence : tuple of str
    naming : str or None
        How chromosomes are named: "chr1", "1" or "NC_000001.11".
    reconciled : str or None
        How the reference's names differ; they are read as the same.
    ref_compared, ref_agreed : int or None
        Records held against the reference, and those whose REF is the reference's.
    absent_sequences : tuple of str
        Sequences of the records that the reference lacks.
    is_sorted : bool
        As far as was seen.
    is_gvcf : bool
        Whether reference blocks were seen.
    samples : tuple of str
        All names, in the file's order.
    people : tuple of SampleFinding
        The first samples, described.
    relation, relation_evidence : str
        "trio", "tumour/normal pair" or None.
    origin : str or None
        "germline" or "somatic".
    origin_evidence : tuple of str
    warnings : tuple of str
        What the reader of the results should know.
    problems : tuple of InputError
        Why the file is refused; see :meth:`refuse`.
    seconds : float
    """

    input: str
    version: str
    records_looked_at: int
    complete: bool
    build: str | None
    build_evidence: tuple[str, ...]
    naming: str | None
    reconciled: str | None
    ref_compared: int | None
    ref_agreed: int | None
    absent_sequences: tuple[str, ...]
    is_sorted: bool
    is_gvcf: bool
    samples: tuple[str, ...]
    people: tuple[SampleFinding, ...]
    relation: str | None
    relation_evidence: str
    origin: str | None
    origin_evidence: tuple[str, ...]
    warnings: tuple[str, ...]
    problems: tuple[InputError, ...]
    seconds: float

    def refuse(self) -> None:
        """Raise the first problem, if there is one.

        Raises
        ------
        InputError
            One of its children: a mixture, another build, an unsorted file.
        """
        if self.problems:
            raise self.problems[0]

    def to_dict(self) -> dict[str, Any]:
        """Return the findings as plain JSON values."""
        # asdict copies what it finds, and an error cannot be copied.
        fields = asdict(replace(self, problems=()))
        fields["problems"] = [str(each) for each in self.problems]
        # Lists for tuples: a stored report must come back as it was.
        plain: dict[str, Any] = json.loads(json.dumps(fields))
        return plain

    def lines(self) -> Iterator[str]:
        """Yield the findings in words, a line each."""
        kind = "gVCF" if self.is_gvcf else "VCF"
        count = self.records_looked_at
        yield (
            f"{self.input}: {kind} {self.version.removeprefix('VCFv')}; looked at {count} "
            f"record{'s' * (count != 1)}, {'the whole file' if self.complete else 'a sample'}"
        )
        yield f"build: {self.build or 'not known'}" + _because(self.build_evidence)
        if self.naming:
            reconciled = f"; {self.reconciled}, read as the same" if self.reconciled else ""
            yield f"chromosome names: {self.naming}{reconciled}"
        if self.ref_compared:
            share = (self.ref_agreed or 0) / self.ref_compared
            yield f"REF is the reference's: {self.ref_agreed} of {self.ref_compared} ({share:.2%})"
        yield f"sorted: {'yes' if self.is_sorted else 'no'}"
        yield f"samples: {len(self.samples)}" + _because(
            self.samples[:5], more=len(self.samples) - 5
        )
        if self.relation or self.relation_evidence:
            yield f"family: {self.relation or 'not known'}" + _because((self.relation_evidence,))
        for each in self.people:
            yield from _person_lines(each)
        yield f"origin: {self.origin or 'not known'}" + _because(self.origin_evidence)
        yield from (f"note: {warning}" for warning in self.warnings)
        # The first one is raised, and said there.
        yield from (f"also refused: {problem}" for problem in self.problems[1:])


def _because(evidence: tuple[str, ...], more: int = 0) -> str:
    listed = "; ".join(evidence) + (f" and {more} more" if more > 0 else "")
    return f" ({listed})" if listed else ""


def _person_lines(person: SampleFinding) -> Iterator[str]:
    phased = f"{person.phased} of {person.heterozygous} heterozygous calls phased"
    yield f"  {person.name}: {phased}; sex {person.sex or 'not known'} ({person.sex_evidence})"


def preflight(
    vcf: str | Path, reference: str | Path | None = None, *, lenient: bool = False
) -> Preflight:
    """Look into a VCF and say what it is.

    Parameters
    ----------
    vcf : path
    reference : path, optional
        The FASTA that the VCF should be on.
    lenient : bool
        Let rules of form pass, see :func:`~genomics.vcf.read_vcf`.

    Returns
    -------
    Preflight
        With its problems, which are not raised here.

    Raises
    ------
    VcfError
        The file is not a VCF, or one of the records looked at breaks a rule.
    ReferenceGenomeError
        The reference cannot be read.
    """
    began = time.perf_counter()
    path = Path(vcf)
    sample = sample_records(path, lenient=lenient)
    opened = None if reference is None else Reference.open(reference)
    name = str(path)
    build = find_build(name, sample.header, sample.records)
    naming = find_naming(name, sample.header, sample.records, opened)
    match = None if opened is None else _match(path, sample, opened, build.build)
    problems = (
        *build.problems,
        *naming.problems,
        *(_header_problem(opened, sample, path) if opened else ()),
        *((match.problem,) if match and match.problem else ()),
        *((sample.disorder,) if sample.disorder else ()),
    )
    called = genotypes_of(sample.header, sample.records)
    relation, relation_evidence = find_relation(sample.header, called)
    people = describe_samples(sample.header, called, build.build)
    origin, origin_evidence = find_origin(sample.header, called, relation)
    warnings = (
        *build.warnings,
        *(_reference_warnings(match.absent, opened) if match and opened else ()),
        *_sample_warnings(sample, people),
        *((_SOMATIC_SCORES,) if origin == "somatic" else ()),
    )
    return Preflight(
        input=path.name,
        version=sample.header.version,
        records_looked_at=len(sample.records),
        complete=sample.complete,
        build=build.build or (opened.build if opened else None),
        build_evidence=build.evidence,
        naming=naming.style,
        reconciled=naming.reconciled,
        ref_compared=match.compared if match else None,
        ref_agreed=match.agreed if match else None,
        absent_sequences=match.absent if match else (),
        is_sorted=sample.disorder is None,
        is_gvcf=any(set(each.alts) & UNSPECIFIED for each in sample.records),
        samples=sample.header.samples,
        people=people,
        relation=relation,
        relation_evidence=relation_evidence,
        origin=origin,
        origin_evidence=origin_evidence,
        warnings=warnings,
        problems=problems,
        seconds=round(time.perf_counter() - began, 3),
    )


def _match(path: Path, sample: RecordSample, reference: Reference, build: str | None) -> RefMatch:
    annotated = find_annotation(sample.header) is not None
    return match_ref(str(path), sample.records, reference, build, annotated)


def _header_problem(reference: Reference, sample: RecordSample, path: Path) -> list[InputError]:
    try:
        reference.check_header(sample.header, path)
    except BuildMismatchError as error:
        return [error]
    return []


def _reference_warnings(absent: tuple[str, ...], reference: Reference) -> list[str]:
    if not absent:
        return []
    shown = ", ".join(absent[:5]) + (f" and {len(absent) - 5} more" if len(absent) > 5 else "")
    return [f"not in the reference {reference.path.name}, so not scored: {shown}"]


def _sample_warnings(sample: RecordSample, people: tuple[SampleFinding, ...]) -> list[str]:
    warnings = []
    if sample.deviations is not None and sample.deviations.total:
        count = sample.deviations.total
        warnings.append(
            f"let pass: {count} line{'s' * (count != 1)} that break a rule of form; first, "
            f"{sample.deviations.first[0]}"
        )
    if not sample.complete and not sample.spread and sample.disorder is None:
        warnings.append(
            "only the first records were looked at: this gzip cannot be read from the middle "
            "(bgzip can)"
        )
    if not sample.records:
        warnings.append("the file has no records")
    silent = [each.name for each in people if not each.called]
    if silent and sample.records:
        warnings.append(f"no genotype is called in the records looked at: {', '.join(silent)}")
    return warnings
