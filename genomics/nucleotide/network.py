"""The network that reads the DNA with and without a change, and how windows become its input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from genomics.nucleotide.context import LAYOUT, SiteContext
from genomics.nucleotide.dataset import CANONICAL_SPLICE, SCORABLE

BASES = "ACGTN"
KMERS = len(BASES) ** 3
"""Tokens: one for every base with its two neighbours, N included."""

_CODES = np.full(256, BASES.index("N"), dtype=np.uint8)
for _index, _letter in enumerate(BASES):
    _CODES[ord(_letter)] = _index
_PARTS = np.zeros(256, dtype=np.uint8)
for _index, _letter in enumerate(LAYOUT):
    _PARTS[ord(_letter)] = _index
_COMPLEMENT = torch.tensor([3, 2, 1, 0, 4])


@dataclass(frozen=True)
class NucleotideBatch:
    """Encoded single-base changes.

    Attributes
    ----------
    bases : torch.Tensor
        int64, shape (n, 2 * flank + 1): the reference's window as indices into ``BASES``, the
        changed base in the middle.
    alt : torch.Tensor
        int64, shape (n,): the base that replaces the middle one.
    layout : torch.Tensor
        int64, shape (n, 2 * flank + 1): what each base is part of, as indices into ``LAYOUT``.
    """

    bases: torch.Tensor
    alt: torch.Tensor
    layout: torch.Tensor

    def __len__(self) -> int:
        return len(self.alt)

    def __getitem__(self, index: torch.Tensor | slice) -> NucleotideBatch:
        return NucleotideBatch(self.bases[index], self.alt[index], self.layout[index])

    @property
    def strand_unknown(self) -> torch.Tensor:
        """Which rows lie in no known transcript, so that neither strand is the right one."""
        return (self.layout == 0).all(dim=1)

    def reverse_complement(self) -> NucleotideBatch:
        """Return the batch read on the other strand."""
        return NucleotideBatch(
            _COMPLEMENT[self.bases].flip(1), _COMPLEMENT[self.alt], self.layout.flip(1)
        )

    def with_random_strands(self) -> NucleotideBatch:
        """Return the batch with half of the rows of unknown strand read on the other one."""
        turned = self.strand_unknown & (torch.rand(len(self)) < 0.5)
        other = self.reverse_complement()
        return NucleotideBatch(
            torch.where(turned[:, None], other.bases, self.bases),
            torch.where(turned, other.alt, self.alt),
            torch.where(turned[:, None], other.layout, self.layout),
        )


def encode_sites(sites: Sequence[SiteContext], flank: int) -> NucleotideBatch:
    """Encode changes in their surroundings; anything but A, C, G and T becomes N.

    Parameters
    ----------
    sites : sequence of SiteContext
    flank : int
        Bases kept on either side; at most half the window.
    """
    middle = len(sites[0].window) // 2 if sites else flank
    if flank > middle:
        raise ValueError(f"flank {flank} is longer than half the window ({middle})")
    kept = slice(middle - flank, middle + flank + 1)
    width = 2 * flank + 1
    return NucleotideBatch(
        _indices(_CODES, "".join(site.window[kept] for site in sites)).reshape(-1, width),
        _indices(_CODES, "".join(site.alt for site in sites)),
        _indices(_PARTS, "".join(site.layout[kept] for site in sites)).reshape(-1, width),
    )


def _indices(codes: np.ndarray, letters: str) -> torch.Tensor:
    raw = np.frombuffer(letters.encode("latin-1", "replace"), dtype=np.uint8)
    return torch.from_numpy(codes[raw].astype(np.int64))


@dataclass(frozen=True)
class NucleotideLstmConfig:
    """Hyper-parameters of :class:`NucleotideLstm`.

    Attributes
    ----------
    flank : int
        Bases read on either side of the change.
    beyond : int
        Bases that each direction reads past the change's own three k-mers, with the reference's
        and with the patient's base: what follows the change is read in its light.
    embedding, hidden, head : int
        Width of the embedding of a k-mer and its part of the transcript, of each LSTM's state and
        of the classifier's layer.
    dropout : float
        Probability of dropping a unit before and inside the classifier.
    kmer_dropout : float
        Probability, in training, of reading a flank's k-mer as unknown.
    members : int
        Networks of the ensemble.
    """

    flank: int = 20
    beyond: int = 8
    embedding: int = 16
    hidden: int = 32
    head: int = 64
    dropout: float = 0.3
    kmer_dropout: float = 0.1
    members: int = 3


class NucleotideLstm(nn.Module):
    """Siamese LSTM over the window with the reference's base and the one with the patient's.

    One LSTM reads the window forwards, another backwards; the same two read both alleles. Up to
    the change both alleles are alike, so that part is read once and its state shared: the result
    is what reading each whole window up to ``beyond`` bases past the change would give. Heads see
    the reference's states and by how much the patient's differ from them.

    Parameters
    ----------
    config : NucleotideLstmConfig
    classes : int
        Consequence classes; each has an offset of its own, so that no state need tell them apart.
    """

    def __init__(self, config: NucleotideLstmConfig, classes: int) -> None:
        super().__init__()
        self.config = config
        self.kmer = nn.Embedding(KMERS, config.embedding)
        self.part = nn.Embedding(len(LAYOUT), config.embedding)
        self.forwards = nn.LSTM(config.embedding, config.hidden, batch_first=True)
        self.backwards = nn.LSTM(config.embedding, config.hidden, batch_first=True)
        self.unnatural, self.effect, self.pathogenic = (self._head() for _ in range(3))
        self.offset = nn.Embedding(classes, 1)
        nn.init.zeros_(self.offset.weight)
        # Weights and bias of the last layer: nothing is known until labels are seen.
        for weight in list(self.pathogenic.parameters())[-2:]:
            nn.init.zeros_(weight)

    def _head(self) -> nn.Sequential:
        return nn.Sequential(
            nn.Dropout(self.config.dropout),
            nn.Linear(8 * self.config.hidden, self.config.head),
            nn.GELU(),
            nn.Dropout(self.config.dropout),
            nn.Linear(self.config.head, 1),
        )

    def log_odds(self, batch: NucleotideBatch, classes: torch.Tensor) -> torch.Tensor:
        """Return the log-odds of pathogenic, shape (n,), of changes of the given classes."""
        features = self.features(batch)
        # Before any label was seen, a change is as bad as it is unnatural.
        start = self.unnatural(features) + self.offset(classes)
        return (start + self.pathogenic(features)).squeeze(1)

    def naturalness(self, batch: NucleotideBatch) -> torch.Tensor:
        """Return the log-odds, shape (n,), that the reference's base is the real one of the two."""
        return self.unnatural(self.features(batch)).squeeze(1)

    def expression(self, batch: NucleotideBatch) -> torch.Tensor:
        """Return the effect on expression, shape (n,), in standard deviations of its element."""
        return self.effect(self.features(batch)).squeeze(1)

    def features(self, batch: NucleotideBatch) -> torch.Tensor:
        """Return the reference's states and the difference that the change makes."""
        ref, alt = _kmers(batch)
        parts = batch.layout
        streams = (
            self._read(self.forwards, ref, alt, parts),
            self._read(self.backwards, ref.flip(1), alt.flip(1), parts.flip(1)),
        )
        reference_states, patient_states = (
            torch.cat(parts, dim=1) for parts in zip(*streams, strict=True)
        )
        return torch.cat([reference_states, patient_states - reference_states], dim=1)

    def _read(
        self, lstm: nn.LSTM, ref: torch.Tensor, alt: torch.Tensor, parts: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return one direction's states of both alleles, shape (n, 2 * hidden) each."""
        change = self.config.flank - 1
        end = change + 3 + self.config.beyond
        before, layout = ref[:, :change], self.part(parts)
        if self.training and self.config.kmer_dropout > 0:
            dropped = torch.rand(before.shape, device=before.device) < self.config.kmer_dropout
            before = torch.where(dropped, KMERS - 1, before)
        _, (hidden, cell) = lstm(self.kmer(before) + layout[:, :change])
        both = self.kmer(torch.cat([ref[:, change:end], alt[:, change:end]]))
        state = (hidden.repeat(1, 2, 1), cell.repeat(1, 2, 1))
        outputs, (last, _) = lstm(both + layout[:, change:end].repeat(2, 1, 1), state)
        reference, patient = torch.cat([last[-1], outputs.mean(dim=1)], dim=1).chunk(2)
        return reference, patient


def _kmers(batch: NucleotideBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the k-mer tokens of the reference's and the patient's window, shape (n, length)."""
    patient = batch.bases.clone()
    patient[:, patient.shape[1] // 2] = batch.alt
    return _tokens(batch.bases), _tokens(patient)


def _tokens(bases: torch.Tensor) -> torch.Tensor:
    unknown = len(BASES) - 1
    padded = nn.functional.pad(bases, (1, 1), value=unknown)
    left, middle, right = padded[:, :-2], padded[:, 1:-1], padded[:, 2:]
    return (left * len(BASES) + middle) * len(BASES) + right


def class_index(name: str) -> int:
    """Return the place of a consequence class in ``SCORABLE``, whose offset it has.

    Canonical splice sites have the splice region's: were theirs their own, it would hold all that
    there is to learn from them, since nearly all their changes are pathogenic.
    """
    return SCORABLE.index("splice_region_variant" if name in CANONICAL_SPLICE else name)


class NucleotideEnsemble(nn.Module):
    """Several :class:`NucleotideLstm`."""

    def __init__(self, config: NucleotideLstmConfig, classes: int) -> None:
        super().__init__()
        self.members = nn.ModuleList(NucleotideLstm(config, classes) for _ in range(config.members))

    @property
    def networks(self) -> list[NucleotideLstm]:
        """The members, by their type."""
        return [member for member in self.members if isinstance(member, NucleotideLstm)]

    def forward(self, batch: NucleotideBatch, classes: torch.Tensor) -> torch.Tensor:
        """Return each member's log-odds of pathogenic, shape (n, members)."""
        found = [log_odds_of(member, batch, classes) for member in self.networks]
        return torch.stack(found, dim=1)


def log_odds_of(net: NucleotideLstm, batch: NucleotideBatch, classes: torch.Tensor) -> torch.Tensor:
    """Return log-odds of pathogenic, shape (n,); the mean of both strands where none is known."""
    found = net.log_odds(batch, classes)
    unknown = batch.strand_unknown
    if unknown.any():
        other = net.log_odds(batch[unknown].reverse_complement(), classes[unknown])
        found = found.masked_scatter(unknown, (found[unknown] + other) / 2)
    return found


def expression_of(net: NucleotideLstm, batch: NucleotideBatch) -> torch.Tensor:
    """Return the effect on expression, shape (n,), the mean of both strands."""
    strands = (batch, batch.reverse_complement())
    return torch.stack([net.expression(each) for each in strands]).mean(dim=0)
