"""The variants' part of a report: the most noteworthy ones, and the account of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import pandas as pd

from napari_precimed.export import wording as say
from napari_precimed.export.content import Table

MAX_VARIANTS, MAX_BY_RULE = 30, 15
DISRUPTIVE = "likely disruptive"
_NO_CALL = "no call: "
_BY_MODEL = (
    "An assessment with a number is the model's calibrated probability that the change is "
    "pathogenic, ± the standard deviation of its ensemble."
)
_NOTES = {
    _NO_CALL: "No call: the model leaves this change undecided, or the protein is unlike any that "
    "it learnt from; the number is then no answer.",
    "PP3": "PP3: computational evidence for pathogenic, as strong as the model's calibration "
    "supports (Pejaver et al. 2022).",
    "BP4": "BP4: computational evidence for benign, as strong as the model's calibration supports "
    "(Pejaver et al. 2022).",
    "filtered: ": "Filtered: the record failed these filters of its caller; it may be an artefact.",
}
"""What is explained below the table, where the table says it."""
_NONE_READ = "No variants were read."


class VariantReportLike(Protocol):
    """What a report needs of the variants; `genomics.report.VariantReport` fits."""

    @property
    def sample_id(self) -> str | None:
        """The sample the variants were read for; None where the VCF names none."""
        ...

    @property
    def ledger(self) -> Mapping[str, Any]:
        """Alleles = scored + by_rule + the sum of not_scored."""
        ...

    def to_frame(self, ranked: bool = False) -> pd.DataFrame:
        """One row per allele."""
        ...


def variants_sentence(report: VariantReportLike | None) -> str:
    """What was found in the genome, in a sentence."""
    if report is None:
        return _NONE_READ
    ledger = report.ledger
    disruptive = int((report.to_frame()["classification"] == DISRUPTIVE).sum())
    return (
        f"Of {say.count(ledger['alleles'], 'variant')} of sample "
        f"{report.sample_id or '(unnamed)'}, {ledger['scored']:,} were scored by a model and "
        f"{ledger['by_rule']:,} classed by rule, {disruptive:,} of them as likely disruptive; "
        f"{sum(ledger['not_scored'].values()):,} have no score, each with its reason."
    )


def variant_table(report: VariantReportLike | None) -> Table:
    """The first `MAX_VARIANTS` in order of rank, at most `MAX_BY_RULE` disruptive by rule.

    A tumour has many of those; the limit leaves room for the highest scores.
    """
    rows: tuple[tuple[str, ...], ...] = ()
    more = ""
    if report is not None:
        frame = report.to_frame(ranked=True)
        by_rule = frame["classification"] == DISRUPTIVE
        kept = pd.concat([frame[by_rule].head(MAX_BY_RULE), frame[~by_rule]]).head(MAX_VARIANTS)
        rows = _rows(kept)
        hidden = int(by_rule.sum()) - int((kept["classification"] == DISRUPTIVE).sum())
        more = f"{len(frame) - len(kept):,} more in variants.tsv, {hidden:,} of them {DISRUPTIVE}."
        more = more if len(frame) > len(kept) else ""
    return Table(
        "Variants, the most noteworthy first",
        ("Gene", "Change", "Consequence", "Place", "Genotype", "Assessment", "Given by"),
        (1.05, 2.0, 1.5, 1.8, 1.15, 1.35, 1.9),
        rows,
        _notes(rows, more),
        _NONE_READ if report is None else "The VCF holds no variant of this sample.",
    )


def ledger_table(report: VariantReportLike | None) -> Table:
    """Where each allele of the VCF went; the counts add up to the first line."""
    rows: list[tuple[str, str]] = []
    if report is not None:
        ledger = report.ledger
        rows = [
            ("Alleles in the VCF", f"{ledger['alleles']:,}"),
            ("Scored by a model", f"{ledger['scored']:,}"),
            ("Classed by rule", f"{ledger['by_rule']:,}"),
            *(
                (f"Not scored: {say.shortened(reason).replace('_', ' ')}", f"{n:,}")
                for reason, n in ledger["not_scored"].items()
            ),
        ]
    return Table("Account of all variants", ("", "Count"), (6.0, 1.0), tuple(rows), (), _NONE_READ)


def _notes(rows: tuple[tuple[str, ...], ...], more: str) -> tuple[str, ...]:
    """How many are not shown, and what the words of the genotypes and assessments mean."""
    if not rows:
        return ()
    told = "\n".join(f"{row[4]}\n{row[5]}" for row in rows)
    notes = (more, _BY_MODEL, *(note for word, note in _NOTES.items() if word in told))
    return tuple(note for note in notes if note)


def _rows(frame: pd.DataFrame) -> tuple[tuple[str, ...], ...]:
    records = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return tuple(_row(each) for each in records)


def _row(each: Mapping[Any, Any]) -> tuple[str, ...]:
    change = [text for text in (each["hgvs_p"], each["hgvs_c"], each["transcript"]) if text]
    if each["read_with"]:
        change.append(f"read with {each['read_with']}; otherwise {each['other_reading'] or '–'}")
    genotype = [text for text in (each["genotype"], each["zygosity"], _failed(each)) if text]
    return (
        say.shortened(each["gene"], 40),
        say.shortened("\n".join(say.shortened(text, 60) for text in change)),
        say.shortened((each["consequence"] or "").replace("&", ", ").replace("_", " ")),
        f"{each['chrom']}:{each['position']:,}\n{say.allele(each['ref'])} > "
        f"{say.allele(each['alt'])}",
        say.shortened("\n".join(genotype)),
        _assessment(each),
        say.shortened((each["rule"] or "").replace("_", " ") or each["model"]),
    )


def _failed(each: Mapping[Any, Any]) -> str | None:
    """``filtered: MAPQ0``, where the caller's filters were failed."""
    return None if each["filter"] in {None, "PASS"} else f"filtered: {each['filter']}"


def _assessment(each: Mapping[Any, Any]) -> str:
    """The class, or the score with its doubt, limits and evidence, or why there is neither."""
    if each["classification"]:
        return str(each["classification"])
    if each["score"] is not None:
        doubt = "" if each["doubt"] is None else f" ± {each['doubt']:.2f}"
        lines = [f"{say.probability(each['score'])}{doubt}"]
        if each["abstention"]:
            lines.append(_NO_CALL + each["abstention"].replace(": ", ", ", 1))
        if each["evidence"]:
            lines.append(say.evidence_words(each["evidence"]))
        return "\n".join(say.shortened(line, 110) for line in lines)
    return f"not scored: {say.shortened(each['reason'])}"
