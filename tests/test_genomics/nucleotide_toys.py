"""Small genes with a rule: near a donor, only a change of the intron's fifth base harms."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

GENES = 60
_COLUMNS = "gene\tchr\tpos\tref\talt\tlabel\tleft100\tright100"
DONOR = "GTAAGT"
_EXON_BP, _INTRON_BP, _PAD_BP = 60, 80, 110


def _bases(draw: random.Random, count: int) -> str:
    return "".join(draw.choices("ACGT", k=count))


def write_nucleotide_data(folder: Path, shuffled: bool = False) -> Path:
    """Write labelled windows, gene sequences and MPRA elements as the shared data has them.

    Each gene has two coding exons of 60 bases around an intron of 80, which begins at position
    171. Changes at its bases 3 to 8 are in the table; the fifth is pathogenic, the others benign.
    """
    draw = random.Random(7)
    (folder / "genes").mkdir(parents=True)
    (folder / "mpra").mkdir()
    rows, fasta, gff3 = [], [], ["##gff-version 3"]
    for number in range(GENES):
        name = f"TOY{number}"
        codons = [draw.choice(["GCT", "CTG", "GAA", "AAA", "TTC", "CCG"]) for _ in range(38)]
        coding = "ATG" + "".join(codons) + "TAA"
        intron = DONOR + _bases(draw, _INTRON_BP - 9) + "CAG"
        pads = _bases(draw, _PAD_BP), _bases(draw, _PAD_BP)
        bases = pads[0] + coding[:_EXON_BP] + intron + coding[_EXON_BP:] + pads[1]
        fasta.append(f">{name}\n{bases}")
        gff3 += _gff3(name)
        for place in range(3, 9):
            position = _PAD_BP + _EXON_BP + place
            ref = bases[position - 1]
            alt = draw.choice([base for base in "ACGT" if base != ref])
            left, right = bases[position - 101 : position - 1], bases[position : position + 100]
            rows.append([name, "chr1", position, ref, alt, int(place == 5), left, right])
    if shuffled:
        labels = [row[5] for row in rows]
        draw.shuffle(labels)
        rows = [[*row[:5], label, *row[6:]] for row, label in zip(rows, labels, strict=True)]
    table = "\n".join([_COLUMNS, *("\t".join(map(str, row)) for row in rows)]) + "\n"
    (folder / "dna_windows_hg38.tsv.gz").write_bytes(gzip.compress(table.encode()))
    (folder / "genes" / "toy.fasta").write_text("\n".join(fasta) + "\n")
    (folder / "genes" / "toy.gff3").write_text("\n".join(gff3) + "\n")
    write_mpra(folder / "mpra", _elements(draw))
    return folder


def _gff3(name: str) -> list[str]:
    first = (_PAD_BP + 1, _PAD_BP + _EXON_BP)
    second = (first[1] + _INTRON_BP + 1, first[1] + _INTRON_BP + _EXON_BP)
    whole = f"{first[0]}\t{second[1]}"
    lines = [
        f"{name}\ttoy\tgene\t{whole}\t.\t+\t.\tID=gene-{name};Name={name}",
        f"{name}\ttoy\tmRNA\t{whole}\t.\t+\t.\tID={name}.1;Parent=gene-{name};tag=MANE Select",
    ]
    for begin, end in (first, second):
        lines += [
            f"{name}\ttoy\texon\t{begin}\t{end}\t.\t+\t.\tParent={name}.1",
            f"{name}\ttoy\tCDS\t{begin}\t{end}\t.\t+\t0\tID=c-{name};Parent={name}.1",
        ]
    return lines


def _elements(draw: random.Random) -> list[str]:
    rows = []
    for element in range(12):
        for position, ref in enumerate(_bases(draw, 40), start=1):
            for alt in set("ACGT") - {ref}:
                effect = draw.gauss(1.0 if alt == "G" else 0.0, 0.5)
                rows.append(f"1 {position} {ref} {alt} 50 1 1 {effect:.3f} 0.1 L{element} GRCh38")
    return sorted(rows)


def write_mpra(folder: Path, rows: list[str]) -> Path:
    """Write space-separated rows as the table of MPRA elements."""
    folder.mkdir(exist_ok=True)
    header = "Chrom\tPos\tRef\tAlt\tBarcodes\tDNA\tRNA\tCoefficient\tpValue\tElement\tRelease"
    text = "\n".join([header, *(row.replace(" ", "\t") for row in rows)]) + "\n"
    path = folder / "elements.tsv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    return path
