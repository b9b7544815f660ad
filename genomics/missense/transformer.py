"""The alternative encoder: a Transformer over the window, through the same harness as the LSTM.

The place of the substitution is read as unknown, so that here too the encoded window is shared by
every change at one place. Vaswani et al., Attention Is All You Need, NeurIPS 2017; pre-trained by
masking, Devlin et al., BERT, NAACL 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from genomics.encode import ALPHABET, GAP, UNKNOWN, MissenseBatch
from genomics.lstm import FlankLstmConfig
from genomics.missense.networks import (
    LanguageModel,
    MissenseNetwork,
    NetworkConfig,
    SubstitutionHead,
    drop_residues,
)

MASKED_SHARE = 0.15


@dataclass(frozen=True)
class WindowTransformerConfig:
    """Hyper-parameters of :class:`WindowTransformer` and of the ensemble around it.

    Attributes
    ----------
    flank : int
        Residues read on either side of the substitution.
    width, layers, heads, feedforward : int
        Of the encoder; ``width`` is also that of the residue embedding.
    head : int
        Width of the classifier's layer.
    dropout, residue_dropout, members, shared_encoder
        As in :class:`genomics.lstm.FlankLstmConfig`.
    """

    flank: int = 50
    width: int = 96
    layers: int = 2
    heads: int = 4
    feedforward: int = 192
    head: int = 128
    dropout: float = 0.4
    residue_dropout: float = 0.1
    members: int = 5
    shared_encoder: bool = True

    def build(self) -> WindowTransformer:
        """Return a network with fresh weights."""
        return WindowTransformer(self)

    def build_language_model(self) -> MaskedLanguageModel:
        """Return the language model that such a network starts from."""
        return MaskedLanguageModel(self)


class _Encoder(nn.Module):
    """Residues, shape (n, 2 * flank + 1), to states, shape (n, 2 * flank + 1, width)."""

    def __init__(self, config: WindowTransformerConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(ALPHABET), config.width)
        self.position = nn.Parameter(0.02 * torch.randn(2 * config.flank + 1, config.width))
        layer = nn.TransformerEncoderLayer(
            config.width,
            config.heads,
            config.feedforward,
            dropout=0.1,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.layers = nn.TransformerEncoder(
            layer, config.layers, norm=nn.LayerNorm(config.width), enable_nested_tensor=False
        )

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        states: torch.Tensor = self.layers(self.embedding(tokens) + self.position)
        return states


class MaskedLanguageModel(LanguageModel):
    """The encoder and a layer that names the residues hidden from it."""

    def __init__(self, config: WindowTransformerConfig) -> None:
        super().__init__()
        self.length = 2 * config.flank + 1
        self.encoder = _Encoder(config)
        self.residue = nn.Linear(config.width, len(ALPHABET))

    def logits(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits of each place's residue; unknown ones are named from the others."""
        named: torch.Tensor = self.residue(self.encoder(tokens))
        return named

    def predict(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Hide some residues, by chance, and return the logits and which ones were hidden."""
        hidden = torch.rand(tokens.shape) < MASKED_SHARE
        return self.logits(torch.where(hidden & (tokens != GAP), UNKNOWN, tokens)), hidden


class WindowTransformer(MissenseNetwork):
    """A Transformer over both flanks, with the place between them unknown."""

    def __init__(self, config: WindowTransformerConfig) -> None:
        super().__init__()
        self.residue_dropout = config.residue_dropout
        self.encoder = _Encoder(config)
        self.residue = nn.Linear(config.width, len(ALPHABET))
        self.classifier = SubstitutionHead(
            2 * config.width, config.width, config.head, config.dropout
        )

    def flanks(self, batch: MissenseBatch) -> torch.Tensor:
        """Return the encoded window, shape (n, 2 * width + len(ALPHABET)).

        The state of the place, the mean of all states, and the log-probability of each residue.
        """
        place = torch.full_like(batch.left[:, :1], UNKNOWN)
        tokens = torch.cat([batch.left, place, batch.right.flip(1)], dim=1)
        if self.training:
            tokens = drop_residues(tokens, self.residue_dropout)
        states = self.encoder(tokens)
        centre = states[:, batch.left.shape[1]]
        expected = self.residue(centre).float().log_softmax(dim=1)
        return torch.cat([centre, states.mean(dim=1), expected], dim=1)

    def classify(
        self, flanks: torch.Tensor, wild_type: torch.Tensor, mutant: torch.Tensor
    ) -> torch.Tensor:
        """Return the log-odds of pathogenic, shape (n,), of substitutions in encoded windows."""
        context, expected = flanks[:, : -len(ALPHABET)], flanks[:, -len(ALPHABET) :]
        residues = (
            wild_type,
            mutant,
            self.encoder.embedding(wild_type),
            self.encoder.embedding(mutant),
        )
        log_odds: torch.Tensor = self.classifier(context, expected, residues)
        return log_odds


NETWORKS: Mapping[str, Callable[..., NetworkConfig]] = {
    "FlankLstm": FlankLstmConfig,
    "WindowTransformer": WindowTransformerConfig,
}
"""The networks that a model folder may name, by their class."""
