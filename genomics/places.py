"""Where a position lies in a transcript: its name, its coding offset and its region.

A transcript is cut once into pieces within which all positions are alike, so that a look-up is one
bisection however many exons there are.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

from genomics.genes import Transcript

SPLICE_EXON_BP, SPLICE_INTRON_BP = 3, 8
# Introns this short bridge a sequencing difference, they are not spliced (as VEP has it).
SHORTEST_INTRON_BP = 13

RegionTerms = Callable[[Transcript, int], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Piece:
    """Positions ``first..last`` (1-based, + strand) of one transcript that are alike.

    Attributes
    ----------
    terms : tuple of str
        Sequence Ontology terms of a substitution here, without what it does to the protein.
    text, number, step : str, int, int
        The HGVS name of ``first + k`` is ``text`` followed by ``number + k * step``.
    offset : int
        0-based place of ``first`` in the coding sequence; -1 outside it.
    spliced : int
        0-based place of ``first`` in the spliced transcript; -1 in an intron.
    """

    first: int
    last: int
    terms: tuple[str, ...]
    text: str
    number: int
    step: int
    offset: int
    spliced: int


class Places:
    """The pieces of one transcript, in ascending order and without gaps.

    Parameters
    ----------
    transcript : Transcript
    region_terms : callable
        ``region_terms(transcript, position)``: the terms of a substitution there.
    """

    def __init__(self, transcript: Transcript, region_terms: RegionTerms) -> None:
        self.transcript = transcript
        self._starts = sorted(_cuts(transcript))
        first, last = transcript.span
        self._starts = [cut for cut in self._starts if first <= cut <= last]
        ends = [cut - 1 for cut in self._starts[1:]] + [last]
        self._pieces = [
            self._piece(begin, end, region_terms)
            for begin, end in zip(self._starts, ends, strict=True)
        ]

    def piece(self, position: int) -> Piece | None:
        """Return the piece that holds a position; None outside the transcript."""
        found = bisect_right(self._starts, position) - 1
        if found < 0:
            return None
        piece = self._pieces[found]
        return piece if position <= piece.last else None

    def name(self, position: int) -> str | None:
        """Return a position's name: ``76``, ``-14``, ``*6``, ``88+2``, ``89-1``; None outside."""
        piece = self.piece(position)
        if piece is None:
            return None
        return f"{piece.text}{piece.number + (position - piece.first) * piece.step}"

    def coding_offset(self, position: int) -> int | None:
        """Return the 0-based place of a position in the coding sequence; None outside it."""
        piece = self.piece(position)
        if piece is None or piece.offset < 0:
            return None
        return piece.offset + (position - piece.first) * self.transcript.strand

    def is_exonic(self, position: int) -> bool:
        """Whether a position is in an exon."""
        piece = self.piece(position)
        return piece is not None and piece.spliced >= 0

    def _piece(self, first: int, last: int, region_terms: RegionTerms) -> Piece:
        transcript = self.transcript
        terms = region_terms(transcript, first)
        spliced = transcript.exon_offset(first)
        offset = transcript.coding_offset(first)
        text, number, step = (
            _intronic(transcript, first) if spliced is None else _exonic(transcript, first)
        )
        return Piece(
            first,
            last,
            terms,
            text,
            number,
            step,
            -1 if offset is None else offset,
            -1 if spliced is None else spliced,
        )


def _cuts(transcript: Transcript) -> set[int]:
    """Return where a new piece begins."""
    cuts = set()
    for first, last in transcript.exons:
        cuts |= {first, last + 1}
    for first, last in transcript.introns:
        cuts |= {first - SPLICE_EXON_BP, last + 1 + SPLICE_EXON_BP}
        cuts |= {first + 2, last - 1, first + SPLICE_INTRON_BP, last + 1 - SPLICE_INTRON_BP}
        # Up to the middle, positions are counted from the exon upstream (HGVS, numbering).
        length = last - first + 1
        longer_half = (length + 1) // 2 if transcript.strand > 0 else length // 2
        cuts.add(first + longer_half)
    for first, last in transcript.coding:
        cuts |= {first, last + 1}
    return cuts


def _exonic(transcript: Transcript, position: int) -> tuple[str, int, int]:
    offset, strand = transcript.exon_offset(position) or 0, transcript.strand
    if not transcript.coding:
        return "", offset + 1, strand
    begin, end = transcript.coding_in_exons
    if offset < begin:
        return "-", begin - offset, -strand
    return ("", offset - begin + 1, strand) if offset <= end else ("*", offset - end, strand)


def _intronic(transcript: Transcript, position: int) -> tuple[str, int, int]:
    left, right = next(span for span in transcript.introns if span[0] <= position <= span[1])
    to_left, to_right = position - left + 1, right - position + 1
    forward = transcript.strand > 0
    upstream, downstream = (to_left, to_right) if forward else (to_right, to_left)
    before, after = (left - 1, right + 1) if forward else (right + 1, left - 1)
    if upstream <= downstream:
        text, number, _ = _exonic(transcript, before)
        return f"{text}{number}+", upstream, transcript.strand
    text, number, _ = _exonic(transcript, after)
    return f"{text}{number}-", downstream, -transcript.strand
