"""A genome small enough to work out by hand: one gene per strand, the same coding sequence.

Coding sequence, 27 bases in two exons (12 and 15):

    exon 1        exon 2
    ATG GCT TGG CGT | AAA CTG TAC GAA TAA
     M   A   W   R  |  K   L   Y   E   *
     1   2   3   4  |  5   6   7   8   9

``PLUS`` on ``toy_plus``: 5' UTR 11-20 (10 bases), coding exon 1 at 21-32, intron 33-62 (30 bases,
GT..AG), coding exon 2 at 63-77, 3' UTR 78-87. ``MINUS`` on ``toy_minus`` is the reverse complement
of the same 97 bases, so that position p of one is position 98 - p of the other.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

FLANK = "TTGACCATGC"
UTR5, UTR3 = "CCAGGTCAAC", "GGCATTGACC"
EXON1, EXON2 = "ATGGCTTGGCGT", "AAACTGTACGAATAA"
INTRON = "GTAAGTCCATTGCATTGCACCTTTTCTTAG"
PLUS = FLANK + UTR5 + EXON1 + INTRON + EXON2 + UTR3 + FLANK
PROTEIN = "MAWRKLYE"

_COMPLEMENT = str.maketrans("ACGT", "TGCA")


def reverse_complement(bases: str) -> str:
    return bases.translate(_COMPLEMENT)[::-1]


MINUS = reverse_complement(PLUS)


class ToyFiles(NamedTuple):
    fasta: Path
    gff3: Path


def write_toy_genome(folder: Path) -> ToyFiles:
    fasta, gff3 = folder / "toy.fa", folder / "toy.gff3"
    fasta.write_text(f">toy_plus\n{PLUS}\n>toy_minus\n{MINUS}\n")
    rows = ["##gff-version 3"]
    for contig, strand, exons, coding in (
        ("toy_plus", "+", [(11, 32), (63, 87)], [(21, 32, 0), (63, 77, 0)]),
        ("toy_minus", "-", [(11, 35), (66, 87)], [(21, 35, 0), (66, 77, 0)]),
    ):
        name = "PLUS" if strand == "+" else "MINUS"
        rows.append(f"{contig}\ttoy\tgene\t11\t87\t.\t{strand}\t.\tID=gene-{name};Name={name}")
        rows.append(
            f"{contig}\ttoy\tmRNA\t11\t87\t.\t{strand}\t.\tID={name}.1;Parent=gene-{name};"
            "tag=MANE Select"
        )
        rows += [
            f"{contig}\ttoy\texon\t{first}\t{last}\t.\t{strand}\t.\tParent={name}.1"
            for first, last in exons
        ]
        rows += [
            f"{contig}\ttoy\tCDS\t{first}\t{last}\t.\t{strand}\t{phase}\tID=c;Parent={name}.1"
            for first, last, phase in coding
        ]
    gff3.write_text("\n".join(rows) + "\n")
    return ToyFiles(fasta, gff3)


def write_vcf(
    path: Path,
    rows: list[str],
    samples: str = "",
    header: tuple[str, ...] = (),
    version: str = "VCFv4.2",
) -> Path:
    """Write a VCF of space-separated rows."""
    columns = "#CHROM POS ID REF ALT QUAL FILTER INFO" + (f" FORMAT {samples}" if samples else "")
    lines = [
        f"##fileformat={version}",
        *header,
        *(row.replace(" ", "\t") for row in [columns, *rows]),
    ]
    path.write_text("\n".join(lines) + "\n")
    return path
