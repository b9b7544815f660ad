"""What is true of a variant and a transcript, worked out anew and plainly.

Nothing here calls the caller that is measured: the edit is made in the genome's text, the exons are
joined, and Biopython translates the whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from Bio.Seq import Seq

from genomics.genes import Span, Transcript
from genomics.variant import Variant


def trimmed(variant: Variant) -> tuple[int, str, str]:
    """Return first position, REF and ALT without shared bases; one of the two may be empty."""
    position, ref, alt = variant.position, variant.ref, variant.alt
    while ref and alt and ref[-1] == alt[-1]:
        ref, alt = ref[:-1], alt[:-1]
    while ref and alt and ref[0] == alt[0]:
        position, ref, alt = position + 1, ref[1:], alt[1:]
    return position, ref, alt


@dataclass(frozen=True)
class Facts:
    """A variant beside a transcript on a sequence."""

    variant: Variant
    transcript: Transcript
    bases: str

    @cached_property
    def writings(self) -> list[tuple[int, int, str, str]]:
        """Every equivalent writing as (first, last, REF, ALT); ``last = first - 1`` if inserted."""
        position, ref, alt = trimmed(self.variant)
        found = [(position, position + len(ref) - 1, ref, alt)]
        if ref and alt:
            return found
        word, first, bases = ref or alt, position, self.bases
        n = len(ref)
        while first > 1 and bases[first - 2] == word[-1]:
            word, first = word[-1] + word[:-1], first - 1
            found.append((first, first + n - 1, *((word, "") if ref else ("", word))))
        word, first = ref or alt, position
        while first + n <= len(bases) and bases[first + n - 1] == word[0]:
            word, first = word[1:] + word[0], first + 1
            found.append((first, first + n - 1, *((word, "") if ref else ("", word))))
        return found

    @cached_property
    def kind(self) -> str:
        _, ref, alt = trimmed(self.variant)
        if len(ref) == len(alt):
            return "SNV" if len(ref) == 1 else "MNV"
        return "insertion" if not ref else "deletion" if not alt else "indel"

    @property
    def growth(self) -> int:
        return len(self.variant.alt) - len(self.variant.ref)

    def touches(self, span: Span, reach: int = 0) -> list[bool]:
        """Whether each writing alters a base of ``span``, or is inserted next to or in it."""
        low, high = span[0] - reach, span[1] + reach
        return [
            first <= high and last >= low if ref else low <= first <= high + 1
            for first, last, ref, _ in self.writings
        ]

    @cached_property
    def splice_sites(self) -> list[Span]:
        return [
            site
            for first, last in self.transcript.introns
            for site in ((first, first + 1), (last - 1, last))
        ]

    @cached_property
    def edges(self) -> list[int]:
        """Last base before each border between an exon and an intron."""
        return [edge for first, last in self.transcript.introns for edge in (first - 1, last)]

    def crosses(self, edge: int) -> list[bool]:
        """Whether each writing replaces bases on both sides of a border."""
        return [bool(ref) and first <= edge < last for first, last, ref, _ in self.writings]

    @cached_property
    def crosses_every_way(self) -> bool:
        return any(all(self.crosses(edge)) for edge in self.edges)

    @cached_property
    def inserted_at_edge(self) -> bool:
        """Whether some writing inserts exactly between an exon and an intron."""
        return any(not ref and first - 1 in self.edges for first, _, ref, _ in self.writings)

    @cached_property
    def writings_disagree_on_splicing(self) -> bool:
        """Whether one writing alters a splice site or crosses an exon's border and another not."""
        per_place = [self.alters(site) for site in self.splice_sites]
        per_place += [self.crosses(edge) for edge in self.edges]
        return any(any(each) and not all(each) for each in per_place)

    @cached_property
    def alters_splice_site_every_way(self) -> bool:
        return any(all(self.alters(site)) for site in self.splice_sites)

    def alters(self, span: Span) -> list[bool]:
        """As :meth:`touches`, but an insertion must stand between two bases of ``span``."""
        low, high = span
        return [
            first <= high and last >= low if ref else low < first <= high
            for first, last, ref, _ in self.writings
        ]

    @cached_property
    def near_exon_edge(self) -> bool:
        """Whether any writing is in the last 3 bases of an exon or the first 8 of an intron."""
        return self._in_splice_region(0)

    @cached_property
    def next_to_splice_region(self) -> bool:
        return self._in_splice_region(1)

    def _in_splice_region(self, reach: int) -> bool:
        spans = []
        for first, last in self.transcript.introns:
            spans += [(first - 3, first + 7), (last - 7, last + 3)]
        return any(any(self.touches(span, reach)) for span in spans)

    @cached_property
    def in_intron(self) -> bool:
        """Whether every writing lies within one intron."""
        return any(
            all(
                begin <= first and last <= end and (bool(ref) or begin < first)
                for first, last, ref, _ in self.writings
            )
            for begin, end in self.transcript.introns
        )

    @cached_property
    def first_codon(self) -> bool:
        """Whether any writing touches the first three coding bases."""
        low, high = self.transcript.coding_span
        return any(self.touches((low, low + 2) if self.transcript.strand > 0 else (high - 2, high)))

    @cached_property
    def last_codon(self) -> bool:
        low, high = self.transcript.coding_span
        return any(self.touches((high - 2, high) if self.transcript.strand > 0 else (low, low + 2)))

    @cached_property
    def incomplete_codon(self) -> bool:
        """Whether bases before the first or after the last whole codon are touched."""
        size = sum(last - first + 1 for first, last in self.transcript.coding)
        frame, rest = self.transcript.frame, (size - self.transcript.frame) % 3
        low, high = self.transcript.coding_span
        ends = (frame, rest) if self.transcript.strand > 0 else (rest, frame)
        spans = [(low, low + ends[0] - 1)] if ends[0] else []
        spans += [(high - ends[1] + 1, high)] if ends[1] else []
        return any(any(self.touches(span)) for span in spans)

    @cached_property
    def recoded_codon(self) -> bool:
        return any(any(self.touches((first, first + 2))) for first in self.transcript.recoded)

    @cached_property
    def proteins(self) -> tuple[str, str, str] | None:
        """The old protein, the new one and the new first codon; None unless coding bases alone.

        Proteins run to the first stop, ``*`` included; the 3' UTR is read where the stop is lost.
        """
        coding = self.transcript.coding
        inside = [
            each
            for each in self.writings
            if any(first <= each[0] and each[1] <= last for first, last in coding)
            and (each[2] or self._inserted_inside(each[0]))
        ]
        if not inside:
            return None
        first, last, _, alt = inside[0]
        old = self._read(None)
        new = self._read((first, last, alt))
        return self._protein(old), self._protein(new), new[:3]

    def _inserted_inside(self, first: int) -> bool:
        return any(begin < first <= end for begin, end in self.transcript.coding)

    def _read(self, edit: tuple[int, int, str] | None) -> str:
        low, high = self.transcript.coding_span
        pieces = []
        forward = self.transcript.strand > 0
        for first, last in self.transcript.exons:
            begin = max(first, low) if forward else first
            end = last if forward else min(last, high)
            if begin > end:
                continue
            text = self.bases[begin - 1 : end]
            if edit is not None and begin <= edit[0] and edit[1] <= end and edit[0] <= end:
                text = text[: edit[0] - begin] + edit[2] + text[edit[1] - begin + 1 :]
            pieces.append(text)
        joined = "".join(pieces)
        joined = joined if forward else str(Seq(joined).reverse_complement())
        return joined[self.transcript.frame :]

    def _protein(self, read: str) -> str:
        read += "A" * (-len(read) % 3) if self.transcript.code == 2 else ""
        read = read[: len(read) // 3 * 3]
        protein = str(Seq(read).translate(table=self.transcript.code))
        return protein[: protein.index("*") + 1] if "*" in protein else protein
