"""Alleles that a VCF states twice, however their records are written."""

from __future__ import annotations

from genomics.variant import NUCLEOTIDES, Variant
from genomics.vcf_body import RecordRuleError


class StatedAlleles:
    """The alleles of the records just read, each under its shortest writing.

    ``chr1-100-TAT-TGT`` and ``chr1-101-A-G`` are one allele. Only alleles that later records can
    still repeat are kept: in a sorted file, those that begin at or after the present position.
    """

    def __init__(self) -> None:
        self._chrom = ""
        self._last = 0
        self._lines: dict[tuple[int, str, str], int] = {}

    def add(self, chrom: str, position: int, ref: str, alts: str, line_number: int) -> None:
        """Note a record's alleles.

        Raises
        ------
        RecordRuleError
            One of them was stated before: two records may then contradict each other.
        """
        if chrom != self._chrom or position > self._last:
            self._chrom, self._last = chrom, position
            self._lines.clear()
        for alt in alts.upper().split(","):
            if not set(alt) <= NUCLEOTIDES:
                continue
            key = _shortest(position, ref.upper(), alt)
            before = self._lines.setdefault(key, line_number)
            if before != line_number:
                raise RecordRuleError(
                    f"{chrom}-{key[0]}-{key[1][:20]}-{key[2][:20]} was already stated in line "
                    f"{before}; keep one of the two (bcftools norm --rm-dup exact)"
                )
            self._last = max(self._last, key[0])


def _shortest(position: int, ref: str, alt: str) -> tuple[int, str, str]:
    if len(ref) == len(alt) == 1:
        return position, ref, alt
    trimmed = Variant(None, "", position, ref, alt).trimmed()
    return trimmed.position, trimmed.ref, trimmed.alt
