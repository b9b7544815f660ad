"""VariantReport: what is known of one sample's variants, and where each statement comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from genomics.consequence import Consequence
from genomics.errors import ReportFormatError
from genomics.ledger import account
from genomics.variant import Genotype, Variant

if TYPE_CHECKING:
    import pandas as pd

FORMAT_VERSION = 1
DISRUPTIVE, WEAKENED, NEUTRAL = "likely disruptive", "possibly disruptive", "likely neutral"


@dataclass(frozen=True)
class Classification:
    """A class given by a rule, not by a model; it has no probability and none is invented.

    Attributes
    ----------
    label : str
        "likely disruptive", "possibly disruptive" (an exception weakens the rule) or "likely
        neutral".
    rule : str
        The Sequence Ontology term that the rule is about, the rule, and its exceptions.
    exceptions : tuple of str
        What weakens the rule here.
    """

    label: str
    rule: str
    exceptions: tuple[str, ...] = ()


@dataclass(frozen=True)
class RecordPlace:
    """Where in the user's file an allele stands.

    Attributes
    ----------
    line_number : int
        From 1; alleles of one record share it.
    allele_index : int
        1 for the first ALT, as genotypes count; 0 for a record without ALT.
    key : str
        ``chrom-pos-ref-alt[,alt]`` as the user wrote it.
    identifier : str or None
        The ID column.
    filters : str or None
        The FILTER column; None where it is ``.``.
    """

    line_number: int
    allele_index: int
    key: str
    identifier: str | None = None
    filters: str | None = None


@dataclass(frozen=True)
class ScoredVariant:
    """One alternate allele of one record, with exactly one of score, classification, reason.

    Attributes
    ----------
    variant : Variant
    genotype : Genotype or None
        None where the file has no samples or the record no GT.
    consequence : Consequence or None
        None where no consequence could be found; ``reason`` then says why.
    score : float or None
        Calibrated probability, 0 to 1, that the change is pathogenic, at the share of pathogenic
        variants of the training data. None where there is none, never 0.
    reason : str or None
        Why there is neither a score nor a class.
    model : str or None
        The model that gave ``score``.
    classification : Classification or None
    record : RecordPlace or None
    doubt : float or None
        Standard deviation of the ensemble's probabilities; None without a score.
    normalised : Variant or None
        ``variant`` trimmed and, where a reference was at hand, left-aligned; None for an allele
        that is not written out as bases. ``record`` keeps the user's own writing.
    abstention : str or None
        Why the score is no call (undecided, or the protein is out of distribution); None where it
        is one, and without a score.
    evidence : str or None
        The strength of evidence that the score carries, as ``PP3_supporting``; None for none.
    """

    variant: Variant
    genotype: Genotype | None
    consequence: Consequence | None
    score: float | None = None
    reason: str | None = None
    model: str | None = None
    classification: Classification | None = None
    record: RecordPlace | None = None
    doubt: float | None = None
    normalised: Variant | None = None
    abstention: str | None = None
    evidence: str | None = None

    @property
    def zygosity(self) -> str | None:
        """How the sample carries the allele; None where that is not known."""
        index = self.record.allele_index if self.record else 1
        return self.genotype.zygosity(index) if self.genotype and index else None

    @property
    def failed_filters(self) -> str | None:
        """The caller's filters that the record failed, ``;`` between; None for PASS and ``.``."""
        filters = self.record.filters if self.record else None
        return None if filters == "PASS" else filters

    @property
    def rank(self) -> tuple[int, bool, float]:
        """Sorting key, the most noteworthy first.

        Disruptive by rule, then scored (highest first), then neutral by rule; then those with a
        reason only: in a gene (most severe first), and last what has no gene, is not carried or
        was not called. Within each of these, records that failed a filter come after the others.
        """
        group, order = self._group_and_order
        return (group, self.failed_filters is not None, order)

    @property
    def _group_and_order(self) -> tuple[int, float]:
        if self.classification is not None:
            label = self.classification.label
            return (2, 0.0) if label == NEUTRAL else (0, 0.0 if label == DISRUPTIVE else 1.0)
        if self.score is not None:
            return (1, -self.score)
        if self.consequence is not None and self._may_be_carried:
            return (3, float(self.consequence.severity))
        return (4, 0.0)

    @property
    def _may_be_carried(self) -> bool:
        index = self.record.allele_index if self.record else 1
        return self.genotype is None or not index or bool(self.genotype.carries(index))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        fields = asdict(self)
        if self.classification is not None:
            fields["classification"]["exceptions"] = list(self.classification.exceptions)
        fields["consequence"] = self.consequence.to_dict() if self.consequence else None
        if self.genotype is not None:
            fields["genotype"]["alleles"] = list(self.genotype.alleles)
        return fields

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> ScoredVariant:
        """Rebuild a scored variant from :meth:`to_dict`."""
        given = dict(fields)
        given["variant"] = Variant(**given["variant"])
        genotype = given["genotype"]
        if genotype is not None:
            given["genotype"] = Genotype(**(genotype | {"alleles": tuple(genotype["alleles"])}))
        if given["consequence"] is not None:
            given["consequence"] = Consequence.from_dict(given["consequence"])
        if given["classification"] is not None:
            stated = dict(given["classification"])
            stated["exceptions"] = tuple(stated.get("exceptions", ()))
            given["classification"] = Classification(**stated)
        if given["record"] is not None:
            given["record"] = RecordPlace(**given["record"])
        if given.get("normalised") is not None:
            given["normalised"] = Variant(**given["normalised"])
        return cls(**given)


@dataclass(frozen=True)
class Counted:
    """Records of a large file that a report counts by reason and does not list.

    Attributes
    ----------
    alleles : dict
        Their alleles by the kind of reason (what stands before its colon).
    records : dict
        The records by the kind of their first allele's reason.
    """

    alleles: Mapping[str, int] = field(default_factory=dict)
    records: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class VariantReport:
    """What is known of every allele of a VCF for one sample, in the file's order.

    Attributes
    ----------
    sample_id : str or None
        The VCF's sample; None where the file has no sample columns. Whoever links the report to a
        patient must not take None for a match.
    scored : tuple of ScoredVariant
        One per alternate allele (one for a record without ALT), in order; but for those counted.
    run : dict
        The run record: model, weights' SHA-256, options, input, library versions, timings.
    counted : Counted
        Alleles that are not listed in ``scored``; see :mod:`genomics.listing`. None in files of
        ordinary size.
    """

    sample_id: str | None
    scored: tuple[ScoredVariant, ...]
    run: Mapping[str, Any] = field(default_factory=dict)
    counted: Counted = Counted()

    @property
    def ledger(self) -> dict[str, Any]:
        """The closed account of what was read; see :func:`genomics.ledger.account`."""
        return account(self.scored, self.run.get("records_read"), self.counted)

    def ranked(self) -> list[ScoredVariant]:
        """Return the variants, the most noteworthy first; see :attr:`ScoredVariant.rank`."""
        return sorted(self.scored, key=lambda each: each.rank)

    def to_frame(self, ranked: bool = False) -> pd.DataFrame:
        """Return one row per listed allele, in the file's order or ranked; see ``COLUMNS``."""
        import pandas as pd

        chosen = self.ranked() if ranked else self.scored
        return pd.DataFrame([table_row(each) for each in chosen], columns=list(COLUMNS))

    def to_tsv(self, ranked: bool = False) -> str:
        """Return :meth:`to_frame` as tab-separated text; unknown values are empty."""
        return str(self.to_frame(ranked).to_csv(sep="\t", index=False, lineterminator="\n"))

    def to_json(self) -> str:
        """Return the whole report as JSON; :meth:`from_json` gives it back unchanged."""
        content = {
            "format": FORMAT_VERSION,
            "sample_id": self.sample_id,
            "run": dict(self.run),
            "ledger": self.ledger,
            "counted": asdict(self.counted),
            "scored": [each.to_dict() for each in self.scored],
        }
        return json.dumps(content, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> VariantReport:
        """Read a report back.

        Raises
        ------
        ReportFormatError
            The text is not a report of this format.
        """
        try:
            content = json.loads(text)
            if content["format"] != FORMAT_VERSION:
                raise ReportFormatError(
                    f"variant report format {content['format']!r}; this reads {FORMAT_VERSION}; "
                    "score the VCF again"
                )
            scored = tuple(ScoredVariant.from_dict(each) for each in content["scored"])
            # Reports from before alleles were counted list all of them.
            counted = Counted(**content.get("counted", {}))
            return cls(content["sample_id"], scored, content["run"], counted)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ReportFormatError(
                f"not a variant report ({type(error).__name__}: {error}); score the VCF again"
            ) from error


COLUMNS: Sequence[str] = (
    "chrom",
    "position",
    "ref",
    "alt",
    "gene",
    "consequence",
    "hgvs_c",
    "hgvs_p",
    "genotype",
    "zygosity",
    "score",
    "doubt",
    "abstention",
    "evidence",
    "classification",
    "rule",
    "reason",
    "model",
    "transcript",
    "source",
    "id",
    "filter",
    "record",
    "allele_index",
    "line",
    "normalised",
    "build",
    "hgvs_g",
    "read_with",
    "other_reading",
    "other_transcripts",
)


def table_row(each: ScoredVariant) -> dict[str, Any]:
    """Return an allele's values by their names in ``COLUMNS``; unknown ones are left out."""
    variant, consequence = each.variant, each.consequence
    row: dict[str, Any] = {
        "chrom": variant.chrom,
        "position": variant.position,
        "ref": variant.ref,
        "alt": variant.alt,
        "build": variant.build,
        "genotype": str(each.genotype) if each.genotype else None,
        "zygosity": each.zygosity,
        "score": each.score,
        "doubt": each.doubt,
        "abstention": each.abstention,
        "evidence": each.evidence,
        "reason": each.reason,
        "model": each.model,
        "normalised": each.normalised.key if each.normalised else None,
    }
    if consequence is not None:
        row |= {
            "gene": consequence.gene,
            "consequence": "&".join(consequence.terms),
            "hgvs_c": consequence.hgvs_c,
            "hgvs_p": consequence.hgvs_p,
            "transcript": consequence.transcript,
            "source": consequence.source,
            "hgvs_g": consequence.hgvs_g,
            "other_transcripts": ";".join(map(_brief, consequence.others)) or None,
        }
        row |= _readings(consequence)
    if each.classification is not None:
        row |= {"classification": each.classification.label, "rule": each.classification.rule}
    if each.record is not None:
        row |= {
            "id": each.record.identifier,
            "filter": each.record.filters,
            "record": each.record.key,
            "allele_index": each.record.allele_index,
            "line": each.record.line_number,
        }
    return row


def _brief(consequence: Consequence) -> str:
    """Return a consequence as ``transcript:terms:c.:p.``; what is not known is empty."""
    names = (consequence.hgvs_c or "", consequence.hgvs_p or "")
    return ":".join((consequence.transcript or "", "&".join(consequence.terms), *names))


def _readings(consequence: Consequence) -> dict[str, Any]:
    """Return with what, and on what evidence, the allele was read, and the other reading."""
    compound = consequence.compound
    if compound is None:
        return {}
    other = compound.together or compound.alone
    return {
        "read_with": f"{compound.phase}: {','.join(compound.partners)}; {compound.evidence}",
        "other_reading": _brief(other) if other else None,
    }
