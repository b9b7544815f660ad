"""Which alleles a report lists and which it only counts.

A whole genome has five million alleles, nearly all of them outside any coding sequence. A report
that listed them all could be neither held in memory nor read. So it lists what has a score or a
class, and what touches a coding sequence or a splice site; the others it lists as well, but where
there are more than :data:`LISTED_OTHERS` of them it only counts them by reason. Which it is
depends on the file alone, not on its order or on how it is divided. The tables that are written
hold every allele either way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from genomics.consequence import SEVERITY
from genomics.report import Counted, ScoredVariant

LISTED_OTHERS = 100_000
_BEYOND_CODING = frozenset(SEVERITY[SEVERITY.index("mature_miRNA_variant") :])


def is_always_listed(each: ScoredVariant) -> bool:
    """Whether an allele has a score or a class, or touches a coding sequence or splice site."""
    if each.reason is None:
        return True
    return each.consequence is not None and each.consequence.term not in _BEYOND_CODING


class Listing:
    """Collects the alleles of a file, or of a part of it, in order.

    Parameters
    ----------
    limit : int
        Alleles beyond coding sequences that may be listed.
    """

    def __init__(self, limit: int = LISTED_OTHERS) -> None:
        self._limit = limit
        self._alleles: list[ScoredVariant] = []
        self._records = 0
        self._reasons_of_others: Counter[str] = Counter()
        self._others = 0

    def add(self, alleles: Sequence[ScoredVariant]) -> None:
        """Take the alleles of the next record."""
        self._records += 1
        for each in alleles:
            if is_always_listed(each):
                self._alleles.append(each)
                continue
            self._others += 1
            self._reasons_of_others[(each.reason or "").partition(":")[0]] += 1
            if self._others <= self._limit:
                self._alleles.append(each)
            elif self._others == self._limit + 1:
                self._drop_others()

    def extend(self, following: Listing) -> None:
        """Take what was collected of the part of the file that follows."""
        self._records += following._records
        self._others += following._others
        self._reasons_of_others.update(following._reasons_of_others)
        self._alleles.extend(following._alleles)
        if self._others > self._limit:
            self._drop_others()

    def result(self) -> tuple[tuple[ScoredVariant, ...], Counted]:
        """Return the alleles to list, and the account of the others."""
        if self._others <= self._limit:
            return tuple(self._alleles), Counted()
        lines = {each.record.line_number for each in self._alleles if each.record is not None}
        reasons = dict(self._reasons_of_others.most_common())
        return tuple(self._alleles), Counted(self._records - len(lines), reasons)

    def _drop_others(self) -> None:
        self._alleles = [each for each in self._alleles if is_always_listed(each)]
