"""A made-up whole genome and one person's variants in it, for `benchmarks/genomics.py`.

Chromosomes have GRCh38's lengths and random bases; real genes (RefSeqGene records, shared data) are
planted in them over and over until they cover about a third, as genes do. Variants are drawn from
a seed: the wanted share of them in coding bases, the rest anywhere else. Nothing comes from a
person.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from Bio import bgzf

from genomics.contigs import BUILD_LENGTHS
from genomics.genes import Genes, Transcript
from genomics.reference import Reference

SEED = 20240501
LINE = 60
GENIC = 1 / 3
_BACKGROUND_BP = 20_000_000
_BASES = np.frombuffer(b"ACGT", dtype=np.uint8)
_CODE = np.zeros(256, dtype=np.uint8)
_CODE[_BASES] = np.arange(4)
_HEADER = (
    "##fileformat=VCFv4.2",
    "##reference=genome.fa",
    '##FILTER=<ID=PASS,Description="All filters passed">',
    '##FILTER=<ID=LowQual,Description="Low quality">',
    '##INFO=<ID=AC,Number=A,Type=Integer,Description="Allele count">',
    '##INFO=<ID=AF,Number=A,Type=Float,Description="Allele frequency">',
    '##INFO=<ID=AN,Number=1,Type=Integer,Description="Alleles in all genotypes">',
    '##INFO=<ID=DP,Number=1,Type=Integer,Description="Depth">',
    '##INFO=<ID=MQ,Number=1,Type=Float,Description="Mapping quality">',
    '##INFO=<ID=QD,Number=1,Type=Float,Description="Quality by depth">',
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">',
    '##FORMAT=<ID=AD,Number=R,Type=Integer,Description="Depth of each allele">',
    '##FORMAT=<ID=DP,Number=1,Type=Integer,Description="Depth">',
    '##FORMAT=<ID=GQ,Number=1,Type=Integer,Description="Genotype quality">',
)
Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]


class Genome(NamedTuple):
    """The files, and where a chromosome's coding bases are."""

    fasta: Path
    gff3: Path
    lengths: dict[str, int]


@dataclass(frozen=True)
class _Locus:
    """A RefSeqGene record: its bases and its transcripts with whole coding sequences."""

    bases: Bytes
    transcripts: tuple[Transcript, ...]


def genome_in(folder: Path, scale: float = 1.0) -> Genome:
    """Return where `write_genome` puts, or has put, its files."""
    lengths = {f"chr{c}": int(n * scale) for c, n in BUILD_LENGTHS["GRCh38"].items()}
    return Genome(folder / "genome.fa", folder / "genes.gff3", lengths)


def write_genome(folder: Path, genes: Path, scale: float = 1.0) -> Genome:
    """Write `genome.fa` and an Ensembl-style `genes.gff3`; `scale` shortens every chromosome."""
    folder.mkdir(parents=True, exist_ok=True)
    loci = _loci(genes)
    draw = np.random.default_rng(SEED)
    background = _BASES[draw.integers(0, 4, min(_BACKGROUND_BP, int(3e8 * scale)), dtype=np.uint8)]
    genome, number = genome_in(folder, scale), 0
    with genome.fasta.open("wb") as fasta, genome.gff3.open("w", encoding="utf-8") as gff3:
        gff3.write("##gff-version 3\n")
        for name, length in genome.lengths.items():
            turned = np.roll(background, -int(draw.integers(len(background))))
            bases = np.resize(turned, length)
            for start, locus in _planted(loci, length, draw):
                bases[start : start + len(locus.bases)] = locus.bases
                for transcripts in _by_gene(locus.transcripts):
                    number += 1
                    gff3.writelines(_gff3(name, start, transcripts, number))
            fasta.write(f">{name}\n".encode())
            _write_lines(fasta, bases)
    return genome


def write_variants(path: Path, genome: Genome, records: int, coding: float = 0.005) -> Path:
    """Write a bgzipped VCF of one sample, sorted, `coding` of its records in coding bases."""
    reference, genes = Reference.open(genome.fasta), Genes.read(genome.gff3)
    draw = np.random.default_rng(SEED + records)
    total = sum(genome.lengths.values())
    with path.open("wb") as raw:
        stream = bgzf.BgzfWriter(fileobj=raw)
        contigs = [f"##contig=<ID={name},length={n}>" for name, n in genome.lengths.items()]
        columns = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tWHOLE-GENOME"
        stream.write("\n".join((*_HEADER, *contigs, columns, "")).encode())
        left, bases_left = records, total
        for name, length in genome.lengths.items():
            share = left if length == bases_left else round(left * length / bases_left)
            left, bases_left = left - share, bases_left - length
            bases = np.frombuffer(reference.bases(name, 1, length).encode(), dtype=np.uint8)
            places = _places(genes.by_contig.get(name, ()), length, share, coding, draw)
            for rows in _rows(name, bases, places, draw):
                stream.write(rows.encode())
        stream.close()
    return path


def _loci(folder: Path) -> list[_Locus]:
    found = []
    for fasta in sorted(folder.glob("NG_*.fasta")):
        reference, genes = Reference.open(fasta), Genes.read(fasta.with_suffix(".gff3"))
        (contig,) = reference.lengths
        whole = tuple(
            each
            for each in genes.by_contig[contig]
            if each.coding and each.start_known and not each.frame and _length(each) % 3 == 0
        )
        bases = reference.bases(contig, 1, reference.lengths[contig])
        if whole:
            found.append(_Locus(np.frombuffer(bases.encode(), dtype=np.uint8), whole))
    return found


def _length(transcript: Transcript) -> int:
    return sum(last - first + 1 for first, last in transcript.coding)


def _planted(
    loci: list[_Locus], length: int, draw: np.random.Generator
) -> Iterator[tuple[int, _Locus]]:
    place, waiting = int(draw.integers(10_000, 20_000)), list[_Locus]()
    while True:
        waiting = waiting or [loci[index] for index in draw.permutation(len(loci))]
        fits = [each for each in waiting if place + len(each.bases) + 10_000 < length]
        if not fits:
            return
        locus = fits[0]
        waiting = [each for each in waiting if each is not locus]
        yield place, locus
        size = len(locus.bases)
        place += size + int(size * (1 / GENIC - 1) * draw.uniform(0.5, 1.5))


def _by_gene(transcripts: tuple[Transcript, ...]) -> list[list[Transcript]]:
    named: dict[str, list[Transcript]] = {}
    for each in transcripts:
        named.setdefault(each.gene, []).append(each)
    return list(named.values())


def _gff3(contig: str, shift: int, transcripts: list[Transcript], number: int) -> Iterator[str]:
    first = shift + min(each.span[0] for each in transcripts)
    last = shift + max(each.span[1] for each in transcripts)
    gene = f"{transcripts[0].gene}.{number}"
    strand = "+" if transcripts[0].strand > 0 else "-"

    def row(kind: str, begin: int, end: int, phase: object, attributes: str) -> str:
        return f"{contig}\tx\t{kind}\t{begin}\t{end}\t.\t{strand}\t{phase}\t{attributes}\n"

    coding = "biotype=protein_coding"
    yield row("gene", first, last, ".", f"ID=gene:{gene};{coding};Name={gene}")
    for index, each in enumerate(transcripts):
        name = f"{each.name}.{number}"
        tag = ";tag=MANE_Select" if index == 0 else ""
        parent = f"Parent=transcript:{name}"
        identity = f"ID=transcript:{name};Parent=gene:{gene};{coding};transcript_id={name}{tag}"
        yield row("mRNA", shift + each.span[0], shift + each.span[1], ".", identity)
        yield from (row(*part, parent) for part in _parts(each, shift))


def _parts(transcript: Transcript, shift: int) -> Iterator[tuple[str, int, int, object]]:
    low, high = transcript.coding_span
    names = ("five_prime_UTR", "three_prime_UTR")
    before, after = names if transcript.strand > 0 else names[::-1]
    for begin, end in transcript.exons:
        yield "exon", shift + begin, shift + end, "."
        if begin < low:
            yield before, shift + begin, shift + min(end, low - 1), "."
        if end > high:
            yield after, shift + max(begin, high + 1), shift + end, "."
    passed = 0
    for begin, end in transcript.coding if transcript.strand > 0 else reversed(transcript.coding):
        yield "CDS", shift + begin, shift + end, -passed % 3
        passed += end - begin + 1


def _write_lines(stream, bases: Bytes) -> None:  # type: ignore[no-untyped-def]
    whole = len(bases) // LINE * LINE
    lines = np.full((whole // LINE, LINE + 1), ord("\n"), dtype=np.uint8)
    lines[:, :LINE] = bases[:whole].reshape(-1, LINE)
    stream.write(lines.data)
    if whole < len(bases):
        stream.write(bases[whole:].tobytes() + b"\n")


def _places(
    transcripts, length: int, records: int, coding: float, draw: np.random.Generator
) -> Places:  # type: ignore[no-untyped-def]
    """0-based places of the records, ascending, none twice."""
    inside = np.zeros(length, dtype=bool)
    for each in transcripts:
        for first, last in each.coding:
            inside[first - 1 : last] = True
    protein = np.flatnonzero(inside)
    chosen = draw.choice(protein, min(len(protein), round(records * coding)), replace=False)
    wanted = records - len(chosen)
    other = draw.integers(1_000, length - 1_000, int(wanted * 1.1) + 100)
    other = np.unique(other[~inside[other]])
    other = draw.choice(other, min(wanted, len(other)), replace=False)
    return np.sort(np.concatenate([chosen, other]))


def _rows(name: str, bases: Bytes, places: Places, draw: np.random.Generator) -> Iterator[str]:
    """Lines in blocks: 86 % SNVs, 2 % of them with two ALT, 7 % deletions, 7 % insertions."""
    for start in range(0, len(places), 50_000):
        part = places[start : start + 50_000]
        yield "".join(_row(name, bases, int(p), *d) for p, *d in _drawn(part, draw))


def _drawn(part: Places, draw: np.random.Generator) -> Iterator[tuple[int, ...]]:
    n = len(part)
    columns = (
        part,
        draw.integers(0, 100, n),
        draw.integers(1, 4, n),
        np.minimum(draw.geometric(0.4, n), 30),
        draw.integers(12, 60, n),
        draw.integers(0, 3, n),
        draw.integers(0, 1_000_000_000, n),
    )
    return zip(*(column.tolist() for column in columns), strict=True)


def _row(
    name: str, bases: Bytes, place: int, kind: int, step: int, size: int, depth: int, both: int,
    number: int,
) -> str:  # fmt: skip
    ref = bases[place : place + 1].tobytes().decode()
    alt = "ACGT"[("ACGT".index(ref) + step) % 4]
    genotype, alleles = ("1/1", 2) if both == 0 else ("0/1", 1)
    counts = f"AC={alleles};AF={alleles / 2:.3f}"
    reads = f"{0 if both == 0 else depth - depth // 2},{depth // 2}"
    if kind < 2:
        alt = f"{alt},{'ACGT'[('ACGT'.index(ref) + step % 3 + 1) % 4]}"
        genotype, counts, reads = "1/2", "AC=1,1;AF=0.500,0.500", f"0,{depth // 2},{depth // 2}"
    elif kind >= 93:
        ref = bases[place : place + 1 + size].tobytes().decode()
        alt = ref[0]
    elif kind >= 86:
        alt = ref + "".join("ACGT"[number >> shift & 3] for shift in range(size))
    identifier = f"rs{number}" if number % 10 else "."
    filters = "LowQual" if number % 50 == 1 else "PASS"
    return (
        f"{name}\t{place + 1}\t{identifier}\t{ref}\t{alt}\t{depth * 14}.77\t{filters}\t"
        f"{counts};AN=2;DP={depth};MQ=60.00;QD=14.{depth}\tGT:AD:DP:GQ\t"
        f"{genotype}:{reads}:{depth}:{depth + 39}\n"
    )
