"""The variants that are compared: every SNV of each coding sequence, and seeded indels and MNVs."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from genomics.genes import Genes, Transcript
from genomics.reference import Reference
from genomics.variant import Variant

MARGIN_BP = 20
"""How far beyond the coding bases indels and MNVs begin."""
LONGEST_BP = 12


def coding_positions(transcripts: Sequence[Transcript], margin: int = 0) -> list[int]:
    return sorted(
        {
            position
            for each in transcripts
            for first, last in each.coding
            for position in range(first - margin, last + margin + 1)
        }
    )


def every_snv(contig: str, bases: str, transcripts: Sequence[Transcript]) -> Iterator[Variant]:
    for position in coding_positions(transcripts):
        ref = bases[position - 1]
        for alt in "ACGT":
            if alt != ref and ref in "ACGT":
                yield Variant(None, contig, position, ref, alt)


def random_changes(
    sequences: Mapping[str, str],
    transcripts: Mapping[str, Sequence[Transcript]],
    n: int,
    seed: int,
) -> list[Variant]:
    """Draw insertions, deletions, indels and MNVs, a quarter each, without repeats.

    Half of the insertions double what is there, as real ones do; lengths are 1 to 12 bases, the
    short ones more often.
    """
    draw = random.Random(seed)
    places = [
        (contig, position)
        for contig, bases in sequences.items()
        for position in coding_positions(transcripts[contig], MARGIN_BP)
        if LONGEST_BP < position < len(bases) - LONGEST_BP
    ]
    found: dict[str, Variant] = {}
    while len(found) < n:
        contig, position = draw.choice(places)
        variant = _drawn(draw, contig, position, sequences[contig], len(found) % 4)
        if variant is not None:
            found[variant.key] = variant
    return list(found.values())


def _drawn(
    draw: random.Random, contig: str, position: int, bases: str, kind: int
) -> Variant | None:
    length = min(LONGEST_BP, 1 + int(draw.expovariate(0.35)))

    def at(first: int, n: int) -> str:
        return bases[first - 1 : first - 1 + n]

    def random_bases(n: int) -> str:
        return "".join(draw.choice("ACGT") for _ in range(n))

    if kind == 0:
        word = at(position + 1, length) if draw.random() < 0.5 else random_bases(length)
        ref, alt = at(position, 1), at(position, 1) + word
    elif kind == 1:
        ref, alt = at(position, 1 + length), at(position, 1)
    elif kind == 2:
        ref, alt = at(position, length), random_bases(1 + draw.randrange(LONGEST_BP))
    else:
        ref = at(position, 2 + length % 3)
        alt = random_bases(len(ref))
    usable = ref != alt and set(ref + alt) <= set("ACGT") and (kind != 2 or len(ref) != len(alt))
    return Variant(None, contig, position, ref, alt) if usable else None


def genes_of(folder: Path) -> Iterator[tuple[str, str, Reference, Genes]]:
    """Yield each record of a folder: its name, bases, reference and genes."""
    for fasta in sorted(folder.glob("*.fasta")):
        reference = Reference.open(fasta)
        (name,) = reference.lengths
        yield (
            name,
            reference.bases(name, 1, reference.lengths[name]),
            reference,
            Genes.read(fasta.with_suffix(".gff3")),
        )
