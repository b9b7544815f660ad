"""A variant and a genotype: small frozen values that know no file format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

Bases = Callable[[int, int], str]
"""``bases(first, last)``: the reference's upper-case bases, both ends 1-based and included."""

NUCLEOTIDES = frozenset("ACGTN")


@dataclass(frozen=True)
class Variant:
    """One alternate allele at one place of one genome build.

    Attributes
    ----------
    build : str or None
        "GRCh37", "GRCh38" or "T2T-CHM13"; None where it is not known.
    chrom : str
        The sequence's name as its file writes it.
    position : int
        1-based position of the first base of ``ref``.
    ref, alt : str
        Alleles as in a VCF record; ``alt`` may be symbolic (``<DEL>``), a breakend, ``*`` or
        ``.``.
    """

    build: str | None
    chrom: str
    position: int
    ref: str
    alt: str

    @property
    def is_sequence(self) -> bool:
        """Whether both alleles are written out as bases."""
        return bool(self.alt) and set(self.ref) <= NUCLEOTIDES and set(self.alt) <= NUCLEOTIDES

    @property
    def key(self) -> str:
        """``chrom-position-ref-alt``, as databases write it."""
        return f"{self.chrom}-{self.position}-{self.ref}-{self.alt}"

    def trimmed(self) -> Variant:
        """Return the variant without the bases that both alleles share.

        The common end goes first, then the common beginning; each allele keeps at least one base,
        so that the result is again a valid VCF record (VCF 4.3, section 1.6.1.4).
        """
        ref, alt, position = self.ref, self.alt, self.position
        while min(len(ref), len(alt)) > 1 and ref[-1] == alt[-1]:
            ref, alt = ref[:-1], alt[:-1]
        shared = 0
        while shared < min(len(ref), len(alt)) - 1 and ref[shared] == alt[shared]:
            shared += 1
        return replace(self, position=position + shared, ref=ref[shared:], alt=alt[shared:])

    def left_aligned(self, bases: Bases) -> Variant:
        """Return the trimmed variant moved as far left as the reference's repeats allow.

        Parameters
        ----------
        bases : callable
            The reference's bases on this chromosome.

        Notes
        -----
        Tan, Abecasis and Kang, Unified representation of genetic variants, Bioinformatics 2015,
        algorithm 1.
        """
        ref, alt, position = self.ref, self.alt, self.position
        while True:
            if ref and alt and ref[-1] == alt[-1] and (position > 1 or min(len(ref), len(alt)) > 1):
                ref, alt = ref[:-1], alt[:-1]
            elif not ref or not alt:
                position -= 1
                before = bases(position, position)
                ref, alt = before + ref, before + alt
            else:
                break
        return replace(self, position=position, ref=ref, alt=alt).trimmed()


@dataclass(frozen=True)
class Genotype:
    """The alleles that one sample carries at one record.

    Attributes
    ----------
    alleles : tuple of (int or None)
        0 is REF, k the k-th ALT, None a copy that was not called. A missing copy is never
        reference. Haploid calls have one entry.
    phased : bool
        Whether the order of the alleles tells the haplotypes apart.
    phase_set : str or None
        Records of one phase set share their haplotypes (FORMAT/PS); None where there is none.
    """

    alleles: tuple[int | None, ...]
    phased: bool = False
    phase_set: str | None = None

    def carries(self, allele: int) -> bool | None:
        """Whether allele ``allele`` is carried; None where a missing copy leaves it open."""
        if allele in self.alleles:
            return True
        return None if not self.alleles or None in self.alleles else False

    def zygosity(self, allele: int) -> str | None:
        """Return how allele ``allele`` is carried; None where a missing copy leaves it open.

        One of "homozygous", "heterozygous", "hemizygous" (haploid call) and "not carried".
        """
        if None in self.alleles or not self.alleles:
            return None
        copies = self.alleles.count(allele)
        if copies == 0:
            return "not carried"
        if len(self.alleles) == 1:
            return "hemizygous"
        return "homozygous" if copies == len(self.alleles) else "heterozygous"

    def __str__(self) -> str:
        separator = "|" if self.phased else "/"
        return separator.join("." if allele is None else str(allele) for allele in self.alleles)
