"""The recurrent networks only, with their hyper-parameters in one dataclass."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from genomics.encode import ALPHABET, MissenseBatch
from genomics.missense.networks import (
    Ensemble,
    LanguageModel,
    MissenseNetwork,
    SubstitutionHead,
    drop_residues,
)

__all__ = ["Ensemble", "FlankLstm", "FlankLstmConfig", "ProteinLanguageModel", "residue_head"]

_CHUNK = 128


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
    shared_encoder : bool
        Whether the members are classifiers on one encoder, that of the language model, rather
        than each with an encoder fitted to the labels. Ignored where nothing is pre-trained.
    """

    flank: int = 50
    embedding: int = 32
    hidden: int = 128
    head: int = 128
    dropout: float = 0.4
    residue_dropout: float = 0.1
    members: int = 5
    shared_encoder: bool = True

    def build(self) -> FlankLstm:
        """Return a network with fresh weights."""
        return FlankLstm(self)

    def build_language_model(self) -> ProteinLanguageModel:
        """Return the language model that such a network starts from."""
        return ProteinLanguageModel(self)


def residue_head(hidden: int) -> nn.Sequential:
    """Return the layers from the states on both sides, shape (..., 2 * hidden), to the logits of
    the residue between them, shape (..., len(ALPHABET)).
    """
    return nn.Sequential(nn.Linear(2 * hidden, hidden), nn.GELU(), nn.Linear(hidden, len(ALPHABET)))


class ProteinLanguageModel(LanguageModel):
    """Two LSTMs and a head that names the residue between them.

    The forward state before a place and the backward state after it have not seen the residue
    there, so that both directions may be learnt at once. :class:`FlankLstm` starts from these
    weights.
    """

    def __init__(self, config: FlankLstmConfig) -> None:
        super().__init__()
        self.length = _CHUNK
        self.embedding = nn.Embedding(len(ALPHABET), config.embedding)
        self.left = nn.LSTM(config.embedding, config.hidden, batch_first=True)
        self.right = nn.LSTM(config.embedding, config.hidden, batch_first=True)
        self.residue = residue_head(config.hidden)

    def logits(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits of each place's residue, from all the other places."""
        embedded = self.embedding(tokens)
        before, _ = self.left(embedded)
        after, _ = self.right(embedded.flip(1))
        before = nn.functional.pad(before[:, :-1], (0, 0, 1, 0))
        after = nn.functional.pad(after[:, :-1], (0, 0, 1, 0)).flip(1)
        named: torch.Tensor = self.residue(torch.cat([before, after], dim=2))
        return named

    def predict(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the logits of each place's residue; all are hidden from their own."""
        return self.logits(tokens), torch.ones_like(tokens, dtype=torch.bool)


class FlankLstm(MissenseNetwork):
    """One LSTM per flank, both reading towards the substituted residue.

    The flanks do not depend on the substitution, so their states are shared by every change at
    one position of a protein. Each flank is summed up by the LSTM's last state (the neighbourhood)
    and by the mean of its states (the domain); the two last states also say which residue the
    place expects, as in the language model that the network starts from.
    """

    def __init__(self, config: FlankLstmConfig) -> None:
        super().__init__()
        self.residue_dropout = config.residue_dropout
        self.hidden = config.hidden
        self.embedding = nn.Embedding(len(ALPHABET), config.embedding)
        self.left = nn.LSTM(config.embedding, config.hidden, batch_first=True)
        self.right = nn.LSTM(config.embedding, config.hidden, batch_first=True)
        self.residue = residue_head(config.hidden)
        self.classifier = SubstitutionHead(
            4 * config.hidden, config.embedding, config.head, config.dropout
        )

    def flanks(self, batch: MissenseBatch) -> torch.Tensor:
        """Return the state of both flanks, shape (n, 4 * hidden + len(ALPHABET)).

        Last and mean state of the left flank, then of the right one, then the log-probability
        of each residue between them.
        """
        left, right = self._read(self.left, batch.left), self._read(self.right, batch.right)
        last = torch.cat([left[:, : self.hidden], right[:, : self.hidden]], dim=1)
        return torch.cat([left, right, self.residue(last).float().log_softmax(dim=1)], dim=1)

    def classify(
        self, flanks: torch.Tensor, wild_type: torch.Tensor, mutant: torch.Tensor
    ) -> torch.Tensor:
        """Return the log-odds of pathogenic, shape (n,), of substitutions in encoded flanks."""
        context, expected = flanks[:, : 4 * self.hidden], flanks[:, 4 * self.hidden :]
        residues = (wild_type, mutant, self.embedding(wild_type), self.embedding(mutant))
        log_odds: torch.Tensor = self.classifier(context, expected, residues)
        return log_odds

    def _read(self, lstm: nn.LSTM, residues: torch.Tensor) -> torch.Tensor:
        if self.training:
            residues = drop_residues(residues, self.residue_dropout)
        states, (last, _) = lstm(self.embedding(residues))
        return torch.cat([last[-1], states.mean(dim=1)], dim=1)
