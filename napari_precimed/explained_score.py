"""A variant's score explained, as the files that a user looks at and keeps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ExplainedScore:
    """Plain values only: it crosses from one process to another, and needs no torch to be read.

    Attributes
    ----------
    title : str
        The variant in the words of a report.
    score : float
        Calibrated probability of being pathogenic, of the variant read alone.
    png, tsv : bytes
        What ``genomics explain`` writes.
    """

    title: str
    score: float
    png: bytes
    tsv: bytes


def explain_score(variant: str, reference: Path, genes: Path) -> ExplainedScore:
    """Explain a missense score of the built-in model, and draw it.

    Parameters
    ----------
    variant : str
        ``chrom-position-ref-alt``.
    reference, genes : Path
        FASTA and GFF3.

    Raises
    ------
    genomics.errors.InputError
        The files cannot be used, or the variant has no missense score.
    """
    from genomics.explain.of_variant import explain_variant
    from genomics.explain.output import to_png, to_tsv

    found = explain_variant(variant, reference, genes)
    return ExplainedScore(found.title, found.probability, to_png(found), to_tsv(found).encode())
