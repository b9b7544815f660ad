"""Where bcftools csq and the caller are known to part, each recognised by its own condition.

``docs/consequences.md`` says of each who is right and why. Anything that no condition recognises
counts as a disagreement.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from csq_oracle.facts import Facts
from genomics.coding import is_start

Terms = frozenset[str]
SPLICE = frozenset({"splice_region_variant", "splice_donor_variant", "splice_acceptor_variant"})
SITE = SPLICE - {"splice_region_variant"}
IN_FRAME = frozenset(
    {"inframe_insertion", "inframe_deletion", "protein_altering_variant", "missense_variant"}
)
_STOP_KEPT = frozenset({"stop_retained_variant", "3_prime_UTR_variant"})
STRUCTURAL = frozenset({"feature_elongation", "feature_truncation"})


@dataclass(frozen=True)
class Extra:
    """Terms that one side adds beside those that both give."""

    name: str
    ours: frozenset[str]
    theirs: frozenset[str]
    holds: Callable[[Facts, Terms, Terms], bool]


EXTRAS = (
    Extra(
        "splice-region",
        frozenset({"splice_region_variant"}),
        frozenset(),
        lambda facts, ours, theirs: facts.near_exon_edge,
    ),
    Extra(
        "intron-beside-splice",
        frozenset({"intron_variant"}),
        frozenset(),
        lambda facts, ours, theirs: bool(theirs & SPLICE),
    ),
    Extra(
        "splice-region-by-other-writing",
        frozenset(),
        frozenset({"splice_region_variant"}),
        lambda facts, ours, theirs: facts.near_exon_edge and len(facts.writings) > 1,
    ),
    Extra(
        "splice-region-one-base-further",
        frozenset(),
        frozenset({"splice_region_variant"}),
        lambda facts, ours, theirs: facts.kind == "indel" and facts.next_to_splice_region,
    ),
    Extra(
        "intron-unanswered",
        frozenset({"intron_variant"}),
        frozenset(),
        lambda facts, ours, theirs: facts.in_intron and not theirs - STRUCTURAL,
    ),
    Extra("structural-term", frozenset(), STRUCTURAL, lambda facts, ours, theirs: True),
    Extra(
        "stop-after-frameshift",
        frozenset(),
        frozenset({"stop_gained"}),
        lambda facts, ours, theirs: "frameshift_variant" in ours & theirs,
    ),
    Extra(
        "coding-beside-splice-site",
        frozenset({"coding_sequence_variant"}),
        frozenset(),
        lambda facts, ours, theirs: bool(ours & theirs & SITE) and facts.crosses_every_way,
    ),
)


@dataclass(frozen=True)
class Whole:
    """A difference of the terms as a whole."""

    name: str
    holds: Callable[[Facts, Terms, Terms], bool]


def _early_stop(facts: Facts) -> bool | None:
    """Whether the new protein ends before its old stop's place; None where that is not known."""
    if facts.proteins is None:
        return None
    old, new, _ = facts.proteins
    return old != new and new.endswith("*") and len(new) < len(old) + facts.growth // 3


def _as_translated(facts: Facts, ours: Terms) -> bool:
    """Whether our terms agree with the plain translation of the whole, where there is one."""
    if facts.proteins is None or facts.transcript.recoded or "start_lost" in ours:
        return True
    if facts.growth % 3:
        return not ours & (IN_FRAME | {"synonymous_variant"})
    return "frameshift_variant" not in ours and ("stop_gained" in ours) == _early_stop(facts)


def _delins(facts: Facts, ours: Terms, theirs: Terms) -> bool:
    in_frame = facts.kind == "indel" and facts.growth % 3 == 0
    if not in_frame or facts.crosses_every_way or not ours & (IN_FRAME | {"stop_gained"}):
        return False
    told = theirs - SPLICE <= IN_FRAME | {"stop_gained"}
    return told and ("stop_gained" in ours) == _early_stop(facts)


def _silent_delins(facts: Facts, ours: Terms, theirs: Terms) -> bool:
    return (
        facts.kind == "indel"
        and not theirs - SPLICE
        and facts.growth % 3 != 0
        and facts.proteins is not None
        and ours - SPLICE == {"frameshift_variant"}
    )


def _mitochondrial_start(facts: Facts, ours: Terms, theirs: Terms) -> bool:
    if facts.transcript.code != 2 or not facts.first_codon or "start_lost" not in theirs:
        return False
    if facts.proteins is None:
        return False
    kept = is_start(facts.proteins[2], 2)
    return kept == ("start_lost" not in ours)


def _start(facts: Facts, ours: Terms, theirs: Terms) -> bool:
    """A change at the start codon, where ours follows whether ATG is still there."""
    if facts.transcript.code == 2 or not facts.first_codon or not facts.transcript.start_known:
        return False
    if facts.proteins is None:
        return "start_lost" in ours
    return ("start_lost" in ours) == (facts.proteins[2] != "ATG")


def _stop_kept(facts: Facts, ours: Terms, theirs: Terms) -> bool:
    """The stop stays where it was: we say so, or see a writing that is behind it."""
    same = facts.proteins is not None and facts.proteins[0] == facts.proteins[1]
    return facts.last_codon and same and ours - SPLICE <= _STOP_KEPT


def _stop_codon(facts: Facts, ours: Terms, theirs: Terms) -> bool:
    """A change that takes the stop codon, or bases on both sides of its end."""
    if not facts.last_codon or "stop_lost" not in ours:
        return False
    low, high = facts.transcript.coding_span
    end = high if facts.transcript.strand > 0 else low - 1
    return all(facts.crosses(end)) or (
        facts.proteins is not None and len(facts.proteins[1]) != len(facts.proteins[0])
    )


def _stop_misread(facts: Facts, ours: Terms, theirs: Terms) -> bool:
    """One of the two sees an early stop, and translating the whole says ours is right."""
    pure = facts.kind in {"insertion", "deletion"}
    if not pure or facts.growth % 3 or facts.proteins is None or facts.recoded_codon:
        return False
    differs = ("stop_gained" in ours) != ("stop_gained" in theirs)
    return differs and ("stop_gained" in ours) == _early_stop(facts)


WHOLES = (
    Whole("selenocysteine", lambda facts, ours, theirs: facts.recoded_codon),
    Whole(
        "incomplete-codon",
        lambda facts, ours, theirs: facts.incomplete_codon and facts.transcript.code == 1,
    ),
    Whole(
        "polyadenylated-stop",
        lambda facts, ours, theirs: facts.incomplete_codon and facts.transcript.code == 2,
    ),
    Whole("mitochondrial-start", _mitochondrial_start),
    Whole("start-codon", _start),
    Whole("stop-kept", _stop_kept),
    Whole("stop-codon", _stop_codon),
    Whole("indel-in-frame", _delins),
    Whole("indel-unanswered", _silent_delins),
    Whole(
        "across-exon-border",
        lambda facts, ours, theirs: facts.crosses_every_way and bool(ours & SITE),
    ),
    Whole(
        "indel-at-splice-site",
        lambda facts, ours, theirs: (
            facts.kind == "indel"
            and facts.alters_splice_site_every_way
            and bool(ours & SITE)
            and not theirs & SITE
        ),
    ),
    Whole("inserted-at-exon-border", lambda facts, ours, theirs: facts.inserted_at_edge),
    Whole(
        "writings-differ-at-splice-site",
        lambda facts, ours, theirs: facts.writings_disagree_on_splicing,
    ),
    Whole("early-stop-misread", _stop_misread),
)
NAMES = tuple(each.name for each in (*EXTRAS, *WHOLES))


def explain(facts: Facts, ours: Terms, theirs: Terms) -> list[str] | None:
    """Return the names of the differences between two sets of terms; None where one is unknown."""
    names, left, right = _without_extras(facts, ours, theirs)
    if left == right:
        return names
    if not _as_translated(facts, ours):
        return None
    whole = next((each for each in WHOLES if each.holds(facts, left, right)), None)
    return None if whole is None else [*names, whole.name]


def _without_extras(facts: Facts, ours: Terms, theirs: Terms) -> tuple[list[str], Terms, Terms]:
    names = []
    left, right = ours, theirs
    for each in EXTRAS:
        spare = (each.ours & (left - right), each.theirs & (right - left))
        if any(spare) and each.holds(facts, left, right):
            names.append(each.name)
            left, right = left - spare[0], right - spare[1]
    return names, left, right
