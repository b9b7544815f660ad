"""An explanation as a value: what each residue around a substitution did to its score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from genomics.metrics import spearman

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
GAP_LETTER = "-"
COLUMNS = ("offset", "role", "residue", "attribution", "effect_mean", "effect_min", "effect_max")


@dataclass(frozen=True)
class Explanation:
    """Why a substitution has its score; all numbers are log-odds of the uncalibrated mean.

    Attributes
    ----------
    window : str
        The wild-type protein around the substitution, which is in the middle.
    mutant : str
    places : tuple of int
        Offsets into ``window`` of the residues explained (those inside the protein), and last
        ``len(window)``, which stands for the mutant residue.
    attributions : ndarray, shape (places,)
        Integrated gradients; above 0 speaks for pathogenic.
    effects : ndarray, shape (places, 20)
        In-silico mutagenesis: by how much the log-odds change when the residue at a place is
        replaced by each of ``RESIDUES``; 0 for the one that stands there.
    logit, baseline_logit : float
        Of the substitution, and of the baseline of average residues.
    """

    window: str
    mutant: str
    places: tuple[int, ...]
    attributions: npt.NDArray[np.float64] = field(repr=False)
    effects: npt.NDArray[np.float64] = field(repr=False)
    logit: float
    baseline_logit: float

    @property
    def completeness_error(self) -> float:
        """Sum of the attributions minus the difference of the two log-odds; 0 is exact."""
        return float(self.attributions.sum()) - (self.logit - self.baseline_logit)

    @cached_property
    def losses(self) -> npt.NDArray[np.float64]:
        """What the log-odds lose on average when a residue is replaced by another, (places,)."""
        return -self.effects.mean(axis=1)

    @property
    def agreement(self) -> float:
        """Spearman's correlation over places of the attributions and the losses, -1 to 1.

        Both say what the residue that stands there adds, compared with an average residue: the
        first along the gradient, the second by replacing it. Of a network that is linear in its
        embeddings both are the same number.
        """
        return spearman(self.attributions, self.losses)

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per place, with ``COLUMNS`` and the effect of each of ``RESIDUES``.

        ``offset`` counts residues from the substitution; ``role`` is "context", "wild type" or
        "mutant".
        """
        middle = len(self.window) // 2
        letters = self.window + self.mutant
        rows = []
        for place, attribution, effects in zip(
            self.places, self.attributions, self.effects, strict=True
        ):
            is_mutant = place == len(self.window)
            role = "mutant" if is_mutant else "wild type" if place == middle else "context"
            values = (
                0 if is_mutant else place - middle,
                role,
                letters[place],
                float(attribution),
                float(effects.mean()),
                float(effects.min()),
                float(effects.max()),
            )
            row = dict(zip(COLUMNS, values, strict=True))
            rows.append(row | dict(zip(RESIDUES, map(float, effects), strict=True)))
        return rows

    def strongest(self, count: int = 5) -> Sequence[dict[str, Any]]:
        """Return the rows of the largest attributions by size, largest first."""
        return sorted(self.rows(), key=lambda row: -abs(row["attribution"]))[:count]
