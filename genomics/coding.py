"""Coding sequences and what a change of bases does to the protein."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

from Bio.Data import CodonTable
from Bio.Seq import Seq

from genomics.genes import MITOCHONDRIAL_CODE, Transcript
from genomics.reference import Reference

STOP = "*"
_UNKNOWN = "X"


@dataclass(frozen=True)
class CodingSequence:
    """A transcript's coding bases, in its own direction.

    Attributes
    ----------
    bases : str
        From the first coding base on, the stop codon included.
    tail : str
        The 3' untranslated bases that follow in the spliced transcript.
    transcript : Transcript
    protein : str
        Translation up to and with the stop (``*``); ``U`` for recoded selenocysteines.
    recoded : frozenset of int
        0-based codons whose TGA is read as selenocysteine.
    """

    bases: str
    tail: str
    transcript: Transcript
    protein: str
    recoded: frozenset[int] = frozenset()

    @property
    def starts_at_codon(self) -> bool:
        """Whether the first codon is the transcript's own start codon."""
        transcript = self.transcript
        whole = transcript.start_known and transcript.frame == 0
        return whole and is_start(self.bases[:3], transcript.code)


@dataclass(frozen=True)
class ProteinChange:
    """What a change of coding bases does to the protein.

    Attributes
    ----------
    terms : tuple of str
        Sequence Ontology terms.
    position : int
        1-based position of the first changed residue (of the codon, where none changed).
    before, after : str
        The residues that differ, without those shared at either side; equal for a silent change.
    mutated : str or None
        The new protein up to and with its stop, for insertions and deletions; None for
        substitutions.
    """

    terms: tuple[str, ...]
    position: int
    before: str
    after: str
    mutated: str | None = None


def coding_sequence(transcript: Transcript, reference: Reference) -> CodingSequence:
    """Read and translate the coding sequence of a transcript."""
    bases = _spliced(transcript, reference, transcript.coding)
    whole = _spliced(transcript, reference, transcript.exons)
    first = transcript.coding_span[0] if transcript.strand > 0 else transcript.coding_span[1]
    start = transcript.exon_offset(first) or 0
    recoded = frozenset(
        (offset - transcript.frame) // 3
        for offset in map(transcript.coding_offset, transcript.recoded)
        if offset is not None
    )
    protein = translate(bases[transcript.frame :], transcript.code, recoded)
    sequence = CodingSequence(bases, whole[start + len(bases) :], transcript, protein, recoded)
    return replace(sequence, protein=_initiated(sequence, protein, bases))


def _initiated(sequence: CodingSequence, protein: str, bases: str) -> str:
    """Return the protein with methionine first where ``bases`` begin with a start codon.

    Whichever start codon it is, translation begins with methionine.
    """
    if sequence.starts_at_codon and is_start(bases[:3], sequence.transcript.code):
        return "M" + protein[1:]
    return protein


def _spliced(
    transcript: Transcript, reference: Reference, spans: tuple[tuple[int, int], ...]
) -> str:
    joined = "".join(reference.bases(transcript.contig, first, last) for first, last in spans)
    return joined if transcript.strand > 0 else reverse_complement(joined)


def reverse_complement(bases: str) -> str:
    """Return the bases of the other strand, in its direction."""
    return str(Seq(bases).reverse_complement())


def translate(bases: str, code: int, recoded: frozenset[int] = frozenset()) -> str:
    """Translate up to and with the first stop.

    A last incomplete codon is dropped, but on the mitochondrion completed with A: its transcripts
    get the end of their stop codon by polyadenylation.
    """
    if code == MITOCHONDRIAL_CODE and len(bases) % 3:
        bases += "A" * (3 - len(bases) % 3)
    residues = []
    for codon in range(len(bases) // 3):
        residue = _residue(bases[3 * codon : 3 * codon + 3], code)
        if residue == STOP and codon in recoded:
            residue = "U"
        residues.append(residue)
        if residue == STOP:
            break
    return "".join(residues)


@cache
def _residue(codon: str, code: int) -> str:
    table = CodonTable.unambiguous_dna_by_id[code]
    return STOP if codon in table.stop_codons else table.forward_table.get(codon, _UNKNOWN)


def is_start(codon: str, code: int) -> bool:
    """Whether a codon starts translation: ATG, and on the mitochondrion its other starts."""
    if code == MITOCHONDRIAL_CODE:
        return codon in CodonTable.unambiguous_dna_by_id[code].start_codons
    return codon == "ATG"


def protein_change(
    sequence: CodingSequence, offset: int, ref: str, alt: str
) -> ProteinChange | None:
    """Work out the effect of replacing coding bases.

    Parameters
    ----------
    sequence : CodingSequence
    offset : int
        0-based place in ``sequence.bases``; for an insertion, of the base that follows it.
    ref, alt : str
        Bases in the transcript's direction; one of them may be empty.

    Returns
    -------
    ProteinChange or None
        None where the bases are in an incomplete codon at either end.
    """
    frame = sequence.transcript.frame
    if offset < frame:
        return None
    if len(ref) == len(alt):
        return _substitution(sequence, offset, alt)
    return _length_change(sequence, offset, ref, alt)


def _substitution(sequence: CodingSequence, offset: int, alt: str) -> ProteinChange | None:
    frame, code = sequence.transcript.frame, sequence.transcript.code
    first, last = (offset - frame) // 3, (offset + len(alt) - 1 - frame) // 3
    begin, end = frame + 3 * first, frame + 3 * last + 3
    old = sequence.bases[begin:end]
    if len(old) < 3 * (last - first + 1) and code == MITOCHONDRIAL_CODE:
        old = old.ljust(3 * (last - first + 1), "A")
    if len(old) < 3 * (last - first + 1) or last >= len(sequence.protein):
        return None
    new = old[: offset - begin] + alt + old[offset - begin + len(alt) :]
    before = sequence.protein[first : last + 1]
    after = _translate_whole(new, code)
    if first == 0:
        after = _initiated(sequence, after, new)
    position, before, after = _differing(first + 1, before, after)
    terms = _substitution_terms(sequence, first, new, before, after)
    return ProteinChange(terms, position, before, after)


def _translate_whole(bases: str, code: int) -> str:
    return "".join(_residue(bases[place : place + 3], code) for place in range(0, len(bases), 3))


def _substitution_terms(
    sequence: CodingSequence, first: int, new: str, before: str, after: str
) -> tuple[str, ...]:
    if first == 0 and sequence.starts_at_codon:
        if not is_start(new[:3], sequence.transcript.code):
            return ("start_lost",)
        if before == after:
            return ("start_retained_variant", "synonymous_variant")
    if before == after:
        return ("stop_retained_variant",) if STOP in before else ("synonymous_variant",)
    if STOP in after and STOP not in before:
        return ("stop_gained",)
    if STOP in before:
        return ("stop_lost",)
    return ("missense_variant",)


def _differing(position: int, before: str, after: str) -> tuple[int, str, str]:
    """Drop the residues that both share at either side; leave one where all are shared."""
    while len(before) > 1 and len(after) > 1 and before[0] == after[0]:
        position, before, after = position + 1, before[1:], after[1:]
    while len(before) > 1 and len(after) > 1 and before[-1] == after[-1]:
        before, after = before[:-1], after[:-1]
    return position, before, after


def _length_change(sequence: CodingSequence, offset: int, ref: str, alt: str) -> ProteinChange:
    frame, code = sequence.transcript.frame, sequence.transcript.code
    bases = sequence.bases[:offset] + alt + sequence.bases[offset + len(ref) :]
    recoded = _recoded_after(sequence, offset, len(alt) - len(ref))
    translated = translate((bases + sequence.tail)[frame:], code, recoded)
    mutated = _initiated(sequence, translated, bases)
    old = sequence.protein
    shared = _shared_prefix(old, mutated)
    if (len(alt) - len(ref)) % 3:
        terms = {"frameshift_variant"}
        before, after = old[shared : shared + 1], mutated[shared : shared + 1]
    else:
        terms = {_in_frame_term(ref, alt)}
        before, after = _in_frame_difference(old, mutated, shared)
    terms |= _ends_changed(sequence, bases, mutated, len(alt) - len(ref))
    return ProteinChange(tuple(terms), shared + 1, before, after, mutated)


def _recoded_after(sequence: CodingSequence, offset: int, growth: int) -> frozenset[int]:
    """Return the recoded codons of a changed sequence; those out of frame are lost."""
    changed = (offset - sequence.transcript.frame) // 3
    before = {codon for codon in sequence.recoded if codon < changed}
    if growth % 3:
        return frozenset(before)
    return frozenset(before | {codon + growth // 3 for codon in sequence.recoded - before})


def _in_frame_term(ref: str, alt: str) -> str:
    if not alt:
        return "inframe_deletion"
    return "inframe_insertion" if not ref else "protein_altering_variant"


def _shared_prefix(old: str, new: str) -> int:
    for place, (one, other) in enumerate(zip(old, new, strict=False)):
        if one != other:
            return place
    return min(len(old), len(new))


def _in_frame_difference(old: str, new: str, shared: int) -> tuple[str, str]:
    before, after = old[shared:], new[shared:]
    if before == after:
        return "", ""
    while before and after and before[-1] == after[-1]:
        before, after = before[:-1], after[:-1]
    return before, after


def _ends_changed(sequence: CodingSequence, bases: str, mutated: str, growth: int) -> set[str]:
    """Return the terms for a lost start, a lost stop or an early stop."""
    terms = set()
    old = sequence.protein
    if sequence.starts_at_codon and not is_start(bases[:3], sequence.transcript.code):
        terms.add("start_lost")
    if not old.endswith(STOP):
        return terms
    if old == mutated:
        return terms | {"stop_retained_variant"}
    if growth % 3:
        return terms | ({"stop_lost"} if old[:-1] == mutated[: len(old) - 1] else set())
    expected = len(old) + growth // 3
    if mutated.endswith(STOP) and len(mutated) < expected:
        terms.add("stop_gained")
    elif len(mutated) > expected or not mutated.endswith(STOP):
        terms.add("stop_lost")
    return terms
