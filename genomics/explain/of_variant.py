"""Why one variant has its score: found on the genome, explained, and set beside precedents."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genomics.caller import GeneCaller
from genomics.consequence import Consequence
from genomics.dataset import find_missense_table, read_missense_table
from genomics.errors import ExplanationError, RefMismatchError, VariantNameError
from genomics.explain.explanation import Explanation
from genomics.explain.methods import WindowNetwork, explain_substitution
from genomics.explain.precedents import PRECEDENTS, Precedent, Precedents
from genomics.genes import Genes
from genomics.reference import Reference
from genomics.rules import classify_by_rule, why_not_scored
from genomics.score import MissenseModel, library_versions
from genomics.variant import Variant

# The name may hold colons and dashes of its own (HLA-A*01:01:01:01), so it is read from the end.
_VARIANT = re.compile(
    r"(?P<chrom>.+)(?P<mark>[:-])(?P<position>[0-9]+)(?P=mark)"
    r"(?P<ref>[A-Za-z]+)(?:(?P=mark)|>)(?P<alt>[A-Za-z]+)"
)


@dataclass(frozen=True)
class VariantExplanation:
    """Everything that is said about one variant's score.

    Attributes
    ----------
    variant : Variant
    consequence : Consequence
    explanation : Explanation
    probability, doubt : float
        The score, as ``genomics score`` gives it.
    precedents : sequence of Precedent
    precedents_from : str
        Where they were looked for, or why nowhere.
    run : dict
        Model, weights, reference, library versions.
    """

    variant: Variant
    consequence: Consequence
    explanation: Explanation
    probability: float
    doubt: float
    precedents: Sequence[Precedent]
    precedents_from: str
    run: dict[str, Any]

    @property
    def title(self) -> str:
        """The variant in the words of a report."""
        found = self.consequence
        names = (found.gene, found.transcript, found.hgvs_c, found.hgvs_p)
        return " ".join([self.variant.key, *(name for name in names if name)])

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        why = self.explanation
        return {
            "variant": self.variant.key,
            "consequence": self.consequence.to_dict(),
            "score": self.probability,
            "doubt": self.doubt,
            "log_odds": why.logit,
            "baseline": "a protein of the same length made of average residues",
            "baseline_log_odds": why.baseline_logit,
            "completeness_error": why.completeness_error,
            "agreement": why.agreement,
            "residues": why.rows(),
            "precedents": [each.to_dict() for each in self.precedents],
            "precedents_from": self.precedents_from,
            "run": self.run,
        }


def parse_variant(text: str) -> Variant:
    """Read ``chrom:pos:ref:alt``, ``chrom-pos-ref-alt`` or ``chrom:pos:ref>alt``.

    Raises
    ------
    VariantNameError
        It is written otherwise.
    """
    found = _VARIANT.fullmatch(text.strip())
    if found is None:
        raise VariantNameError(
            f"{text}: not a variant; write it as chrom:pos:ref:alt, such as 17:7674220:G:A"
        )
    ref, alt = found["ref"].upper(), found["alt"].upper()
    variant = Variant(None, found["chrom"], int(found["position"]), ref, alt)
    if not variant.is_sequence or ref == alt:
        raise VariantNameError(f"{text}: needs two different alleles of A, C, G, T and N")
    return variant


def explain_variant(
    text: str,
    reference: Path,
    genes: Path,
    model: str | Path = "missense-lstm",
    data: Path | None = None,
) -> VariantExplanation:
    """Explain the score of one missense variant.

    Parameters
    ----------
    text : str
        See :func:`parse_variant`.
    reference, genes : Path
        FASTA and GFF3.
    model : str or Path
        A built-in model's name or a trained model's folder.
    data : Path, optional
        The labelled table (or its folder) in which precedents are looked for; without it, those
        beside the model's weights are.

    Raises
    ------
    VariantNameError, RefMismatchError
        The variant cannot be read, or its REF is not what the reference has.
    ExplanationError
        It has no missense score; the message says what it has instead.
    InputError
        One of its other children: a file or the model is not usable.
    """
    began = time.perf_counter()
    variant = parse_variant(text)
    loaded = MissenseModel.load(model)
    opened = Reference.open(reference)
    consequence = _missense(variant, opened, Genes.read(genes))
    window, mutant = consequence.window or "", consequence.mutant or ""
    probability, doubt = loaded.probability([window], [mutant])
    explanation = explain_substitution(WindowNetwork.of(loaded), window, mutant)
    precedents, where = _precedents(loaded, data)
    found = precedents.nearest(consequence.gene, window, mutant) if precedents else []
    run = {
        "model": loaded.folder.name,
        "weights_sha256": loaded.folder.weights_sha256(),
        "reference": reference.name,
        "genes": genes.name,
        "build": opened.build,
        "versions": library_versions(),
        "seconds": round(time.perf_counter() - began, 2),
    }
    return VariantExplanation(
        variant,
        consequence,
        explanation,
        float(probability[0]),
        float(doubt[0]),
        found,
        where,
        run,
    )


def _missense(variant: Variant, reference: Reference, genes: Genes) -> Consequence:
    last = variant.position + len(variant.ref) - 1
    bases = reference.bases(variant.chrom, variant.position, last)
    if bases != variant.ref:
        raise RefMismatchError(
            f"{variant.key}: the reference {reference.path.name} has {bases[:40]} there; give the "
            "reference of the variant's build, and alleles of its + strand"
        )
    caller = GeneCaller(reference, genes)
    if not caller.has(variant.chrom):
        raise ExplanationError(f"{variant.key}: the GFF3 has no gene on {variant.chrom}")
    found = caller.consequence(variant)
    if found.term == "missense_variant" and found.window is not None:
        return found
    by_rule = classify_by_rule(found)
    instead = f"{by_rule.label} by rule ({by_rule.rule})" if by_rule else why_not_scored(found)
    raise ExplanationError(
        f"{variant.key}: has no missense score that could be explained; {instead}"
    )


def _precedents(model: MissenseModel, data: Path | None) -> tuple[Precedents | None, str]:
    """Return what to look among, and where it is from; only variants that training has seen."""
    beside = model.folder.path / PRECEDENTS
    if data is not None:
        source = find_missense_table(data)
        every, where = Precedents.of(read_missense_table(source)), source.name
    elif beside.is_file():
        every, where = Precedents.read(beside), "the table it was trained on"
    else:
        return None, (
            "nowhere: none ships with the model; genomics explain --data looks in a labelled table"
        )
    return every.of_genes(model.folder.genes_seen()), where
