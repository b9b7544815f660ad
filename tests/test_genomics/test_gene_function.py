"""Functions read off names, families kept together, and a network with a motif to find."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from genomics.__main__ import app, run
from genomics.errors import ModelError, TableError
from genomics.gene_function.dataset import (
    FUNCTIONS,
    MANE,
    families,
    function_of,
    kmer_frequencies,
    parts_of,
    read_functions,
)
from genomics.gene_function.network import (
    GeneFunctionConfig,
    GeneFunctionLstm,
    GeneFunctionModel,
    encode_proteins,
    logits_of,
)
from genomics.gene_function.training import (
    GeneFunctionFitOptions,
    balanced_accuracy,
    evaluate_gene_function,
    macro_auroc,
    train_gene_function,
)

_LETTERS = "ACDEFGHIKLMNPQRSTVWY"
_MOTIFS = {"kinase": "HRDLKP", "solute carrier": "WCYFMW"}


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("solute carrier family 2 member 1", "transporter"),
        ("zinc finger protein 133", "transcription factor"),
        ("cyclin dependent kinase 2", "kinase"),
        ("cyclin dependent kinase inhibitor 1A", None),
        ("olfactory receptor family 1 subfamily A member 1", "G protein-coupled receptor"),
        ("potassium voltage-gated channel subfamily Q member 1", "ion channel"),
        ("interleukin 6", "cytokine or growth factor"),
        ("interleukin 6 receptor", None),
        ("fibroblast growth factor receptor 3", None),
        ("matrix metallopeptidase 9", "protease"),
        ("alpha-2-macroglobulin", None),
        # Two functions in one name are none.
        ("choline kinase/ethanolamine transferase", None),
    ],
)
def test_the_function_is_what_the_name_tells(name: str, function: str | None) -> None:
    assert function_of(name) == function


def _protein(draw: random.Random, length: int = 160) -> str:
    return "".join(draw.choices(_LETTERS, k=length))


def test_relatives_are_one_family_and_strangers_are_not() -> None:
    draw = random.Random(1)
    ancestor, stranger = _protein(draw), _protein(draw)
    mutated = "".join(draw.choice(_LETTERS) if draw.random() < 0.1 else a for a in ancestor)
    # The last shares its second half with the stranger only: it joins that family.
    chimera = _protein(draw, 80) + stranger[80:]
    repeats = "QQQQQQPPPPPP" * 12
    found = families([ancestor, mutated, stranger, chimera, repeats, "GSGSGS" * 20 + repeats])
    assert found[0] == found[1]
    assert found[2] == found[3]
    assert len({found[0], found[2], found[4], found[5]}) == 4


def test_no_family_is_in_two_parts_and_a_large_one_trains() -> None:
    family = np.repeat(np.arange(200), 3).astype(np.int32)
    family[-40:] = 200
    genes = [f"G{k}" for k in range(600)]
    table = pd.DataFrame({"family": family, "part": parts_of(family, genes)})
    assert (table.groupby("family")["part"].nunique() == 1).all()
    assert set(table.loc[table["family"] == 200, "part"]) == {"train"}
    assert set(table["part"]) == {"train", "validation", "test"}


def test_kmers_by_hand() -> None:
    found = kmer_frequencies(["ACAC", "AXA", "A"])
    # AC twice of three 2-mers, CA once; code = first + 20 * second.
    assert found[0, 0 + 20 * 1] == pytest.approx(np.sqrt(2 / 3))
    assert found[0, 1 + 20 * 0] == pytest.approx(np.sqrt(1 / 3))
    assert np.square(found[0]).sum() == pytest.approx(2)
    assert found[1, 0] == pytest.approx(1)
    assert found[2].sum() == 0


def test_measures_by_hand() -> None:
    targets, predicted = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    assert balanced_accuracy(targets, predicted, np.ones(4)) == pytest.approx((2 / 3 + 1) / 2)
    assert balanced_accuracy(targets, predicted, np.array([1.0, 1, 0, 1])) == 1
    probability = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]])
    assert macro_auroc(targets, probability, np.ones(4)) == pytest.approx(2 / 3)


def test_padding_and_company_change_nothing() -> None:
    draw = random.Random(2)
    torch.manual_seed(0)
    net = GeneFunctionLstm(GeneFunctionConfig(channels=8, hidden=8), 3)
    short, long = _protein(draw, 51), _protein(draw, 300)
    together = logits_of(net, [long, short])
    assert together[1] == pytest.approx(logits_of(net, [short])[0], abs=1e-5)
    assert together[0] == pytest.approx(logits_of(net, [long])[0], abs=1e-5)
    assert encode_proteins(["ACD", "A"], 2).tolist() == [[1, 2], [1, 0]]


def _write(folder: Path, seed: int = 3) -> Path:
    """Write proteins of two functions, each told by a motif somewhere in a random sequence."""
    draw = random.Random(seed)
    (folder / "genes").mkdir(parents=True)
    proteins, rows = [], []
    for number in range(240):
        word = "kinase" if number % 2 else "solute carrier"
        # A motif is one stretch of six: four fewer than make a family.
        parts = [_protein(draw, draw.randrange(30, 60)) for _ in range(3)]
        sequence = _MOTIFS[word].join(parts)
        proteins.append(f">NP_{number}.1 text\n{sequence[:70]}\n{sequence[70:]}")
        rows.append((f"G{number}", f"{word} {number}", f"NP_{number}.2", "", "MANE Select"))
    (folder / "proteins.fasta.gz").write_bytes(gzip.compress("\n".join(proteins).encode()))
    columns = ["symbol", "name", "RefSeq_prot", "Ensembl_prot", "MANE_status"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "genes" / MANE, sep="\t", index=False)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("function")
    data = _write(folder / "data")
    small = GeneFunctionConfig(embedding=8, channels=24, hidden=16, dropout=0.1)
    options = GeneFunctionFitOptions(epochs=12, batch=16, learning_rate=1e-2, residue_dropout=0.05)
    train_gene_function(data, folder / "model", small, options, log=lambda line: None)
    return folder / "model", data


def test_the_motif_is_found_in_families_never_seen(trained: tuple[Path, Path]) -> None:
    result = evaluate_gene_function(*trained)
    assert result["metrics"]["balanced_accuracy"]["value"] > 0.8
    assert result["metrics"]["auroc"]["value"] > 0.85
    assert result["n"]["genes"] >= 15
    assert result["n"]["genes"] + result["n"]["left_out_seen_genes"] == 240
    assert {each["name"] for each in result["subgroups"]} == {"kinase", "transporter"}


def test_evaluation_from_the_command_line(
    trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", str(trained[0]), "--data", str(trained[1])]
    assert run(lambda: app([*arguments, "--json"], standalone_mode=False)) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "gene-function"
    assert run(lambda: app(arguments, standalone_mode=False)) == 0
    assert "recall" in capsys.readouterr().out


def test_probabilities_sum_to_one_and_the_model_is_what_it_says(
    trained: tuple[Path, Path],
) -> None:
    model = GeneFunctionModel.load(trained[0])
    probability = model.probability(["MKT" * 30, _MOTIFS["kinase"] * 10])
    assert probability.shape == (2, len(FUNCTIONS))
    assert probability.sum(axis=1) == pytest.approx(1)
    with pytest.raises(ModelError, match="names no functions"):
        GeneFunctionModel.load("missense-lstm")


def test_data_without_functions_are_refused(tmp_path: Path) -> None:
    folder = _write(tmp_path / "data")
    (folder / "proteins.fasta.gz").write_bytes(b"no gzip")
    with pytest.raises(TableError, match="not a readable FASTA"):
        read_functions(folder)
    (folder / "proteins.fasta.gz").write_bytes(gzip.compress(b">other\nMKT\n"))
    with pytest.raises(TableError, match="no protein"):
        read_functions(folder)


@pytest.mark.data
def test_the_shared_proteins_have_functions(shared_data: Path) -> None:
    table = read_functions(shared_data)
    assert len(table) == 2325
    assert set(table["function"]) == set(FUNCTIONS)
    assert (table.groupby("family")["part"].nunique() == 1).all()
    assert (table.loc[table["part"] == "test", "function"].value_counts() >= 4).all()


def test_the_built_in_model_says_that_it_is_no_better_than_its_baseline() -> None:
    model = GeneFunctionModel.load()
    assert model.functions == list(FUNCTIONS)
    assert model.probability(["MKT" * 30]).shape == (1, len(FUNCTIONS))
    card = (model.folder.path / "README.md").read_text(encoding="utf-8")
    for promised in ("no better than counting", "Not a medical device", "licence", "Split"):
        assert promised in card
