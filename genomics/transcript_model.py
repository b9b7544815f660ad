"""One transcript, ready to answer for many changes: its places, its protein, its names."""

from __future__ import annotations

from functools import cache, cached_property
from typing import Any

from genomics.coding import (
    STOP,
    CodingSequence,
    ProteinChange,
    coding_sequence,
    codons,
    haplotype_windows,
    protein_change,
    reverse_complement,
)
from genomics.consequence import WINDOW_FLANK, Consequence, by_severity, protein_window
from genomics.escape import exceptions
from genomics.genes import Transcript
from genomics.hgvs import THREE, Change, nucleotide_name, protein_name
from genomics.places import Piece, Places
from genomics.reference import Reference
from genomics.regions import (
    SPLICE_SITE_TERMS,
    region_terms,
    splice_terms,
    terms_at,
    touches,
)
from genomics.variant import Bases

SOURCE = "FASTA+GFF3"
SEVERAL_RESIDUES = "changes several residues; the model reads single substitutions"
_COMPLEMENT = {"A": "T", "C": "G", "G": "C", "T": "A", "N": "N"}
Edit = tuple[int, str, str]
"""0-based offset in the coding sequence, bases there, bases instead; in its direction."""


class TranscriptModel:
    """What a transcript says of changes.

    Parameters
    ----------
    transcript : Transcript
    reference : Reference
    bases : callable
        The bases of the transcript's sequence.
    """

    def __init__(self, transcript: Transcript, reference: Reference, bases: Bases) -> None:
        self.transcript, self._reference, self._bases = transcript, reference, bases
        self.places = Places(transcript, terms_at)
        # A position cannot be counted from a start that is not known.
        counted = not transcript.coding or (transcript.start_known and transcript.frame == 0)
        self._prefix = ("c." if transcript.coding else "n.") if counted else None
        self._fields: dict[str, Any] = {
            "source": SOURCE,
            "gene": transcript.gene,
            "transcript": transcript.name,
            "biotype": transcript.biotype,
            "preference": transcript.preference,
        }

    @cached_property
    def sequence(self) -> CodingSequence:
        """The coding sequence, read and translated once."""
        return coding_sequence(self.transcript, self._reference)

    @cached_property
    def _padded(self) -> str:
        flank = "-" * WINDOW_FLANK
        return flank + self.sequence.protein.removesuffix(STOP) + flank

    def substitution(
        self, position: int, ref: str, alt: str, hgvs_g: str | None
    ) -> Consequence | None:
        """Return what one base for another does; None beside the transcript.

        It gives what :meth:`change` gives, by a shorter way: most variants are of this kind.
        """
        piece = self.places.piece(position)
        if piece is None:
            return None
        if piece.offset >= 0:
            found = self._codon_substituted(piece, position, ref, alt, hgvs_g)
            if found is not None:
                return found
        change = Change(position, position, ref, alt)
        if piece.offset >= 0 or not SPLICE_SITE_TERMS.isdisjoint(piece.terms):
            return self.change(change, change, hgvs_g)
        if not piece.terms:
            return None
        made, fields = self._new()
        fields["terms"], fields["hgvs_g"] = piece.terms, hgvs_g
        fields["hgvs_c"] = self._substituted_name(piece, position, ref, alt)
        return made

    def _new(self) -> tuple[Consequence, dict[str, Any]]:
        """Return a consequence that names this transcript, and its fields to be filled in."""
        made = Consequence.of()
        fields = made.__dict__
        fields.update(self._fields)
        return made, fields

    def _substituted_name(self, piece: Piece, position: int, ref: str, alt: str) -> str | None:
        if self._prefix is None:
            return None
        if self.transcript.strand < 0:
            ref, alt = _COMPLEMENT[ref], _COMPLEMENT[alt]
        number = piece.number + (position - piece.first) * piece.step
        return f"{self._prefix}{piece.text}{number}{ref}>{alt}"

    def _codon_substituted(
        self, piece: Piece, position: int, ref: str, alt: str, hgvs_g: str | None
    ) -> Consequence | None:
        """Answer for a whole codon that is neither start nor stop and stays none."""
        sequence, transcript = self.sequence, self.transcript
        offset = piece.offset + (position - piece.first) * transcript.strand
        codon, place = divmod(offset - transcript.frame, 3)
        protein = sequence.protein
        if codon < 1 or codon >= len(protein):
            return None
        old = sequence.read[3 * codon : 3 * codon + 3]
        base = alt if transcript.strand > 0 else _COMPLEMENT[alt]
        before = protein[codon]
        after = codons(transcript.code).get(old[:place] + base + old[place + 1 :], "X")
        if before == STOP or after == STOP:
            return None
        made, fields = self._new()
        fields["hgvs_g"] = hgvs_g
        fields["hgvs_c"] = self._substituted_name(piece, position, ref, alt)
        fields["protein_position"] = codon + 1
        fields["wild_type"], fields["mutant"] = before, after
        if before == after:
            fields["terms"] = _merged("synonymous_variant", piece.terms)
            fields["hgvs_p"] = f"p.{THREE[before]}{codon + 1}="
        else:
            fields["terms"] = _merged("missense_variant", piece.terms)
            fields["hgvs_p"] = f"p.{THREE[before]}{codon + 1}{THREE[after]}"
            fields["window"] = self._padded[codon : codon + 2 * WINDOW_FLANK + 1]
        return made

    def change(self, left: Change, right: Change, hgvs_g: str | None) -> Consequence | None:
        """Return what a change does; None where it leaves the transcript alone.

        Parameters
        ----------
        left, right : Change
            The same change moved as far left, and as far right, as the sequence allows.
        """
        judged = self.judged(left, right)
        terms = region_terms(self.transcript, judged)
        protein: ProteinChange | None = None
        edit = self.edit(judged)
        if edit is not None:
            protein = protein_change(self.sequence, *edit)
        if protein is not None:
            terms |= set(protein.terms)
        elif edit is not None or (judged.ref and self._alters_coding(judged)):
            terms |= self._unread_terms(judged)
        if not terms:
            return None
        named = right if self.transcript.strand > 0 else left
        return self._described(named, judged, terms, protein, hgvs_g)

    def edit(self, change: Change) -> Edit | None:
        """Return a change as an edit of the coding sequence; None where it reaches beyond it."""
        strand = self.transcript.strand
        begin, end = (change.first, change.last) if strand > 0 else (change.last, change.first)
        offset, other = self.places.coding_offset(begin), self.places.coding_offset(end)
        if change.ref:
            if offset is None or other is None or other - offset != len(change.ref) - 1:
                return None
        elif offset is None or other is None:
            # Between an exon and its intron the insertion lengthens the exon.
            outside = begin if offset is None else end
            if (offset is None) == (other is None) or self.places.is_exonic(outside):
                return None
            offset = other + 1 if offset is None and other is not None else offset
            if offset is None or not 0 < offset < len(self.sequence.bases):
                return None
        elif offset - other != 1:
            return None
        ref, alt = change.ref, change.alt
        if strand < 0:
            ref, alt = reverse_complement(ref), reverse_complement(alt)
        return offset, ref, alt

    def position_of(self, offset: int) -> int:
        """Return the position of a 0-based place in the coding sequence."""
        coding, strand = self.transcript.coding, self.transcript.strand
        for first, last in coding if strand > 0 else reversed(coding):
            length = last - first + 1
            if offset < length:
                return first + offset if strand > 0 else last - offset
            offset -= length
        raise IndexError(f"{self.transcript.name}: the coding sequence ends before {offset}")

    def change_of(self, first: int, ref: str, alt: str) -> Change:
        """Return bases of the coding sequence, replaced from a position on, as a trimmed change."""
        if self.transcript.strand < 0:
            ref, alt = reverse_complement(ref), reverse_complement(alt)
        while ref and alt and ref[-1] == alt[-1]:
            ref, alt = ref[:-1], alt[:-1]
        while ref and alt and ref[0] == alt[0]:
            first, ref, alt = first + 1, ref[1:], alt[1:]
        return Change(first, first + len(ref) - 1, ref, alt)

    def edited(
        self, edit: Edit, change: Change | None, hgvs_c: str | None, hgvs_g: str | None
    ) -> Consequence | None:
        """Return what several changes, joined to one edit of the coding sequence, do together."""
        protein = protein_change(self.sequence, *edit)
        if protein is None:
            return None
        terms = set(protein.terms)
        if change is not None:
            terms |= region_terms(self.transcript, change)
        fields = self._protein_fields(protein, terms, change, len(edit[2]) - len(edit[1]))
        return Consequence.of(**fields, terms=by_severity(terms), hgvs_c=hgvs_c, hgvs_g=hgvs_g)

    def name(self, change: Change) -> str | None:
        """Return the ``c.`` or ``n.`` name of a change that stands where the 3' rule puts it."""
        if self._prefix is None:
            return None
        strand = self.transcript.strand
        found = nucleotide_name(change, strand, self.places.name, self._bases)
        return None if found is None else self._prefix + found

    def judged(self, left: Change, right: Change) -> Change:
        """Return the writing of a change by which its effect is judged."""
        if left is right:
            return left
        first, last = self.transcript.span
        for each in (left, right):
            if each.high < first or each.low > last:
                return each
        inside = [each for each in (left, right) if self._in_exon(each)]
        if inside:
            # Where one writing leaves the coding sequence alone, so does the change.
            beside = (each for each in inside if not self._alters_coding(each))
            return next(beside, inside[0])
        writings = (right, left) if self.transcript.strand > 0 else (left, right)
        for each in writings:
            if SPLICE_SITE_TERMS.isdisjoint(splice_terms(self.transcript, each)):
                return each
        return writings[0]

    def _in_exon(self, change: Change) -> bool:
        low, high = self.places.piece(change.low), self.places.piece(change.high)
        if low is None or high is None:
            return False
        if not change.ref and (low.spliced < 0) != (high.spliced < 0):
            return True
        return low.spliced >= 0 <= high.spliced and not self.transcript.introns_near(
            change.low, change.high
        )

    def _alters_coding(self, change: Change) -> bool:
        return any(touches(change, span) for span in self.transcript.coding)

    def _unread_terms(self, change: Change) -> set[str]:
        """Terms for a change of coding bases that reaches beyond its exon or a whole codon."""
        transcript, sequence = self.transcript, self.sequence
        low, high = transcript.coding_span
        first_codon, last_codon = (low, low + 2), (high - 2, high)
        start, stop = (
            (first_codon, last_codon) if transcript.strand > 0 else (last_codon, first_codon)
        )
        terms = set()
        if sequence.starts_at_codon and touches(change, start):
            terms.add("start_lost")
        if sequence.protein.endswith(STOP) and touches(change, stop):
            terms.add("stop_lost")
        if not terms and not sequence.protein.endswith(STOP) and touches(change, stop):
            return {"incomplete_terminal_codon_variant", "coding_sequence_variant"}
        return terms or {"coding_sequence_variant"}

    def _described(
        self,
        named: Change,
        judged: Change,
        terms: set[str],
        protein: ProteinChange | None,
        hgvs_g: str | None,
    ) -> Consequence:
        fields = self._protein_fields(protein, terms, judged, len(judged.alt) - len(judged.ref))
        name = self.name(named)
        return Consequence.of(**fields, terms=by_severity(terms), hgvs_c=name, hgvs_g=hgvs_g)

    def _protein_fields(
        self, protein: ProteinChange | None, terms: set[str], change: Change | None, growth: int
    ) -> dict[str, Any]:
        fields = dict(self._fields)
        sequence = None if protein is None else self.sequence
        if change is not None:
            fields["exceptions"] = exceptions(
                self.transcript, change, terms, sequence, protein, growth
            )
        if protein is None or sequence is None:
            return fields
        fields |= {
            "hgvs_p": protein_name(sequence.protein, protein),
            "protein_position": protein.position,
            "wild_type": protein.before or None,
            "mutant": protein.after or None,
        }
        if "missense_variant" in terms and len(protein.before) == len(protein.after) == 1:
            fields["window"] = protein_window(sequence.protein.removesuffix(STOP), protein.position)
            return fields
        windows = haplotype_windows(sequence, protein)
        if windows is not None:
            fields["haplotype_before"], fields["haplotype_after"] = windows
            if "missense_variant" in terms:
                fields["note"] = SEVERAL_RESIDUES
        return fields


@cache
def _merged(term: str, terms: tuple[str, ...]) -> tuple[str, ...]:
    return by_severity((term, *terms))
