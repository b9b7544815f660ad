"""Explanations of networks whose answer can be worked out by hand, and of the one that ships."""

from __future__ import annotations

import copy
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from genomics.encode import ALPHABET, MissenseBatch, encode_missense
from genomics.errors import ExplanationError
from genomics.explain.explanation import RESIDUES
from genomics.explain.methods import COMPLETENESS_TOLERANCE, WindowNetwork, explain_substitution
from genomics.lstm import Ensemble, FlankLstmConfig
from genomics.metrics import spearman
from genomics.score import MissenseModel
from genomics.training import FitOptions, train_missense

FLANK = 3
_PLACE = {letter: RESIDUES.index(letter) for letter in RESIDUES}


def _encode(windows: list[str], mutants: list[str]) -> MissenseBatch:
    return encode_missense(windows, mutants, FLANK)


class _Additive(nn.Module):
    """log-odds = sum over the window of weight * value of the residue, and of the mutant."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(ALPHABET), 2)
        self.left, self.right = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.0, -1.0, -2.0])

    def value(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.embedding(tokens).sum(dim=-1)

    def forward(self, batch: MissenseBatch) -> torch.Tensor:
        context = self.value(batch.left) @ self.left + self.value(batch.right) @ self.right
        return context + 0.5 * self.value(batch.wild_type) - 4 * self.value(batch.mutant)


class _Product(_Additive):
    """log-odds = the residue before the substitution times the mutant."""

    def forward(self, batch: MissenseBatch) -> torch.Tensor:
        return self.value(batch.left)[:, -1] * self.value(batch.mutant)


def _with_values(net: _Additive, seed: int = 0) -> tuple[WindowNetwork, np.ndarray]:
    """Give every residue a value; return the network and the values of ``RESIDUES``."""
    torch.manual_seed(seed)
    nn.init.normal_(net.embedding.weight)
    values = net.embedding.weight.detach().sum(dim=1)
    order = [ALPHABET.index(letter) for letter in RESIDUES]
    return WindowNetwork(net, _encode), values[order].double().numpy()


def test_of_an_additive_network_both_methods_give_each_residue_its_own_term() -> None:
    network, values = _with_values(_Additive())
    window, mutant = "ACDEFGH", "W"
    found = explain_substitution(network, window, mutant)
    # _Additive.right runs from the far end towards the substitution.
    weights = [1.0, 2.0, 3.0, 0.5, -2.0, -1.0, 0.0, -4.0]
    residues = [_PLACE[letter] for letter in window + mutant]
    expected = [w * (values[r] - values.mean()) for w, r in zip(weights, residues, strict=True)]
    assert found.attributions == pytest.approx(expected, abs=1e-4)
    assert found.losses == pytest.approx(expected, abs=1e-4)
    assert found.agreement == pytest.approx(1.0)
    # Replacing C at the second place by Y: weight 2.
    effect = found.effects[1, _PLACE["Y"]]
    assert effect == pytest.approx(2 * (values[_PLACE["Y"]] - values[_PLACE["C"]]), abs=1e-4)


def test_of_a_product_each_factor_gets_the_share_that_the_theory_says() -> None:
    network, values = _with_values(_Product())
    found = explain_substitution(network, "ACDEFGH", "W")
    # Along the line x = mx + t*dx, y = my + t*dy: the integral of y is my + dy/2.
    mean = values.mean()
    dx, dy = values[_PLACE["D"]] - mean, values[_PLACE["W"]] - mean
    expected = np.zeros(8)
    expected[2], expected[7] = dx * (mean + dy / 2), dy * (mean + dx / 2)
    assert found.attributions == pytest.approx(expected, abs=1e-4)
    assert found.baseline_logit == pytest.approx(mean * mean, abs=1e-4)


@settings(max_examples=25, deadline=None)
@given(
    st.text(RESIDUES, min_size=4, max_size=7),
    st.sampled_from(RESIDUES),
    st.integers(0, 2**16),
)
def test_attributions_sum_to_the_difference_of_the_log_odds(
    protein: str, mutant: str, seed: int
) -> None:
    torch.manual_seed(seed)
    ensemble = Ensemble(FlankLstmConfig(flank=FLANK, embedding=6, hidden=8, head=8, members=2))
    for weight in ensemble.parameters():
        weight.data *= 3
    window = "-" * (7 - len(protein)) + protein
    found = explain_substitution(WindowNetwork(ensemble, _encode), window, mutant)
    assert abs(found.completeness_error) <= COMPLETENESS_TOLERANCE
    assert found.attributions.sum() == pytest.approx(
        found.logit - found.baseline_logit, abs=COMPLETENESS_TOLERANCE
    )
    assert len(found.places) == len(protein) + 1


class _PlainLanguageModel(nn.Module):
    """A network of another build: one LSTM either way over the window, states at the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(len(ALPHABET), 5)
        self.both = nn.LSTM(5, 6, batch_first=True, bidirectional=True)
        self.out = nn.Linear(12 + 5, 1)

    def forward(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        window, mutant = batch
        states, _ = self.both(self.tokens(window))
        middle = window.shape[1] // 2
        forwards, backwards = states[:, middle - 1, :6], states[:, middle + 1, 6:]
        return self.out(torch.cat([forwards, backwards, self.tokens(mutant)], dim=1))


def test_a_network_of_another_build_is_explained_alike() -> None:
    def encode(windows: list[str], mutants: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        index = [[ALPHABET.index(letter) for letter in window] for window in windows]
        return torch.tensor(index), torch.tensor([ALPHABET.index(each) for each in mutants])

    torch.manual_seed(1)
    found = explain_substitution(WindowNetwork(_PlainLanguageModel(), encode), "ACDEFGH", "W")
    assert abs(found.completeness_error) <= COMPLETENESS_TOLERANCE
    # It does not read the residue in the middle, so nothing is attributed to it.
    assert found.attributions[3] == 0
    assert np.all(found.effects[3] == 0)
    assert np.abs(np.delete(found.attributions, 3)).min() > 0


def test_a_network_without_embeddings_is_refused() -> None:
    class OneHot(nn.Module):
        def forward(self, batch: MissenseBatch) -> torch.Tensor:
            return batch.mutant.float()

    with pytest.raises(ExplanationError, match=r"torch\.nn\.Embedding"):
        explain_substitution(WindowNetwork(OneHot(), _encode), "ACDEFGH", "W")


def test_explaining_leaves_the_network_as_it_was() -> None:
    net = Ensemble(FlankLstmConfig(flank=FLANK, embedding=4, hidden=4, head=4, members=1)).train()
    before = copy.deepcopy(net.state_dict())
    explain_substitution(WindowNetwork(net, _encode), "ACDEFGH", "W")
    assert net.training
    assert all(torch.equal(before[name], weight) for name, weight in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())
    assert all(weight.grad is None for weight in net.parameters())


def test_rows_say_what_each_number_belongs_to() -> None:
    network, _ = _with_values(_Additive())
    rows = explain_substitution(network, "--DEFGH", "W").rows()
    assert [(row["offset"], row["role"], row["residue"]) for row in rows] == [
        (-1, "context", "D"),
        (0, "wild type", "E"),
        (1, "context", "F"),
        (2, "context", "G"),
        (3, "context", "H"),
        (0, "mutant", "W"),
    ]
    assert rows[0]["D"] == 0


# The network that ships. -----------------------------------------------------------------------

_WINDOW = (
    "MEEPQSDPSVEPPLSQETFSDLWKLLPENNVLSPLPSQAMDDLMLSPDDI"
    "EQWFTEDPGPDEAPRMPEAAPPVAPAPAAPTPAAPAPAPSWPLSSSVPSQK"
)


@pytest.fixture(scope="module")
def shipped() -> MissenseModel:
    return MissenseModel.load("missense-lstm")


def _attributions(network: WindowNetwork) -> np.ndarray:
    return explain_substitution(network, _WINDOW, "P").attributions


@pytest.fixture(scope="module")
def true_map(shipped: MissenseModel) -> np.ndarray:
    return _attributions(WindowNetwork.of(shipped))


def test_random_weights_change_the_explanation(
    shipped: MissenseModel, true_map: np.ndarray
) -> None:
    """Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018."""
    network = WindowNetwork.of(shipped)
    torch.manual_seed(0)
    drawn = copy.deepcopy(network.module)
    for module in drawn.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    other = _attributions(WindowNetwork(drawn, network.encode))
    assert abs(spearman(true_map, other)) < 0.4
    assert np.allclose(true_map, _attributions(network))


def _write_table(path: Path, shuffled: bool) -> Path:
    """A substitution beside a tryptophan is pathogenic; or the same labels in another order."""
    draw = random.Random(5)
    rows, labels = [], []
    for gene in range(60):
        for place in range(12):
            window = [draw.choice(RESIDUES.replace("W", "")) for _ in range(101)]
            labels.append(place % 2)
            window[49] = "W" if place % 2 else window[49]
            mutant = draw.choice([letter for letter in RESIDUES if letter != window[50]])
            rows.append((f"GENE{gene}", window[50], mutant, "".join(window)))
    if shuffled:
        draw.shuffle(labels)
    lines = ["gene\tpos\twt\tmt\tlabel\twt_window101"]
    lines += [
        f"{gene}\t60\t{before}\t{after}\t{label}\t{window}"
        for (gene, before, after, window), label in zip(rows, labels, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_rule_is_found_and_shuffled_labels_hide_it(tmp_path: Path) -> None:
    small = FlankLstmConfig(flank=5, embedding=12, hidden=16, head=24, dropout=0.1, members=2)
    options = FitOptions(epochs=4, batch=64, learning_rate=1e-2)
    window = "A" * 49 + "W" + "G" * 51
    maps = {}
    for name in ("true", "shuffled"):
        table = _write_table(tmp_path / f"{name}.tsv", name == "shuffled")
        train_missense(table, tmp_path / name, small, options, log=lambda line: None)
        network = WindowNetwork.of(MissenseModel.load(tmp_path / name))
        maps[name] = explain_substitution(network, window, "L")
    true, shuffled = maps["true"], maps["shuffled"]
    assert int(np.argmax(true.attributions)) == 49
    # Only with the rule is the tryptophan the larger part of all that moves the score.
    share = {
        name: abs(m.attributions[49]) / np.abs(m.attributions).sum() for name, m in maps.items()
    }
    assert share["true"] > 0.5
    assert share["shuffled"] < share["true"] / 2
    assert true.attributions[49] > 5 * abs(shuffled.attributions[49])
    # Residues beyond the flank are not read.
    assert np.all(true.attributions[:45] == 0)
    assert np.allclose(true.effects[:45], 0, atol=1e-5)
