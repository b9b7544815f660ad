"""Names of changes by the HGVS recommendations (version 21): ``c.``, ``n.`` and ``p.``.

Insertions and deletions are moved to the transcript's 3' end first, as the 3' rule asks. Protein
changes are predictions; the brackets that mark them so are left out, as VEP and SnpEff do.
"""

from __future__ import annotations

from dataclasses import dataclass

from Bio.SeqUtils import seq3

from genomics.coding import STOP, ProteinChange, reverse_complement
from genomics.genes import Transcript
from genomics.variant import Bases

_MAX_SHIFT_BP = 1000


@dataclass(frozen=True)
class Change:
    """Bases ``first..last`` (1-based, both included, + strand) become ``alt``.

    ``ref`` and ``alt`` share no first or last base; an insertion has an empty ``ref`` and stands
    between ``last`` and ``first = last + 1``.
    """

    first: int
    last: int
    ref: str
    alt: str


def coding_name(transcript: Transcript, change: Change, bases: Bases) -> str | None:
    """Return the ``c.`` name (``n.`` for a non-coding transcript) of a change.

    None where the change leaves the transcript, or where the transcript's start is not known, so
    that no position could be counted from it.
    """
    if transcript.coding and not (transcript.start_known and transcript.frame == 0):
        return None
    moved = three_prime(change, transcript.strand, bases)
    low, high = moved.first, moved.last
    if moved.ref == "":
        low, high = moved.last, moved.first
    places = [_place(transcript, low), _place(transcript, high)]
    if transcript.strand < 0:
        places.reverse()
    if None in places:
        return None
    begin, end = str(places[0]), str(places[1])
    span = begin if begin == end else f"{begin}_{end}"
    prefix = "c." if transcript.coding else "n."
    return prefix + _described(transcript, moved, span, bases)


def _described(transcript: Transcript, change: Change, span: str, bases: Bases) -> str:
    ref, alt = _oriented(change.ref, transcript), _oriented(change.alt, transcript)
    if len(ref) == len(alt) == 1:
        return f"{span}{ref}>{alt}"
    if not alt:
        return f"{span}del"
    if ref:
        return f"{span}delins{alt}"
    doubled = _doubled(transcript, change, bases)
    return f"{doubled}dup" if doubled else f"{span}ins{alt}"


def _oriented(bases: str, transcript: Transcript) -> str:
    return bases if transcript.strand > 0 else reverse_complement(bases)


def _doubled(transcript: Transcript, change: Change, bases: Bases) -> str | None:
    """Return the span that an insertion repeats, or None where it repeats nothing."""
    length = len(change.alt)
    if transcript.strand > 0:
        low, high = change.first - length, change.first - 1
    else:
        low, high = change.first, change.first + length - 1
    if low < 1 or bases(low, high) != change.alt:
        return None
    places = [_place(transcript, low), _place(transcript, high)]
    if transcript.strand < 0:
        places.reverse()
    if None in places:
        return None
    return f"{places[0]}" if length == 1 else f"{places[0]}_{places[1]}"


def three_prime(change: Change, strand: int, bases: Bases) -> Change:
    """Move an insertion or deletion as far as it goes towards the transcript's 3' end."""
    if bool(change.ref) == bool(change.alt):
        return change
    first, last, word = change.first, change.last, change.ref or change.alt
    for _ in range(_MAX_SHIFT_BP):
        if strand > 0:
            following = bases(last + 1, last + 1)
            if following != word[0]:
                break
            word, first, last = word[1:] + following, first + 1, last + 1
        else:
            before = bases(first - 1, first - 1)
            if before != word[-1]:
                break
            word, first, last = before + word[:-1], first - 1, last - 1
    return Change(first, last, word if change.ref else "", word if change.alt else "")


def _place(transcript: Transcript, position: int) -> str | None:
    """Return a position's name: ``76``, ``-14``, ``*6``, ``88+2``, ``89-1``; None outside."""
    first, last = transcript.span
    if not first <= position <= last:
        return None
    if transcript.exon_offset(position) is not None:
        return _counted(transcript, position)
    left, right = next(span for span in transcript.introns if span[0] <= position <= span[1])
    to_left, to_right = position - left + 1, right - position + 1
    upstream, downstream = (to_left, to_right) if transcript.strand > 0 else (to_right, to_left)
    before, after = (left - 1, right + 1) if transcript.strand > 0 else (right + 1, left - 1)
    if upstream <= downstream:
        return f"{_counted(transcript, before)}+{upstream}"
    return f"{_counted(transcript, after)}-{downstream}"


def _counted(transcript: Transcript, exonic: int) -> str:
    offset = transcript.exon_offset(exonic) or 0
    if not transcript.coding:
        return str(offset + 1)
    low, high = transcript.coding_span
    start, stop = (low, high) if transcript.strand > 0 else (high, low)
    begin, end = transcript.exon_offset(start) or 0, transcript.exon_offset(stop) or 0
    if offset < begin:
        return str(offset - begin)
    return str(offset - begin + 1) if offset <= end else f"*{offset - end}"


def protein_name(protein: str, change: ProteinChange) -> str | None:
    """Return the ``p.`` name of a protein change.

    Parameters
    ----------
    protein : str
        The unchanged protein with its stop.
    change : ProteinChange
    """
    if "start_lost" in change.terms:
        return "p.Met1?"
    if change.mutated is None:
        return _substitution_name(protein, change)
    if change.mutated == protein:
        return "p.="
    if "frameshift_variant" in change.terms:
        return _frameshift_name(change)
    if "stop_lost" in change.terms and change.before.startswith(STOP):
        return _extension_name(change)
    return _in_frame_name(protein, change)


def _three(residues: str) -> str:
    return seq3(residues, custom_map={STOP: "Ter", "U": "Sec"})


def _substitution_name(protein: str, change: ProteinChange) -> str:
    before, after, position = change.before, change.after, change.position
    if before == after:
        return f"p.{_three(before[0])}{position}="
    if STOP in after and after.index(STOP) == 0:
        return f"p.{_three(before[0])}{position}Ter"
    if before == STOP:
        return f"p.Ter{position}{_three(after)}ext*?"
    if len(before) == 1:
        return f"p.{_three(before)}{position}{_three(after)}"
    end = position + len(before) - 1
    return f"p.{_three(before[0])}{position}_{_three(before[-1])}{end}delins{_three(after)}"


def _frameshift_name(change: ProteinChange) -> str | None:
    if not change.before or not change.after:
        return None
    if change.after == STOP:
        return f"p.{_three(change.before)}{change.position}Ter"
    mutated = change.mutated or ""
    distance = len(mutated) - change.position + 1 if mutated.endswith(STOP) else None
    stop = "?" if distance is None else str(distance)
    return f"p.{_three(change.before)}{change.position}{_three(change.after)}fsTer{stop}"


def _extension_name(change: ProteinChange) -> str:
    mutated = change.mutated or ""
    extra = str(len(mutated) - change.position) if mutated.endswith(STOP) else "?"
    first = _three(change.after[:1]) or "?"
    return f"p.Ter{change.position}{first}extTer{extra}"


def _in_frame_name(protein: str, change: ProteinChange) -> str:
    before, after, position = change.before, change.after, change.position
    if "stop_gained" in change.terms:
        before, after = protein[position - 1 :], (change.mutated or "")[position - 1 :]
    if not before or not after:
        # 3' rule: the last of equal residues is the one that is gone, or doubled.
        word = before or after
        place = position - 1
        while place + len(before) < len(protein) and protein[place + len(before)] == word[0]:
            word, place = word[1:] + word[0], place + 1
        position = place + 1
        if before:
            return f"p.{_range(word, position)}del"
        repeated = protein[max(0, place - len(word)) : place]
        if repeated == word:
            return f"p.{_range(word, position - len(word))}dup"
        around = f"{_three(protein[place - 1])}{place}_{_three(protein[place])}{place + 1}"
        return f"p.{around}ins{_three(word)}"
    if STOP in after:
        until_stop = after[: after.index(STOP) + 1]
        change_to = "Ter" if until_stop == STOP else f"delins{_three(until_stop)}"
        return f"p.{_three(before[0])}{position}{change_to}"
    return f"p.{_range(before, position)}delins{_three(after)}"


def _range(residues: str, position: int) -> str:
    if len(residues) == 1:
        return f"{_three(residues)}{position}"
    end = position + len(residues) - 1
    return f"{_three(residues[0])}{position}_{_three(residues[-1])}{end}"
