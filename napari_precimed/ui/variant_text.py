"""A variant in the words of the window: the cells of its row, and the table of its details."""

from __future__ import annotations

from html import escape
from typing import Any

from napari_precimed.export.wording import evidence_words, probability
from napari_precimed.ui.tables import Column


def variant_columns() -> tuple[Column, ...]:
    """The columns of the variant table."""
    return (
        Column("Gene", "Gene symbol", lambda v: _of(v, "gene"), lambda v: _of(v, "gene") or None),
        Column("Change", "Protein change, else coding change, else position", change_text,
               change_text),
        Column("Score", "Calibrated probability of being pathogenic, or the class by rule; "
               "“no call” where the model holds back", score_text, _score_value, tip=_score_tip),
        Column("Consequence", "Sequence Ontology term", consequence_text, consequence_text),
        Column("Zygosity", "How the sample carries it", lambda v: v.zygosity or "not known",
               lambda v: v.zygosity),
        Column("Filter", "The caller's filters that the record failed", filter_text, filter_text),
        Column("Why", "The rule, or the reason why there is no score", why_text, why_text),
    )  # fmt: skip


def change_text(variant: Any) -> str:
    """The most telling name of a variant."""
    return _of(variant, "hgvs_p") or _of(variant, "hgvs_c") or variant.variant.key


def consequence_text(variant: Any) -> str:
    """Its consequence in words: ``missense variant``."""
    terms = variant.consequence.terms if variant.consequence else ()
    return ", ".join(terms).replace("_", " ")


def score_text(variant: Any) -> str:
    """Its score, with ``no call`` where it is none, or its class; else a dash, never 0."""
    if variant.score is not None:
        return probability(variant.score) + (", no call" if variant.abstention else "")
    return variant.classification.label if variant.classification else "–"


def why_text(variant: Any) -> str:
    """The model, the rule, or the reason for having no score."""
    if variant.score is not None:
        return str(variant.model)
    return variant.classification.rule if variant.classification else str(variant.reason)


def filter_text(variant: Any) -> str:
    """``filtered: MAPQ0``, ``PASS``, or a dash where the file does not say."""
    if variant.failed_filters is not None:
        return f"filtered: {variant.failed_filters}"
    return (variant.record.filters if variant.record else None) or "–"


def details_html(variant: Any) -> str:
    """All that is known of one variant, as a small table."""
    place, record = variant.variant, variant.record
    rows = {
        **_assessment(variant),
        "Gene": _of(variant, "gene"),
        "Variant": f"{place.key} ({place.build or 'build not known'})",
        "Coding change": _of(variant, "hgvs_c"),
        "Protein change": _of(variant, "hgvs_p"),
        "Genomic change": _of(variant, "hgvs_g"),
        "Transcript": _of(variant, "transcript"),
        "Consequence": consequence_text(variant),
        **_readings(variant),
        "Annotated by": _of(variant, "source"),
        "Genotype": f"{variant.genotype or 'not given'} ({variant.zygosity or 'not known'})",
        "Filter": filter_text(variant),
        "In the file": f"line {record.line_number}, {record.key}" if record else "",
    }
    cells = "".join(
        f"<tr><td><b>{name}</b>&nbsp;&nbsp;</td><td>{escape(str(text))}</td></tr>"
        for name, text in rows.items()
        if text
    )
    return f"<table cellspacing='2'>{cells}</table>"


def _assessment(variant: Any) -> dict[str, str]:
    """Score, doubt, whether it is a call, and its weight as evidence; or class; or the reason."""
    if variant.score is not None:
        doubt = f" ± {variant.doubt:.2f}" if variant.doubt is not None else ""
        return {
            "Score ± doubt" if doubt else "Score": probability(variant.score) + doubt,
            "No call": variant.abstention or "",
            "Evidence": evidence_words(variant.evidence) or "none (neither PP3 nor BP4)",
            "Model": str(variant.model),
        }
    if variant.classification is not None:
        rule, _, _ = variant.classification.rule.partition("; but ")
        return {
            "Class": variant.classification.label,
            "Rule": rule.replace("_", " "),
            "Weakened by": "; ".join(variant.classification.exceptions).replace("_", " "),
        }
    return {"No score": str(variant.reason).replace("_", " ")}


def _readings(variant: Any) -> dict[str, str]:
    """What it was read together with, and what it is read otherwise."""
    compound = variant.consequence.compound if variant.consequence else None
    if compound is None:
        return {}
    rows = {"Read with": f"{', '.join(compound.partners)}: {compound.phase} ({compound.evidence})"}
    for how in ("alone", "together"):
        other = getattr(compound, how)
        if other is not None:
            named = other.hgvs_p or other.hgvs_c or ""
            rows[f"If read {how}"] = f"{', '.join(other.terms).replace('_', ' ')} {named}".strip()
    return rows


def _of(variant: Any, name: str) -> str:
    return (getattr(variant.consequence, name, None) or "") if variant.consequence else ""


def _score_tip(variant: Any) -> str:
    """The cell in full: what holds the model back, and the evidence."""
    parts = (score_text(variant), variant.abstention, evidence_words(variant.evidence))
    return "\n".join(part for part in parts if part)


def _score_value(variant: Any) -> float | None:
    """Sorting value: disruptive by rule above every score, neutral by rule below."""
    if variant.score is not None:
        return float(variant.score)
    if variant.classification is None:
        return None
    return {"likely disruptive": 2.0, "possibly disruptive": 1.5}.get(
        variant.classification.label, -1.0
    )
