"""The networks only, with their hyper-parameters in one dataclass."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from genomics.encode import ALPHABET, GAP, UNKNOWN, MissenseBatch


@dataclass(frozen=True)
class FlankLstmConfig:
    """Hyper-parameters of :class:`FlankLstm` and of the ensemble around it.

    Attributes
    ----------
    flank : int
        Residues read on either side of the substitution.
    embedding, hidden, head : int
        Width of the residue embedding, of each LSTM's state and of the classifier's layer.
    dropout : float
        Probability of dropping a unit before and inside the classifier.
    residue_dropout : float
        Probability, in training, of reading a flank's residue as unknown.
    members : int
        Networks of the ensemble; they differ by their seed.
    """

    flank: int = 50
    embedding: int = 32
    hidden: int = 96
    head: int = 128
    dropout: float = 0.4
    residue_dropout: float = 0.15
    members: int = 3


class FlankLstm(nn.Module):
    """One LSTM per flank, both reading towards the substituted residue.

    The flanks do not depend on the substitution, so their states are shared by every change at
    one position of a protein. Each flank is summed up by the LSTM's last state (the neighbourhood)
    and by the mean of its states (the domain); wild type and mutant enter as embeddings beside it.
    """

    def __init__(self, config: FlankLstmConfig) -> None:
        super().__init__()
        self.residue_dropout = config.residue_dropout
        self.embedding = nn.Embedding(len(ALPHABET), config.embedding)
        self.left = nn.LSTM(config.embedding, config.hidden, batch_first=True)
        self.right = nn.LSTM(config.embedding, config.hidden, batch_first=True)
        self.classifier = nn.Sequential(
            nn.Dropout(config.dropout),
            nn.Linear(4 * config.hidden + 3 * config.embedding, config.head),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.head, 1),
        )

    def forward(self, batch: MissenseBatch) -> torch.Tensor:
        """Return the log-odds of pathogenic, shape (n,)."""
        return self.classify(self.flanks(batch), batch.wild_type, batch.mutant)

    def flanks(self, batch: MissenseBatch) -> torch.Tensor:
        """Return the state of both flanks, shape (n, 4 * hidden)."""
        return torch.cat(
            [self._read(self.left, batch.left), self._read(self.right, batch.right)], dim=1
        )

    def classify(
        self, flanks: torch.Tensor, wild_type: torch.Tensor, mutant: torch.Tensor
    ) -> torch.Tensor:
        """Return the log-odds of pathogenic, shape (n,), of substitutions in encoded flanks."""
        before, after = self.embedding(wild_type), self.embedding(mutant)
        features = torch.cat([flanks, before, after, before * after], dim=1)
        return self.classifier(features).squeeze(1)

    def _read(self, lstm: nn.LSTM, residues: torch.Tensor) -> torch.Tensor:
        if self.training and self.residue_dropout > 0:
            dropped = torch.rand(residues.shape, device=residues.device) < self.residue_dropout
            residues = torch.where(dropped & (residues != GAP), UNKNOWN, residues)
        states, (last, _) = lstm(self.embedding(residues))
        return torch.cat([last[-1], states.mean(dim=1)], dim=1)


class Ensemble(nn.Module):
    """Several :class:`FlankLstm` whose log-odds are averaged."""

    def __init__(self, config: FlankLstmConfig) -> None:
        super().__init__()
        self.members = nn.ModuleList(FlankLstm(config) for _ in range(config.members))

    def forward(self, batch: MissenseBatch) -> torch.Tensor:
        """Return each member's log-odds of pathogenic, shape (n, members)."""
        return torch.stack([member(batch) for member in self.members], dim=1)
