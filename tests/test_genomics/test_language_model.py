from __future__ import annotations

import gzip
import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from genomics.dataset import read_proteins
from genomics.encode import ALPHABET, UNKNOWN, encode_letters, encode_missense
from genomics.errors import TableError
from genomics.lstm import FlankLstmConfig
from genomics.missense.language_model import (
    PretrainOptions,
    pretrain,
    unigram_perplexity,
    zero_shot,
)
from genomics.missense.networks import NetworkConfig
from genomics.missense.transformer import WindowTransformerConfig

_LSTM = FlankLstmConfig(embedding=12, hidden=24, members=1)
_TRANSFORMER = WindowTransformerConfig(width=24, layers=1, heads=2, feedforward=32)
_BOTH = pytest.mark.parametrize("network", [_LSTM, _TRANSFORMER], ids=["lstm", "transformer"])


def _proteins(count: int, prefix: str) -> dict[str, str]:
    """Proteins with a rule: every residue at an odd place is told by the one before it."""
    draw = random.Random(prefix)
    follows = dict(zip("ACDEFGHIKL", "MNPQRSTVWY", strict=True))
    proteins = {}
    for index in range(count):
        first = [draw.choice("ACDEFGHIKL") for _ in range(100)]
        proteins[f"{prefix}{index}"] = "".join(letter + follows[letter] for letter in first)
    return proteins


def test_the_lstm_learns_what_follows_from_what_and_no_more_than_there_is() -> None:
    options = PretrainOptions(epochs=6, batch=16, learning_rate=2e-2)
    held_out = _proteins(20, "held out")
    model, report = pretrain(_proteins(150, "P"), held_out, _LSTM, options, log=lambda line: None)
    # Twenty residues, equally frequent; either neighbour settles the residue of its pair, so that
    # nothing is left to guess but at the protein's ends.
    assert report["perplexity_unigram"] == pytest.approx(20, abs=0.1)
    assert report["perplexity"] < 1.5
    assert report["held_out_residues"] == sum(map(len, held_out.values()))
    window = next(iter(held_out.values()))[:101]
    right, wrong = window[50], "W" if window[50] != "W" else "V"
    assert zero_shot(model, [window], [right])[0] == 0
    assert zero_shot(model, [window], [wrong])[0] > 2


def _two_letter_proteins(count: int, prefix: str) -> dict[str, str]:
    """Proteins of two residues each, so that the others tell which ones a hidden one may be."""
    draw = random.Random(prefix)
    pairs = [draw.sample("ACDEFGHIKLMNPQRSTVWY", 2) for _ in range(count)]
    return {f"{prefix}{k}": "".join(draw.choices(p, k=200)) for k, p in enumerate(pairs)}


def test_the_transformer_learns_by_masking() -> None:
    options = PretrainOptions(epochs=8, batch=8, learning_rate=5e-3)
    held_out = _two_letter_proteins(30, "held out")
    learnt = _two_letter_proteins(200, "P")
    _, report = pretrain(learnt, held_out, _TRANSFORMER, options, log=lambda line: None)
    # Two residues are left to guess from, and chunks that hold parts of two proteins.
    assert report["history"][-1]["held_out"] < 10 < 18 < report["perplexity_unigram"]


@_BOTH
def test_a_residue_is_never_predicted_from_itself(network: NetworkConfig) -> None:
    torch.manual_seed(0)
    model = network.build_language_model().eval()
    tokens = encode_letters(["ACDEFGHIKLMNPQRSTVWY" * 5 + "A"])
    for place in (0, 50, 100):
        hidden = tokens.clone()
        if isinstance(network, WindowTransformerConfig):
            hidden[:, place] = UNKNOWN
        changed = hidden.clone()
        changed[:, place + 1 if place < 100 else place - 1] = ALPHABET.index("W")
        with torch.inference_mode():
            before = model.logits(hidden)[0, place]
            if isinstance(network, FlankLstmConfig):
                itself = hidden.clone()
                itself[:, place] = ALPHABET.index("G")
                assert torch.equal(model.logits(itself)[0, place], before)
            # The neighbour is looked at: the comparison above is not of a constant.
            assert not torch.allclose(model.logits(changed)[0, place], before)


@_BOTH
def test_a_network_starts_with_the_language_models_expectation(network: NetworkConfig) -> None:
    torch.manual_seed(0)
    model, net = network.build_language_model().eval(), network.build().eval()
    net.start_from(model.state_dict())
    window = ("MKTAYIAKQRQISFVKSHFSRQ" * 5)[:101]
    tokens = encode_letters([window])
    tokens[:, 50] = UNKNOWN
    with torch.inference_mode():
        expected = net.flanks(encode_missense([window], ["A"], 50))[0, -len(ALPHABET) :]
        assert torch.allclose(expected, model.logits(tokens)[0, 50].log_softmax(0), atol=1e-5)


@_BOTH
def test_flanks_are_shared_by_all_changes_and_by_the_whole_protein(network: NetworkConfig) -> None:
    """A window cut from a protein at 50 residues says all that its score depends on."""
    torch.manual_seed(0)
    net = network.build().eval()
    protein = "-" * 50 + "".join(random.Random(0).choice(ALPHABET[1:21]) for _ in range(300))
    places, mutants = [60, 60, 60, 200], ["W", "V", "P", "C"]
    batch = encode_missense([protein[p - 50 : p + 51] for p in places], mutants, 50)
    residues = encode_letters([protein])[0]
    with torch.inference_mode():
        for row, place in enumerate(places):
            alone = encode_missense([protein[place - 50 : place + 51]], ["A"], 50)
            assert torch.equal(alone.left[0], residues[place - 50 : place])
            shared = net.classify(
                net.flanks(alone), batch.wild_type[row : row + 1], batch.mutant[row : row + 1]
            )
            assert shared.item() == pytest.approx(net(batch)[row].item(), abs=1e-5)


def test_perplexity_of_the_unigram_baseline_by_hand() -> None:
    learnt = encode_letters(["A" * 2998 + "C" * 998 + "-" * 50])[0].numpy().astype(np.uint8)
    asked = encode_letters(["AACC"])[0].numpy().astype(np.uint8)
    share = {letter: (count + 1) / (3996 + 20) for letter, count in (("A", 2998), ("C", 998))}
    assert unigram_perplexity(learnt, asked) == pytest.approx(
        math.exp(-(math.log(share["A"]) + math.log(share["C"])) / 2)
    )


def test_proteins_are_read_plain_and_gzipped_and_refused_where_there_are_none(
    tmp_path: Path,
) -> None:
    text = ">P1 a description\nMKTA\nyi\n>P2\nAAA\n"
    (tmp_path / "p.fasta").write_text(text)
    (tmp_path / "p.fasta.gz").write_bytes(gzip.compress(text.encode()))
    expected = {"P1": "MKTAYI", "P2": "AAA"}
    assert read_proteins(tmp_path / "p.fasta") == expected
    assert read_proteins(tmp_path / "p.fasta.gz") == expected
    (tmp_path / "empty.fasta").write_text("")
    (tmp_path / "damaged.fasta.gz").write_bytes(b"not gzip")
    for name in ("empty.fasta", "damaged.fasta.gz", "missing.fasta"):
        with pytest.raises(TableError, match=name):
            read_proteins(tmp_path / name)
