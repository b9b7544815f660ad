"""Which rule speaks, and what weakens it: by hand on the toy gene, and on real ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from genomics_toys import write_toy_genome

from genomics.caller import GeneCaller
from genomics.consequence import Consequence
from genomics.genes import Genes, Transcript
from genomics.reference import Reference
from genomics.report import Classification
from genomics.rules import classify_by_rule, why_not_scored
from genomics.variant import Variant


def _classified(caller: GeneCaller, variant: Variant) -> Classification:
    found = classify_by_rule(caller.consequence(variant))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> GeneCaller:
    files = write_toy_genome(tmp_path_factory.mktemp("toy"))
    return GeneCaller(Reference.open(files.fasta), Genes.read(files.gff3))


def _real(shared_data: Path, record: str, name: str) -> tuple[GeneCaller, Transcript, str]:
    folder = shared_data / "genomics/genes"
    reference = Reference.open(folder / f"{record}.fasta")
    genes = Genes.read(folder / f"{record}.gff3")
    (transcript,) = [each for each in genes.by_contig[record] if each.name == name]
    caller = GeneCaller(reference, Genes(genes.path, {record: [transcript]}))
    return caller, transcript, reference.bases(record, 1, reference.lengths[record])


def _stop_at(caller: GeneCaller, transcript: Transcript, bases: str, residue: int) -> Variant:
    """Return the change of a codon's first base and following ones to TAA."""
    place = caller.model(transcript).position_of(3 * residue - 3)
    assert transcript.strand > 0
    return Variant(None, transcript.contig, place, bases[place - 1 : place + 2], "TAA")


def test_a_stop_close_before_the_last_junction_escapes_decay(toy: GeneCaller) -> None:
    # Codon 3 begins at coding base 6 (0-based); the junction is at 12.
    found = _classified(toy, Variant(None, "toy_plus", 28, "G", "A"))
    assert found.label == "possibly disruptive"
    assert found.rule.startswith("stop_gained: the protein is cut short; but the new stop is 6 bp")


def test_a_stop_in_the_last_exon_escapes_decay(toy: GeneCaller) -> None:
    found = _classified(toy, Variant(None, "toy_plus", 71, "C", "A"))
    assert found.exceptions == (
        "the new stop is in the last exon: nonsense-mediated decay is likely escaped",
    )


def test_a_gene_of_one_exon_has_no_decay(toy: GeneCaller, tmp_path: Path) -> None:
    files = write_toy_genome(tmp_path)
    reference, genes = Reference.open(files.fasta), Genes.read(files.gff3)
    (whole,) = genes.by_contig["toy_plus"]
    single = replace(whole, exons=((11, 32),), coding=((21, 32),))
    caller = GeneCaller(reference, Genes(genes.path, {"toy_plus": [single]}))
    found = _classified(caller, Variant(None, "toy_plus", 28, "G", "A"))
    assert "the gene has a single exon: no nonsense-mediated decay" in found.exceptions


@pytest.mark.data
def test_an_early_stop_in_tp53_has_no_exception_and_a_late_one_has_two(shared_data: Path) -> None:
    caller, transcript, bases = _real(shared_data, "NG_017013.2", "NM_000546.5")
    early = _classified(caller, _stop_at(caller, transcript, bases, 100))
    assert (early.label, early.exceptions) == ("likely disruptive", ())
    # 393 residues; the last exon begins in codon 367.
    late = _classified(caller, _stop_at(caller, transcript, bases, 385))
    assert late.label == "possibly disruptive"
    assert len(late.exceptions) == 2
    assert "only the last 9 of 393 residues" in late.exceptions[1]


@pytest.mark.data
def test_the_distance_to_the_next_start_codon_is_given(shared_data: Path) -> None:
    caller, transcript, bases = _real(shared_data, "NG_017013.2", "NM_000546.5")
    first = caller.model(transcript).position_of(0)
    found = _classified(caller, Variant(None, transcript.contig, first, bases[first - 1], "C"))
    # TP53 begins again at Met40: 39 of 393 residues, just under a tenth.
    assert found.rule.startswith("start_lost: the start codon is lost; but an in-frame start codon")
    assert "follows 39 codons on" in found.rule


@pytest.mark.data
def test_a_splice_site_beside_an_exon_of_whole_codons_is_weakened(shared_data: Path) -> None:
    caller, transcript, bases = _real(shared_data, "NG_012772.1", "NM_000059.3")
    labels = set()
    for (first, _), exon in zip(transcript.introns[2:24], transcript.exons[2:24], strict=True):
        found = _classified(caller, Variant(None, transcript.contig, first, bases[first - 1], "C"))
        whole = (exon[1] - exon[0] + 1) % 3 == 0
        assert (found.label == "possibly disruptive") == whole
        labels.add(found.label)
    assert len(labels) == 2


@pytest.mark.data
def test_mitochondrial_stops_are_not_said_to_decay(shared_data: Path) -> None:
    folder = shared_data / "genomics/genes"
    reference = Reference.open(folder / "NC_012920.1.fasta")
    caller = GeneCaller(reference, Genes.read(folder / "NC_012920.1.gff3"))
    # ND1 G55, GGC (3307 + 162): to TAA.
    variant = Variant(None, "NC_012920.1", 3469, reference.bases("NC_012920.1", 3469, 3471), "TAA")
    found = caller.consequence(variant)
    assert found.hgvs_g is not None
    assert found.hgvs_g.startswith("m.3469")
    assert any("mitochondrial transcripts" in each for each in found.exceptions)


def test_a_synonymous_change_that_may_be_none_is_not_called_neutral() -> None:
    from genomics.consequence import Compound

    together = Consequence(("missense_variant",), "FASTA+GFF3", hgvs_p="p.Arg4Ser")
    compound = Compound(("1-5-A-C",), "unphased", "genotypes", together=together)
    open_one = Consequence(
        ("synonymous_variant",), "FASTA+GFF3", biotype="protein_coding", compound=compound
    )
    assert classify_by_rule(open_one) is None
    assert why_not_scored(open_one).startswith("two readings: synonymous_variant alone, missense")
    sure = replace(open_one, compound=replace(compound, phase="cis"))
    assert classify_by_rule(sure) is not None


@pytest.mark.data
def test_a_base_lost_before_a_start_codon_leaves_it_whole(shared_data: Path) -> None:
    """AATG without an A is ATG: named c.1del by the 3' rule, but the start is not lost."""
    folder = shared_data / "genomics/genes"
    strands = set()
    for gff3 in sorted(folder.glob("NG_*.gff3")):
        reference, genes = Reference.open(gff3.with_suffix(".fasta")), Genes.read(gff3)
        caller = GeneCaller(reference, genes)
        for transcript in genes.by_contig[gff3.stem]:
            if not transcript.coding or not transcript.start_known or transcript.frame:
                continue
            model = caller.model(transcript)
            first = model.position_of(0)
            before = first - transcript.strand
            base = reference.bases(gff3.stem, before, before)
            if base != ("A" if transcript.strand > 0 else "T") or not model.places.is_exonic(
                before
            ):
                continue
            anchor = reference.bases(gff3.stem, before - 1, before - 1)
            variant = Variant(None, gff3.stem, before - 1, anchor + base, anchor)
            (found,) = [c for c in caller.consequences(variant) if c.transcript == transcript.name]
            assert found.hgvs_c == "c.1del"
            assert found.term == "5_prime_UTR_variant"
            strands.add(transcript.strand)
    assert strands == {1, -1}
