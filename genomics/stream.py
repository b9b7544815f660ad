"""The parts of the flow from VCF to report that know neither model nor gene.

Options that any process can work by, progress and cancelling, records in handfuls, and the account
of what came of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TypeVar

from genomics.catalogue import built_in_models
from genomics.errors import CancelledError
from genomics.listing import Listing
from genomics.vcf import Deviations, VcfRecord

Progress = Callable[[int, int | None], None]
Cancelled = Callable[[], bool]

RECORDS_AT_ONCE = 20_000
_RECORDS_PER_REPORT = 200
_NAMES_KEPT = 100
_T = TypeVar("_T")


@dataclass(frozen=True)
class ScoreOptions:
    """What to score and on what; any process that has it scores alike.

    Attributes
    ----------
    vcf : Path
    sample : str or None
    reference, genes : path or None
    model : str or path
    lenient : bool
        Whether what breaks a rule of form only is let pass.
    """

    vcf: Path
    sample: str | None = None
    reference: str | Path | None = None
    genes: str | Path | None = None
    model: str | Path = "missense-lstm"
    lenient: bool = False

    def absolute(self) -> ScoreOptions:
        """Return them as a process with another working folder needs them."""
        named = str(self.model) in built_in_models()
        return replace(
            self,
            vcf=self.vcf.absolute(),
            reference=self.reference and Path(self.reference).absolute(),
            genes=self.genes and Path(self.genes).absolute(),
            model=self.model if named else Path(self.model).absolute(),
        )


@dataclass(frozen=True)
class Watch:
    """Reports progress and stops when asked.

    Attributes
    ----------
    progress : callable
        ``progress(done, total)`` in records.
    cancelled : callable
    total : int or None
    """

    progress: Progress
    cancelled: Cancelled
    total: int | None

    def over(self, records: Iterable[VcfRecord]) -> Iterator[VcfRecord]:
        """Yield the records and report every so many of them."""
        done = 0
        self.step(done)
        for done, record in enumerate(records, start=1):
            if done % _RECORDS_PER_REPORT == 0:
                self.step(done)
            yield record
        self.step(done)

    def step(self, done: int) -> None:
        """Report ``done`` records.

        Raises
        ------
        CancelledError
        """
        self.expect_wanted()
        self.progress(done, self.total)

    def expect_wanted(self) -> None:
        """Raise :class:`~genomics.errors.CancelledError` if the work is no longer wanted."""
        if self.cancelled():
            raise CancelledError("scoring was cancelled")


@dataclass
class ScoredPart:
    """What came of a file, or of some of its chromosomes; can be sent between processes.

    Attributes
    ----------
    listing : Listing
    records : int
        As many as were read, whatever came of them: the account is held against it.
    alleles : int
    foreign : int
        Alleles on sequences that the reference does not have.
    foreign_names : dict
        The first of those sequences, as keys.
    contradicting : int
        Alleles of records whose REF is not what the reference has there.
    contradiction : str or None
        The reason of the first of them.
    deviations : Deviations or None
        What a lenient reader let pass; None where nothing is let pass.
    seconds : dict
        By step; summed over processes.
    """

    listing: Listing = field(default_factory=Listing)
    records: int = 0
    alleles: int = 0
    foreign: int = 0
    foreign_names: dict[str, None] = field(default_factory=dict)
    contradicting: int = 0
    contradiction: str | None = None
    deviations: Deviations | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def read(self, records: Iterable[VcfRecord]) -> Iterator[VcfRecord]:
        """Yield the records and count them."""
        for record in records:
            self.records += 1
            yield record

    def note_foreign(self, sequence: str) -> None:
        """Count an allele on a sequence that the reference does not have."""
        self.foreign += 1
        if len(self.foreign_names) < _NAMES_KEPT:
            self.foreign_names[sequence] = None

    def note_contradiction(self, reason: str) -> None:
        """Count an allele of a record that contradicts the reference."""
        self.contradicting += 1
        self.contradiction = self.contradiction or reason

    def extend(self, following: ScoredPart) -> None:
        """Take what came of the part of the file that follows."""
        self.listing.extend(following.listing)
        self.records += following.records
        self.alleles += following.alleles
        self.foreign += following.foreign
        for name in following.foreign_names:
            if len(self.foreign_names) < _NAMES_KEPT:
                self.foreign_names[name] = None
        self.contradicting += following.contradicting
        self.contradiction = self.contradiction or following.contradiction
        if following.deviations is not None:
            self.deviations = self.deviations or Deviations()
            self.deviations.extend(following.deviations)
        for step, seconds in following.seconds.items():
            self.seconds[step] = self.seconds.get(step, 0.0) + seconds


def handfuls(items: Iterable[_T]) -> Iterator[list[_T]]:
    """Yield items in lists of `RECORDS_AT_ONCE`, so that only so many are held."""
    items = iter(items)
    while held := list(islice(items, RECORDS_AT_ONCE)):
        yield held
