"""Coding sequences and what a change of bases does to the protein."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from Bio.Data import CodonTable

from genomics.consequence import WINDOW_FLANK
from genomics.genes import MITOCHONDRIAL_CODE, Transcript
from genomics.reference import Reference

STOP = "*"
_UNKNOWN = "X"
_COMPLEMENT = str.maketrans("ACGTRYKMBVDHacgt", "TGCAYRMKVBHDtgca")


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
    read : str
        What a ribosome reads: ``bases`` from the first whole codon on, then ``tail``; on the
        mitochondrion with the A that complete its last codon.
    starts_at_codon : bool
        Whether the first codon is the transcript's own start codon.
    """

    bases: str
    tail: str
    transcript: Transcript
    protein: str
    recoded: frozenset[int] = frozenset()
    read: str = ""
    starts_at_codon: bool = False

    @property
    def residues(self) -> int:
        """Length of the protein, without its stop."""
        return len(self.protein) - self.protein.endswith(STOP)


@dataclass(frozen=True, slots=True)
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
        ``after`` ends with ``*`` where a new stop is met, and runs up to and with the new stop
        where the old one is lost. Of a frameshift they hold the first changed residue only.
    shift : bool
        Whether the reading frame is lost.
    stop : int or None
        1-based position of the new stop in the new protein, for a frameshift or a lost stop; None
        where none follows, or the old one stays.
    """

    terms: tuple[str, ...]
    position: int
    before: str
    after: str
    shift: bool = False
    stop: int | None = None


def coding_sequence(transcript: Transcript, reference: Reference) -> CodingSequence:
    """Read and translate the coding sequence of a transcript."""
    bases = _spliced(transcript, reference, transcript.coding)
    whole = _spliced(transcript, reference, transcript.exons)
    tail = whole[transcript.coding_in_exons[0] + len(bases) :]
    frame, code = transcript.frame, transcript.code
    recoded = frozenset(
        (offset - frame) // 3
        for offset in map(transcript.coding_offset, transcript.recoded)
        if offset is not None
    )
    starts = transcript.start_known and frame == 0 and is_start(bases[:3], code)
    protein = translate(bases[frame:], code, recoded)
    if starts:
        # Whichever start codon it is, translation begins with methionine.
        protein = "M" + protein[1:]
    read = _completed(bases[frame:] + tail, code)
    return CodingSequence(bases, tail, transcript, protein, recoded, read, starts)


def _spliced(
    transcript: Transcript, reference: Reference, spans: tuple[tuple[int, int], ...]
) -> str:
    joined = "".join(reference.bases(transcript.contig, first, last) for first, last in spans)
    return joined if transcript.strand > 0 else reverse_complement(joined)


def reverse_complement(bases: str) -> str:
    """Return the bases of the other strand, in its direction."""
    return bases.translate(_COMPLEMENT)[::-1]


def _completed(bases: str, code: int) -> str:
    """Complete the last codon of a mitochondrial sequence with A, as polyadenylation does."""
    missing = -len(bases) % 3 if code == MITOCHONDRIAL_CODE else 0
    return bases + "A" * missing


def translate(bases: str, code: int, recoded: frozenset[int] = frozenset()) -> str:
    """Translate up to and with the first stop.

    A last incomplete codon is dropped, but on the mitochondrion completed with A: its transcripts
    get the end of their stop codon by polyadenylation.
    """
    bases, table = _completed(bases, code), codons(code)
    residues = []
    for codon in range(len(bases) // 3):
        residue = table.get(bases[3 * codon : 3 * codon + 3], _UNKNOWN)
        if residue == STOP and codon in recoded:
            residue = "U"
        residues.append(residue)
        if residue == STOP:
            break
    return "".join(residues)


@cache
def codons(code: int) -> dict[str, str]:
    """Return the residue of each codon, ``*`` for a stop, in NCBI's genetic code ``code``."""
    table = CodonTable.unambiguous_dna_by_id[code]
    return dict(table.forward_table) | dict.fromkeys(table.stop_codons, STOP)


@cache
def is_start(codon: str, code: int) -> bool:
    """Whether a codon starts translation: ATG, and on the mitochondrion its other starts."""
    if code == MITOCHONDRIAL_CODE:
        return codon in CodonTable.unambiguous_dna_by_id[code].start_codons
    return codon == "ATG"


def protein_change(
    sequence: CodingSequence, offset: int, ref: str, alt: str
) -> ProteinChange | None:
    """Work out the effect of replacing coding bases.

    Only the codons from the change on are translated, up to where the protein is the old one
    again or ends.

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
        None where the bases are in an incomplete codon at either end, or after the stop.
    """
    at = offset - sequence.transcript.frame
    if at < 0 or at // 3 >= len(sequence.protein):
        return None
    if (len(alt) - len(ref)) % 3:
        return _frameshift(sequence, at, ref, alt)
    return _in_frame(sequence, at, ref, alt)


def _in_frame(sequence: CodingSequence, at: int, ref: str, alt: str) -> ProteinChange | None:
    begin, end = at // 3, max(at // 3 + 1, -(-(at + len(ref)) // 3))
    if end > len(sequence.protein):
        return None
    read = sequence.read
    codons_read = read[3 * begin : at] + alt + read[at + len(ref) : 3 * end]
    start_kept = _start_kept(sequence, at, codons_read)
    old = sequence.protein[begin:end]
    new = _translated(sequence, codons_read, begin, end, at, at + len(ref))
    if begin == 0 and start_kept and sequence.starts_at_codon:
        new = "M" + new[1:]
    lost_stop = old.endswith(STOP) and STOP not in new
    if lost_stop:
        new += translate(read[3 * end :], sequence.transcript.code)
    new = new[: new.index(STOP) + 1] if STOP in new else new
    position, before, after = _differing(
        sequence, begin + 1, old, new, keep=1 if len(ref) == len(alt) else 0, lost_stop=lost_stop
    )
    terms = set() if start_kept else {"start_lost"}
    terms |= _in_frame_terms(before, after, bool(ref), bool(alt), len(ref) != len(alt))
    if begin == 0 and start_kept and sequence.starts_at_codon and before == after and at < 3:
        terms |= {"start_retained_variant"}
    if "start_lost" in terms:
        terms -= {"missense_variant", "synonymous_variant"}
    stop = begin + len(new) if lost_stop and new.endswith(STOP) else None
    return ProteinChange(tuple(sorted(terms)), position, before, after, False, stop)


def _start_kept(sequence: CodingSequence, at: int, codons_read: str) -> bool:
    """Whether a start codon still begins the sequence; True where the change is not at it."""
    if at >= 3 or not sequence.starts_at_codon:
        return True
    return is_start(codons_read[:3], sequence.transcript.code)


def _translated(
    sequence: CodingSequence, bases: str, begin: int, end: int, first: int, last: int
) -> str:
    """Translate whole codons that stand for old codons ``begin:end``.

    ``first:last`` are the old bases that changed; a recoded codon outside them stays recoded.
    """
    table = codons(sequence.transcript.code)
    number = len(bases) // 3
    residues = []
    for place in range(number):
        residue = table.get(bases[3 * place : 3 * place + 3], _UNKNOWN)
        if residue == STOP and sequence.recoded:
            left, right = begin + place, end - (number - place)
            untouched = {left} if 3 * left + 3 <= first else set()
            untouched |= {right} if 3 * right >= last else set()
            residue = "U" if untouched & sequence.recoded else STOP
        residues.append(residue)
    return "".join(residues)


def _differing(
    sequence: CodingSequence, position: int, old: str, new: str, *, keep: int, lost_stop: bool
) -> tuple[int, str, str]:
    """Drop what both share at either side, but for the first ``keep`` residues.

    After an early stop, or where the old one is lost, only the beginning can be shared.
    """
    early_stop = new.endswith(STOP) and not old.endswith(STOP)
    if early_stop:
        keep = 1
    while len(new) > keep and (old if early_stop else old[keep:]) and old[0] == new[0]:
        position, old, new = position + 1, old[1:], new[1:]
    if early_stop:
        return position, old or sequence.protein[position - 1 : position], new
    while not lost_stop and len(old) > keep and len(new) > keep and old[-1] == new[-1]:
        old, new = old[:-1], new[:-1]
    return position, old, new


def _in_frame_terms(
    before: str, after: str, has_ref: bool, has_alt: bool, resized: bool
) -> set[str]:
    if before == after:
        # Also "", where bases were moved and not one residue with them.
        return {"stop_retained_variant" if STOP in before or resized else "synonymous_variant"}
    kinds: set[str] = set()
    if resized:
        insertion, deletion = not has_ref or not before, not has_alt or not after
        kinds = {"inframe_insertion"} if insertion else kinds
        kinds = {"inframe_deletion"} if deletion else kinds
    if STOP in after and STOP not in before:
        return kinds | {"stop_gained"}
    if STOP in before:
        return kinds | {"stop_lost"}
    return kinds or {"protein_altering_variant" if resized else "missense_variant"}


def _frameshift(sequence: CodingSequence, at: int, ref: str, alt: str) -> ProteinChange:
    begin, protein, code = at // 3, sequence.protein, sequence.transcript.code
    read = sequence.read
    bases = read[3 * begin : at] + alt + read[at + len(ref) :]
    start_kept = _start_kept(sequence, at, bases)
    new = translate(bases, code)
    if begin == 0 and start_kept and sequence.starts_at_codon:
        new = "M" + new[1:]
    shared = _shared_prefix(protein, begin, new)
    before, after = protein[begin + shared :][:1], new[shared : shared + 1]
    terms = {"frameshift_variant"} if start_kept else {"frameshift_variant", "start_lost"}
    if not before and protein.endswith(STOP):
        return ProteinChange(("stop_retained_variant",), len(protein), STOP, STOP)
    if before == STOP:
        terms.add("stop_lost")
    stop = begin + len(new) if new.endswith(STOP) else None
    return ProteinChange(tuple(sorted(terms)), begin + shared + 1, before, after, True, stop)


def _shared_prefix(old: str, begin: int, new: str) -> int:
    for place, residue in enumerate(new):
        if old[begin + place : begin + place + 1] != residue:
            return place
    return len(new)


def haplotype_windows(sequence: CodingSequence, change: ProteinChange) -> tuple[str, str] | None:
    """Return the protein around an in-frame change, before it and after it.

    Both have 50 residues on either side of what differs, ``-`` beyond the protein's ends: so
    ``before[50:-50]`` are the residues that are replaced and ``after[50:-50]`` those that replace
    them. None for a frameshift and for a changed start or stop.
    """
    if change.shift or change.before == change.after:
        return None
    if {"start_lost", "stop_lost", "stop_gained"} & set(change.terms):
        return None
    protein = sequence.protein.removesuffix(STOP)
    begin, end = change.position - 1, change.position - 1 + len(change.before)
    left = protein[max(0, begin - WINDOW_FLANK) : begin].rjust(WINDOW_FLANK, "-")
    right = protein[end : end + WINDOW_FLANK].ljust(WINDOW_FLANK, "-")
    return left + change.before + right, left + change.after + right
