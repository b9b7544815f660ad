from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from Bio.Align import substitution_matrices

from genomics.encode import ALPHABET, PROPERTIES, blosum_signs, encode_missense, residue_facts
from genomics.lstm import FlankLstmConfig
from genomics.missense.networks import Ensemble, NetworkConfig, SubstitutionHead, drop_residues
from genomics.missense.transformer import WindowTransformerConfig


def test_the_product_of_two_residues_is_their_blosum62_score() -> None:
    vectors = residue_facts()[:, len(ALPHABET) + PROPERTIES :]
    found = (vectors * blosum_signs()) @ vectors.T
    matrix = substitution_matrices.load("BLOSUM62")
    for one in ALPHABET[1:21]:
        for other in ALPHABET[1:21]:
            place = ALPHABET.index(one), ALPHABET.index(other)
            assert float(found[place]) == pytest.approx(matrix[one][other], abs=1e-3)
    for nothing in "-X":
        assert not found[ALPHABET.index(nothing)].any()


def test_properties_are_standardised_and_in_the_alphabets_order() -> None:
    facts = residue_facts()
    assert torch.equal(facts[:, : len(ALPHABET)], torch.eye(len(ALPHABET)))
    properties = facts[1:21, len(ALPHABET) : len(ALPHABET) + PROPERTIES]
    assert torch.allclose(properties.mean(dim=0), torch.zeros(PROPERTIES), atol=1e-5)
    hydropathy, volume, charge = properties.T[:3]
    letters = ALPHABET[1:21]
    assert (letters[int(hydropathy.argmax())], letters[int(hydropathy.argmin())]) == ("I", "R")
    assert (letters[int(volume.argmax())], letters[int(volume.argmin())]) == ("W", "G")
    assert {letters[k] for k in torch.nonzero(charge > 1).flatten()} == {"K", "R"}


def test_the_head_sees_the_expectation_only_through_the_residues_asked_about() -> None:
    torch.manual_seed(0)
    head = SubstitutionHead(context=6, embedding=4, width=8, dropout=0.0).eval()
    context, learnt = torch.randn(1, 6), torch.nn.Embedding(len(ALPHABET), 4)
    wild_type, mutant = torch.tensor([3]), torch.tensor([7])
    residues = (wild_type, mutant, learnt(wild_type), learnt(mutant))
    even = torch.full((1, len(ALPHABET)), 1 / len(ALPHABET)).log()
    # Two others swapped: the entropy and the two log-probabilities are the same.
    tilted = even.exp()
    tilted[0, 10], tilted[0, 11] = 0.08, 2 / len(ALPHABET) - 0.08
    swapped = tilted.clone()
    swapped[0, [10, 11]] = tilted[0, [11, 10]]
    with torch.inference_mode():
        one, two = (head(context, p.log(), residues).item() for p in (tilted, swapped))
        plain = head(context, even, residues).item()
    assert one == pytest.approx(two, abs=1e-6)
    assert one != pytest.approx(plain, abs=1e-6)


def test_residues_are_dropped_at_the_rate_and_empty_places_are_kept() -> None:
    torch.manual_seed(0)
    residues = torch.full((100, 100), 5)
    residues[:, :20] = ALPHABET.index("-")
    dropped = drop_residues(residues, 0.25)
    assert (dropped[:, :20] == ALPHABET.index("-")).all()
    share = (dropped[:, 20:] == ALPHABET.index("X")).float().mean().item()
    assert share == pytest.approx(0.25, abs=0.02)
    assert drop_residues(residues, 0.0) is residues


@pytest.mark.parametrize("config", [FlankLstmConfig(hidden=8), WindowTransformerConfig(width=8)])
def test_members_on_one_encoder_are_encoded_once_and_differ_in_their_classifier(
    config: NetworkConfig,
) -> None:
    torch.manual_seed(0)
    shared = Ensemble(config).eval()
    apart = Ensemble(replace(config, shared_encoder=False)).eval()  # type: ignore[type-var]
    apart.load_state_dict(shared.state_dict())
    batch = encode_missense(["ACDEFGHIKLMNPQRSTVWYV" * 4 + "ACDEFGHIKLMNPQRST"] * 2, ["W", "P"], 50)
    with torch.inference_mode():
        assert torch.allclose(shared(batch), apart(batch), atol=1e-6)
        assert len({id(flanks) for flanks in shared.flanks(batch)}) == 1
        assert len({id(flanks) for flanks in apart.flanks(batch)}) == config.members
        assert shared(batch).std(dim=1).min() > 1e-3
    assert sum(p.numel() for p in shared.parameters()) < sum(p.numel() for p in apart.parameters())
