"""Names of changes by the HGVS recommendations (version 21): ``g. m. c. n. p.``

Insertions and deletions are named where the 3' rule puts them; :func:`three_prime` moves them
there. Protein changes are predictions; the brackets that mark them so are left out, as VEP and
SnpEff do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from Bio.SeqUtils import seq3

from genomics.coding import STOP, ProteinChange, reverse_complement
from genomics.variant import Bases

_MAX_SHIFT_BP = 1000
Namer = Callable[[int], str | None]
"""``namer(position)``: how a 1-based position on the + strand is written; None outside."""

THREE = {
    letter: seq3(letter, custom_map={STOP: "Ter", "U": "Sec"})
    for letter in "ACDEFGHIKLMNPQRSTVWYUX*"
}


@dataclass(frozen=True, slots=True)
class Change:
    """Bases ``first..last`` (1-based, both included, + strand) become ``alt``.

    ``ref`` and ``alt`` share no first or last base; an insertion has an empty ``ref`` and stands
    between ``last`` and ``first = last + 1``.
    """

    first: int
    last: int
    ref: str
    alt: str

    @property
    def low(self) -> int:
        """The lower of the two positions; for an insertion, the one before it."""
        return min(self.first, self.last)

    @property
    def high(self) -> int:
        """The higher of the two positions; for an insertion, the one after it."""
        return max(self.first, self.last)


def nucleotide_name(change: Change, strand: int, namer: Namer, bases: Bases) -> str | None:
    """Return the name of a change without its prefix (``c.`` and the like).

    Parameters
    ----------
    change : Change
        Where the 3' rule of this strand puts it.
    strand : int
        1, or -1 where the name is counted against the + strand.
    namer : callable
        How positions are written.
    bases : callable
        The + strand's bases, "" beyond its ends.

    Returns
    -------
    str or None
        None where one of the positions has no name.
    """
    span = _span(change.low, change.high, strand, namer)
    if span is None:
        return None
    ref, alt = change.ref, change.alt
    if strand < 0:
        ref, alt = reverse_complement(ref), reverse_complement(alt)
    if len(ref) == len(alt) == 1:
        return f"{span}{ref}>{alt}"
    if not alt:
        return f"{span}del"
    if ref:
        if len(ref) == len(alt) and alt == reverse_complement(ref):
            return f"{span}inv"
        return f"{span}delins{alt}"
    doubled = _doubled(change, strand, namer, bases)
    return f"{doubled}dup" if doubled else f"{span}ins{alt}"


def _span(low: int, high: int, strand: int, namer: Namer) -> str | None:
    begin, end = (low, high) if strand > 0 else (high, low)
    first = namer(begin)
    if first is None or begin == end:
        return first
    last = namer(end)
    return None if last is None else f"{first}_{last}"


def _doubled(change: Change, strand: int, namer: Namer, bases: Bases) -> str | None:
    """Return the span that an insertion repeats, or None where it repeats nothing."""
    length = len(change.alt)
    low = change.first - length if strand > 0 else change.first
    if low < 1 or bases(low, low + length - 1) != change.alt:
        return None
    return _span(low, low + length - 1, strand, namer)


def three_prime(change: Change, strand: int, bases: Bases) -> Change:
    """Move an insertion or deletion as far as it goes towards the 3' end of a strand."""
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
    before, after, position = change.before, change.after, change.position
    if before == after:
        return f"p.{THREE[before[0]]}{position}=" if before else "p.="
    if before[:1] == STOP:
        return _extension_name(change)
    if change.shift:
        return _frameshift_name(change)
    if len(before) == len(after) == 1:
        return f"p.{THREE[before]}{position}{THREE[after]}"
    return _in_frame_name(protein, change)


def _three(residues: str) -> str:
    return "".join(THREE[residue] for residue in residues)


def _frameshift_name(change: ProteinChange) -> str | None:
    before, after, position = change.before, change.after, change.position
    if not before or not after:
        return None
    if after == STOP:
        return f"p.{THREE[before]}{position}Ter"
    stop = "?" if change.stop is None else str(change.stop - position + 1)
    return f"p.{THREE[before]}{position}{THREE[after]}fsTer{stop}"


def _extension_name(change: ProteinChange) -> str:
    extra = "?" if change.stop is None else str(change.stop - change.position)
    first = THREE[change.after[0]] if change.after else "?"
    return f"p.Ter{change.position}{first}extTer{extra}"


def _in_frame_name(protein: str, change: ProteinChange) -> str:
    before, after, position = change.before, change.after, change.position
    if before and after:
        if after == STOP:
            return f"p.{THREE[before[0]]}{position}Ter"
        return f"p.{_range(before, position)}delins{_three(after)}"
    # 3' rule: the last of equal residues is the one that is gone, or doubled.
    word = before or after
    place = position - 1
    while place + len(before) < len(protein) and protein[place + len(before)] == word[0]:
        word, place = word[1:] + word[0], place + 1
    position = place + 1
    if before:
        return f"p.{_range(word, position)}del"
    if protein[max(0, place - len(word)) : place] == word:
        return f"p.{_range(word, position - len(word))}dup"
    around = f"{THREE[protein[place - 1]]}{place}_{THREE[protein[place]]}{place + 1}"
    return f"p.{around}ins{_three(word)}"


def _range(residues: str, position: int) -> str:
    if len(residues) == 1:
        return f"{THREE[residues]}{position}"
    end = position + len(residues) - 1
    return f"{THREE[residues[0]]}{position}_{THREE[residues[-1]]}{end}"
