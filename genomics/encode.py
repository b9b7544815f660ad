"""Protein windows -> index tensors.

One alphabet for every model: ``-`` marks a place beyond the protein's end, ``X`` a residue that
is unknown or outside the twenty (selenocysteine among them).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from Bio.Align import substitution_matrices

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


# Kyte and Doolittle 1982 (hydropathy); side-chain volume in cubic angstrom, Zamyatnin 1972;
# charge at pH 7; polarity, Grantham 1974; propensity for a helix (kcal/mol), Pace and Scholtz 1998.
_PROPERTIES = {
    "A": (1.8, 88.6, 0, 8.1, 0.00),
    "C": (2.5, 108.5, 0, 5.5, 0.68),
    "D": (-3.5, 111.1, -1, 13.0, 0.69),
    "E": (-3.5, 138.4, -1, 12.3, 0.40),
    "F": (2.8, 189.9, 0, 5.2, 0.54),
    "G": (-0.4, 60.1, 0, 9.0, 1.00),
    "H": (-3.2, 153.2, 0, 10.4, 0.61),
    "I": (4.5, 166.7, 0, 5.2, 0.41),
    "K": (-3.9, 168.6, 1, 11.3, 0.26),
    "L": (3.8, 166.7, 0, 4.9, 0.21),
    "M": (1.9, 162.9, 0, 5.7, 0.24),
    "N": (-3.5, 114.1, 0, 11.6, 0.65),
    "P": (-1.6, 112.7, 0, 8.0, 3.16),
    "Q": (-3.5, 143.8, 0, 10.5, 0.39),
    "R": (-4.5, 173.4, 1, 10.5, 0.21),
    "S": (-0.8, 89.0, 0, 9.2, 0.50),
    "T": (-0.7, 116.1, 0, 8.6, 0.66),
    "V": (4.2, 140.0, 0, 5.9, 0.61),
    "W": (-0.9, 227.8, 0, 5.4, 0.49),
    "Y": (-1.3, 193.6, 0, 6.2, 0.53),
}


PROPERTIES = len(_PROPERTIES["A"])


def residue_facts() -> torch.Tensor:
    """Return what is known of each residue without any training.

    Returns
    -------
    torch.Tensor
        float32, shape (len(ALPHABET), len(ALPHABET) + PROPERTIES + 20). Each row has the residue
        itself (1 in its own column), its properties (standardised over the twenty), and a vector
        whose product with another residue's, weighted by :func:`blosum_signs`, is their BLOSUM62
        score. Properties and vector are 0 where the residue is unknown.
    """
    places = [ALPHABET.index(letter) for letter in _PROPERTIES]
    properties = np.array(list(_PROPERTIES.values()))
    values, vectors = np.linalg.eigh(_blosum())
    facts = np.zeros((len(ALPHABET), PROPERTIES + len(places)))
    facts[places, :PROPERTIES] = (properties - properties.mean(axis=0)) / properties.std(axis=0)
    facts[places, PROPERTIES:] = vectors * np.sqrt(np.abs(values))
    return torch.from_numpy(np.hstack([np.eye(len(ALPHABET)), facts]).astype(np.float32))


def blosum_signs() -> torch.Tensor:
    """Return the sign of each column of the BLOSUM62 vectors, float32, shape (20,)."""
    return torch.from_numpy(np.sign(np.linalg.eigvalsh(_blosum())).astype(np.float32))


def _blosum() -> npt.NDArray[np.float64]:
    matrix = substitution_matrices.load("BLOSUM62")
    return np.array([[matrix[one][other] for other in _PROPERTIES] for one in _PROPERTIES])
