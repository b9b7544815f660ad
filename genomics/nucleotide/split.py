"""Whole genes and regulatory loci held out: a test part, and folds of the rest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import pandas as pd

TEST_PERCENT = 25
# Of forty seeds, the first whose test part holds pathogenic changes of every class that has any in
# more than one gene, and leaves some of each for training. Chosen by these counts alone.
SPLIT_SEED = 5


def is_test_unit(unit: str, seed: int = SPLIT_SEED) -> bool:
    """Whether a gene or locus is in the test part.

    The rule is the unit's own: SHA-256 of ``"seed:unit"`` modulo 100, against 100 minus
    ``TEST_PERCENT``. A unit therefore stays in its part when the tables grow.
    """
    digest = hashlib.sha256(f"{seed}:{unit}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % 100 >= 100 - TEST_PERCENT


def folds_of_units(weights: Mapping[str, int], count: int) -> dict[str, int]:
    """Return the fold, from 0, of each unit: heaviest first, each to the lightest fold so far.

    Parameters
    ----------
    weights : mapping
        Of each unit, what the folds should share evenly (its pathogenic changes, its size).
    count : int
        Number of folds.
    """
    load = [0] * count
    folds = {}
    for unit in sorted(weights, key=lambda name: (-weights[name], name)):
        fold = load.index(min(load))
        folds[unit] = fold
        # At least one each, so that units of no weight spread too.
        load[fold] += max(weights[unit], 1)
    return folds


def development_folds(table: pd.DataFrame, count: int, weight: str | None) -> dict[str, int]:
    """Return the fold of each unit of a table that is not in the test part.

    Parameters
    ----------
    table : DataFrame
        With a column ``unit``.
    weight : str or None
        The column whose sum the folds share evenly; None for the number of rows.
    """
    kept = table[[not is_test_unit(unit) for unit in table["unit"]]]
    grouped = kept.groupby("unit", sort=True)
    sums = grouped.size() if weight is None else grouped[weight].sum()
    return folds_of_units({str(unit): int(total) for unit, total in sums.items()}, count)
