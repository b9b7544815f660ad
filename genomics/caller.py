"""Consequences worked out from a FASTA and a GFF3.

Each transcript that a change touches gets its Sequence Ontology terms, its protein change and its
HGVS names; the one that stands for the variant is chosen by
:func:`genomics.consequence.representative`.

An insertion or deletion in a repeat can be written at several places that give the same sequence.
It is named where the 3' rule puts it. Its effect is judged where it does least harm to splicing:
in an exon if one of its writings lies wholly in one, else in the intron clear of the splice sites.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

from genomics.blocks import BlockReader
from genomics.consequence import Consequence, with_others
from genomics.contigs import MITOCHONDRION, canonical_name
from genomics.errors import GenesError
from genomics.genes import Genes, Transcript
from genomics.hgvs import Change, nucleotide_name, three_prime
from genomics.par import home_on_x, is_pseudoautosomal
from genomics.reference import Reference
from genomics.transcript_model import SOURCE, TranscriptModel
from genomics.variant import Bases, Variant

_KEPT_MODELS = 1024
_INTERGENIC = ("intergenic_variant",)
PSEUDOAUTOSOMAL = "pseudoautosomal: X and Y cannot be told apart here"


@dataclass(frozen=True, slots=True)
class _Sequence:
    """A sequence by one of its names: its name in the GFF3, and how its changes are named."""

    contig: str
    bases: Bases
    prefix: str
    is_sex_chromosome: bool


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
        self._blocks = BlockReader(reference)
        self._sequences: dict[str, _Sequence] = {}
        # By identity: the genes keep every transcript alive, and hashing one is slow.
        self._models: OrderedDict[int, TranscriptModel] = OrderedDict()

    def has(self, contig: str) -> bool:
        """Whether the GFF3 has genes on this sequence."""
        return self._reference.name_of(contig) in self._names

    def consequence(self, variant: Variant) -> Consequence:
        """Return the consequence that stands for a variant, with those on other transcripts in it.

        Parameters
        ----------
        variant : Variant
            With both alleles written out as bases, on a sequence that :meth:`has` knows.
        """
        found = with_others(self.consequences(variant))
        if found is None:
            genomic = self.genomic_name(variant)
            found = Consequence.of(terms=_INTERGENIC, source=SOURCE, hgvs_g=genomic)
        if self._sequence(variant.chrom).is_sex_chromosome and is_pseudoautosomal(
            variant.build, variant.chrom, variant.position
        ):
            return found.but(note=found.note or PSEUDOAUTOSOMAL)
        return found

    def consequences(self, variant: Variant) -> list[Consequence]:
        """Return the consequence on every transcript that the variant touches.

        A variant in a pseudoautosomal region of Y on which the GFF3 has no gene is read on X.
        """
        found = self._consequences(variant)
        if not found and self._sequence(variant.chrom).is_sex_chromosome:
            twin = self._twin_on_x(variant)
            if twin is not None:
                genomic = self.genomic_name(variant)
                found = [each.but(hgvs_g=genomic) for each in self._consequences(twin)]
        return found

    def genomic_name(self, variant: Variant) -> str | None:
        """Return the ``g.`` name (``m.`` on the mitochondrion) of a variant."""
        here = self._sequence(variant.chrom)
        if len(variant.ref) == len(variant.alt) == 1:
            return f"{here.prefix}{variant.position}{variant.ref}>{variant.alt}"
        _, right = self.placements(variant)
        name = nucleotide_name(right, 1, str, here.bases)
        return None if name is None else here.prefix + name

    def placements(self, variant: Variant) -> tuple[Change, Change]:
        """Return a variant's change moved as far left, and as far right, as the sequence allows."""
        bases = self._sequence(variant.chrom).bases
        aligned = variant.left_aligned(bases)
        position, ref, alt = aligned.position, aligned.ref, aligned.alt
        if len(ref) != len(alt) and ref[0] == alt[0]:
            position, ref, alt = position + 1, ref[1:], alt[1:]
        left = Change(position, position + len(ref) - 1, ref, alt)
        return left, three_prime(left, 1, bases)

    def overlapping(self, variant: Variant) -> list[Transcript]:
        """Return the transcripts that share a base with the variant's reference allele."""
        contig = self._sequence(variant.chrom).contig
        last = variant.position + len(variant.ref) - 1
        return self._genes.overlapping(contig, variant.position, last)

    def touched(self, variant: Variant) -> list[tuple[TranscriptModel, Change, Change]]:
        """Return each transcript that a variant may touch, with the writings of its change there.

        The first is the one by which its effect is judged, the second the one by which HGVS names
        it.
        """
        left, right = self.placements(variant)
        contig = self._sequence(variant.chrom).contig
        models = map(self.model, self._genes.overlapping(contig, left.low, right.high))
        return [
            (each, each.judged(left, right), right if each.transcript.strand > 0 else left)
            for each in models
        ]

    def model(self, transcript: Transcript) -> TranscriptModel:
        """Return the model of a transcript, kept for the next variant near by."""
        model = self._models.get(id(transcript))
        if model is None:
            bases = self._sequence(transcript.contig).bases
            model = TranscriptModel(transcript, self._reference, bases)
            self._models[id(transcript)] = model
            if len(self._models) > _KEPT_MODELS:
                self._models.popitem(last=False)
        return model

    def _consequences(self, variant: Variant) -> list[Consequence]:
        here = self._sequence(variant.chrom)
        if len(variant.ref) == len(variant.alt) == 1:
            return self._substituted(here, variant.position, variant.ref, variant.alt)
        left, right = self.placements(variant)
        if len(left.ref) == len(left.alt) == 1:
            return self._substituted(here, left.first, left.ref, left.alt)
        touched = self._genes.overlapping(here.contig, left.low, right.high)
        if not touched:
            return []
        genomic = here.prefix + (nucleotide_name(right, 1, str, here.bases) or "")
        every = (self.model(each).change(left, right, genomic) for each in touched)
        return [each for each in every if each is not None]

    def _substituted(self, here: _Sequence, position: int, ref: str, alt: str) -> list[Consequence]:
        touched = self._genes.overlapping(here.contig, position, position)
        if not touched:
            return []
        genomic = f"{here.prefix}{position}{ref}>{alt}"
        every = [self.model(each).substitution(position, ref, alt, genomic) for each in touched]
        return [each for each in every if each is not None]

    def _sequence(self, chrom: str) -> _Sequence:
        found = self._sequences.get(chrom)
        if found is None:
            name = self._reference.name_of(chrom) or chrom
            found = self._sequences[chrom] = _Sequence(
                contig=self._names.get(name, ""),
                bases=self._blocks.on(name),
                prefix="m." if canonical_name(chrom) == MITOCHONDRION else "g.",
                is_sex_chromosome=canonical_name(chrom) in {"X", "Y"},
            )
        return found

    def _twin_on_x(self, variant: Variant) -> Variant | None:
        position = home_on_x(variant.build, variant.chrom, variant.position)
        name = None if position is None else self._reference.name_of("X")
        if position is None or name is None or name not in self._names:
            return None
        return replace(variant, chrom=self._names[name], position=position)
