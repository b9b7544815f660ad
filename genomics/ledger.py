"""The closed account of a VCF: whatever was read is scored, classed by rule or has a reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from genomics.errors import GenomicsError

if TYPE_CHECKING:
    from genomics.report import Counted, ScoredVariant


def account(
    scored: Sequence[ScoredVariant], records_read: int | None, counted: Counted
) -> dict[str, Any]:
    """Count alleles and records by what became of them.

    Parameters
    ----------
    scored : sequence of ScoredVariant
        In the file's order.
    records_read : int or None
        Records that the reader gave, counted apart from ``scored``; None where that is not known.
    counted : Counted
        What a large file has beside ``scored``, none of it with a score or a class.

    Returns
    -------
    dict
        ``records`` and ``alleles``; of the alleles ``scored``, ``by_rule`` (counts) and
        ``not_scored`` (count by reason, most frequent first), which sum to ``alleles``; how many of
        them are ``listed``, fewer than ``alleles`` where some are counted only. The same
        three of the records are in ``by_record`` and sum to ``records``: a record is counted once,
        as scored where one of its alleles is, else as classed by rule, else by its first allele's
        reason.
    """
    best: dict[int, ScoredVariant] = {}
    for place, each in enumerate(scored):
        line = each.record.line_number if each.record is not None else -place
        if line not in best or _answer(each) < _answer(best[line]):
            best[line] = each
    records = len(best) + sum(counted.records.values())
    return {
        "records": records if records_read is None else records_read,
        "alleles": len(scored) + sum(counted.alleles.values()),
        "listed": len(scored),
        **_by_answer(scored, counted.alleles),
        "by_record": _by_answer(list(best.values()), counted.records),
    }


def expect_closed(ledger: Mapping[str, Any]) -> None:
    """Check that nothing that went in is missing from what came out.

    Raises
    ------
    GenomicsError
        A record or an allele was lost, or was answered twice: a fault of this program.
    """
    for what, part in (("alleles", ledger), ("records", ledger["by_record"])):
        counted = part["scored"] + part["by_rule"] + sum(part["not_scored"].values())
        if counted != ledger[what]:
            raise GenomicsError(
                f"the ledger does not close: {ledger[what]} {what} were read, {counted} are "
                "accounted for; nothing was written. Please report this with the VCF"
            )


def ledger_lines(ledger: Mapping[str, Any]) -> list[str]:
    """Return the account in words: the sums, then each reason with its alleles."""
    lines = [_sum(ledger, "alleles", ledger), _sum(ledger, "records", ledger["by_record"])]
    return lines + [f"  {count:7}  {reason}" for reason, count in ledger["not_scored"].items()]


def _sum(ledger: Mapping[str, Any], what: str, part: Mapping[str, Any]) -> str:
    without = sum(part["not_scored"].values())
    return (
        f"{ledger[what]} {what} = {part['scored']} scored + {part['by_rule']} by rule + "
        f"{without} not scored"
    )


def _answer(each: ScoredVariant) -> int:
    return 0 if each.score is not None else 1 if each.classification is not None else 2


def _by_answer(alleles: Sequence[ScoredVariant], counted: Mapping[str, int]) -> dict[str, Any]:
    reasons = Counter(each.reason.partition(":")[0] for each in alleles if each.reason is not None)
    reasons.update(counted)
    return {
        "scored": sum(each.score is not None for each in alleles),
        "by_rule": sum(each.classification is not None for each in alleles),
        # Ties by name: in the same order whether they were listed, counted or read in parts.
        "not_scored": dict(sorted(reasons.items(), key=lambda each: (-each[1], each[0]))),
    }
