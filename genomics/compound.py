"""Changes of one sample that meet in a codon, read as its haplotypes have them.

Two substitutions in one codon, and two frameshifts that restore the frame between them, do together
what neither does alone. Genotypes say whether they are on one haplotype:

- on one haplotype (one phase set, or one of the two carried by every copy): read together;
- on two haplotypes: each read alone, as it is;
- not told apart (no phase): both readings are given, and marked as such;
- a genotype that was not called is never taken for reference: it leaves both readings open.

Phase: VCF 4.3, section 1.6.2 (GT and PS); records without PS share one phase set.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from genomics.caller import GeneCaller
from genomics.consequence import CIS, ONE_OF_TWO, UNCALLED, UNPHASED, Compound, Consequence
from genomics.hgvs import Change
from genomics.transcript_model import Edit, TranscriptModel
from genomics.variant import Genotype, Variant

FRAME_REACH_BP = 150
"""How many coding bases a lost frame is followed in search of the change that restores it."""
TRANS = "trans"
_ORDER = (UNCALLED, UNPHASED, ONE_OF_TWO, CIS)


@dataclass(frozen=True)
class Placed:
    """One allele of a sample with what it does alone.

    Attributes
    ----------
    line_number : int
        Of its record: two alleles of one record are on different haplotypes.
    allele : int
        1 for the first ALT.
    """

    variant: Variant
    genotype: Genotype | None
    line_number: int
    allele: int
    consequence: Consequence | None


@dataclass(frozen=True, eq=False)
class _Part:
    """A placed allele as edits of the transcripts that it changes."""

    placed: Placed
    edits: dict[int, tuple[TranscriptModel, Edit, Change]]
    low: int
    high: int


def read_together(placed: Iterable[Placed], caller: GeneCaller) -> Iterator[Consequence | None]:
    """Yield the consequence of each allele, read with the others of the sample in its codons.

    Parameters
    ----------
    placed : iterable of Placed
        Of one sample, in the file's order; sorted within a sequence.
    caller : GeneCaller

    Yields
    ------
    Consequence or None
        One for each, in order. At most the alleles within one gene are held back.
    """
    waiting: deque[_Part] = deque()
    passed: deque[_Part] = deque()
    for each in placed:
        part = _part(each, caller)
        while waiting and _is_behind(waiting[0], part):
            yield _read(waiting.popleft(), waiting, passed)
        waiting.append(part)
    while waiting:
        yield _read(waiting.popleft(), waiting, passed)


def phase_of(one: Placed, other: Placed) -> str:
    """Return how two alleles of a sample lie to each other, as seen from the first.

    One of the phases of :class:`~genomics.consequence.Compound`, or "trans".
    """
    if one.line_number == other.line_number:
        return TRANS
    first, second = one.genotype, other.genotype
    if first is None or second is None:
        return UNCALLED
    if other.allele not in second.alleles or one.allele not in first.alleles:
        return UNCALLED
    if None in first.alleles or None in second.alleles:
        return UNPHASED
    if all(allele == other.allele for allele in second.alleles):
        return CIS
    if all(allele == one.allele for allele in first.alleles):
        return ONE_OF_TWO
    told = first.phased and second.phased and first.phase_set == second.phase_set
    if not told or len(first.alleles) != len(second.alleles):
        return UNPHASED
    pairs = list(zip(first.alleles, second.alleles, strict=True))
    mine = [b == other.allele for a, b in pairs if a == one.allele]
    if all(mine):
        return CIS
    return ONE_OF_TWO if any(mine) else TRANS


def _is_behind(first: _Part, latest: _Part) -> bool:
    """Whether nothing from ``latest`` on can meet ``first``."""
    elsewhere = first.placed.variant.chrom != latest.placed.variant.chrom
    return elsewhere or first.high < latest.placed.variant.position


def _part(placed: Placed, caller: GeneCaller) -> _Part:
    variant, position = placed.variant, placed.variant.position
    edits: dict[int, tuple[TranscriptModel, Edit, Change]] = {}
    low = high = position
    if not _may_meet(placed) or not caller.has(variant.chrom):
        return _Part(placed, edits, low, high)
    for model, judged, named in caller.touched(variant):
        edit = model.edit(judged)
        if edit is None:
            continue
        edits[id(model)] = (model, edit, named)
        begin, end = _reach(model, edit)
        low, high = min(low, begin), max(high, end)
    return _Part(placed, edits, low, high)


def _may_meet(placed: Placed) -> bool:
    """Whether an allele can be carried and change a coding sequence."""
    genotype = placed.genotype
    if not placed.variant.is_sequence or placed.consequence is None or not placed.allele:
        return False
    if genotype is None or genotype.carries(placed.allele) is False:
        return False
    every = (placed.consequence, *placed.consequence.others)
    return any(each.protein_position is not None for each in every)


def _is_carried(placed: Placed) -> bool:
    return placed.genotype is not None and placed.genotype.carries(placed.allele) is True


def _reach(model: TranscriptModel, edit: Edit) -> tuple[int, int]:
    """Return the lowest and highest position whose change could meet an edit."""
    offset, ref, alt = edit
    begin, end = _codons(model, edit)
    frame = model.transcript.frame
    first, last = frame + 3 * begin, frame + 3 * end + 2
    if (len(alt) - len(ref)) % 3:
        first, last = offset - FRAME_REACH_BP, offset + len(ref) + FRAME_REACH_BP
    size = len(model.sequence.bases)
    ends = [model.position_of(min(max(place, 0), size - 1)) for place in (first, last)]
    return min(ends), max(ends)


def _codons(model: TranscriptModel, edit: Edit) -> tuple[int, int]:
    """Return the first and last codon that an edit changes."""
    offset, ref, _ = edit
    frame = model.transcript.frame
    return (offset - frame) // 3, (offset - frame + max(len(ref), 1) - 1) // 3


def _read(part: _Part, waiting: Iterable[_Part], passed: deque[_Part]) -> Consequence | None:
    while passed and passed[0].placed.variant.chrom != part.placed.variant.chrom:
        passed.popleft()
    # What ends before this part ends before all later ones: a codon across an intron reaches over
    # the intron from both sides.
    while passed and passed[0].high < part.low:
        passed.popleft()
    neighbours = [*passed, *waiting]
    if part.edits:
        passed.append(part)
    consequence = part.placed.consequence
    if consequence is None or not part.edits or not _is_carried(part.placed):
        return consequence
    for model, edit, _ in part.edits.values():
        if model.transcript.name != consequence.transcript:
            continue
        mates = _mates(model, edit, part, neighbours)
        if mates:
            return _joined(model, part, mates)
    return consequence


def _mates(
    model: TranscriptModel, edit: Edit, part: _Part, neighbours: Sequence[_Part]
) -> list[_Part]:
    """Return the parts that meet this one, directly or through each other."""
    candidates = [each for each in neighbours if id(model) in each.edits]
    candidates = [each for each in candidates if phase_of(part.placed, each.placed) != TRANS]
    found: list[_Part] = []
    edges = [edit]
    while edges:
        here = edges.pop()
        for each in candidates:
            other = each.edits[id(model)][1]
            if each in found or not _meet(model, here, other):
                continue
            # Of two that exclude each other, as two ALT of a record do, the first is read.
            if all(phase_of(kept.placed, each.placed) != TRANS for kept in found):
                found.append(each)
                edges.append(other)
    return found


def _meet(model: TranscriptModel, one: Edit, other: Edit) -> bool:
    first, second = sorted((_codons(model, one), _codons(model, other)))
    if second[0] <= first[1]:
        return True
    growths = [len(alt) - len(ref) for _, ref, alt in (one, other)]
    restoring = all(growth % 3 for growth in growths) and sum(growths) % 3 == 0
    return restoring and abs(one[0] - other[0]) <= FRAME_REACH_BP


def _joined(model: TranscriptModel, part: _Part, mates: Sequence[_Part]) -> Consequence | None:
    alone = part.placed.consequence
    if alone is None:
        return None
    phases = {id(each): phase_of(part.placed, each.placed) for each in mates}
    surest = [each for each in mates if phases[id(each)] == CIS]
    together = _edited(model, [part, *mates], alone)
    if together is None:
        return alone
    phase = min(phases.values(), key=_ORDER.index)
    partners = tuple(each.placed.variant.key for each in mates)
    if phase == CIS:
        kept = replace(alone, others=())
        made = Compound(partners, CIS, _evidence(part, mates, CIS), alone=kept)
        return replace(together, compound=made, others=alone.others)
    base = alone
    if surest:
        base = _edited(model, [part, *surest], alone) or alone
    made = Compound(partners, phase, _evidence(part, mates, phase), together=together)
    return replace(base, compound=made, others=alone.others)


def _edited(
    model: TranscriptModel, parts: Sequence[_Part], alone: Consequence
) -> Consequence | None:
    """Return what several edits of a transcript do together; None where they overlap."""
    edits = sorted(each.edits[id(model)][1] for each in parts)
    begin, bases, old, new = edits[0][0], model.sequence.bases, "", ""
    for offset, ref, alt in edits:
        between = bases[begin + len(old) : offset]
        if offset < begin + len(old):
            return None
        old, new = old + between + ref, new + between + alt
    names = [model.name(change) for change in _in_order(model, parts)]
    whole = _as_one(model, (begin, old, new))
    name = model.name(whole) if whole is not None and _one_codon(model, edits) else _listed(names)
    return model.edited((begin, old, new), whole, name, alone.hgvs_g)


def _in_order(model: TranscriptModel, parts: Sequence[_Part]) -> list[Change]:
    ordered = sorted(parts, key=lambda each: each.edits[id(model)][1])
    return [each.edits[id(model)][2] for each in ordered]


def _one_codon(model: TranscriptModel, edits: Sequence[Edit]) -> bool:
    """Whether edits are one ``delins``: HGVS joins changes of one amino acid so."""
    codons = [_codons(model, edit) for edit in edits]
    return min(first for first, _ in codons) == max(last for _, last in codons)


def _listed(names: Sequence[str | None]) -> str | None:
    known = [name for name in names if name is not None]
    if len(known) < len(names) or not known:
        return None
    return f"{known[0][:2]}[{';'.join(name[2:] for name in known)}]"


def _as_one(model: TranscriptModel, edit: Edit) -> Change | None:
    """Return an edit as a change of the sequence; None where an intron parts it."""
    offset, ref, alt = edit
    ends = [model.position_of(place) for place in (offset, offset + len(ref) - 1)]
    if not ref or max(ends) - min(ends) != len(ref) - 1:
        return None
    return model.change_of(min(ends), ref, alt)


def _evidence(part: _Part, mates: Sequence[_Part], phase: str) -> str:
    told = ", ".join(str(each.placed.genotype) for each in mates)
    mine = part.placed.genotype
    sets = {each.placed.genotype.phase_set for each in mates if each.placed.genotype}
    named = f", phase set {next(iter(sets))}" if len(sets) == 1 and None not in sets else ""
    words = {
        CIS: "on one haplotype",
        ONE_OF_TWO: "on one of the two haplotypes that carry it",
        UNPHASED: "not phased: together or apart is not known",
        UNCALLED: "a genotype in the codon was not called",
    }
    return f"{words[phase]} (genotypes {mine} and {told}{named})"
