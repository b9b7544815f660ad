"""A VCF's alleles with everything but a model's score: a consequence, a class, or a reason."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

from genomics.compound import Placed, read_together
from genomics.normalise import normalised
from genomics.provider import ConsequenceProvider
from genomics.report import RecordPlace, ScoredVariant
from genomics.rules import MISSENSE, classify_by_rule, why_not_scored
from genomics.variant import Genotype
from genomics.vcf import UNSPECIFIED, Allele, VcfRecord, alleles


def draft_records(
    records: Iterable[VcfRecord], sample: int | None, provider: ConsequenceProvider
) -> Iterator[tuple[VcfRecord, list[ScoredVariant]]]:
    """Yield each record with its alleles' drafts.

    Parameters
    ----------
    records : iterable of VcfRecord
        Of whole sequences, in the file's order.
    sample : int or None
        Index of the sample; None where the VCF has none.
    provider : ConsequenceProvider

    Yields
    ------
    tuple
        A record and one draft for each of its alternate alleles (one for a record without ALT).
        One that has neither a class nor a reason can be scored by the missense model. Records are
        held back as long as a later one may meet them in a codon.
    """
    waiting: deque[tuple[VcfRecord, int]] = deque()
    group: list[ScoredVariant] = []
    for draft in _read_together(_drafts(records, waiting, sample, provider), provider):
        group.append(draft)
        if len(group) == waiting[0][1]:
            yield waiting.popleft()[0], group
            group = []


def _drafts(
    records: Iterable[VcfRecord],
    waiting: deque[tuple[VcfRecord, int]],
    sample: int | None,
    provider: ConsequenceProvider,
) -> Iterator[ScoredVariant]:
    """Yield the drafts of all alleles; ``waiting`` gets each record and how many it has."""
    for record in records:
        found = alleles(record, provider.build)
        waiting.append((record, len(found)))
        for allele in found:
            yield _draft(record, allele, sample, provider)


def _draft(
    record: VcfRecord, allele: Allele, sample: int | None, provider: ConsequenceProvider
) -> ScoredVariant:
    """Return the allele with everything but a model's score."""
    genotype = None if sample is None else record.genotype(sample)
    identifier, filters = record.fields[2], record.fields[6]
    place = RecordPlace(
        record.line_number,
        allele.index,
        record.key,
        None if identifier == "." else identifier,
        None if filters == "." else filters,
    )
    consequence, reason = provider.place(record, allele)
    draft = ScoredVariant(
        allele.variant,
        genotype,
        consequence,
        record=place,
        normalised=normalised(allele.variant, provider.reference),
    )
    reason = _why_not_called(genotype, allele) or reason or _why_not_the_patients(genotype, allele)
    return _classified(draft, reason)


def _read_together(
    drafts: Iterable[ScoredVariant], provider: ConsequenceProvider
) -> Iterator[ScoredVariant]:
    """Yield the drafts, those that meet in a codon read as the sample's haplotypes have them."""
    if provider.caller is None:
        yield from drafts
        return
    held: deque[ScoredVariant] = deque()
    for consequence in read_together(_placed(drafts, held), provider.caller):
        draft = held.popleft()
        if consequence is not draft.consequence:
            draft = replace(draft, consequence=consequence, classification=None, reason=None)
            draft = _classified(draft, None)
        yield draft


def _placed(drafts: Iterable[ScoredVariant], held: deque[ScoredVariant]) -> Iterator[Placed]:
    for draft in drafts:
        held.append(draft)
        line, index = (
            (draft.record.line_number, draft.record.allele_index) if draft.record else (0, 0)
        )
        yield Placed(draft.variant, draft.genotype, line, index, draft.consequence)


def _classified(draft: ScoredVariant, reason: str | None) -> ScoredVariant:
    """Return a draft with its class by rule, or the reason why it gets none and no score."""
    consequence = draft.consequence
    if reason is not None:
        return replace(draft, reason=reason)
    if consequence is None:
        return replace(draft, reason="no gene is annotated at this place")
    classification = classify_by_rule(consequence)
    if classification is not None:
        return replace(draft, classification=classification)
    if consequence.term == MISSENSE and consequence.window is not None:
        return draft
    return replace(draft, reason=why_not_scored(consequence))


def _why_not_called(genotype: Genotype | None, allele: Allele) -> str | None:
    """Return why a reference block says nothing: a copy that was not called is not reference."""
    if genotype is None or None not in genotype.alleles:
        return None
    if allele.index and allele.variant.alt not in UNSPECIFIED:
        return None
    return f"the genotype was not called: {genotype}"


def _why_not_the_patients(genotype: Genotype | None, allele: Allele) -> str | None:
    if genotype is None or not allele.index:
        return None
    carried = genotype.carries(allele.index)
    if carried is None:
        # Merging single-sample files writes ./. at every place that one of them does not have.
        return f"the genotype was not called: {genotype}"
    return None if carried else f"the sample does not carry the allele: genotype {genotype}"
