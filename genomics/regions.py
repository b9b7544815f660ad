"""Sequence Ontology terms of a change by where it lies: splice sites, UTRs, introns.

What the change does to the protein is not asked here; see :mod:`genomics.coding`.
"""

from __future__ import annotations

from genomics.consequence import by_severity
from genomics.genes import Span, Transcript
from genomics.hgvs import Change
from genomics.places import SHORTEST_INTRON_BP, SPLICE_EXON_BP, SPLICE_INTRON_BP

SPLICE_SITE_TERMS = frozenset({"splice_donor_variant", "splice_acceptor_variant"})


def touches(change: Change, span: Span) -> bool:
    """Whether a change alters ``span``; an insertion must stand strictly inside it."""
    if change.ref:
        return change.first <= span[1] and change.last >= span[0]
    return span[0] < change.first <= span[1]


def region_terms(transcript: Transcript, change: Change) -> set[str]:
    """Return the terms of a change on a transcript, but for those of its coding sequence."""
    terms = splice_terms(transcript, change)
    if transcript.coding:
        return terms | _untranslated_terms(transcript, change)
    return terms | _noncoding_terms(transcript, change)


def terms_at(transcript: Transcript, position: int) -> tuple[str, ...]:
    """Return :func:`region_terms` of a substitution at a position, most severe first."""
    return by_severity(region_terms(transcript, Change(position, position, "N", "N")))


def splice_terms(transcript: Transcript, change: Change) -> set[str]:
    """Return the terms of introns and of the exons' bases next to them."""
    terms: set[str] = set()
    near = transcript.introns_near(change.low - SPLICE_EXON_BP, change.high + SPLICE_EXON_BP)
    for first, last in near:
        if last - first + 1 < SHORTEST_INTRON_BP:
            continue
        sites = {"left": (first, first + 1), "right": (last - 1, last)}
        donor, acceptor = ("left", "right") if transcript.strand > 0 else ("right", "left")
        if touches(change, sites[donor]):
            terms.add("splice_donor_variant")
        if touches(change, sites[acceptor]):
            terms.add("splice_acceptor_variant")
        regions = (
            (first - SPLICE_EXON_BP, first + SPLICE_INTRON_BP - 1),
            (last - SPLICE_INTRON_BP + 1, last + SPLICE_EXON_BP),
        )
        if not terms and any(touches(change, region) for region in regions):
            terms.add("splice_region_variant")
        if touches(change, (first + 2, last - 2)):
            terms.add("intron_variant")
    if not terms and any(touches(change, span) for span in near):
        terms.add("intron_variant")
    return terms


def _noncoding_terms(transcript: Transcript, change: Change) -> set[str]:
    if any(touches(change, span) for span in transcript.exons):
        return {"non_coding_transcript_exon_variant"}
    inside = touches(change, transcript.span)
    return {"non_coding_transcript_variant"} if inside else set()


def _untranslated_terms(transcript: Transcript, change: Change) -> set[str]:
    terms: set[str] = set()
    low, high = transcript.coding_span
    if low < change.first and change.last < high:
        return terms
    before, after = "5_prime_UTR_variant", "3_prime_UTR_variant"
    if transcript.strand < 0:
        before, after = after, before
    for first, last in transcript.exons:
        if first < low and touches(change, (first, min(last, low - (1 if change.ref else 0)))):
            terms.add(before)
        if last > high and touches(change, (max(first, high + (1 if change.ref else 0)), last)):
            terms.add(after)
    return terms
