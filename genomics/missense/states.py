"""Many substitutions at once, the surroundings of each place read once.

What the networks read of the flanks depends on neither the residue at the place nor on the one
that replaces it, see `MissenseNetwork.flanks` in :mod:`genomics.missense.networks`. So it is
computed once for each place of each protein, and shared by the reference, every substitution there
and every gene's copy of the same protein; only the classifier is run for each substitution.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from genomics.encode import ALPHABET, UNKNOWN, encode_letters, encode_missense
from genomics.missense.networks import Ensemble

_T = TypeVar("_T")
_UNKNOWN_RESIDUE = ALPHABET[UNKNOWN]

AT_ONCE = 128
"""Places, and substitutions, computed together: as many as keep the states in a core's cache.

Always exactly so many, the last ones made up: products of matrices of one shape treat each row
alike, so that a score does not depend on what else is in the file, to the last bit.
"""


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
    networks = ensemble.networks
    log_odds = np.empty((len(windows), len(networks)))
    with torch.inference_mode():
        for places, rows in _by_place(windows):
            flanks = encode_missense(_filled(places), _UNKNOWN_RESIDUE * AT_ONCE, flank)
            states = ensemble.flanks(flanks)
            place_of = {window: number for number, window in enumerate(places)}
            for start in range(0, len(rows), AT_ONCE):
                part = rows[start : start + AT_ONCE]
                here = [windows[row] for row in part]
                at = torch.tensor(_filled([place_of[window] for window in here]))
                before = _letters([window[len(window) // 2] for window in here])
                after = _letters([mutants[row] for row in part])
                for column, network in enumerate(networks):
                    odds = network.classify(states[column][at], before, after)
                    log_odds[part, column] = odds[: len(part)].double().numpy()
    return log_odds


def _by_place(windows: Sequence[str]) -> Iterator[tuple[list[str], list[int]]]:
    """Yield up to `AT_ONCE` distinct windows, and the rows that share them."""
    rows_of: dict[str, list[int]] = {}
    for row, window in enumerate(windows):
        rows_of.setdefault(window, []).append(row)
    distinct = list(rows_of)
    for start in range(0, len(distinct), AT_ONCE):
        part = distinct[start : start + AT_ONCE]
        yield part, [row for window in part for row in rows_of[window]]


def _letters(residues: list[str]) -> torch.Tensor:
    return encode_letters(_filled(residues)).reshape(-1)


def _filled(values: list[_T]) -> list[_T]:
    """Return `AT_ONCE` values, the last one as often as it takes."""
    return values + values[-1:] * (AT_ONCE - len(values))
