"""Making probabilities mean what they say: temperature, Platt's method, reliability diagrams.

Fitted on validation patients, who trained nothing. A calibration is the "scale" and "shift" of a
logit, as `napari_precimed.models.classify.calibrated` applies them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from napari_precimed.core.files import atomic_path

_PULL = 1e-3  # towards no change: few patients must not stretch the logits without end
_COLDEST, _HOTTEST = 0.05, 20.0


def fit_temperature(logits: ArrayLike, positive: ArrayLike) -> dict[str, float]:
    """Guo et al. 2017: one number by which all logits are divided; the order of cases stays.

    Parameters
    ----------
    logits : array_like, shape (n,)
        Of the positive class.
    positive : array_like of bool, shape (n,)

    Returns
    -------
    dict
        "scale", 1 / temperature, and "shift", 0.
    """
    x, y = np.asarray(logits, float), np.asarray(positive, float)

    def loss(log_t: float) -> float:
        z = x / np.exp(log_t)
        return float(np.mean(np.logaddexp(0, z) - y * z) + _PULL * log_t**2)

    return {"scale": round(float(1 / np.exp(_lowest(loss))), 4), "shift": 0.0}


def fit_class_temperature(logits: ArrayLike, classes: ArrayLike) -> float:
    """The temperature of a softmax over several classes.

    Parameters
    ----------
    logits : array_like, shape (n, classes)
    classes : array_like of int, shape (n,)
        The true ones.
    """
    x, y = np.asarray(logits, float), np.asarray(classes, int)

    def loss(log_t: float) -> float:
        z = x / np.exp(log_t)
        entropy = np.logaddexp.reduce(z, axis=1) - z[np.arange(len(y)), y]
        return float(np.mean(entropy) + _PULL * log_t**2)

    return float(np.exp(_lowest(loss)))


def fit_platt(logits: ArrayLike, positive: ArrayLike) -> dict[str, float]:
    """Platt 1999: scale and shift of the logit, for classes less frequent than training had them.

    The parameters are those of `fit_temperature`.

    Returns
    -------
    dict
        "scale" and "shift".
    """
    x, y = np.asarray(logits, float), np.asarray(positive, float)

    def loss(p: NDArray) -> float:
        z = p[0] * x + p[1]
        return float(np.mean(np.logaddexp(0, z) - y * z) + _PULL * (p[0] - 1) ** 2)

    scale, shift = optimize.minimize(loss, np.array([1.0, 0.0]), method="BFGS").x
    return {"scale": round(float(scale), 4), "shift": round(float(shift), 4)}


def abstain_band(
    chance: ArrayLike, positive: ArrayLike, wrong: float = 0.02
) -> tuple[float, float]:
    """Between which probabilities a model should rather say nothing.

    Parameters
    ----------
    chance : array_like, shape (n,)
        Calibrated, on validation patients.
    positive : array_like of bool, shape (n,)
        At least one of each kind.
    wrong : float
        The share of the positive that may lie below the band, and of the negative above it.

    Returns
    -------
    low, high : float
        Equal where the two kinds are apart well enough without a band.
    """
    chance, positive = np.asarray(chance, float), np.asarray(positive, bool)
    low = float(np.quantile(chance[positive], wrong))
    high = float(np.quantile(chance[~positive], 1 - wrong))
    if low >= high:
        low = high = (low + high) / 2
    return round(low, 4), round(high, 4)


def draw_reliability(path: Path, rows: Sequence[Mapping[str, Any]], title: str) -> None:
    """Draw a reliability diagram as PNG: how often what was said came true.

    Parameters
    ----------
    path : Path
        Written beside and renamed.
    rows : sequence of mapping
        As `scores.reliability` gives them.
    title : str

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2, 4.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    known = [row for row in rows if row["n"]]
    said = [row["mean_probability"] for row in known]
    came = [row["share_positive"] for row in known]
    above.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1, label="what it should be")
    above.plot(said, came, color="#23527c", marker="o", label="this model")
    above.set(xlim=(0, 1), ylim=(0, 1), ylabel="share that is positive", title=title)
    above.legend(frameon=False, loc="upper left", fontsize="small")
    middle = [(row["from"] + row["to"]) / 2 for row in rows]
    width = [0.9 * (row["to"] - row["from"]) for row in rows]
    bars = below.bar(middle, [row["n"] for row in rows], width, color="#9db7cf")
    below.bar_label(bars, fontsize="small")
    below.set(xlabel="probability given", ylabel="cases")
    below.margins(y=0.25)
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    with atomic_path(path) as partial:
        figure.savefig(partial, format="png", dpi=150)


def _lowest(loss: Any) -> float:
    """The log temperature at which a loss is lowest."""
    bounds = (np.log(_COLDEST), np.log(_HOTTEST))
    return float(optimize.minimize_scalar(loss, bounds=bounds, method="bounded").x)
