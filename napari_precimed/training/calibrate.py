"""Turning a network's logits into probabilities, on validation patients."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

_PULL = 1e-3  # towards "change nothing", where there is little to learn from


def platt(logits: NDArray, positive: NDArray[np.bool_]) -> dict[str, float]:
    """Temperature and bias of a logit (Platt 1999).

    Parameters
    ----------
    logits : ndarray, shape (n,)
    positive : ndarray of bool, shape (n,)

    Returns
    -------
    dict
        "scale" (one over the temperature) and "shift" of the logit.
    """
    x, y = np.asarray(logits, float), np.asarray(positive, float)

    def loss(p: NDArray) -> float:
        z = p[0] * x + p[1]
        return float(np.mean(np.logaddexp(0, z) - y * z) + _PULL * (p[0] - 1) ** 2)

    scale, shift = optimize.minimize(loss, np.array([1.0, 0.0]), method="BFGS").x
    return {"scale": round(float(scale), 4), "shift": round(float(shift), 4)}


def abstain_band(
    chance: NDArray[np.float64], positive: NDArray[np.bool_], wrong: float = 0.02
) -> tuple[float, float]:
    """Between which probabilities a model should rather say nothing.

    Parameters
    ----------
    chance : ndarray, shape (n,)
        Calibrated, on validation patients.
    positive : ndarray of bool, shape (n,)
        At least one of each kind.
    wrong : float
        The share of the positive that may lie below the band, and of the negative above it.

    Returns
    -------
    low, high : float
        Equal where the two kinds are apart well enough without a band.
    """
    low = float(np.quantile(chance[positive], wrong))
    high = float(np.quantile(chance[~positive], 1 - wrong))
    if low >= high:
        low = high = (low + high) / 2
    return round(low, 4), round(high, 4)
