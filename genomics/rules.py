"""Changes that are clear by rule, and the reason for those that neither rule nor model covers."""

from __future__ import annotations

from genomics.consequence import Consequence
from genomics.report import DISRUPTIVE, NEUTRAL, Classification

# Loss of function as ACMG/AMP 2015 (Richards et al.) lists it for PVS1, without its gene and
# transcript exceptions: hence "likely", and never a probability.
_RULES = {
    "stop_gained": (DISRUPTIVE, "the protein is cut short"),
    "frameshift_variant": (DISRUPTIVE, "the reading frame is lost"),
    "splice_donor_variant": (DISRUPTIVE, "the first two bases of an intron are changed"),
    "splice_acceptor_variant": (DISRUPTIVE, "the last two bases of an intron are changed"),
    "synonymous_variant": (NEUTRAL, "the protein is unchanged and no splice site is near"),
}
_CODING = frozenset({"protein_coding", None})
MISSENSE = "missense_variant"


def classify_by_rule(consequence: Consequence) -> Classification | None:
    """Return the class that a rule gives to a consequence; None where no rule speaks."""
    if consequence.biotype not in _CODING or consequence.term not in _RULES:
        return None
    label, why = _RULES[consequence.term]
    return Classification(label, f"{consequence.term}: {why}")


def why_not_scored(consequence: Consequence) -> str:
    """Return the reason for a consequence without class or score.

    What stands before a colon is the kind of reason, which the ledger counts by.
    """
    if consequence.term == MISSENSE:
        return consequence.note or "the protein around the substitution is not known"
    if consequence.biotype not in _CODING:
        return f"the transcript does not code for a protein: {consequence.biotype}"
    return f"{consequence.term}: neither a model nor a rule covers it"
