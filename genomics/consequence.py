"""What a variant does to a gene: the value, its severity, and which transcript speaks for it.

Two providers fill it: :mod:`genomics.annotation` reads what VEP or SnpEff wrote into the VCF,
:mod:`genomics.caller` works it out from a FASTA and a GFF3. Both end here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

WINDOW_FLANK = 50

# Sequence Ontology terms, most severe first, in the order that Ensembl VEP documents
# (https://www.ensembl.org/info/genome/variation/prediction/predicted_data.html).
SEVERITY = (
    "transcript_ablation",
    "splice_acceptor_variant",
    "splice_donor_variant",
    "stop_gained",
    "frameshift_variant",
    "stop_lost",
    "start_lost",
    "transcript_amplification",
    "feature_elongation",
    "feature_truncation",
    "disruptive_inframe_insertion",
    "disruptive_inframe_deletion",
    "conservative_inframe_insertion",
    "conservative_inframe_deletion",
    "inframe_insertion",
    "inframe_deletion",
    "missense_variant",
    "protein_altering_variant",
    "splice_donor_5th_base_variant",
    "splice_region_variant",
    "splice_donor_region_variant",
    "splice_polypyrimidine_tract_variant",
    "incomplete_terminal_codon_variant",
    "start_retained_variant",
    "stop_retained_variant",
    "synonymous_variant",
    "coding_sequence_variant",
    "mature_miRNA_variant",
    "5_prime_UTR_premature_start_codon_gain_variant",
    "5_prime_UTR_variant",
    "3_prime_UTR_variant",
    "non_coding_transcript_exon_variant",
    "intron_variant",
    "NMD_transcript_variant",
    "non_coding_transcript_variant",
    "coding_transcript_variant",
    "upstream_gene_variant",
    "downstream_gene_variant",
    "TFBS_ablation",
    "TF_binding_site_variant",
    "regulatory_region_variant",
    "sequence_feature",
    "intergenic_variant",
    "sequence_variant",
)
_RANK = {term: rank for rank, term in enumerate(SEVERITY)}


@dataclass(frozen=True)
class Consequence:
    """The effect of one alternate allele on one transcript.

    Attributes
    ----------
    terms : tuple of str
        Sequence Ontology terms, most severe first.
    source : str
        Who said so: "VEP", "SnpEff" or "FASTA+GFF3".
    gene, transcript, biotype : str or None
    preference : int
        How strongly the transcript speaks for its gene: 0 MANE Select, 1 canonical, 2 picked,
        3 any other.
    hgvs_c, hgvs_p : str or None
        Without the sequence's name; protein changes are predictions, written without brackets as
        VEP and SnpEff do.
    protein_position : int or None
        1-based position of the first changed residue.
    wild_type, mutant : str or None
        Residues before and after, one letter each.
    window : str or None
        For a substitution of one residue, the wild-type protein around it: 50 residues on either
        side, ``-`` beyond its ends.
    note : str or None
        Why ``window`` is missing, or what else the reader must know.
    """

    terms: tuple[str, ...]
    source: str
    gene: str | None = None
    transcript: str | None = None
    biotype: str | None = None
    preference: int = 3
    hgvs_c: str | None = None
    hgvs_p: str | None = None
    protein_position: int | None = None
    wild_type: str | None = None
    mutant: str | None = None
    window: str | None = None
    note: str | None = None

    @property
    def term(self) -> str:
        """The most severe term."""
        return self.terms[0]

    @property
    def severity(self) -> int:
        """Rank of the most severe term; lower is more severe."""
        return _RANK.get(self.term, len(SEVERITY))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return asdict(self) | {"terms": list(self.terms)}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Consequence:
        """Rebuild a consequence from :meth:`to_dict`."""
        return cls(**(fields | {"terms": tuple(fields["terms"])}))


def by_severity(terms: Iterable[str]) -> tuple[str, ...]:
    """Return the terms without repeats, most severe first."""
    return tuple(sorted(dict.fromkeys(terms), key=lambda term: _RANK.get(term, len(SEVERITY))))


def representative(consequences: Iterable[Consequence]) -> Consequence | None:
    """Return the consequence that stands for a variant; None where there is none.

    In each gene the preferred transcript speaks (MANE Select, then canonical, then VEP's pick;
    the most severe among equals), because clinical reports are written on it. Among the genes the
    most severe effect is shown, protein-coding genes first among equals.
    """
    by_gene: dict[str | None, Consequence] = {}
    for one in consequences:
        held = by_gene.get(one.gene)
        if held is None or (one.preference, one.severity) < (held.preference, held.severity):
            by_gene[one.gene] = one
    return min(
        by_gene.values(),
        key=lambda one: (one.severity, one.biotype != "protein_coding", one.preference),
        default=None,
    )


def protein_window(protein: str, position: int) -> str:
    """Return the residues around a 1-based position, ``-`` beyond the protein's ends."""
    padded = "-" * WINDOW_FLANK + protein + "-" * WINDOW_FLANK
    return padded[position - 1 : position + 2 * WINDOW_FLANK]
