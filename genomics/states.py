"""Many substitutions at once, the surroundings of each place read once.

What the networks read of the flanks depends on neither the residue at the place nor on the one
that replaces it (:meth:`genomics.lstm.FlankLstm.flanks`). So it is computed once for each place of
each protein, and shared by the reference, every substitution there and every gene's copy of the
same protein; only the classifier is run for each substitution.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch

from genomics.encode import encode_letters, encode_missense
from genomics.lstm import Ensemble

PLACES_AT_ONCE = 256
"""Places whose flanks are read together: as many as keep the states in a core's cache."""


def ensemble_log_odds(
    ensemble: Ensemble, windows: Sequence[str], mutants: Sequence[str], flank: int
) -> npt.NDArray[np.float64]:
    """Return each member's log-odds of pathogenic, shape (n, members).

    Parameters
    ----------
    ensemble : Ensemble
        In evaluation mode.
    windows : sequence of str
        Wild-type protein windows of one odd length, the substituted residue in the middle.
    mutants : sequence of str
        The residue that replaces it, one letter each.
    flank : int
        Residues that the networks read on either side.
    """
    log_odds = np.empty((len(windows), len(ensemble.members)))
    with torch.inference_mode():
        for places, rows in _by_place(windows):
            at = torch.tensor([places[windows[row]] for row in rows])
            flanks = encode_missense(list(places), "A" * len(places), flank)
            middle = len(windows[rows[0]]) // 2
            before = encode_letters([windows[row][middle] for row in rows]).reshape(-1)
            after = encode_letters([mutants[row] for row in rows]).reshape(-1)
            for column, member in enumerate(ensemble.members):
                states = member.flanks(flanks)[at]
                log_odds[rows, column] = member.classify(states, before, after).double().numpy()
    return log_odds


def _by_place(windows: Sequence[str]) -> Iterator[tuple[dict[str, int], list[int]]]:
    """Yield up to `PLACES_AT_ONCE` distinct windows, numbered, and the rows that share them."""
    rows_of: dict[str, list[int]] = {}
    for row, window in enumerate(windows):
        rows_of.setdefault(window, []).append(row)
    distinct = list(rows_of)
    for start in range(0, len(distinct), PLACES_AT_ONCE):
        part = distinct[start : start + PLACES_AT_ONCE]
        yield (
            {window: number for number, window in enumerate(part)},
            [row for window in part for row in rows_of[window]],
        )
