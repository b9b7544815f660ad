"""A made-up patient's variants on a made-up genome, for demonstrations and tests.

The genome is drawn at random; its four genes (DEMO1 to DEMO4, invented names) have several exons,
proper splice sites and open reading frames, two on either strand. The VCF holds one change of
every kind that the library tells apart. Nothing in it comes from a person.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from Bio.Data import CodonTable

from genomics.coding import reverse_complement

CONTIG = "demo1"
_LENGTH = 24_000
_GENE_STEP = 5_500
_FIRST_GENE = 1_501
_EXONS_BP = (210, 150, 181, 240)
_INTRON_BP = 300
_UTR_BP = 60
_LINE = 60
_TABLE = CodonTable.unambiguous_dna_by_id[1]
_SENSE = sorted(_TABLE.forward_table)


class SyntheticCase(NamedTuple):
    """The files of a synthetic case."""

    vcf: Path
    fasta: Path
    gff3: Path


@dataclass(frozen=True)
class _Gene:
    """Positions are 1-based on the + strand; exons ascend."""

    name: str
    strand: int
    exons: tuple[tuple[int, int], ...]
    coding: tuple[tuple[int, int], ...]

    def position(self, offset: int) -> int:
        """Return the genomic position of a 0-based place in the coding sequence."""
        for first, last in self.coding if self.strand > 0 else reversed(self.coding):
            if offset <= last - first:
                return first + offset if self.strand > 0 else last - offset
            offset -= last - first + 1
        raise ValueError(f"{self.name} has no coding base {offset} beyond its end")


def write_synthetic_case(folder: str | Path, sample_id: str) -> SyntheticCase:
    """Write a small genome, its genes and one sample's variants; always the same.

    Parameters
    ----------
    folder : path
        Made if it does not exist.
    sample_id : str
        The name of the VCF's sample column.

    Returns
    -------
    SyntheticCase
        Paths of the VCF, the FASTA and the GFF3.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    genome, genes = _draw_genome()
    case = SyntheticCase(folder / "variants.vcf", folder / "genome.fa", folder / "genes.gff3")
    rows = [genome[start : start + _LINE] for start in range(0, len(genome), _LINE)]
    case.fasta.write_text(f">{CONTIG}\n" + "\n".join(rows) + "\n", encoding="utf-8", newline="\n")
    case.gff3.write_text("\n".join(_gff3(genes)) + "\n", encoding="utf-8", newline="\n")
    case.vcf.write_text(
        "\n".join(_vcf(genome, genes, sample_id)) + "\n", encoding="utf-8", newline="\n"
    )
    return case


def _draw_genome() -> tuple[str, list[_Gene]]:
    draw = random.Random(20240229)
    genome = [draw.choice("ACGT") for _ in range(_LENGTH)]
    genes = []
    for index in range(4):
        strand = 1 if index % 2 == 0 else -1
        gene = _lay_out(f"DEMO{index + 1}", _FIRST_GENE + index * _GENE_STEP, strand)
        _write_gene(genome, gene, draw)
        genes.append(gene)
    return "".join(genome), genes


def _lay_out(name: str, start: int, strand: int) -> _Gene:
    exons = []
    lengths = _EXONS_BP if strand > 0 else _EXONS_BP[::-1]
    for length in lengths:
        exons.append((start, start + length - 1))
        start += length + _INTRON_BP
    coding = list(exons)
    coding[0] = (exons[0][0] + _UTR_BP, exons[0][1])
    coding[-1] = (exons[-1][0], exons[-1][1] - _UTR_BP)
    # The reading frame must close: drop what is left over at the 3' end into the UTR.
    surplus = sum(last - first + 1 for first, last in coding) % 3
    if strand > 0:
        coding[-1] = (coding[-1][0], coding[-1][1] - surplus)
    else:
        coding[0] = (coding[0][0] + surplus, coding[0][1])
    return _Gene(name, strand, tuple(exons), tuple(coding))


def _write_gene(genome: list[str], gene: _Gene, draw: random.Random) -> None:
    length = sum(last - first + 1 for first, last in gene.coding)
    codons = ["ATG", *(draw.choice(_SENSE) for _ in range(length // 3 - 2)), "TAA"]
    for offset, base in enumerate("".join(codons)):
        genome[gene.position(offset) - 1] = base if gene.strand > 0 else reverse_complement(base)
    for left, right in zip(gene.exons, gene.exons[1:], strict=False):
        sites = ("GT", "AG") if gene.strand > 0 else ("CT", "AC")
        genome[left[1] : left[1] + 2] = sites[0]
        genome[right[0] - 3 : right[0] - 1] = sites[1]


def _gff3(genes: list[_Gene]) -> Iterator[str]:
    yield "##gff-version 3"
    yield f"##sequence-region {CONTIG} 1 {_LENGTH}"
    for gene in genes:
        strand = "+" if gene.strand > 0 else "-"
        name, transcript = gene.name, f"{gene.name}-T1"
        whole = (
            f"{CONTIG}\tsynthetic\t{{}}\t{gene.exons[0][0]}\t{gene.exons[-1][1]}\t.\t{strand}\t."
        )
        yield whole.format("gene") + f"\tID=gene-{name};Name={name};gene_biotype=protein_coding"
        yield whole.format("mRNA") + (
            f"\tID={transcript};Parent=gene-{name};transcript_id={transcript};tag=MANE Select"
        )
        for first, last in gene.exons:
            yield f"{CONTIG}\tsynthetic\texon\t{first}\t{last}\t.\t{strand}\t.\tParent={transcript}"
        passed = 0
        for first, last in gene.coding if gene.strand > 0 else reversed(gene.coding):
            phase = -passed % 3
            passed += last - first + 1
            yield (
                f"{CONTIG}\tsynthetic\tCDS\t{first}\t{last}\t.\t{strand}\t{phase}"
                f"\tID=cds-{name};Parent={transcript}"
            )


def _vcf(genome: str, genes: list[_Gene], sample_id: str) -> Iterator[str]:
    yield "##fileformat=VCFv4.3"
    yield "##source=napari-precimed synthetic case"
    yield "##reference=genome.fa"
    yield f"##contig=<ID={CONTIG},length={_LENGTH}>"
    yield '##ALT=<ID=DEL,Description="Deletion">'
    yield '##FILTER=<ID=PASS,Description="All filters passed">'
    yield '##INFO=<ID=END,Number=1,Type=Integer,Description="Last position of the deletion">'
    yield '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">'
    yield f"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t{sample_id}"
    rows = sorted(_records(genome, genes), key=lambda row: row[0])
    for number, (position, ref, alt, info, genotype) in enumerate(rows, start=1):
        yield (
            f"{CONTIG}\t{position}\tdemo{number}\t{ref}\t{alt}\t60\tPASS\t{info}\tGT\t{genotype}"
        )


_Row = tuple[int, str, str, str, str]


def _records(genome: str, genes: list[_Gene]) -> Iterator[_Row]:
    for number, gene in enumerate(genes):
        for step in range(6):
            yield _substitution(genome, gene, 12 + 31 * step + number, _is_missense, "0/1")
        yield _substitution(genome, gene, 40 + number, _is_silent, "0/1")
    yield _substitution(genome, genes[0], 100, _is_stop, "0/1")
    yield _substitution(genome, genes[1], 60, _is_stop, "1/1")
    deleted = genes[2].position(150)
    yield deleted, genome[deleted - 1 : deleted + 1], genome[deleted - 1], ".", "0/1"
    kept = genes[3].position(200)
    yield kept, genome[kept - 1 : kept + 3], genome[kept - 1], ".", "0|1"
    donor = genes[0].exons[0][1] + 1
    yield donor, genome[donor - 1], "A", ".", "0/1"
    acceptor = genes[1].exons[1][1] + 1
    yield acceptor, genome[acceptor - 1], "G" if genome[acceptor - 1] != "G" else "T", ".", "0/1"
    yield 400, genome[399], _other(genome[399]), ".", "0/1"
    intronic = genes[2].exons[1][1] + 120
    yield intronic, genome[intronic - 1], _other(genome[intronic - 1]), ".", "0/1"
    two = genes[0].position(250)
    alts = [base for base in "ACGT" if base != genome[two - 1]][:2]
    yield two, genome[two - 1], ",".join(alts), ".", "1/2"
    upstream = genes[3].position(90)
    yield upstream, genome[upstream - 1], "*", ".", "0/1"
    missing = genes[1].position(300)
    yield missing, genome[missing - 1], _other(genome[missing - 1]), ".", "./."
    absent = genes[2].position(30)
    yield absent, genome[absent - 1], _other(genome[absent - 1]), ".", "0/0"
    yield 23_000, genome[22_999], "<DEL>", "END=23400", "0/1"


def _other(base: str) -> str:
    return {"A": "G", "G": "A", "C": "T", "T": "C"}[base]


def _is_missense(old: str, new: str) -> bool:
    return new in _TABLE.forward_table and _TABLE.forward_table[old] != _TABLE.forward_table[new]


def _is_silent(old: str, new: str) -> bool:
    return new in _TABLE.forward_table and _TABLE.forward_table[old] == _TABLE.forward_table[new]


def _is_stop(old: str, new: str) -> bool:
    return new in _TABLE.stop_codons


def _substitution(
    genome: str, gene: _Gene, codon: int, wanted: Callable[[str, str], bool], genotype: str
) -> _Row:
    """Return the first substitution of the wanted kind at or after a codon."""
    length = sum(last - first + 1 for first, last in gene.coding)
    for index in range(codon, length // 3 - 1):
        positions = [gene.position(3 * index + place) for place in range(3)]
        bases = [genome[position - 1] for position in positions]
        old = bases if gene.strand > 0 else [reverse_complement(base) for base in bases]
        for place in range(3):
            for base in "ACGT":
                new = [*old[:place], base, *old[place + 1 :]]
                if base != old[place] and wanted("".join(old), "".join(new)):
                    alt = base if gene.strand > 0 else reverse_complement(base)
                    return positions[place], bases[place], alt, ".", genotype
    raise ValueError(f"{gene.name} has no such substitution from codon {codon} on")
