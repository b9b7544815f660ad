"""Which records a report lists and which it only counts.

A whole genome has five million alleles, nearly all of them outside any coding sequence. A report
that listed them all could be neither held in memory nor read. So it lists the records of which an
allele has a score or a class, or touches a coding sequence or a splice site; the others it lists as
well, but where there are more than :data:`LISTED_OTHERS` of them it only counts them by reason.
Which it is depends on the file alone, not on its order or on how it is divided. The tables that
are written hold every allele either way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from genomics.consequence import SEVERITY
from genomics.report import Counted, ScoredVariant

LISTED_OTHERS = 100_000
_BEYOND_CODING = frozenset(SEVERITY[SEVERITY.index("mature_miRNA_variant") :])


def is_always_listed(record: Sequence[ScoredVariant]) -> bool:
    """Whether an allele of a record is scored, classed, or in a coding sequence or splice site."""
    return any(
        each.reason is None
        or (each.consequence is not None and each.consequence.term not in _BEYOND_CODING)
        for each in record
    )


class Listing:
    """Collects the records of a file, or of a part of it, in order.

    Parameters
    ----------
    limit : int
        Records beyond coding sequences that may be listed.
    """

    def __init__(self, limit: int = LISTED_OTHERS) -> None:
        self._limit = limit
        self._records: list[Sequence[ScoredVariant]] = []
        self._others = 0
        self._alleles_of_others: Counter[str] = Counter()
        self._records_of_others: Counter[str] = Counter()

    def add(self, record: Sequence[ScoredVariant]) -> None:
        """Take the alleles of the next record."""
        if is_always_listed(record):
            self._records.append(record)
            return
        self._others += 1
        kinds = [(each.reason or "").partition(":")[0] for each in record]
        self._alleles_of_others.update(kinds)
        self._records_of_others[kinds[0]] += 1
        if self._others <= self._limit:
            self._records.append(record)
        elif self._others == self._limit + 1:
            self._drop_others()

    def extend(self, following: Listing) -> None:
        """Take what was collected of the part of the file that follows."""
        self._records.extend(following._records)
        self._others += following._others
        self._alleles_of_others.update(following._alleles_of_others)
        self._records_of_others.update(following._records_of_others)
        if self._others > self._limit:
            self._drop_others()

    def result(self) -> tuple[tuple[ScoredVariant, ...], Counted]:
        """Return the alleles to list, and the account of the others."""
        listed = tuple(each for record in self._records for each in record)
        if self._others <= self._limit:
            return listed, Counted()
        alleles, records = self._alleles_of_others, self._records_of_others
        return listed, Counted(dict(alleles.most_common()), dict(records.most_common()))

    def _drop_others(self) -> None:
        self._records = [record for record in self._records if is_always_listed(record)]
