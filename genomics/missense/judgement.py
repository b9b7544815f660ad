"""What a missense score may be read as: a call, evidence, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from genomics.missense.evidence import evidence_code

OUT_OF_DISTRIBUTION = "out of distribution"


@dataclass(frozen=True)
class Judgement:
    """A score with its limits.

    Attributes
    ----------
    score : float
        Calibrated probability of pathogenic.
    doubt : float
        Standard deviation of the ensemble's probabilities.
    abstention : str or None
        Why the score is no call: it lies where too many are wrong, or the protein around it is
        unlike any that the model learnt from. None where neither holds.
    evidence : str or None
        ``PP3_supporting`` and so on, where the data support it; None elsewhere, and always where
        the protein is out of distribution.
    """

    score: float
    doubt: float
    abstention: str | None
    evidence: str | None


def judgement(
    config: Mapping[str, Any], score: float, doubt: float, unusual: str | None
) -> Judgement:
    """Return what a model's configuration makes of a score.

    Parameters
    ----------
    config : mapping
        Of a model folder, with ``abstention`` and ``evidence``.
    score, doubt : float
    unusual : str or None
        From :func:`genomics.missense.novelty.novelty`.
    """
    if unusual is not None:
        return Judgement(score, doubt, f"{OUT_OF_DISTRIBUTION}: {unusual}", None)
    low, high = config["abstention"]["low"], config["abstention"]["high"]
    undecided = f"undecided: between {low:.2f} and {high:.2f}" if low < score < high else None
    return Judgement(score, doubt, undecided, evidence_code(config["evidence"], score))
