"""What speaks against the loss of function that a term alone would suggest.

The rules are those by which ClinGen weakens PVS1 (Abou Tayoun et al., Hum Mutat 2018;39:1517):
nonsense-mediated decay is escaped by stops in the last exon and in the last 50 bases of the exon
before it, a protein that loses less than a tenth may still work, and a start codon may be replaced
by one that follows. Each is given as a sentence with its figures.
"""

from __future__ import annotations

from collections.abc import Iterator

from genomics.coding import STOP, CodingSequence, ProteinChange, is_start
from genomics.genes import MITOCHONDRIAL_CODE, Span, Transcript
from genomics.hgvs import Change
from genomics.places import SHORTEST_INTRON_BP
from genomics.regions import touches

NMD_REACH_BP = 50
SINGLE_EXON = "the gene has a single exon: no nonsense-mediated decay"
SMALL_PART = 0.1
"""The part of a protein whose loss may be borne."""


def exceptions(
    transcript: Transcript,
    change: Change,
    terms: set[str],
    sequence: CodingSequence | None,
    protein: ProteinChange | None,
    growth: int,
) -> tuple[str, ...]:
    """Return the reasons to doubt that a change takes the gene's function.

    Parameters
    ----------
    transcript : Transcript
    change : Change
        Where its consequence is judged.
    terms : set of str
        Its Sequence Ontology terms.
    sequence, protein : CodingSequence and ProteinChange, or None
        None where the change is not of coding bases alone.
    growth : int
        Bases by which the change lengthens the transcript; negative for a deletion.
    """
    found: list[str] = []
    if sequence is not None and protein is not None:
        if "start_lost" in terms:
            return tuple(_other_start(sequence))
        if terms & {"stop_gained", "frameshift_variant"}:
            found += _early_stop(transcript, sequence, protein, growth)
    if terms & {"splice_donor_variant", "splice_acceptor_variant"} and transcript.coding:
        found += _spliced_out(transcript, change)
    return tuple(found)


def _early_stop(
    transcript: Transcript, sequence: CodingSequence, protein: ProteinChange, growth: int
) -> Iterator[str]:
    stop = protein.stop if protein.shift else protein.position + len(protein.after) - 1
    if stop is None:
        return
    # The stop codon's place in the old transcript, from its coding sequence's first base.
    place = transcript.frame + 3 * (stop - 1) - (growth if protein.shift else 0)
    yield from _escape(transcript, place)
    lost = sequence.residues - protein.position + 1
    if protein.before != STOP and lost < SMALL_PART * sequence.residues:
        yield (
            f"only the last {lost} of {sequence.residues} residues are changed or lost "
            f"(under {SMALL_PART:.0%})"
        )


def _escape(transcript: Transcript, place: int) -> Iterator[str]:
    if transcript.code == MITOCHONDRIAL_CODE:
        yield "mitochondrial transcripts are not subject to nonsense-mediated decay"
        return
    junction = last_junction(transcript)
    if junction is None:
        yield SINGLE_EXON
    elif place >= junction:
        yield "the new stop is in the last exon: nonsense-mediated decay is likely escaped"
    elif junction - place <= NMD_REACH_BP:
        yield (
            f"the new stop is {junction - place} bp before the last exon junction (within "
            f"{NMD_REACH_BP}): nonsense-mediated decay is likely escaped"
        )


def last_junction(transcript: Transcript) -> int | None:
    """Return where the last exon begins, counted from the first coding base; None for one exon."""
    if len(transcript.exons) < 2:
        return None
    first, last = transcript.exons[-1 if transcript.strand > 0 else 0]
    begin = transcript.exon_offset(first if transcript.strand > 0 else last) or 0
    return begin - transcript.coding_in_exons[0]


def _other_start(sequence: CodingSequence) -> Iterator[str]:
    codon = next_start(sequence)
    if codon is not None and codon < SMALL_PART * sequence.residues:
        yield (
            f"an in-frame start codon follows {codon} codons on: the protein may begin there "
            f"(under {SMALL_PART:.0%} of {sequence.residues} residues lost)"
        )


def next_start(sequence: CodingSequence) -> int | None:
    """Return how many codons after the start the next in-frame start codon is; None without."""
    read, code = sequence.read, sequence.transcript.code
    return next(
        (
            codon
            for codon in range(1, sequence.residues)
            if is_start(read[3 * codon : 3 * codon + 3], code)
        ),
        None,
    )


def _spliced_out(transcript: Transcript, change: Change) -> Iterator[str]:
    low, high = transcript.coding_span
    for intron in transcript.introns_near(change.low, change.high):
        first, last = intron
        if last - first + 1 < SHORTEST_INTRON_BP or not _at_site(change, intron):
            continue
        if last < low or first > high:
            yield "the intron is between untranslated exons: the coding sequence is not cut"
            continue
        exon = _exon_of(transcript, change, intron)
        if low < exon[0] and exon[1] < high and (exon[1] - exon[0] + 1) % 3 == 0:
            yield (
                f"the exon beside it has {exon[1] - exon[0] + 1} bp: skipping it keeps the "
                "reading frame"
            )


def _at_site(change: Change, intron: Span) -> bool:
    first, last = intron
    return touches(change, (first, first + 1)) or touches(change, (last - 1, last))


def _exon_of(transcript: Transcript, change: Change, intron: Span) -> Span:
    """Return the exon that is skipped where this end of the intron is lost."""
    left = touches(change, (intron[0], intron[0] + 1))
    wanted = intron[0] - 1 if left else intron[1] + 1
    return next(span for span in transcript.exons if span[0] <= wanted <= span[1])
