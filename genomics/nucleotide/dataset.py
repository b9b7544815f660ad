"""Labelled DNA windows with their consequence class, and the measured effects of MPRA variants.

Two tables train and test ``nucleotide-lstm``. One has variants that clinicians labelled, with 100
bases of the genome on either side; their consequence is called here on the gene sequences that lie
beside it. The other has the effect on expression of nearly every SNV of regulatory elements
(saturation mutagenesis, Kircher et al., Nature Communications 2019). Only SNVs are read: nearly
all indels of the labelled table are pathogenic, so their length would be the answer.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from genomics.caller import GeneCaller
from genomics.coding import reverse_complement
from genomics.consequence import Consequence, representative
from genomics.contigs import MITOCHONDRION, canonical_name
from genomics.dataset import read_tab_separated
from genomics.errors import TableError
from genomics.genes import Genes, Transcript
from genomics.nucleotide.context import FLANK_BP, UNKNOWN_LAYOUT, SiteContext, spoken_for
from genomics.reference import Reference
from genomics.variant import Variant

DNA_TABLE = "dna_windows_hg38.tsv.gz"
MPRA_TABLE = "elements.tsv.gz"
MITOCHONDRIAL_RNA = "mitochondrial_RNA"
"""Class of changes in the mitochondrion's tRNA and rRNA genes."""
UNPLACED = "unplaced"
"""Class of changes whose window is in none of the gene sequences."""
CANONICAL_SPLICE = ("splice_acceptor_variant", "splice_donor_variant")
SCORABLE = (
    "splice_region_variant",
    "synonymous_variant",
    "5_prime_UTR_variant",
    "3_prime_UTR_variant",
    "intron_variant",
    MITOCHONDRIAL_RNA,
)
"""Classes that the model is about, and that it may score where it was shown to be of use."""

_BASES = frozenset("ACGT")
_DNA_COLUMNS = ("gene", "chr", "pos", "ref", "alt", "label", "left100", "right100")
_MPRA_COLUMNS = ("Chrom", "Pos", "Ref", "Alt", "Barcodes", "Coefficient", "Element", "Release")
_FEWEST_BARCODES = 10
# A stretch this long on either side is found at one place of a gene, sequence differences aside.
_ANCHORS_BP = (50, 25, 15)
_SPLICE_REGION_TERMS = frozenset(
    {
        "splice_region_variant",
        "splice_donor_5th_base_variant",
        "splice_donor_region_variant",
        "splice_polypyrimidine_tract_variant",
    }
)


def consequence_class(term: str, chrom: str) -> str:
    """Return the class by which the model is trained, measured and allowed to speak.

    Parameters
    ----------
    term : str
        The most severe Sequence Ontology term.
    chrom : str
        The sequence's name, in any style.
    """
    if canonical_name(chrom) == MITOCHONDRION:
        return MITOCHONDRIAL_RNA if term == "non_coding_transcript_exon_variant" else f"chrM {term}"
    return "splice_region_variant" if term in _SPLICE_REGION_TERMS else term


def find_table(path: Path, name: str, folder: str = "") -> Path:
    """Return the table called ``name`` at ``path``, in its folder or one below.

    Raises
    ------
    TableError
        There is none.
    """
    places = [path, path / name, path / folder / name, path / "genomics" / folder / name]
    for place in places:
        if place.is_file() and place.name.endswith((".tsv", ".tsv.gz")):
            return place
    raise TableError(f"{path}: no {name} there; give the folder that holds it")


def read_dna_table(path: Path) -> pd.DataFrame:
    """Read the labelled SNVs with the bases around them.

    Parameters
    ----------
    path : Path
        A tab-separated table, plain or gzipped, with the columns gene, chr, pos (1-based), ref,
        alt, label (1 = pathogenic, 0 = benign), left100 and right100 (the genome's forward strand
        before and after ``ref``); or a folder that holds one.

    Returns
    -------
    pandas.DataFrame
        One row per SNV, in the file's order.

    Raises
    ------
    TableError
        The table is missing, damaged or breaks that format.
    """
    source = find_table(path, DNA_TABLE)
    table = read_tab_separated(source, _DNA_COLUMNS)
    snv = table["ref"].isin(_BASES) & table["alt"].isin(_BASES) & (table["ref"] != table["alt"])
    table = table[snv].reset_index(drop=True)
    flanks = table["left100"].str.len().eq(FLANK_BP) & table["right100"].str.len().eq(FLANK_BP)
    if table.empty or not flanks.all() or not table["label"].isin([0, 1]).all():
        raise TableError(
            f"{source}: needs SNVs with labels 0 or 1 and {FLANK_BP} bases on either side of each"
        )
    return table


@dataclass(frozen=True)
class GeneSequence:
    """One annotated sequence on which windows are looked up.

    Attributes
    ----------
    name, bases : str
    caller : GeneCaller
    transcripts : tuple of Transcript
        Those on this sequence.
    """

    name: str
    bases: str
    caller: GeneCaller
    transcripts: tuple[Transcript, ...]

    @cached_property
    def genes(self) -> frozenset[str]:
        """Symbols of the genes on it."""
        return frozenset(each.gene for each in self.transcripts)

    @cached_property
    def is_mitochondrial(self) -> bool:
        """Whether it is the mitochondrion's genome."""
        return canonical_name(self.name) == MITOCHONDRION

    def place(self, left: str, ref: str, right: str) -> tuple[int, int] | None:
        """Return the 1-based position of a window's middle and the strand (1 or -1) it lies on.

        None where no stretch around the middle is found at exactly one place.
        """
        for anchor in _ANCHORS_BP:
            window = left[-anchor:] + ref + right[:anchor]
            for strand, asked in ((1, window), (-1, reverse_complement(window))):
                start = self.bases.find(asked)
                if start >= 0 and self.bases.find(asked, start + 1) < 0:
                    return start + anchor + 1, strand
        return None


def read_gene_sequences(folder: Path) -> list[GeneSequence]:
    """Read every FASTA of a folder that has a GFF3 of the same name beside it.

    Raises
    ------
    GenesError, ReferenceGenomeError
        A file cannot be used.
    """
    found = []
    for gff3 in sorted(folder.glob("*.gff3")):
        fasta = gff3.with_suffix(".fasta")
        if not fasta.is_file():
            continue
        reference, genes = Reference.open(fasta), Genes.read(gff3)
        caller = GeneCaller(reference, genes)
        for name, length in reference.lengths.items():
            bases = reference.bases(name, 1, length)
            on_it = tuple(
                transcript
                for contig, transcripts in genes.by_contig.items()
                if reference.name_of(contig) == name
                for transcript in transcripts
            )
            found.append(GeneSequence(name, bases, caller, on_it))
    return found


def with_consequences(table: pd.DataFrame, sequences: Sequence[GeneSequence]) -> pd.DataFrame:
    """Return the table with each row's consequence, class, unit of the split and context.

    Added are ``class`` (see :func:`consequence_class`; ``UNPLACED`` where no gene sequence holds
    the window), ``terms`` (every term and the biotype: all that a consequence says, what the
    baseline knows), ``unit``, which no split divides (the gene, on the mitochondrion each of its
    genes), and ``window``, ``change`` and ``layout`` (see
    :class:`genomics.nucleotide.context.SiteContext`).
    """
    rows = [_placed(row, sequences) for row in table.to_dict("records")]
    return table.join(pd.DataFrame(rows, index=table.index))


def _placed(row: Mapping[Hashable, str], sequences: Sequence[GeneSequence]) -> dict[str, str]:
    mitochondrial = canonical_name(row["chr"]) == MITOCHONDRION
    window = row["left100"] + row["ref"] + row["right100"]
    for sequence in sequences:
        if mitochondrial != sequence.is_mitochondrial:
            continue
        if not (mitochondrial or row["gene"] in sequence.genes):
            continue
        place = sequence.place(row["left100"], row["ref"], row["right100"])
        if place is None:
            continue
        position, strand = place
        alt = row["alt"]
        if strand < 0:
            window, alt = reverse_complement(window), reverse_complement(alt)
        change = Variant(None, sequence.name, position, window[FLANK_BP], alt)
        found = _consequence(sequence, change, None if mitochondrial else row["gene"])
        if found is None:
            continue
        return {
            "class": consequence_class(found.term, row["chr"]),
            "terms": ",".join(found.terms) + f"|{found.biotype}",
            "unit": f"MT-{found.gene}" if mitochondrial else row["gene"],
            **_context(sequence, change, window, found),
        }
    return {
        "class": UNPLACED,
        "terms": UNPLACED,
        "unit": row["gene"],
        "window": window,
        "change": row["alt"],
        "layout": UNKNOWN_LAYOUT,
    }


def _consequence(sequence: GeneSequence, change: Variant, gene: str | None) -> Consequence | None:
    every = [
        each for each in sequence.caller.consequences(change) if gene is None or each.gene == gene
    ]
    # RefSeqGene files mark no preferred transcript; one that codes is what a report speaks of.
    coding = [
        each for each in every if not any(term.startswith("non_coding") for term in each.terms)
    ]
    return representative(coding or every)


def _context(
    sequence: GeneSequence, change: Variant, window: str, found: Consequence
) -> dict[str, str]:
    transcript = spoken_for(sequence.transcripts, found.transcript)
    context = SiteContext(window, change.alt)
    if transcript is not None:
        context = SiteContext.on(transcript, change.position, window, change.alt)
    return {"window": context.window, "change": context.alt, "layout": context.layout}


def read_mpra(path: Path) -> pd.DataFrame:
    """Read the effect of regulatory SNVs on expression.

    Parameters
    ----------
    path : Path
        The table of Kircher et al. 2019 (columns Chrom, Pos, Ref, Alt, Barcodes, Coefficient,
        Element, Release), or a folder that holds it. Read are the GRCh38 rows of single bases
        with at least 10 barcodes, the authors' own threshold.

    Returns
    -------
    pandas.DataFrame
        ``window`` (201 bases, N beyond the element), ``change`` (the base that replaces the middle
        one), ``layout`` (unknown), ``effect`` (log2 of the expression's ratio, divided by its
        standard deviation in the experiment), ``element`` (the experiment), ``unit`` (the locus:
        one element measured twice is one unit), ``distance`` (bases to the element's middle),
        ``ref`` and ``alt``.

    Raises
    ------
    TableError
        The table is missing, damaged or breaks that format.
    """
    table = read_tab_separated(find_table(path, MPRA_TABLE, "mpra"), _MPRA_COLUMNS, as_text=True)
    table = table[(table["Release"] == "GRCh38") & table["Pos"].str.fullmatch(r"\d+")]
    numbers = {name: pd.to_numeric(table[name]) for name in ("Pos", "Barcodes", "Coefficient")}
    table = table.assign(**numbers)
    parts = [_element(str(name), rows) for name, rows in table.groupby("Element", sort=True)]
    if not parts:
        raise TableError(f"{path}: holds no regulatory element on GRCh38")
    return pd.concat(parts, ignore_index=True)


def _element(name: str, rows: pd.DataFrame) -> pd.DataFrame:
    first, last = int(rows["Pos"].min()), int(rows["Pos"].max())
    bases = np.full(last - first + 1 + 2 * FLANK_BP, "N")
    known = rows[rows["Ref"].isin(_BASES)]
    bases[known["Pos"].to_numpy() - first + FLANK_BP] = known["Ref"].to_numpy()
    sequence = "".join(bases)
    usable = known[known["Alt"].isin(_BASES) & (known["Barcodes"] >= _FEWEST_BARCODES)]
    starts = usable["Pos"].to_numpy() - first
    windows = [sequence[start : start + 2 * FLANK_BP + 1] for start in starts]
    effect = usable["Coefficient"].to_numpy()
    return pd.DataFrame(
        {
            "element": name,
            "unit": locus(name),
            "ref": usable["Ref"].to_numpy(),
            "alt": usable["Alt"].to_numpy(),
            "distance": np.abs(starts - (last - first) / 2),
            "effect": effect / effect.std(),
            "window": windows,
            "change": usable["Alt"].to_numpy(),
            "layout": UNKNOWN_LAYOUT,
        }
    )


def locus(element: str) -> str:
    """Return the locus of an experiment: ``SORT1-flip`` and ``SORT1.2`` are both SORT1."""
    return re.split(r"[-.]", element)[0]


def units_of(tables: Iterable[pd.DataFrame]) -> list[str]:
    """Return the sorted units (genes and loci) of the tables."""
    return sorted({str(unit) for table in tables for unit in table["unit"]})
