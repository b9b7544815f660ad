"""What a variant does to a gene: the value, its severity, and which transcript speaks for it.

Two providers fill it: :mod:`genomics.annotation` reads what VEP or SnpEff wrote into the VCF,
:mod:`genomics.caller` works it out from a FASTA and a GFF3. Both end here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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


CIS, ONE_OF_TWO, UNPHASED, UNCALLED = "cis", "cis on one of two", "unphased", "uncalled"


@dataclass(frozen=True)
class Compound:
    """Other changes of the same sample that are read in the same codons.

    Attributes
    ----------
    partners : tuple of str
        The other changes, as ``chrom-position-ref-alt``.
    phase : str
        "cis": on every haplotype that carries this change, the others are there too; the
        consequence is the one together, ``alone`` is the other reading.
        "cis on one of two": one copy carries the others too, the other copy does not; the
        consequence is the one alone, ``together`` the other reading. Both are true.
        "unphased": the genotypes do not tell; the consequence is the one alone, ``together`` is
        what it would be with the others on the same haplotype.
        "uncalled": the genotype of at least one of the others is not known; as "unphased".
    evidence : str
        What in the genotypes says so.
    alone, together : Consequence or None
        The reading that the consequence itself is not.
    """

    partners: tuple[str, ...]
    phase: str
    evidence: str
    alone: Consequence | None = None
    together: Consequence | None = None


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
    hgvs_g : str or None
        ``g.``, or ``m.`` on the mitochondrion; without the sequence's name.
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
    haplotype_before, haplotype_after : str or None
        For an in-frame change of anything but one residue for one, the protein around it without
        and with the change: what is replaced, or replaces it, with 50 residues on either side
        (``-`` beyond the protein's ends). ``haplotype_before[50:-50]`` is ``wild_type``, empty for
        an insertion; ``haplotype_after[50:-50]`` is ``mutant``, empty for a deletion. A model of
        single substitutions reads ``window``; changes of several bases that change one residue
        have it too, because they are missense on the haplotype.
    exceptions : tuple of str
        What speaks against a loss of function that the term alone would suggest.
    compound : Compound or None
        Other changes of the same sample in the same codons; see :mod:`genomics.compound`.
    others : tuple of Consequence
        Of the consequence that stands for a variant: what the variant does on all other
        transcripts.
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
    hgvs_g: str | None = None
    haplotype_before: str | None = None
    haplotype_after: str | None = None
    exceptions: tuple[str, ...] = ()
    compound: Compound | None = None
    others: tuple[Consequence, ...] = ()

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
        return dict(_plain(asdict(self)))

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Consequence:
        """Rebuild a consequence from :meth:`to_dict`, or from one that an earlier version wrote."""
        given = dict(fields) | {"terms": tuple(fields["terms"])}
        given["exceptions"] = tuple(fields.get("exceptions", ()))
        given["others"] = tuple(cls.from_dict(each) for each in fields.get("others", ()))
        compound = fields.get("compound")
        if compound is not None:
            readings = {
                name: None if compound[name] is None else cls.from_dict(compound[name])
                for name in ("alone", "together")
            }
            partners = tuple(compound["partners"])
            given["compound"] = Compound(**(dict(compound) | readings | {"partners": partners}))
        return cls(**given)

    @classmethod
    def of(cls, **fields: Any) -> Consequence:
        """Make a consequence as the constructor does, several times faster.

        A frozen dataclass sets its fields one by one through a guard; millions are made here.
        Fields that are left out fall back to the class's defaults.
        """
        made = object.__new__(cls)
        made.__dict__.update(fields)
        return made

    def but(self, **changes: Any) -> Consequence:
        """Return a copy with some fields changed, as :meth:`of` makes it."""
        made = object.__new__(Consequence)
        made.__dict__.update(self.__dict__, **changes)
        return made


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value


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
        held = by_gene.setdefault(one.gene, one)
        if one is not held and (one.preference, one.severity) < (held.preference, held.severity):
            by_gene[one.gene] = one
    if len(by_gene) == 1:
        return next(iter(by_gene.values()))
    return min(
        by_gene.values(),
        key=lambda one: (one.severity, one.biotype != "protein_coding", one.preference),
        default=None,
    )


def with_others(consequences: Iterable[Consequence]) -> Consequence | None:
    """Return :func:`representative`, with the consequences on all other transcripts kept in it."""
    every = list(consequences)
    chosen = representative(every)
    if chosen is None or len(every) == 1:
        return chosen
    return chosen.but(others=tuple(each for each in every if each is not chosen))


def protein_window(protein: str, position: int) -> str:
    """Return the residues around a 1-based position, ``-`` beyond the protein's ends."""
    padded = "-" * WINDOW_FLANK + protein + "-" * WINDOW_FLANK
    return padded[position - 1 : position + 2 * WINDOW_FLANK]
