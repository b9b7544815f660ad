"""Changes that are clear by rule, and the reason for those that neither rule nor model covers."""

from __future__ import annotations

from genomics.consequence import CIS, Consequence
from genomics.report import DISRUPTIVE, NEUTRAL, WEAKENED, Classification

# Loss of function as ACMG/AMP 2015 (Richards et al.) lists it for PVS1, without knowing whether
# the gene's loss causes disease: hence "likely", and never a probability. What ClinGen's tree for
# PVS1 (Abou Tayoun et al. 2018) lets weaken it is in ``Consequence.exceptions``.
_RULES = {
    "stop_gained": (DISRUPTIVE, "the protein is cut short"),
    "frameshift_variant": (DISRUPTIVE, "the reading frame is lost"),
    "splice_donor_variant": (DISRUPTIVE, "the first two bases of an intron are changed"),
    "splice_acceptor_variant": (DISRUPTIVE, "the last two bases of an intron are changed"),
    "start_lost": (DISRUPTIVE, "the start codon is lost"),
    "synonymous_variant": (NEUTRAL, "the protein is unchanged and no splice site is near"),
}
_CODING = frozenset({"protein_coding", None})
MISSENSE = "missense_variant"


def classify_by_rule(consequence: Consequence) -> Classification | None:
    """Return the class that a rule gives to a consequence; None where no rule speaks.

    An exception to the rule weakens "likely disruptive" to "possibly disruptive", and is named. No
    rule calls a change neutral that may, with another on the same haplotype, be something else.
    """
    if consequence.biotype not in _CODING or consequence.term not in _RULES:
        return None
    label, why = _RULES[consequence.term]
    rule = f"{consequence.term}: {why}"
    exceptions = consequence.exceptions
    other = _other_reading(consequence)
    if other is not None:
        if label == NEUTRAL:
            return None
        exceptions = (*exceptions, other)
    if exceptions:
        rule = f"{rule}; but {'; '.join(exceptions)}"
    return Classification(WEAKENED if exceptions else label, rule, exceptions)


def why_not_scored(consequence: Consequence) -> str:
    """Return the reason for a consequence without class or score.

    What stands before a colon is the kind of reason, which the ledger counts by.
    """
    if consequence.term == MISSENSE:
        return consequence.note or "the protein around the substitution is not known"
    if consequence.biotype not in _CODING:
        return f"the transcript does not code for a protein: {consequence.biotype}"
    other = _other_reading(consequence)
    if other is not None:
        return f"two readings: {consequence.term} alone, {other}"
    return f"{consequence.term}: neither a model nor a rule covers it"


def _other_reading(consequence: Consequence) -> str | None:
    """Return what the change would be with others on its haplotype, if that differs."""
    compound = consequence.compound
    if compound is None or compound.phase == CIS or compound.together is None:
        return None
    together = compound.together
    if (together.term, together.hgvs_p) == (consequence.term, consequence.hgvs_p):
        return None
    named = f" ({together.hgvs_p})" if together.hgvs_p else ""
    return f"{together.term}{named} together with {', '.join(compound.partners)}"
