"""Our caller against the VEP annotation of the real VCFs, where the shared genes cover them.

The genes are RefSeqGene records, not chromosomes: a VCF's record is found in them by its ``c.``
name on the MANE Select transcript, which Ensembl and RefSeq share base for base.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from genomics.annotation import find_annotation
from genomics.caller import GeneCaller
from genomics.coding import reverse_complement
from genomics.consequence import Consequence
from genomics.genes import Genes
from genomics.reference import Reference
from genomics.variant import Variant
from genomics.vcf import read_vcf

Said = tuple[frozenset[str], str, str]


def _annotated(path: Path) -> Iterator[tuple[Variant, dict[str, str]]]:
    vcf = read_vcf(path)
    annotation = find_annotation(vcf.header)
    assert annotation is not None
    for record in vcf.records:
        if len(record.ref) == 1 and len(record.alts) == 1 and len(record.alts[0]) == 1:
            variant = Variant(None, record.chrom, record.position, record.ref, record.alts[0])
            for fields in annotation._entries(record):
                yield variant, dict(fields)


def _said(fields: dict[str, str]) -> Said:
    names = [unquote(fields[key]).rpartition(":")[2] for key in ("HGVSc", "HGVSp")]
    # VEP alone has terms for parts of the splice region; SO holds them for kinds of it.
    terms = frozenset(fields["Consequence"].split("&"))
    return terms, names[0], names[1]


def _ours(found: Consequence) -> Said:
    return frozenset(found.terms), found.hgvs_c or "", found.hgvs_p or ""


@pytest.mark.data
def test_mane_transcripts_agree_with_vep(shared_data: Path) -> None:
    folder = shared_data / "genomics"
    with gzip.open(folder / "genes/MANE.GRCh38.v1.5.summary.txt.gz", "rt") as stream:
        pairs = {
            row["Ensembl_nuc"].partition(".")[0]: row["RefSeq_nuc"].partition(".")[0]
            for row in csv.DictReader(stream, delimiter="\t")
            if row["MANE_status"] == "MANE Select"
        }
    models = {}
    for gff3 in sorted((folder / "genes").glob("NG_*.gff3")):
        reference = Reference.open(gff3.with_suffix(".fasta"))
        genes = Genes.read(gff3)
        caller = GeneCaller(reference, genes)
        for transcript in genes.by_contig[gff3.stem]:
            models[transcript.name.partition(".")[0]] = (reference, caller, transcript)
    compared = []
    for variant, fields in _annotated(folder / "vcf/real/hcc1395_vep.vcf.gz"):
        name = pairs.get(fields["Feature"].partition(".")[0])
        if name not in models or not fields["HGVSc"]:
            continue
        reference, caller, transcript = models[name]
        said = _said(fields)
        bases = (variant.ref, variant.alt)
        if transcript.strand != int(fields["STRAND"]):
            bases = (reverse_complement(variant.ref), reverse_complement(variant.alt))
        model = caller.model(transcript)
        number = said[1].removeprefix("c.").partition(">")[0][:-1]
        places = [
            position
            for position in range(transcript.span[0], transcript.span[1] + 1)
            if model.places.name(position) == number
        ]
        assert len(places) == 1, said
        assert reference.bases(transcript.contig, places[0], places[0]) == bases[0]
        there = Variant(None, transcript.contig, places[0], *bases)
        ours = [c for c in caller.consequences(there) if c.transcript == transcript.name]
        assert _ours(ours[0]) == said
        compared.append(f"{transcript.gene} {said[1]}")
    # All that the file has in these genes: it is one tumour's list.
    assert {"TP53 c.524G>A", "BRCA2 c.4777G>T", "VSIR c.90G>A"} <= set(compared)
    assert len(compared) >= 4, compared


@pytest.mark.data
def test_the_mitochondrion_agrees_with_vep(shared_data: Path) -> None:
    folder = shared_data / "genomics"
    reference = Reference.open(folder / "genes/NC_012920.1.fasta")
    caller = GeneCaller(reference, Genes.read(folder / "genes/NC_012920.1.gff3"))
    compared = 0
    for variant, fields in _annotated(folder / "vcf/real/643594.clinical.vcf.gz"):
        if variant.chrom == "MT":
            (ours,) = caller.consequences(variant)
            assert ours.gene == fields["SYMBOL"].removeprefix("MT-").replace("CYB", "CYTB").replace(
                "TP", "TRNP"
            )
            terms, coding, protein = _said(fields)
            assert _ours(ours) == (terms, coding, protein)
            compared += 1
    assert compared == 3
