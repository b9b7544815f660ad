"""A change in its transcript: the bases around it in the transcript's direction, and their part."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from genomics.coding import reverse_complement
from genomics.genes import Span, Transcript

FLANK_BP = 100
LAYOUT = "?-inu012"
"""What a base is part of: ``?`` not known, ``-`` outside the transcript, ``i`` intron, ``n`` exon
of a transcript that does not code, ``u`` untranslated exon, ``0 1 2`` the place in its codon."""
UNKNOWN_LAYOUT = LAYOUT[0] * (2 * FLANK_BP + 1)


@dataclass(frozen=True)
class SiteContext:
    """A single-base change with its surroundings.

    Attributes
    ----------
    window : str
        201 bases of the reference, the changed one in the middle; in the transcript's direction,
        where one is known, else the genome's. N beyond the sequence's ends.
    alt : str
        The base that replaces the middle one, on the same strand.
    layout : str
        For each base of ``window`` one of ``LAYOUT``.
    """

    window: str
    alt: str
    layout: str = UNKNOWN_LAYOUT

    @classmethod
    def on(cls, transcript: Transcript, position: int, window: str, alt: str) -> SiteContext:
        """Turn a window of the + strand around a 1-based position to the transcript's direction."""
        parts = layout(transcript, position - FLANK_BP, position + FLANK_BP)
        if transcript.strand > 0:
            return cls(window, alt, parts)
        return cls(reverse_complement(window), reverse_complement(alt), parts[::-1])


def layout(transcript: Transcript, first: int, last: int) -> str:
    """Return what each base of ``first..last`` (1-based, + strand) is part of; see ``LAYOUT``."""
    parts = np.full(last - first + 1, "-")
    begin, end = transcript.span
    _mark(parts, first, (begin, end), "i")
    for span in transcript.exons:
        _mark(parts, first, span, "u" if transcript.coding else "n")
    passed = -transcript.frame
    forward = transcript.strand > 0
    for low, high in transcript.coding if forward else reversed(transcript.coding):
        places = np.arange(max(low, first), min(high, last) + 1)
        offset = passed + (places - low if forward else high - places)
        parts[places - first] = np.array(["0", "1", "2"])[offset % 3]
        passed += high - low + 1
    return "".join(parts)


def _mark(parts: np.ndarray, first: int, span: Span, letter: str) -> None:
    low, high = max(span[0] - first, 0), span[1] - first + 1
    if high > low:
        parts[low:high] = letter


def spoken_for(transcripts: Iterable[Transcript], name: str | None) -> Transcript | None:
    """Return the transcript of that name; None where there is none."""
    return next((each for each in transcripts if each.name == name), None)
