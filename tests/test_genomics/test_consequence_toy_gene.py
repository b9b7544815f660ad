"""Every answer here is worked out by hand from the sequences in genomics_toys."""

from __future__ import annotations

from pathlib import Path

import pytest
from genomics_toys import MINUS, PLUS, PROTEIN, reverse_complement, write_toy_genome

from genomics.caller import GeneCaller
from genomics.coding import coding_sequence
from genomics.consequence import Consequence
from genomics.errors import GenesError
from genomics.genes import Genes
from genomics.reference import Reference
from genomics.variant import Variant


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> GeneCaller:
    files = write_toy_genome(tmp_path_factory.mktemp("toy"))
    return GeneCaller(Reference.open(files.fasta), Genes.read(files.gff3))


def _mirrored(position: int, ref: str, alt: str) -> Variant:
    """Return the same change on the minus-strand copy, as a VCF would write it."""
    if len(ref) == len(alt):
        start = 98 - (position + len(ref) - 1)
        return Variant(None, "toy_minus", start, reverse_complement(ref), reverse_complement(alt))
    # Indels are anchored on the base before them, which is another one on the other strand.
    inserted, deleted = alt[1:], ref[1:]
    first = 98 - (position + len(deleted))
    anchor = MINUS[first - 2]
    return Variant(
        None,
        "toy_minus",
        first - 1,
        anchor + reverse_complement(deleted),
        anchor + reverse_complement(inserted),
    )


# position on toy_plus, REF, ALT, terms, HGVS c., HGVS p.
CASES = [
    (5, "C", "T", ("intergenic_variant",), None, None),
    (15, "G", "A", ("5_prime_UTR_variant",), "c.-6G>A", None),
    (21, "A", "C", ("start_lost",), "c.1A>C", "p.Met1?"),
    (24, "G", "A", ("missense_variant",), "c.4G>A", "p.Ala2Thr"),
    (26, "T", "C", ("synonymous_variant",), "c.6T>C", "p.Ala2="),
    (28, "G", "A", ("stop_gained",), "c.8G>A", "p.Trp3Ter"),
    (30, "C", "T", ("missense_variant", "splice_region_variant"), "c.10C>T", "p.Arg4Cys"),
    (32, "T", "C", ("splice_region_variant", "synonymous_variant"), "c.12T>C", "p.Arg4="),
    (33, "G", "A", ("splice_donor_variant",), "c.12+1G>A", None),
    (34, "T", "G", ("splice_donor_variant",), "c.12+2T>G", None),
    (37, "G", "A", ("splice_region_variant", "intron_variant"), "c.12+5G>A", None),
    (45, "C", "T", ("intron_variant",), "c.12+13C>T", None),
    (50, "C", "A", ("intron_variant",), "c.13-13C>A", None),
    (55, "T", "A", ("splice_region_variant", "intron_variant"), "c.13-8T>A", None),
    (61, "A", "C", ("splice_acceptor_variant",), "c.13-2A>C", None),
    (62, "G", "C", ("splice_acceptor_variant",), "c.13-1G>C", None),
    (66, "C", "T", ("synonymous_variant",), "c.16C>T", "p.Leu6="),
    (72, "G", "C", ("missense_variant",), "c.22G>C", "p.Glu8Gln"),
    (71, "C", "A", ("stop_gained",), "c.21C>A", "p.Tyr7Ter"),
    (77, "A", "G", ("stop_retained_variant",), "c.27A>G", "p.Ter9="),
    (75, "T", "C", ("stop_lost",), "c.25T>C", "p.Ter9GlnextTer?"),
    (80, "C", "T", ("3_prime_UTR_variant",), "c.*3C>T", None),
    # ATG GCT TGG: without the T of GCT the frame reads ATG GCT GGC GTA AAC TGT ACG AAT AAG GCA ...
    (25, "CT", "C", ("frameshift_variant",), "c.7del", "p.Trp3GlyfsTer?"),
    # TAC -> TAACC: a frameshift whose first new residue is the stop.
    (70, "A", "AA", ("frameshift_variant",), "c.20dup", "p.Tyr7Ter"),
    (66, "CTGT", "C", ("inframe_deletion",), "c.17_19del", "p.Leu6_Tyr7delinsHis"),
    (65, "ACTG", "A", ("inframe_deletion",), "c.16_18del", "p.Leu6del"),
    (68, "G", "GCTG", ("inframe_insertion",), "c.16_18dup", "p.Leu6dup"),
    (68, "G", "GGGG", ("inframe_insertion",), "c.18_19insGGG", "p.Leu6_Tyr7insGly"),
    (24, "GC", "AA", ("missense_variant",), "c.4_5delinsAA", "p.Ala2Asn"),
    (24, "GCTT", "AAAC", ("missense_variant",), "c.4_7delinsAAAC", "p.Ala2_Trp3delinsLysArg"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}{case[1]}>{case[2]}")
@pytest.mark.parametrize("strand", ["plus", "minus"])
def test_consequence_worked_out_by_hand(
    caller: GeneCaller, strand: str, case: tuple[int, str, str, tuple[str, ...], str, str]
) -> None:
    position, ref, alt, terms, hgvs_c, hgvs_p = case
    assert PLUS[position - 1 : position - 1 + len(ref)] == ref
    if strand == "plus":
        variant = Variant(None, "toy_plus", position, ref, alt)
    else:
        variant = _mirrored(position, ref, alt)
    found = caller.consequence(variant)
    assert (found.terms, found.hgvs_c, found.hgvs_p) == (terms, hgvs_c, hgvs_p)


@pytest.mark.parametrize("contig", ["toy_plus", "toy_minus"])
def test_the_window_holds_the_protein_around_the_substitution(
    caller: GeneCaller, contig: str
) -> None:
    variant = Variant(None, contig, 24, "G", "A")
    if contig == "toy_minus":
        variant = _mirrored(24, "G", "A")
    found = caller.consequence(variant)
    assert (found.wild_type, found.protein_position, found.mutant) == ("A", 2, "T")
    assert found.window == "-" * 49 + PROTEIN + "-" * 44
    assert len(found.window) == 101
    assert found.window[50] == "A"


def test_a_change_of_two_residues_has_no_window_and_says_so(caller: GeneCaller) -> None:
    found = caller.consequence(Variant(None, "toy_plus", 24, "GCTT", "AAAC"))
    assert found.window is None
    assert "several residues" in str(found.note)


def test_the_longest_writing_gives_the_same_answer(caller: GeneCaller) -> None:
    short = caller.consequence(Variant(None, "toy_plus", 24, "G", "A"))
    padded = caller.consequence(Variant(None, "toy_plus", 21, "ATGGCT", "ATGACT"))
    assert short == padded


def test_genes_of_another_genome_are_refused(tmp_path: Path) -> None:
    files = write_toy_genome(tmp_path)
    other = tmp_path / "other.gff3"
    other.write_text(
        files.gff3.read_text().replace("toy_plus", "chrA").replace("toy_minus", "chrB")
    )
    with pytest.raises(GenesError, match=r"chrA, chrB.*not in"):
        GeneCaller(Reference.open(files.fasta), Genes.read(other))


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("", "holds no transcript"),
        ("toy_plus\ttoy\texon\t1\n", "line 1: expected 9 columns"),
        ("c\tt\texon\tone\t5\t.\t+\t.\tParent=x\n", "whole numbers"),
        ('c\tt\texon\t1\t5\t.\t+\t.\tgene_id "x"; transcript_id "y";\n', "GTF"),
    ],
)
def test_what_is_not_gff3_is_refused(tmp_path: Path, content: str, rule: str) -> None:
    path = tmp_path / "bad.gff3"
    path.write_text(content)
    with pytest.raises(GenesError, match=rule):
        Genes.read(path)


def test_ensembl_and_gencode_styles_read_alike(tmp_path: Path) -> None:
    files = write_toy_genome(tmp_path)
    ensembl = tmp_path / "ensembl.gff3"
    ensembl.write_text(
        files.gff3.read_text()
        .replace("gene-PLUS", "gene:ENSG1")
        .replace("ID=PLUS.1", "ID=transcript:ENST1;biotype=protein_coding")
        .replace("Parent=PLUS.1", "Parent=transcript:ENST1")
        .replace("tag=MANE Select", "tag=basic,Ensembl_canonical,MANE_Select")
    )
    (one,) = Genes.read(ensembl).by_contig["toy_plus"]
    (other,) = Genes.read(files.gff3).by_contig["toy_plus"]
    assert (one.name, one.gene, one.preference) == ("ENST1", "PLUS", 0)
    assert (one.exons, one.coding, one.frame) == (other.exons, other.coding, other.frame)


def test_the_mane_transcript_speaks_for_its_gene_and_severity_between_genes() -> None:
    from genomics.consequence import representative

    def one(term: str, gene: str, preference: int) -> Consequence:
        return Consequence(
            (term,), "VEP", gene, f"{gene}{preference}", "protein_coding", preference
        )

    mane, other = one("intron_variant", "A", 0), one("stop_gained", "A", 3)
    assert representative([other, mane]) == mane
    neighbour = one("missense_variant", "B", 1)
    assert representative([other, mane, neighbour]) == neighbour
    assert representative([]) is None


@pytest.mark.data
def test_real_genes_translate_whole(shared_data: Path) -> None:
    """Selenocysteine, the mitochondrial code and completed stops included."""
    folder = shared_data / "genomics/genes"
    whole: dict[str, str] = {}
    for name in ("NC_012920.1", "NG_009930.1", "NG_017013.2", "NG_012337.3"):
        reference = Reference.open(folder / f"{name}.fasta")
        for transcripts in Genes.read(folder / f"{name}.gff3").by_contig.values():
            for transcript in transcripts:
                if transcript.coding and transcript.start_known and transcript.frame == 0:
                    protein = coding_sequence(transcript, reference).protein
                    # Genes have several isoforms: the longest is the one of the databases here.
                    whole[transcript.gene] = max(protein, whole.get(transcript.gene, ""), key=len)
    assert whole["TP53"].startswith("MEEPQSDPSVEPPLSQETFSDLWKLLPENN")
    assert len(whole["TP53"]) == 394
    assert "U" in whole["SELENON"]
    assert len(whole["SELENON"]) > 500
    # ND2 begins with ATT and ends with T completed to TAA; rCRS, UniProt P03891: 347 residues.
    assert whole["ND2"].startswith("MNPLAQPVIYSTIFAGTLITALSSHWFFTWVGLEMNMLAF")
    assert len(whole["ND2"]) == 348
    mitochondrial = ("ND1", "ND2", "COX1", "COX2", "ATP8", "ATP6", "COX3", "ND3", "ND4L", "ND4")
    assert all(whole[gene].endswith("*") for gene in (*mitochondrial, "ND5", "ND6", "CYTB"))


@pytest.mark.data
def test_an_in_frame_deletion_leaves_selenocysteine_alone(shared_data: Path) -> None:
    """SELENON has TGA codons that are no stops; three bases less before them keep the frame."""
    folder = shared_data / "genomics/genes"
    reference = Reference.open(folder / "NG_009930.1.fasta")
    genes = Genes.read(folder / "NG_009930.1.gff3")
    transcript = next(
        each for each in genes.by_contig["NG_009930.1"] if each.gene == "SELENON" and each.recoded
    )
    first = transcript.coding[1][0] + 10
    bases = reference.bases("NG_009930.1", first, first + 3)
    variant = Variant(None, "NG_009930.1", first, bases, bases[0])
    caller = GeneCaller(reference, Genes(genes.path, {"NG_009930.1": [transcript]}))
    (found,) = caller.consequences(variant)
    assert found.term == "inframe_deletion"


@pytest.mark.data
@pytest.mark.parametrize(
    ("accession", "gene"), [("NG_012772.1", "BRCA2"), ("NG_009299.1", "MYH11")]
)
def test_the_exons_that_refseqgene_repeats_under_the_gene_are_no_transcript(
    shared_data: Path, accession: str, gene: str
) -> None:
    genes = Genes.read(shared_data / "genomics" / "genes" / f"{accession}.gff3")
    found = [each for every in genes.by_contig.values() for each in every if each.gene == gene]
    assert found
    assert all(each.coding and each.name.startswith("NM_") for each in found)
