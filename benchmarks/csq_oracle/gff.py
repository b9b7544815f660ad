"""RefSeq's GFF3 as ``bcftools csq`` wants it: Ensembl's way of writing, one gene per transcript."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from genomics.genes import Transcript


def ensembl_gff3(named: Mapping[str, Transcript]) -> str:
    """Return the text of a GFF3 in Ensembl's style.

    Parameters
    ----------
    named : mapping
        Transcripts by the name that csq is to give them; it must be unique, which RefSeq's own
        names are not where two of its records hold the same gene.
    """
    rows = ["##gff-version 3"]
    for name, transcript in named.items():
        rows += _transcript(name, transcript)
    return "\n".join(rows) + "\n"


def _transcript(name: str, transcript: Transcript) -> Iterator[str]:
    strand = "+" if transcript.strand > 0 else "-"
    biotype = "biotype=protein_coding" if transcript.coding else "biotype=lncRNA"
    parent = f"Parent=transcript:{name}"

    def row(kind: str, begin: int, end: int, phase: object, attributes: str) -> str:
        fields = (transcript.contig, "x", kind, begin, end, ".", strand, phase, attributes)
        return "\t".join(map(str, fields))

    first, last = transcript.span
    kind = "mRNA" if transcript.coding else "transcript"
    yield row("gene", first, last, ".", f"ID=gene:{name};{biotype};Name={name}")
    yield row(kind, first, last, ".", f"ID=transcript:{name};Parent=gene:{name};{biotype}")
    low, high = transcript.coding_span
    names = ("five_prime_UTR", "three_prime_UTR")
    before, after = names if transcript.strand > 0 else names[::-1]
    for begin, end in transcript.exons:
        yield row("exon", begin, end, ".", parent)
        if transcript.coding and begin < low:
            yield row(before, begin, min(end, low - 1), ".", parent)
        if transcript.coding and end > high:
            yield row(after, max(begin, high + 1), end, ".", parent)
    passed = -transcript.frame
    for begin, end in transcript.coding if transcript.strand > 0 else reversed(transcript.coding):
        yield row("CDS", begin, end, -passed % 3, parent)
        passed += end - begin + 1
