"""Protein windows -> index tensors.

One alphabet for every model: ``-`` marks a place beyond the protein's end, ``X`` a residue that
is unknown or outside the twenty (selenocysteine among them).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

ALPHABET = "-ACDEFGHIKLMNPQRSTVWYX"
GAP, UNKNOWN = ALPHABET.index("-"), ALPHABET.index("X")

_CODES = np.full(256, UNKNOWN, dtype=np.uint8)
for _index, _letter in enumerate(ALPHABET):
    _CODES[ord(_letter)] = _index


@dataclass(frozen=True)
class MissenseBatch:
    """Encoded substitutions.

    Attributes
    ----------
    left, right : torch.Tensor
        int64, shape (n, flank). Both run *towards* the substituted residue: ``left`` in the
        protein's order, ``right`` from the far end back, so that the last step of either is the
        neighbour of the substitution.
    wild_type, mutant : torch.Tensor
        int64, shape (n,): the residue in the reference and in the patient.
    """

    left: torch.Tensor
    right: torch.Tensor
    wild_type: torch.Tensor
    mutant: torch.Tensor

    def __len__(self) -> int:
        return len(self.wild_type)

    def __getitem__(self, index: torch.Tensor | slice) -> MissenseBatch:
        return MissenseBatch(
            self.left[index], self.right[index], self.wild_type[index], self.mutant[index]
        )


def encode_letters(sequences: Sequence[str]) -> torch.Tensor:
    """Encode equally long sequences as int64 indices into ``ALPHABET``, shape (n, length)."""
    if not sequences:
        return torch.empty((0, 0), dtype=torch.int64)
    lengths = {len(sequence) for sequence in sequences}
    if len(lengths) != 1:
        raise ValueError(f"windows must be equally long, found lengths {sorted(lengths)}")
    raw = np.frombuffer("".join(sequences).encode("latin-1", "replace"), dtype=np.uint8)
    return torch.from_numpy(_CODES[raw].reshape(len(sequences), -1).astype(np.int64))


def encode_missense(windows: Sequence[str], mutants: Sequence[str], flank: int) -> MissenseBatch:
    """Encode substitutions in the middle of their protein windows.

    Parameters
    ----------
    windows : sequence of str
        Wild-type windows of one odd length, the substituted residue in the middle.
    mutants : sequence of str
        One letter each: the residue that replaces the middle one.
    flank : int
        Residues kept on either side; at most half the window.

    Returns
    -------
    MissenseBatch
    """
    tokens = encode_letters(windows)
    middle = tokens.shape[1] // 2
    if flank > middle:
        raise ValueError(f"flank {flank} is longer than half the window ({middle})")
    return MissenseBatch(
        left=tokens[:, middle - flank : middle],
        right=tokens[:, middle + 1 : middle + 1 + flank].flip(1),
        wild_type=tokens[:, middle],
        mutant=encode_letters(mutants).reshape(-1),
    )
