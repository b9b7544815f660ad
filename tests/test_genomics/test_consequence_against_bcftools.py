"""Our caller held against ``bcftools csq`` on every SNV around the exons of real genes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from genomics.caller import GeneCaller
from genomics.consequence import by_severity
from genomics.genes import Genes, Transcript
from genomics.reference import Reference
from genomics.variant import Variant

pysam = pytest.importorskip("pysam", reason="pysam has no wheel for this platform")

_REACH_BP = 12
# Its own short names; the rest are Sequence Ontology terms already.
_NAMES = {
    "splice_acceptor": "splice_acceptor_variant",
    "splice_donor": "splice_donor_variant",
    "splice_region": "splice_region_variant",
    "missense": "missense_variant",
    "synonymous": "synonymous_variant",
    "stop_retained": "stop_retained_variant",
    "intron": "intron_variant",
    "5_prime_utr": "5_prime_UTR_variant",
    "3_prime_utr": "3_prime_UTR_variant",
}


def _ensembl_gff3(transcript: Transcript) -> str:
    strand = "+" if transcript.strand > 0 else "-"
    first, last = transcript.span
    low, high = transcript.coding_span

    def row(kind: str, begin: int, end: int, phase: object, attributes: str) -> str:
        fields = (transcript.contig, "x", kind, begin, end, ".", strand, phase, attributes)
        return "\t".join(map(str, fields))

    coding = "biotype=protein_coding"
    rows = [
        "##gff-version 3",
        row("gene", first, last, ".", f"ID=gene:G;{coding};Name={transcript.gene}"),
        row("mRNA", first, last, ".", f"ID=transcript:T;Parent=gene:G;{coding}"),
    ]
    names = ("five_prime_UTR", "three_prime_UTR")
    before, after = names if transcript.strand > 0 else names[::-1]
    for begin, end in transcript.exons:
        rows.append(row("exon", begin, end, ".", "Parent=transcript:T"))
        if begin < low:
            rows.append(row(before, begin, min(end, low - 1), ".", "Parent=transcript:T"))
        if end > high:
            rows.append(row(after, max(begin, high + 1), end, ".", "Parent=transcript:T"))
    passed = 0
    for begin, end in transcript.coding if transcript.strand > 0 else reversed(transcript.coding):
        rows.append(row("CDS", begin, end, -passed % 3, "Parent=transcript:T"))
        passed += end - begin + 1
    return "\n".join(rows) + "\n"


def _bcftools_csq(folder: Path) -> dict[tuple[int, str], set[str]]:
    # In a child process: csq can take the interpreter down with it.
    call = "import pysam.bcftools as b, sys; b.csq(*sys.argv[1:], catch_stdout=False)"
    arguments = ["-f", "ref.fa", "-g", "genes.gff3", "-l", "-o", "out.vcf", "in.vcf"]
    subprocess.run([sys.executable, "-c", call, *arguments], cwd=folder, check=True, timeout=120)
    found: dict[tuple[int, str], set[str]] = {}
    for line in (folder / "out.vcf").read_text().splitlines():
        if not line.startswith("#"):
            fields = line.split("\t")
            _, _, said = fields[7].partition("BCSQ=")
            terms = {term for entry in said.split(",") for term in entry.split("|")[0].split("&")}
            found[int(fields[1]), fields[4]] = {_NAMES.get(term, term) for term in terms - {""}}
    return found


@pytest.mark.data
@pytest.mark.parametrize(
    ("record", "name"),
    [("NG_017013.2", "NM_000546.5"), ("NG_012337.3", "NM_012459.4")],
    ids=["TP53, plus strand", "TIMM8B, minus strand"],
)
def test_every_snv_agrees(shared_data: Path, tmp_path: Path, record: str, name: str) -> None:
    folder = shared_data / "genomics/genes"
    reference = Reference.open(folder / f"{record}.fasta")
    genes = Genes.read(folder / f"{record}.gff3")
    (transcript,) = [each for each in genes.by_contig[record] if each.name == name]
    bases = reference.bases(record, 1, reference.lengths[record])
    positions = {
        position
        for first, last in transcript.exons
        for position in range(max(1, first - _REACH_BP), min(len(bases), last + _REACH_BP) + 1)
    }
    snvs = [
        (p, bases[p - 1], alt) for p in sorted(positions) for alt in "ACGT" if alt != bases[p - 1]
    ]
    (tmp_path / "ref.fa").write_text(f">{record}\n{bases}\n")
    (tmp_path / "genes.gff3").write_text(_ensembl_gff3(transcript))
    header = f"##fileformat=VCFv4.2\n##contig=<ID={record},length={len(bases)}>\n"
    columns = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    rows = "".join(f"{record}\t{p}\t.\t{ref}\t{alt}\t.\t.\t.\n" for p, ref, alt in snvs)
    (tmp_path / "in.vcf").write_text(header + columns + rows)
    theirs = _bcftools_csq(tmp_path)
    caller = GeneCaller(reference, Genes(genes.path, {record: [transcript]}))
    differing = []
    for position, ref, alt in snvs:
        ours = caller.consequences(Variant(None, record, position, ref, alt))
        our_term = ours[0].term if ours else None
        their_terms = by_severity(theirs[position, alt])
        if our_term != (their_terms[0] if their_terms else None):
            differing.append((position, ref, alt, our_term, their_terms))
    assert len(snvs) > 2000
    assert differing == []
