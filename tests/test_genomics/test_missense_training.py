from __future__ import annotations

import gzip
import json
import random
import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from genomics.__main__ import app, run
from genomics.catalogue import ZOO, built_in_models, open_model
from genomics.dataset import PROTEINS, Part, part_of_gene, read_missense_table
from genomics.encode import encode_missense
from genomics.errors import ModelError, OutputError, TableError
from genomics.evaluation import evaluate_missense
from genomics.explain.precedents import PRECEDENTS, Precedents
from genomics.lstm import FlankLstmConfig
from genomics.metrics import (
    auroc,
    expected_calibration_error,
    fit_substitution_baseline,
    leave_one_out_gene_mean,
    mean_auroc_within_genes,
    substitution_scores,
)
from genomics.missense.evidence import STRENGTHS
from genomics.missense.fitting import FitOptions
from genomics.missense.language_model import PretrainOptions
from genomics.missense.transformer import WindowTransformerConfig
from genomics.score import MissenseModel
from genomics.seen_windows import SEEN_WINDOWS, were_seen, write_seen_windows
from genomics.training import train_missense

GENES = 90
_LETTERS = "ACDEFGHIKLMNPQRSTVWY"
_COLUMNS = "gene\tpos\twt\tmt\tlabel\twt_window101"


def _write_table(path: Path, genes: int, prefix: str = "GENE") -> Path:
    """A table with a rule to learn: a substitution next to a tryptophan is pathogenic."""
    draw = random.Random(prefix)
    rows = [_COLUMNS]
    for gene in range(genes):
        for place in range(12):
            window = [draw.choice(_LETTERS.replace("W", "")) for _ in range(101)]
            label = place % 2
            if label:
                window[49] = "W"
            mutant = draw.choice([letter for letter in _LETTERS if letter != window[50]])
            text = "".join(window)
            rows.append(f"{prefix}{gene}\t{place + 60}\t{window[50]}\t{mutant}\t{label}\t{text}")
    path.write_text("\n".join(rows) + "\n")
    return path


def _parts() -> dict[Part, list[str]]:
    """Return the genes of each part: unrelated, each is a family of its own."""
    parts: dict[Part, list[str]] = {"train": [], "validation": [], "test": []}
    for gene in range(GENES):
        parts[part_of_gene(f"GENE{gene}", 0)].append(f"GENE{gene}")
    return parts


_SMALL = FlankLstmConfig(flank=5, embedding=12, hidden=16, head=24, dropout=0.1, members=2)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the folder of a small trained model and the table it was trained on."""
    folder = tmp_path_factory.mktemp("trained")
    table = _write_table(folder / "table.tsv", GENES)
    options = FitOptions(epochs=4, batch=64, learning_rate=1e-2, averaging=0.9)
    train_missense(table, folder / "model", _SMALL, options, log=lambda line: None)
    return folder / "model", table


def test_training_learns_the_rule_and_carries_it_to_unseen_genes(
    trained: tuple[Path, Path],
) -> None:
    model, table = trained
    result = evaluate_missense(model, table)
    assert result["metrics"]["auroc"]["value"] > 0.9
    assert abs(result["metrics"]["auroc_substitution_only"]["value"] - 0.5) < 0.2
    low, high = result["metrics"]["auroc"]["ci95"]
    assert low <= result["metrics"]["auroc"]["value"] <= high


def test_evaluation_leaves_out_every_gene_that_was_seen(
    trained: tuple[Path, Path], tmp_path: Path
) -> None:
    model, table = trained
    parts = _parts()
    counted = evaluate_missense(model, table)["n"]
    assert counted["genes"] == len(parts["test"])
    assert counted["left_out_seen_genes"] == len(parts["train"]) + len(parts["validation"])
    assert counted["cases"] + counted["left_out_seen_cases"] == GENES * 12
    others = evaluate_missense(model, _write_table(tmp_path / "others.tsv", 30, "OTHER"))["n"]
    assert (others["genes"], others["left_out_seen_genes"]) == (30, 0)
    seen = tmp_path / "seen.tsv"
    rows = [_COLUMNS]
    rows += [
        line for line in table.read_text().splitlines() if line.startswith(parts["train"][0] + "\t")
    ]
    seen.write_text("\n".join(rows) + "\n")
    with pytest.raises(TableError, match="saw every gene"):
        evaluate_missense(model, seen)


def test_evaluation_leaves_out_a_window_that_was_seen_under_another_symbol(
    trained: tuple[Path, Path], tmp_path: Path
) -> None:
    model, table = trained
    parts = _parts()
    lines = table.read_text().splitlines()
    twins = [
        line.replace(f"{name}\t", f"{name}-ALIAS\t")
        for name in (parts["train"][0], parts["validation"][0])
        for line in lines
        if line.startswith(f"{name}\t")
    ]
    with_twins = tmp_path / "twins.tsv"
    with_twins.write_text("\n".join([*lines, *twins]) + "\n")
    result, alone = evaluate_missense(model, with_twins), evaluate_missense(model, table)
    assert result["n"] == alone["n"] | {"left_out_seen_windows": len(twins)}
    assert alone["n"]["left_out_seen_windows"] == 0
    assert result["metrics"] == alone["metrics"]
    only_twins = tmp_path / "only.tsv"
    only_twins.write_text("\n".join([_COLUMNS, *twins]) + "\n")
    with pytest.raises(TableError, match="saw every"):
        evaluate_missense(model, only_twins)


def test_evaluation_prints_how_many_windows_were_left_out(
    trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    model, table = trained
    arguments = ["evaluate", str(model), "--data", str(table)]
    assert run(lambda: app(arguments, standalone_mode=False)) == 0
    assert "0 whose protein window they saw under another gene's symbol" in capsys.readouterr().out


@pytest.mark.parametrize("content", [None, b"", b"not numpy"])
def test_without_its_list_of_seen_windows_a_model_is_not_evaluated(
    trained: tuple[Path, Path], tmp_path: Path, content: bytes | None
) -> None:
    model, table = trained
    copied = shutil.copytree(model, tmp_path / "model")
    (copied / SEEN_WINDOWS).unlink()
    if content is not None:
        (copied / SEEN_WINDOWS).write_bytes(content)
    with pytest.raises(ModelError, match=r"seen_windows\.npy.*train or install"):
        evaluate_missense(copied, table)


def test_a_list_of_anything_but_hashes_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / SEEN_WINDOWS, np.zeros((2, 2)))
    with pytest.raises(ModelError, match=r"float64 of shape \(2, 2\)"):
        were_seen(tmp_path, ["A" * 101])


@given(st.lists(st.text(_LETTERS + "-", max_size=8)), st.lists(st.text(_LETTERS, max_size=8)))
def test_exactly_the_written_windows_were_seen(written: list[str], asked: list[str]) -> None:
    with TemporaryDirectory() as folder:
        write_seen_windows(Path(folder), written)
        found = were_seen(Path(folder), [*written, *asked])
    assert found.tolist() == [True] * len(written) + [each in set(written) for each in asked]


def test_training_twice_gives_the_same_weights(tmp_path: Path) -> None:
    table = _write_table(tmp_path / "table.tsv", 40)
    options = FitOptions(epochs=1, batch=64)
    for name in ("one", "two"):
        train_missense(table, tmp_path / name, _SMALL, options, log=lambda line: None)
    assert (tmp_path / "one/model.pt").read_bytes() == (tmp_path / "two/model.pt").read_bytes()


def test_a_stopped_training_goes_on_from_its_checkpoints(tmp_path: Path) -> None:
    table = _write_table(tmp_path / "table.tsv", 40)
    options = FitOptions(epochs=1, batch=64)
    lines: list[str] = []
    kept = tmp_path / "kept"
    one = replace(_SMALL, members=1)
    train_missense(table, tmp_path / "first", one, options, log=lines.append, checkpoints=kept)
    fitted = len([line for line in lines if "epoch" in line])
    train_missense(table, tmp_path / "second", _SMALL, options, log=lines.append, checkpoints=kept)
    assert len([line for line in lines if "epoch" in line]) == 2 * fitted
    train_missense(table, tmp_path / "whole", _SMALL, options, log=lambda line: None)
    assert (tmp_path / "second/model.pt").read_bytes() == (tmp_path / "whole/model.pt").read_bytes()
    # Other options: nothing of it is taken.
    other = FitOptions(epochs=1, batch=32)
    train_missense(table, tmp_path / "other", one, other, log=lines.append, checkpoints=kept)
    assert len([line for line in lines if "epoch" in line]) == 3 * fitted


def _write_proteins(folder: Path, table: Path) -> dict[str, str]:
    """Proteins: one that holds a window of every tenth gene, the rest like no gene."""
    draw = random.Random("proteins")
    proteins = {f"LONE{k}": "".join(draw.choice(_LETTERS) for _ in range(150)) for k in range(60)}
    for line in table.read_text().splitlines()[1::120]:
        gene, *_, window = line.split("\t")
        proteins[f"OF-{gene}"] = window
    text = "".join(f">{name}\n{sequence}\n" for name, sequence in proteins.items())
    (folder / PROTEINS).write_bytes(gzip.compress(text.encode()))
    return proteins


def test_a_language_model_learns_nothing_of_held_out_families_and_can_be_lent(
    tmp_path: Path,
) -> None:
    table = _write_table(tmp_path / "table.tsv", GENES)
    proteins = _write_proteins(tmp_path, table)
    small = replace(_SMALL, members=1)
    options, pretraining = FitOptions(epochs=1, batch=64), PretrainOptions(epochs=1, batch=8)
    config = train_missense(
        table, tmp_path / "one", small, options, pretraining, log=lambda line: None
    )
    about = config["language_model"]
    held_out = {f"OF-{gene}" for part in ("validation", "test") for gene in _parts()[part]}
    held_out &= set(proteins)
    assert held_out
    assert about["proteins"] == len(proteins) - len(held_out)
    assert about["held_out_proteins"] == len(held_out)
    assert about["perplexity_unigram"] > 10
    lent = train_missense(
        table, tmp_path / "two", small, options, tmp_path / "one", log=lambda line: None
    )
    assert lent["language_model"] == about
    assert lent["training"]["history"] == config["training"]["history"]
    result = evaluate_missense(tmp_path / "two", table)
    assert result["metrics"]["auroc_zero_shot"]["n"] == result["n"]["cases"]
    other = FitOptions(epochs=1, split_seed=5)
    with pytest.raises(ModelError, match="has seen genes that are validation or test"):
        train_missense(table, tmp_path / "three", small, other, tmp_path / "one")


def test_the_transformer_goes_through_the_same_harness(tmp_path: Path) -> None:
    table = _write_table(tmp_path / "table.tsv", GENES)
    network = WindowTransformerConfig(
        flank=5, width=24, layers=1, heads=2, feedforward=48, head=24, dropout=0.0
    )
    options = FitOptions(epochs=6, batch=64, learning_rate=1e-2, averaging=0.9, patience=6)
    name = "missense-transformer"
    train_missense(table, tmp_path / "out", network, options, log=lambda line: None, name=name)
    result = evaluate_missense(tmp_path / "out", table)
    assert result["model"] == name
    assert result["metrics"]["auroc"]["value"] > 0.8


def test_the_file_holds_the_very_weights_that_were_calibrated(trained: tuple[Path, Path]) -> None:
    state = torch.load(trained[0] / "model.pt", weights_only=True)
    assert {value.dtype for value in state.values()} == {torch.float16}
    model = MissenseModel.load(trained[0])
    loaded = model.ensemble.state_dict()
    assert all(torch.equal(loaded[key], value.float()) for key, value in state.items())


def test_an_older_folder_is_refused_with_the_mend(
    trained: tuple[Path, Path], tmp_path: Path
) -> None:
    copied = shutil.copytree(trained[0], tmp_path / "model")
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps(config | {"format": 1}))
    with pytest.raises(ModelError, match="format 1, this reads 2; train it again"):
        MissenseModel.load(copied)


def test_every_score_comes_with_its_limits(trained: tuple[Path, Path]) -> None:
    model, table = trained
    result = evaluate_missense(model, table)
    cases = result["n"]["cases"]
    assert sum(row["n"] for row in result["reliability"]) == cases
    assert result["coverage"]["by_doubt"][0]["coverage"] == 1.0
    assert 0 <= result["abstention"]["called"] <= cases
    assert result["metrics"]["precision_at_recall_90"]["n"] == cases
    loaded = MissenseModel.load(model)
    natural = read_missense_table(table)["wt_window101"][0]
    judged = loaded.judge([natural, "Q" * 101, natural], ["A", "A", "U"])
    assert judged[1].abstention == "out of distribution: unusual composition"
    assert judged[2].abstention == "out of distribution: unknown residues"
    assert judged[1].evidence is None
    assert judged[0].score == pytest.approx(loaded.probability([natural], ["A"])[0][0])


def test_training_does_not_overwrite(tmp_path: Path) -> None:
    table = _write_table(tmp_path / "table.tsv", 40)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/kept.txt").write_text("mine")
    with pytest.raises(OutputError, match="not an empty folder"):
        train_missense(table, tmp_path / "out")
    assert (tmp_path / "out/kept.txt").read_text() == "mine"


def test_weights_that_would_run_code_are_not_loaded(
    trained: tuple[Path, Path], tmp_path: Path
) -> None:
    marker = tmp_path / "ran"

    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (marker,))  # type: ignore[return-value]

    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_bytes((trained[0] / "config.json").read_bytes())
    torch.save({"x": Hostile()}, folder / "model.pt")
    with pytest.raises(ModelError, match="damaged"):
        MissenseModel.load(folder)
    assert not marker.exists()


def test_a_damaged_model_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match="damaged"):
        open_model(tmp_path)
    (tmp_path / "config.json").write_text('{"name": "x"}')
    with pytest.raises(ModelError, match="missing"):
        open_model(tmp_path)


def test_the_built_in_model_ships_with_its_card() -> None:
    assert built_in_models() == ["gene-function", "missense-lstm", "nucleotide-lstm"]
    card = (ZOO / "missense-lstm/README.md").read_text(encoding="utf-8")
    for promised in ("Intended use", "Training data", "licence", "Not a medical device", "95 %"):
        assert promised.lower() in card.lower()
    assert (ZOO / "missense-lstm" / SEEN_WINDOWS).stat().st_size < 2**20
    genes = open_model("missense-lstm").config["split"]["genes"]
    assert not set(genes["train"]) & set(genes["validation"])
    assert not open_model("missense-lstm").genes_seen() & set(genes["test"])
    held_out = {*genes["validation"], *genes["test"]}
    language_model = open_model("missense-lstm").config["language_model"]
    assert held_out == set(language_model["held_out_genes"])
    assert language_model["perplexity"] < language_model["perplexity_unigram"] - 1
    size = sum(path.stat().st_size for path in (ZOO / "missense-lstm").iterdir())
    assert size < 5 * 2**20


@pytest.mark.data
def test_the_built_in_model_reaches_its_floor_on_unseen_families(shared_data: Path) -> None:
    result = evaluate_missense("missense-lstm", shared_data)
    metrics = result["metrics"]
    assert result["n"]["genes"] == 431
    assert metrics["auroc"]["value"] > 0.83
    assert metrics["auroc"]["ci95"][0] > 0.81
    assert metrics["auroc"]["value"] > metrics["auroc_substitution_only"]["value"] + 0.1
    assert metrics["ece"]["value"] <= 0.03
    assert metrics["auroc_per_gene_mean"]["n"] > 100
    # Families are split, so that no window stands in two parts under another symbol.
    assert result["n"]["left_out_seen_windows"] == 0
    assert result["abstention"]["accuracy_called"] > result["abstention"]["accuracy_all"] + 0.1
    ratios = {row["code"]: row["likelihood_ratio"] for row in result["evidence"]}
    assert ratios["PP3_supporting"] > STRENGTHS["supporting"]
    assert ratios["PP3_moderate"] > STRENGTHS["moderate"]
    assert ratios["BP4_moderate"] < 1 / STRENGTHS["moderate"]
    card = (ZOO / "missense-lstm/README.md").read_text(encoding="utf-8")
    assert f"{result['n']['cases']:,} ({result['n']['pathogenic']:,} pathogenic)" in card
    for name, figure in metrics.items():
        low, high = figure["ci95"]
        row = next(line for line in card.splitlines() if line.startswith(f"| `{name}`"))
        assert f"| {figure['value']:.3f} | {low:.3f} to {high:.3f} | {figure['n']:,} |" in row


@pytest.mark.data
def test_the_shared_table_reads_and_its_genes_stay_in_their_part(shared_data: Path) -> None:
    table = read_missense_table(shared_data)
    assert len(table) == 78111
    genes = open_model("missense-lstm").config["split"]["genes"]
    assert sum(map(len, genes.values())) == table["gene"].nunique()
    assert {gene for names in genes.values() for gene in names} == set(table["gene"])


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("", "not a readable"),
        ("gene\tpos\n", "column 'wt' is missing"),
        (_COLUMNS + "\n", "holds no variant"),
        (_COLUMNS + f"\nG\t1\tA\tV\t2\t{'A' * 101}\n", "line 2: label"),
        (_COLUMNS + f"\nG\t1\tA\tV\t1\t{'A' * 99}\n", "line 2: wt_window101 must have 101"),
        (_COLUMNS + f"\nG\t1\tC\tV\t1\t{'A' * 101}\n", "line 2: the middle"),
    ],
)
def test_a_table_in_another_format_is_refused(tmp_path: Path, content: str, rule: str) -> None:
    path = tmp_path / "table.tsv"
    path.write_text(content)
    with pytest.raises(TableError, match=rule):
        read_missense_table(path)


def test_auroc_by_hand() -> None:
    assert auroc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]) == 0.75
    assert auroc([0, 1], [0.5, 0.5]) == 0.5
    assert np.isnan(auroc([1, 1], [0.1, 0.2]))
    # The second negative counted three times: pairs won 1*1 + 1*3 + 1*1 of 8.
    assert auroc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], [1, 3, 1, 1]) == pytest.approx(5 / 8)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5)), min_size=2, max_size=30))
def test_auroc_is_the_share_of_ordered_pairs(pairs: list[tuple[int, int]]) -> None:
    positives = [score for label, score in pairs if label]
    negatives = [score for label, score in pairs if not label]
    got = auroc([label for label, _ in pairs], [score for _, score in pairs])
    if not positives or not negatives:
        assert np.isnan(got)
        return
    won = sum((p > n) + (p == n) / 2 for p in positives for n in negatives)
    assert got == pytest.approx(won / (len(positives) * len(negatives)))


def test_calibration_error_by_hand() -> None:
    assert expected_calibration_error([1, 0], [1.0, 0.0]) == 0
    # One bin (0.5): mean label 0.75, mean probability 0.5.
    assert expected_calibration_error([1, 1, 1, 0], [0.5] * 4) == pytest.approx(0.25)


def test_the_baselines_by_hand() -> None:
    # Two of gene A, labels 1 and 0; the overall mean is 2/3; one of gene B.
    values = leave_one_out_gene_mean(["A", "A", "B"], [1, 0, 1])
    assert values == pytest.approx([(0 + 2 / 3) / 2, (1 + 2 / 3) / 2, 2 / 3])
    fractions = fit_substitution_baseline(["A", "A", "G"], ["V", "V", "R"], [1, 1, 0])
    assert fractions[""] == pytest.approx(2 / 3)
    assert fractions["AV"] > 2 / 3 > fractions["GR"]
    assert substitution_scores(fractions, ["C"], ["W"]) == pytest.approx([2 / 3])
    inside = mean_auroc_within_genes(["A"] * 6 + ["B"], [1, 1, 1, 0, 0, 0, 1], range(7))
    assert inside == {"A": 0.0}


def test_flanks_run_towards_the_substitution_and_gaps_are_not_residues() -> None:
    batch = encode_missense(["--ACDEF"], ["W"], flank=3)
    assert batch.left[0].tolist() == encode_missense(["--ACDEF"], ["W"], 3).left[0].tolist()
    letters = "-ACDEFGHIKLMNPQRSTVWYX"
    assert [letters[index] for index in batch.left[0]] == ["-", "-", "A"]
    assert [letters[index] for index in batch.right[0]] == ["F", "E", "D"]
    assert (letters[batch.wild_type[0]], letters[batch.mutant[0]]) == ("C", "W")
    assert letters[encode_missense(["U"], ["B"], 0).wild_type[0]] == "X"


def test_a_trained_model_keeps_its_precedents_and_none_of_the_test_genes(
    trained: tuple[Path, Path],
) -> None:
    model, _ = trained
    kept = set(Precedents.read(model / PRECEDENTS).table["gene"])
    parts = _parts()
    assert kept == {*parts["train"], *parts["validation"]}
