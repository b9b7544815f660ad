"""Out of distribution: windows unlike any protein that the model learnt from.

Three rules, none of which needs the network or a label:

- *unknown*: the residue before or after the change is none of the twenty, or more than
  ``UNKNOWN_SHARE`` of the window's residues are not;
- *composition*: the Mahalanobis distance of the window's residue frequencies (their square roots,
  Hellinger's scale) from the training windows': low complexity, repeats, a wrong reading frame;
- *order*: the mean negative log-probability of each residue after the one before it, under the
  training windows' frequencies of pairs: sequences that are no protein.

Each limit is the quantile ``INSIDE`` of the validation families' windows, none of which any
training saw; so about two in a hundred natural windows are flagged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
UNKNOWN_SHARE = 0.05
INSIDE = 0.99
UNKNOWN, COMPOSITION, ORDER = "unknown residues", "unusual composition", "unusual order"

_OTHER = len(RESIDUES)
_NOTHING = _OTHER + 1
_CODES = np.full(256, _OTHER, dtype=np.int64)
_CODES[[ord(letter) for letter in RESIDUES]] = np.arange(len(RESIDUES))
_CODES[ord("-")] = _NOTHING

Floats = npt.NDArray[np.float64]


def fit_novelty(train: Sequence[str], validation: Sequence[str]) -> dict[str, Any]:
    """Return what :func:`novelty` needs, as lists and numbers for a model's configuration.

    Parameters
    ----------
    train, validation : sequence of str
        Windows of equal length; each different one counts once.
    """
    learnt = _encode(sorted(set(train)))
    frequencies = _frequencies(learnt)
    spread = np.cov(frequencies.T) + 1e-5 * np.eye(_OTHER)
    pairs = np.ones((_OTHER, _OTHER))
    before, after, known = _neighbours(learnt)
    np.add.at(pairs, (before[known], after[known]), 1)
    about = {
        "mean": np.round(frequencies.mean(axis=0), 5).tolist(),
        "precision": np.round(np.linalg.inv(spread), 3).tolist(),
        "surprise": np.round(-np.log(pairs / pairs.sum(axis=1, keepdims=True)), 4).tolist(),
    }
    natural = _encode(sorted(set(validation)))
    limits = {
        "composition": float(np.quantile(_distance(about, natural), INSIDE)),
        "order": float(np.quantile(_surprise(about, natural), INSIDE)),
    }
    return {**about, "limits": limits}


def novelty(
    about: Mapping[str, Any], windows: Sequence[str], mutants: Sequence[str]
) -> list[str | None]:
    """Return, for each substitution, why it is out of distribution; None where it is not.

    Parameters
    ----------
    about : mapping
        From :func:`fit_novelty`.
    windows, mutants : sequence of str
        As in :meth:`genomics.score.MissenseModel.probability`.
    """
    if not windows:
        return []
    residues = _encode(windows)
    wild_type, mutant = residues[:, residues.shape[1] // 2], _encode(mutants)[:, 0]
    shown = np.maximum((residues != _NOTHING).sum(axis=1), 1)
    unknown = (residues == _OTHER).sum(axis=1) > UNKNOWN_SHARE * shown
    unknown |= (wild_type >= _OTHER) | (mutant >= _OTHER)
    unusual = _distance(about, residues) > about["limits"]["composition"]
    disorderly = _surprise(about, residues) > about["limits"]["order"]
    reasons = np.select([unknown, unusual, disorderly], [UNKNOWN, COMPOSITION, ORDER], default="")
    return [str(reason) or None for reason in reasons]


def _encode(texts: Sequence[str]) -> npt.NDArray[np.int64]:
    raw = np.frombuffer("".join(texts).encode("latin-1", "replace"), dtype=np.uint8)
    return np.asarray(_CODES[raw].reshape(len(texts), -1))


def _frequencies(residues: npt.NDArray[np.int64]) -> Floats:
    counts = np.stack([(residues == kind).sum(axis=1) for kind in range(_OTHER)], axis=1)
    return np.asarray(np.sqrt(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)))


def _neighbours(
    residues: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    before, after = residues[:, :-1], residues[:, 1:]
    return before, after, (before < _OTHER) & (after < _OTHER)


def _distance(about: Mapping[str, Any], residues: npt.NDArray[np.int64]) -> Floats:
    away = _frequencies(residues) - np.array(about["mean"])
    return np.asarray(np.sqrt(np.einsum("ni,ij,nj->n", away, np.array(about["precision"]), away)))


def _surprise(about: Mapping[str, Any], residues: npt.NDArray[np.int64]) -> Floats:
    before, after, known = _neighbours(residues)
    table = np.array(about["surprise"])
    each = np.where(known, table[np.where(known, before, 0), np.where(known, after, 0)], 0.0)
    return np.asarray(each.sum(axis=1) / np.maximum(known.sum(axis=1), 1))
