"""Alleles that a VCF states twice, however their records are written."""

from __future__ import annotations

from genomics.variant import NUCLEOTIDES, Variant


class StatedAlleles:
    """The alleles of the records just read, each under its shortest writing.

    ``chr1-100-TAT-TGT`` and ``chr1-101-A-G`` are one allele. Only alleles that later records can
    still repeat are kept: in a sorted file, those that begin at or after the present position.
    """

    def __init__(self) -> None:
        self._chrom = ""
        self._last = 0
        self._lines: dict[tuple[int, str, str], int] = {}

    def repeated(
        self, chrom: str, position: int, ref: str, alts: str, line_number: int
    ) -> str | None:
        """Note a record's alleles; return which of them was stated before, None where none was.

        Two records of one allele may contradict each other about the patient's genotype.
        """
        if chrom != self._chrom or position > self._last:
            self._chrom, self._last = chrom, position
            self._lines.clear()
        if len(ref) == len(alts) == 1 and alts in "ACGT":
            return self._note((position, ref, alts), line_number)
        for alt in alts.upper().split(","):
            if set(alt) <= NUCLEOTIDES:
                repeated = self._note(_shortest(position, ref.upper(), alt), line_number)
                if repeated:
                    return repeated
        return None

    def _note(self, key: tuple[int, str, str], line_number: int) -> str | None:
        before = self._lines.setdefault(key, line_number)
        if before != line_number:
            return (
                f"{self._chrom}-{key[0]}-{key[1][:20]}-{key[2][:20]} was already stated in line "
                f"{before}; keep one of the two (bcftools norm --rm-dup exact)"
            )
        if key[0] > self._last:
            self._last = key[0]
        return None


def _shortest(position: int, ref: str, alt: str) -> tuple[int, str, str]:
    if len(ref) == len(alt) == 1:
        return position, ref, alt
    trimmed = Variant(None, "", position, ref, alt).trimmed()
    return trimmed.position, trimmed.ref, trimmed.alt
