"""Consequences worked out from a FASTA and a GFF3.

Each transcript that a change touches gets its Sequence Ontology terms, its protein change and its
HGVS names; the one that stands for the variant is chosen by
:func:`genomics.consequence.representative`. Changes are judged where left-alignment puts them.
"""

from __future__ import annotations

from collections import OrderedDict

from genomics.coding import (
    STOP,
    CodingSequence,
    ProteinChange,
    coding_sequence,
    protein_change,
    reverse_complement,
)
from genomics.consequence import Consequence, by_severity, protein_window, representative
from genomics.errors import GenesError
from genomics.genes import Genes, Span, Transcript
from genomics.hgvs import Change, coding_name, protein_name, three_prime
from genomics.reference import Reference
from genomics.variant import Bases, Variant

SOURCE = "FASTA+GFF3"
# Introns this short bridge a sequencing difference, they are not spliced (as VEP has it).
_SHORTEST_INTRON_BP = 13
_SPLICE_EXON_BP, _SPLICE_INTRON_BP = 3, 8
_KEPT_SEQUENCES = 256


class GeneCaller:
    """Places variants in the genes of one GFF3 on one reference.

    Parameters
    ----------
    reference : Reference
    genes : Genes

    Raises
    ------
    GenesError
        No sequence of the GFF3 is in the reference.
    """

    def __init__(self, reference: Reference, genes: Genes) -> None:
        self._reference, self._genes = reference, genes
        self._names = {
            name: contig
            for contig in genes.by_contig
            if (name := reference.name_of(contig)) is not None
        }
        if not self._names:
            raise GenesError(
                f"{genes.path}: its sequences ({', '.join(list(genes.by_contig)[:5])}) are not in "
                f"{reference.path}; give genes and reference of the same build"
            )
        self._sequences: OrderedDict[str, CodingSequence] = OrderedDict()

    def has(self, contig: str) -> bool:
        """Whether the GFF3 has genes on this sequence."""
        return self._reference.name_of(contig) in self._names

    def consequence(self, variant: Variant) -> Consequence:
        """Return the consequence that stands for a variant.

        Parameters
        ----------
        variant : Variant
            With both alleles written out as bases, on a sequence that :meth:`has` knows.
        """
        found = representative(self.consequences(variant))
        return found or Consequence(("intergenic_variant",), SOURCE)

    def consequences(self, variant: Variant) -> list[Consequence]:
        """Return the consequence on every transcript that the variant touches."""
        change = self._change(variant)
        contig = self._names[self._reference.name_of(variant.chrom) or ""]
        low, high = min(change.first, change.last), max(change.first, change.last)
        touched = self._genes.overlapping(contig, low, high)
        every = (self._on(transcript, change) for transcript in touched)
        return [each for each in every if each is not None]

    def _change(self, variant: Variant) -> Change:
        aligned = variant.left_aligned(
            lambda first, last: self._reference.bases(variant.chrom, first, last)
        )
        position, ref, alt = aligned.position, aligned.ref, aligned.alt
        if len(ref) != len(alt) and ref[0] == alt[0]:
            position, ref, alt = position + 1, ref[1:], alt[1:]
        return Change(position, position + len(ref) - 1, ref, alt)

    def _on(self, transcript: Transcript, change: Change) -> Consequence | None:
        terms = _splice_terms(transcript, change)
        protein: ProteinChange | None = None
        sequence: CodingSequence | None = None
        if not transcript.coding:
            terms |= _noncoding_terms(transcript, change)
        else:
            terms |= _outside_coding_terms(transcript, change)
            at_edge = self._at_exon_edge(transcript, change)
            if at_edge or any(_touches(change, span) for span in transcript.coding):
                sequence = self._sequence(transcript)
                protein = _protein_change(sequence, at_edge or change)
                terms |= set(protein.terms) if protein else _unread_terms(sequence, change)
        if not terms:
            return None
        return self._described(transcript, change, terms, sequence, protein)

    def _at_exon_edge(self, transcript: Transcript, change: Change) -> Change | None:
        """Return an insertion between a coding exon and its intron, moved to its 3' end.

        Such an insertion lengthens the coding sequence unless its 3'-most equivalent lies in the
        intron; None for that, and for any other change.
        """
        at_edge = not change.ref and any(
            change.first in {first, last + 1}
            and transcript.exon_offset(change.first - (change.first == first)) is None
            for first, last in transcript.coding
        )
        if not at_edge:
            return None
        moved = three_prime(change, transcript.strand, self._bases_of(transcript.contig))
        coding = (transcript.coding_offset(place) for place in (moved.first, moved.last))
        return None if all(offset is None for offset in coding) else moved

    def _bases_of(self, contig: str) -> Bases:
        """Return a reader of a sequence's bases that gives "" beyond its ends."""
        length = self._reference.lengths[self._reference.name_of(contig) or ""]

        def bases(first: int, last: int) -> str:
            inside = 1 <= first <= last <= length
            return self._reference.bases(contig, first, last) if inside else ""

        return bases

    def _described(
        self,
        transcript: Transcript,
        change: Change,
        terms: set[str],
        sequence: CodingSequence | None,
        protein: ProteinChange | None,
    ) -> Consequence:
        window, note = None, None
        if sequence is not None and protein is not None and "missense_variant" in terms:
            window, note = _window(sequence, protein)
        return Consequence(
            terms=by_severity(terms),
            source=SOURCE,
            gene=transcript.gene,
            transcript=transcript.name,
            biotype=transcript.biotype,
            preference=transcript.preference,
            hgvs_c=coding_name(transcript, change, self._bases_of(transcript.contig)),
            hgvs_p=protein_name(sequence.protein, protein) if sequence and protein else None,
            protein_position=protein.position if protein else None,
            wild_type=(protein.before or None) if protein else None,
            mutant=(protein.after or None) if protein else None,
            window=window,
            note=note,
        )

    def _sequence(self, transcript: Transcript) -> CodingSequence:
        key = f"{transcript.contig}\t{transcript.name}\t{transcript.span}"
        if key not in self._sequences:
            self._sequences[key] = coding_sequence(transcript, self._reference)
            if len(self._sequences) > _KEPT_SEQUENCES:
                self._sequences.popitem(last=False)
        self._sequences.move_to_end(key)
        return self._sequences[key]


def _touches(change: Change, span: Span) -> bool:
    """Whether a change alters ``span``; an insertion must stand strictly inside it."""
    if change.ref:
        return change.first <= span[1] and change.last >= span[0]
    return span[0] < change.first <= span[1]


def _splice_terms(transcript: Transcript, change: Change) -> set[str]:
    terms: set[str] = set()
    for first, last in transcript.introns:
        near = (first - _SPLICE_EXON_BP, last + _SPLICE_EXON_BP)
        if last - first + 1 < _SHORTEST_INTRON_BP or not _touches(change, near):
            continue
        sites = {"left": (first, first + 1), "right": (last - 1, last)}
        donor, acceptor = ("left", "right") if transcript.strand > 0 else ("right", "left")
        if _touches(change, sites[donor]):
            terms.add("splice_donor_variant")
        if _touches(change, sites[acceptor]):
            terms.add("splice_acceptor_variant")
        regions = (
            (first - _SPLICE_EXON_BP, first + _SPLICE_INTRON_BP - 1),
            (last - _SPLICE_INTRON_BP + 1, last + _SPLICE_EXON_BP),
        )
        if not terms and any(_touches(change, region) for region in regions):
            terms.add("splice_region_variant")
        if _touches(change, (first + 2, last - 2)):
            terms.add("intron_variant")
    if not terms and any(_touches(change, span) for span in transcript.introns):
        terms.add("intron_variant")
    return terms


def _noncoding_terms(transcript: Transcript, change: Change) -> set[str]:
    if any(_touches(change, span) for span in transcript.exons):
        return {"non_coding_transcript_exon_variant"}
    inside = _touches(change, transcript.span)
    return {"non_coding_transcript_variant"} if inside else set()


def _outside_coding_terms(transcript: Transcript, change: Change) -> set[str]:
    terms = set()
    low, high = transcript.coding_span
    before, after = "5_prime_UTR_variant", "3_prime_UTR_variant"
    if transcript.strand < 0:
        before, after = after, before
    for first, last in transcript.exons:
        if first < low and _touches(change, (first, min(last, low - (1 if change.ref else 0)))):
            terms.add(before)
        if last > high and _touches(change, (max(first, high + (1 if change.ref else 0)), last)):
            terms.add(after)
    return terms


def _protein_change(sequence: CodingSequence, change: Change) -> ProteinChange | None:
    """Return the protein change of bases that lie wholly in one coding exon, else None."""
    transcript = sequence.transcript
    if change.ref:
        within = any(
            first <= change.first and change.last <= last for first, last in transcript.coding
        )
        if not within:
            return None
    forward = transcript.strand > 0
    ref = change.ref if forward else reverse_complement(change.ref)
    alt = change.alt if forward else reverse_complement(change.alt)
    begin, before = (change.first, change.last) if forward else (change.last, change.first)
    offset = transcript.coding_offset(begin)
    if offset is None and not ref:
        # At the exon's end nothing follows the insertion: count from the base before it.
        previous = transcript.coding_offset(before)
        offset = None if previous is None else previous + 1
    return None if offset is None else protein_change(sequence, offset, ref, alt)


def _unread_terms(sequence: CodingSequence, change: Change) -> set[str]:
    """Terms for a change of coding bases that reaches beyond its exon or a whole codon."""
    transcript = sequence.transcript
    low, high = transcript.coding_span
    start = (low, low + 2) if transcript.strand > 0 else (high - 2, high)
    stop = (high - 2, high) if transcript.strand > 0 else (low, low + 2)
    terms = set()
    if sequence.starts_at_codon and _touches(change, start):
        terms.add("start_lost")
    if sequence.protein.endswith(STOP) and _touches(change, stop):
        terms.add("stop_lost")
    return terms or {"coding_sequence_variant"}


def _window(sequence: CodingSequence, change: ProteinChange) -> tuple[str | None, str | None]:
    if len(change.before) != 1 or len(change.after) != 1:
        return None, "changes several residues; the model reads single substitutions"
    return protein_window(sequence.protein.removesuffix(STOP), change.position), None
