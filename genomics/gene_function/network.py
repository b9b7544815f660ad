"""The network that reads a whole protein and tells its broad function, ready for use."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import nn

from genomics.catalogue import ModelFolder, open_model
from genomics.encode import ALPHABET, GAP, encode_letters
from genomics.errors import ModelError
from genomics.metrics import Floats

MODEL_NAME = "gene-function"
_BATCH = 64


@dataclass(frozen=True)
class GeneFunctionConfig:
    """Hyper-parameters of :class:`GeneFunctionLstm`.

    Attributes
    ----------
    residues : int
        Most residues that are read, from the protein's beginning.
    embedding, channels, hidden : int
        Width of the residue embedding, of the filters and of each direction's state.
    kernel, stride : int
        Residues that a filter sees, and by how many filters are apart: the LSTM's step.
    dropout : float
    """

    residues: int = 1024
    embedding: int = 24
    channels: int = 64
    hidden: int = 64
    kernel: int = 9
    stride: int = 4
    dropout: float = 0.4


class GeneFunctionLstm(nn.Module):
    """Filters over the residues, a bidirectional LSTM over the filters, its mean and maximum."""

    def __init__(self, config: GeneFunctionConfig, functions: int) -> None:
        super().__init__()
        self.config, self.functions = config, functions
        self.embedding = nn.Embedding(len(ALPHABET), config.embedding, padding_idx=GAP)
        self.filters = nn.Conv1d(
            config.embedding, config.channels, config.kernel, config.stride, config.kernel // 2
        )
        self.lstm = nn.LSTM(config.channels, config.hidden, batch_first=True, bidirectional=True)
        self.classifier = nn.Sequential(
            nn.Dropout(config.dropout), nn.Linear(4 * config.hidden, functions)
        )

    def forward(self, residues: torch.Tensor) -> torch.Tensor:
        """Return the logits of every function, (n, functions), of padded proteins (n, length)."""
        steps = nn.functional.gelu(self.filters(self.embedding(residues).transpose(1, 2)))
        present = (residues != GAP).float().unsqueeze(1)
        inside = nn.functional.max_pool1d(present, self.config.stride, ceil_mode=True)
        inside = inside[:, 0, : steps.shape[2]].bool()
        lengths = inside.sum(dim=1).clamp(min=1)
        packed = nn.utils.rnn.pack_padded_sequence(
            steps.transpose(1, 2), lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        states, _ = nn.utils.rnn.pad_packed_sequence(
            self.lstm(packed)[0], batch_first=True, total_length=steps.shape[2]
        )
        outside = torch.arange(steps.shape[2], device=steps.device) >= lengths[:, None]
        mean = states.sum(dim=1) / lengths[:, None]
        highest = states.masked_fill(outside.unsqueeze(2), -1.0).amax(dim=1)
        return self.classifier(torch.cat([mean, highest], dim=1))


def encode_proteins(sequences: Sequence[str], residues: int) -> torch.Tensor:
    """Encode proteins, cut after ``residues`` and padded to the longest, int64, (n, length)."""
    cut = [sequence[:residues].upper() for sequence in sequences]
    longest = max((len(sequence) for sequence in cut), default=0)
    return encode_letters([sequence.ljust(longest, ALPHABET[GAP]) for sequence in cut])


@dataclass(frozen=True)
class GeneFunctionModel:
    """The trained network with its temperature."""

    folder: ModelFolder

    @classmethod
    def load(cls, name: str | Path = MODEL_NAME) -> GeneFunctionModel:
        """Open a built-in model by name, or a trained one by its folder.

        Raises
        ------
        ModelError
            There is no such model, or it is another kind of model.
        """
        folder = open_model(name)
        if "functions" not in folder.config:
            raise ModelError(f"{folder.path}: is no {MODEL_NAME}; it names no functions")
        return cls(folder)

    @property
    def functions(self) -> list[str]:
        """The broad functions, in the order of the probabilities."""
        return list(self.folder.config["functions"])

    @cached_property
    def network(self) -> GeneFunctionLstm:
        """The network, ready for use."""
        try:
            hyper = {k: v for k, v in self.folder.config["network"].items() if k != "class"}
            network = GeneFunctionLstm(GeneFunctionConfig(**hyper), len(self.functions))
            state = torch.load(self.folder.weights, map_location="cpu", weights_only=True)
            network.load_state_dict(state)
        except (OSError, RuntimeError, KeyError, TypeError, pickle.UnpicklingError) as error:
            path = self.folder.path
            raise ModelError(f"{path}: damaged ({error}); train or install again") from error
        return network.eval()

    def probability(self, sequences: Sequence[str]) -> Floats:
        """Return the calibrated probability of each function, (n, functions); rows sum to 1.

        It is one of the functions that the model knows, or the protein should not have been asked
        about: there is no "none of these".
        """
        logits = logits_of(self.network, sequences)
        scaled = logits / float(self.folder.config["calibration"]["temperature"])
        return softmax(scaled)


def logits_of(network: GeneFunctionLstm, sequences: Sequence[str]) -> Floats:
    """Return the logits of every function, (n, functions)."""
    network.eval()
    # Proteins of like length share a batch, so that little is padding.
    order = sorted(range(len(sequences)), key=lambda row: len(sequences[row]))
    found = np.zeros((len(sequences), network.functions))
    with torch.inference_mode():
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            batch = encode_proteins([sequences[row] for row in rows], network.config.residues)
            found[rows] = network(batch).double().numpy()
    return found


def softmax(logits: Floats) -> Floats:
    """Return probabilities that sum to 1 in each row."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
