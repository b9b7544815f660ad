"""What every missense network shares: the classifier, the ensemble, and what they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import nn

from genomics.encode import (
    ALPHABET,
    GAP,
    PROPERTIES,
    UNKNOWN,
    MissenseBatch,
    blosum_signs,
    residue_facts,
)

_SCALARS = 4
"""BLOSUM62, the log-probability of wild type and of mutant, and the entropy of the place."""


class LanguageModel(nn.Module):
    """Names the residues of a protein that are hidden from it.

    Attributes
    ----------
    length : int
        Residues read at once.
    """

    length: int

    def logits(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits of each place's residue, shape (n, length, len(ALPHABET)).

        Parameters
        ----------
        tokens : torch.Tensor
            int64, shape (n, length).
        """
        raise NotImplementedError

    def predict(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the logits of each place's residue, and which residues were hidden from their own.

        Only on hidden ones may the model be measured or learn. ``hidden`` is bool, shape
        (n, length).
        """
        raise NotImplementedError


class MissenseNetwork(nn.Module):
    """Log-odds of pathogenic, in two steps: what surrounds the place, then what changes there.

    Attributes
    ----------
    classifier : SubstitutionHead
        Of the second step; all other weights are of the first.
    """

    classifier: SubstitutionHead

    def start_from(self, language_model: Mapping[str, torch.Tensor]) -> None:
        """Take the weights of the language model that belongs to this network."""
        fresh = {name: value for name, value in self.state_dict().items() if "classifier" in name}
        self.load_state_dict({**fresh, **language_model})

    def share_encoder(self, other: MissenseNetwork) -> None:
        """Use the very modules of another network for all but the classifier."""
        for name, module in other.named_children():
            if name != "classifier":
                setattr(self, name, module)

    def forward(self, batch: MissenseBatch) -> torch.Tensor:
        """Return the log-odds of pathogenic, shape (n,)."""
        return self.classify(self.flanks(batch), batch.wild_type, batch.mutant)

    def flanks(self, batch: MissenseBatch) -> torch.Tensor:
        """Return what surrounds each place; it depends on neither wild type nor mutant.

        Returns
        -------
        torch.Tensor
            Shape (n, width); the last ``len(ALPHABET)`` columns are the log-probability of each
            residue at the place.
        """
        raise NotImplementedError

    def classify(
        self, flanks: torch.Tensor, wild_type: torch.Tensor, mutant: torch.Tensor
    ) -> torch.Tensor:
        """Return the log-odds of pathogenic, shape (n,), of substitutions in encoded flanks."""
        raise NotImplementedError


class NetworkConfig(Protocol):
    """What the harness asks of any network's hyper-parameters."""

    @property
    def flank(self) -> int:
        """Residues read on either side of the substitution."""

    @property
    def members(self) -> int:
        """Networks of the ensemble."""

    @property
    def shared_encoder(self) -> bool:
        """Whether the members are classifiers on one encoder, the language model's."""

    def build(self) -> MissenseNetwork:
        """Return a network with fresh weights."""

    def build_language_model(self) -> LanguageModel:
        """Return the language model that such a network starts from."""


class SubstitutionHead(nn.Module):
    """The classifier from what surrounds a place, and what changes there, to log-odds.

    Context and substitution are added and multiplied in one hidden layer, so that what a change
    does can depend on where it is. Residues enter through embeddings only, learnt or fixed, so
    that a score can be traced back to each of them by its gradient.
    """

    def __init__(self, context: int, embedding: int, width: int, dropout: float) -> None:
        super().__init__()
        self.facts = nn.Embedding.from_pretrained(residue_facts())
        self.register_buffer("signs", blosum_signs(), persistent=False)
        self.place = nn.Sequential(nn.Dropout(dropout), nn.Linear(context, 2 * width))
        self.change = nn.Linear(2 * embedding + 3 * PROPERTIES + _SCALARS, 2 * width)
        self.out = nn.Sequential(nn.GELU(), nn.Dropout(dropout), nn.Linear(width, 1))

    def forward(
        self, context: torch.Tensor, expected: torch.Tensor, residues: tuple[torch.Tensor, ...]
    ) -> torch.Tensor:
        """Return log-odds, shape (n,).

        Parameters
        ----------
        context : torch.Tensor
            Shape (n, context): the flanks, summed up.
        expected : torch.Tensor
            Shape (n, len(ALPHABET)): log-probability of each residue at the place.
        residues : tuple of torch.Tensor
            Wild type and mutant, int64, shape (n,), and the learnt embeddings of both.
        """
        wild_type, mutant, *embedded = residues
        change = self._compare(self.facts(wild_type), self.facts(mutant), expected)
        added, scale = self.place(context).chunk(2, dim=1)
        moved, factor = self.change(torch.cat([*embedded, change], dim=1)).chunk(2, dim=1)
        log_odds: torch.Tensor = self.out(added + moved + scale * factor)
        return log_odds.squeeze(1)

    def _compare(
        self, before: torch.Tensor, after: torch.Tensor, expected: torch.Tensor
    ) -> torch.Tensor:
        """Return what is known of the substitution, shape (n, 3 * PROPERTIES + _SCALARS)."""
        sizes = [len(ALPHABET), PROPERTIES, before.shape[1] - len(ALPHABET) - PROPERTIES]
        one, properties, vector = before.split(sizes, dim=1)
        other, new_properties, new_vector = after.split(sizes, dim=1)
        blosum = (vector * new_vector * self.get_buffer("signs")).sum(dim=1, keepdim=True)
        wild_type = (one * expected).sum(dim=1, keepdim=True)
        mutant = (other * expected).sum(dim=1, keepdim=True)
        entropy = -(expected.exp() * expected).sum(dim=1, keepdim=True)
        moved = new_properties - properties
        return torch.cat(
            [properties, moved, moved**2 / 4, blosum / 3, wild_type, mutant, entropy], dim=1
        )


def drop_residues(residues: torch.Tensor, probability: float) -> torch.Tensor:
    """Return residues of which some, by chance, are unknown; empty places stay empty."""
    if probability <= 0:
        return residues
    dropped = torch.rand(residues.shape, device=residues.device) < probability
    return torch.where(dropped & (residues != GAP), UNKNOWN, residues)


class Ensemble(nn.Module):
    """Several networks whose log-odds are averaged.

    With ``shared_encoder`` they are several classifiers on one encoder.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.shared = config.shared_encoder
        members = [config.build() for _ in range(config.members)]
        if self.shared:
            for member in members[1:]:
                member.share_encoder(members[0])
        self.members = nn.ModuleList(members)

    def flanks(self, batch: MissenseBatch) -> list[torch.Tensor]:
        """Return what each member makes of the flanks, computed once where they share it."""
        networks = self.networks
        if self.shared:
            return [networks[0].flanks(batch)] * len(networks)
        return [member.flanks(batch) for member in networks]

    def forward(self, batch: MissenseBatch) -> torch.Tensor:
        """Return each member's log-odds of pathogenic, shape (n, members)."""
        odds = [
            member.classify(flanks, batch.wild_type, batch.mutant)
            for member, flanks in zip(self.networks, self.flanks(batch), strict=True)
        ]
        return torch.stack(odds, dim=1)

    @property
    def networks(self) -> list[MissenseNetwork]:
        """The members, by the type that they have."""
        return [member for member in self.members if isinstance(member, MissenseNetwork)]
