"""Surroundings read once for each place give what reading them for each substitution gives."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from genomics.consequence import protein_window
from genomics.encode import encode_missense
from genomics.lstm import Ensemble
from genomics.missense.states import AT_ONCE, ensemble_log_odds
from genomics.score import MissenseModel

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"


@pytest.fixture(scope="module")
def model() -> MissenseModel:
    return MissenseModel.load("missense-lstm")


def _substitutions(places: int) -> tuple[list[str], list[str]]:
    draw = random.Random(7)
    protein = "".join(draw.choices(RESIDUES, k=places))
    windows = [protein_window(protein, place) for place in range(1, places + 1)]
    pairs = [(w, mutant) for w in windows for mutant in draw.sample(RESIDUES, 3)]
    # Out of order, so that what is shared must find its way back to its row.
    draw.shuffle(pairs)
    return [window for window, _ in pairs], [mutant for _, mutant in pairs]


def _plain(model: MissenseModel, windows: list[str], mutants: list[str]) -> np.ndarray:
    with torch.inference_mode():
        batch = encode_missense(windows, mutants, model.network.flank)
        return model.ensemble(batch).double().numpy()


def test_shared_states_agree_with_the_plain_computation(model: MissenseModel) -> None:
    windows, mutants = _substitutions(AT_ONCE + 40)
    shared = ensemble_log_odds(model.ensemble, windows, mutants, model.network.flank)
    plain = _plain(model, windows, mutants)
    assert plain.std() > 0.1
    assert np.abs(shared - plain).max() < 1e-5


def test_each_place_is_read_once(model: MissenseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    for member in model.ensemble.members:
        flanks = member.flanks
        monkeypatch.setattr(member, "flanks", lambda b, f=flanks: read.append(len(b)) or f(b))
    windows, mutants = _substitutions(AT_ONCE)
    assert len(windows) == 3 * AT_ONCE
    ensemble_log_odds(model.ensemble, windows, mutants, model.network.flank)
    # One batch for the encoder that all members share, though there are three of substitutions.
    assert model.ensemble.shared
    assert read == [AT_ONCE]


def test_the_states_of_a_place_do_not_depend_on_its_residue(model: MissenseModel) -> None:
    """What sharing rests on; a network that read the residue itself would break it."""
    around = "".join(random.Random(3).choices(RESIDUES, k=100))
    windows = [around[:50] + residue + around[50:] for residue in RESIDUES]
    for member in model.ensemble.members:
        with torch.inference_mode():
            states = member.flanks(encode_missense(windows, "A" * 20, model.network.flank))
        assert torch.equal(states, states[:1].expand_as(states))


def test_nothing_in_gives_nothing_out(model: MissenseModel) -> None:
    assert isinstance(model.ensemble, Ensemble)
    probability, doubt = model.probability([], [])
    assert probability.shape == doubt.shape == (0,)


def test_a_score_does_not_depend_on_what_else_is_scored(model: MissenseModel) -> None:
    """To the last bit: shards of a file must write what the whole file writes."""
    windows, mutants = _substitutions(AT_ONCE + 9)
    together = model.log_odds(windows, mutants)
    backwards = model.log_odds(windows[::-1], mutants[::-1])[::-1]
    assert np.array_equal(together, backwards)
    for row in (0, 1, 150, len(windows) - 1):
        alone = model.log_odds(windows[row : row + 1], mutants[row : row + 1])
        assert np.array_equal(alone[0], together[row])
