"""The siamese network, what is measured of it, and training on genes with a rule to learn."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from genomics_toys import reverse_complement
from hypothesis import given
from hypothesis import strategies as st
from nucleotide_toys import GENES, write_nucleotide_data
from scipy.stats import spearmanr

from genomics.__main__ import app, run
from genomics.catalogue import open_model
from genomics.errors import ModelError, OutputError, TableError
from genomics.metrics import auroc, spearman
from genomics.nucleotide.context import SiteContext
from genomics.nucleotide.dataset import CANONICAL_SPLICE, SCORABLE, read_dna_table
from genomics.nucleotide.evaluation import evaluate_nucleotide
from genomics.nucleotide.folds import NucleotideData
from genomics.nucleotide.metrics import auroc_within, class_measures, mpra_measures
from genomics.nucleotide.network import (
    NucleotideLstm,
    NucleotideLstmConfig,
    _kmers,
    class_index,
    encode_sites,
    expression_of,
    log_odds_of,
)
from genomics.nucleotide.score import NucleotideModel, score_nucleotides
from genomics.nucleotide.split import is_test_unit
from genomics.nucleotide.training import NucleotideFitOptions, train_nucleotide
from genomics.provider import open_provider
from genomics.report import NEUTRAL, Classification
from genomics.score import score_vcf
from genomics.vcf import read_vcf

CLASSES = len(SCORABLE)
TINY = NucleotideLstmConfig(flank=10, beyond=3, embedding=8, hidden=12, head=16, dropout=0.1)
SHORT = NucleotideFitOptions(
    epochs=6, first_steps=60, steps=20, natural_batch=64, labelled_batch=64, mpra_batch=32,
    learning_rate=1e-2, labelled_rate=5e-3,
)  # fmt: skip

_bases = st.text("ACGT", min_size=201, max_size=201)


def _net(seed: int = 0) -> NucleotideLstm:
    torch.manual_seed(seed)
    return NucleotideLstm(TINY, CLASSES).eval()


def test_the_shared_part_of_both_alleles_is_read_as_if_each_were_read_whole() -> None:
    draw = random.Random(1)
    net = _net()
    sites = [
        SiteContext("".join(draw.choices("ACGT", k=201)), "ACGT"[k], "i" * 100 + "0" * 101)
        for k in range(4)
    ]
    batch = encode_sites(sites, TINY.flank)
    ref, alt = _kmers(batch)
    end = TINY.flank - 1 + 3 + TINY.beyond
    states = []
    for tokens in (ref, alt):
        parts = []
        for lstm, flip in ((net.forwards, False), (net.backwards, True)):
            read = tokens.flip(1) if flip else tokens
            layout = batch.layout.flip(1) if flip else batch.layout
            outputs, (last, _) = lstm((net.kmer(read) + net.part(layout))[:, :end])
            parts += [last[-1], outputs[:, TINY.flank - 1 :].mean(dim=1)]
        states.append(torch.cat(parts, dim=1))
    expected = torch.cat([states[0], states[1] - states[0]], dim=1)
    assert torch.allclose(net.features(batch), expected, atol=1e-6)


@given(_bases, st.sampled_from("ACGT"))
def test_the_other_strand_is_the_reverse_complement(window: str, alt: str) -> None:
    batch = encode_sites([SiteContext(window, alt)], TINY.flank)
    turned = encode_sites(
        [SiteContext(reverse_complement(window), reverse_complement(alt))], TINY.flank
    )
    other = batch.reverse_complement()
    assert torch.equal(other.bases, turned.bases)
    assert torch.equal(other.alt, turned.alt)
    assert torch.equal(other.reverse_complement().bases, batch.bases)


def test_without_a_strand_both_give_one_answer_and_with_one_only_its_own_is_read() -> None:
    draw = random.Random(2)
    net = _net()
    window = "".join(draw.choices("ACGT", k=201))
    torn = reverse_complement(window)
    unknown = [SiteContext(window, "A"), SiteContext(torn, "T")]
    classes = torch.zeros(2, dtype=torch.int64)
    one, other = log_odds_of(net, encode_sites(unknown, TINY.flank), classes)
    assert one.item() == pytest.approx(other.item(), abs=1e-5)
    one, other = expression_of(net, encode_sites(unknown, TINY.flank))
    assert one.item() == pytest.approx(other.item(), abs=1e-5)
    known = [replace(site, layout="i" * 201) for site in unknown]
    batch = encode_sites(known, TINY.flank)
    one, other = log_odds_of(net, batch, classes)
    assert one.item() != pytest.approx(other.item(), abs=1e-4)
    assert torch.equal(batch.with_random_strands().bases, batch.bases)


def test_before_labels_a_change_is_as_bad_as_it_is_unnatural() -> None:
    net = _net()
    batch = encode_sites([SiteContext("ACG" * 67, "T")], TINY.flank)
    assert torch.equal(net.log_odds(batch, torch.tensor([1])), net.naturalness(batch))


def test_unknown_bases_are_read_as_n_and_a_short_window_is_refused() -> None:
    lower = encode_sites([SiteContext("A" * 100 + "R" + "C" * 100, "T")], 3)
    assert lower.bases.tolist() == [[0, 0, 0, 4, 1, 1, 1]]
    with pytest.raises(ValueError, match="longer than half"):
        encode_sites([SiteContext("ACG", "T", "???")], 10)
    assert {class_index(name) for name in CANONICAL_SPLICE} == {
        class_index("splice_region_variant")
    }


# What is measured. -----------------------------------------------------------------------------


def test_pairs_of_different_networks_are_not_compared() -> None:
    labels = np.array([0, 1, 0, 1])
    # Each network orders its own pair rightly, but the second one's zero is elsewhere.
    scores, groups = np.array([1.0, 2.0, 11.0, 12.0]), np.array([0, 0, 1, 1])
    every = np.ones(4)
    assert auroc_within(groups, labels, scores, every) == 1
    assert auroc(labels, scores) == 0.75
    # Weights count pairs: 1 of the first group, won; 4 of the second, lost.
    wrong = np.array([1.0, 2.0, 12.0, 11.0])
    assert auroc_within(groups, labels, wrong, np.array([1.0, 1, 2, 2])) == pytest.approx(0.2)
    assert np.isnan(auroc_within(groups, np.zeros(4), scores, every))


def _class(genes: int) -> tuple[pd.DataFrame, np.ndarray]:
    rows = pd.DataFrame(
        {"unit": [f"G{k}" for k in range(genes) for _ in range(8)], "label": [0, 1] * 4 * genes}
    )
    return rows, rows["label"].to_numpy().astype(float)


def test_a_class_is_better_only_with_genes_enough_to_say_so() -> None:
    for genes, verdict in ((1, False), (2, False), (3, True)):
        rows, perfect = _class(genes)
        measured = class_measures(rows, perfect, np.zeros(len(rows)))
        assert measured["auroc"]["value"] == 1
        assert measured["better"] is verdict
    rows, perfect = _class(3)
    assert not class_measures(rows, perfect, perfect)["better"]


def test_a_baseline_that_misleads_is_no_standard() -> None:
    rows, perfect = _class(4)
    chance = np.tile([0.0, 0.0, 1.0, 1.0], len(rows) // 4)
    measured = class_measures(rows, chance, -perfect)
    assert measured["auroc_consequence_only"]["value"] == 0
    assert measured["difference"]["value"] == 0
    assert not measured["better"]


def test_a_class_of_one_label_is_not_measured() -> None:
    rows, _ = _class(3)
    measured = class_measures(rows.assign(label=0), np.ones(24), np.ones(24))
    assert measured["auroc"]["value"] is None
    assert not measured["better"]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=20))
def test_spearman_is_scipys(pairs: list[tuple[int, int]]) -> None:
    one, other = zip(*pairs, strict=True)
    if len(set(one)) == 1 or len(set(other)) == 1:
        assert spearman(one, other) == 0
        return
    assert spearman(one, other) == pytest.approx(spearmanr(one, other).statistic)


def test_mpra_is_measured_element_by_element() -> None:
    table = pd.DataFrame(
        {
            "element": ["A"] * 4 + ["B"] * 4,
            "unit": ["A"] * 4 + ["B"] * 4,
            "effect": [1.0, 2, 3, 4, -1, -2, -3, -4],
            "distance": [4.0, 3, 2, 1, 1, 2, 3, 4],
        }
    )
    predicted = np.array([10.0, 20, 30, 40, 0, -1, -2, -3])
    found = mpra_measures(table, predicted, np.zeros(8))
    assert found["mpra_spearman"]["value"] == pytest.approx(1)
    assert found["mpra_spearman"]["n"] == 2
    assert found["mpra_spearman_base_change"]["value"] == 0
    assert found["mpra_spearman_size"]["per_element"] == pytest.approx({"A": 1, "B": 1})
    assert found["mpra_spearman_size_distance"]["per_element"] == pytest.approx({"A": 1, "B": -1})
    assert found["mpra_size_difference"]["value"] == pytest.approx(1)


# Training. -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the folder of a small trained model and its data."""
    folder = tmp_path_factory.mktemp("nucleotide")
    data = write_nucleotide_data(folder / "data")
    train_nucleotide(data, folder / "model", TINY, SHORT, log=lambda line: None)
    return folder / "model", data


def test_the_rule_is_learnt_and_so_the_model_may_speak(trained: tuple[Path, Path]) -> None:
    model = NucleotideModel.load(trained[0])
    assert [name for name in SCORABLE if model.scores(name)] == ["splice_region_variant"]
    verdict = model.verdicts["splice_region_variant"]
    for part in ("validation", "test", "unseen"):
        assert verdict[part]["auroc"]["value"] > 0.85
    assert verdict["unseen"]["n"] == verdict["validation"]["n"] + verdict["test"]["n"] == GENES * 6
    # The consequence is the same throughout, so it says nothing.
    assert verdict["unseen"]["auroc_consequence_only"]["value"] == 0.5


def test_with_shuffled_labels_it_stays_silent(tmp_path: Path) -> None:
    data = write_nucleotide_data(tmp_path / "data", shuffled=True)
    config = train_nucleotide(data, tmp_path / "model", TINY, SHORT, log=lambda line: None)
    assert not any(verdict["scores"] for verdict in config["verdicts"].values())
    assert abs(config["verdicts"]["splice_region_variant"]["unseen"]["auroc"]["value"] - 0.5) < 0.2


def test_no_member_reads_what_it_is_measured_on(trained: tuple[Path, Path]) -> None:
    data = NucleotideData.read(trained[1], TINY)
    held = []
    for index in range(TINY.members):
        fold = data.fold(index)
        units = set(fold.dna_held.rows["unit"])
        for fitted in (fold.dna, fold.natural):
            read = set(fitted.rows["unit"])
            assert read
            assert not read & units
            assert not any(is_test_unit(unit) for unit in read)
        assert not set(fold.mpra.rows["unit"]) & set(fold.mpra_held.rows["unit"])
        assert not any(is_test_unit(unit) for unit in units)
        held += sorted(units)
    development = {f"TOY{number}" for number in range(GENES) if not is_test_unit(f"TOY{number}")}
    assert sorted(held) == sorted(development)


def test_evaluation_measures_only_what_was_never_seen(trained: tuple[Path, Path]) -> None:
    model, data = trained
    result = evaluate_nucleotide(model, data)
    test = [f"TOY{number}" for number in range(GENES) if is_test_unit(f"TOY{number}")]
    assert result["n"]["genes"] == len(test)
    assert result["n"]["cases"] == 6 * len(test)
    assert result["n"]["left_out_seen_cases"] == 6 * (GENES - len(test))
    (splice,) = (each for each in result["subgroups"] if each["metrics"]["auroc"]["value"])
    stored = open_model(model).config["verdicts"]["splice_region_variant"]["test"]
    assert splice["metrics"]["auroc"]["value"] == pytest.approx(stored["auroc"]["value"])
    assert splice["scores"]
    assert 0 <= splice["metrics"]["ece"]["value"] < 0.3
    elements = {f"L{number}" for number in range(12) if is_test_unit(f"L{number}")}
    assert elements
    assert set(result["metrics"]["mpra_spearman"]["per_element"]) == elements
    assert result["metrics"]["auroc_within_class"]["value"] > 0.85


def test_evaluation_from_the_command_line(
    trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", str(trained[0]), "--data", str(trained[1])]
    assert run(lambda: app([*arguments, "--json"], standalone_mode=False)) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "nucleotide-lstm"
    assert run(lambda: app(arguments, standalone_mode=False)) == 0
    shown = capsys.readouterr().out
    assert "splice_region_variant: scored" in shown
    assert "intron_variant: silent" in shown


def test_training_twice_gives_the_same_model(tmp_path: Path, trained: tuple[Path, Path]) -> None:
    brief = replace(SHORT, epochs=1, first_steps=3, steps=2)
    for name in ("one", "two"):
        train_nucleotide(trained[1], tmp_path / name, TINY, brief, log=lambda line: None)
    assert (tmp_path / "one/model.pt").read_bytes() == (tmp_path / "two/model.pt").read_bytes()
    with pytest.raises(OutputError, match="not an empty folder"):
        train_nucleotide(trained[1], tmp_path / "one", TINY, brief)


def test_too_few_genes_are_refused(tmp_path: Path, trained: tuple[Path, Path]) -> None:
    data = write_nucleotide_data(tmp_path / "data")
    table = read_dna_table(data)
    kept = table[table["gene"].isin(["TOY0", "TOY1"])]
    kept.to_csv(data / "dna_windows_hg38.tsv.gz", sep="\t", index=False)
    with pytest.raises(TableError, match="fewer genes or elements than 3 folds"):
        train_nucleotide(data, tmp_path / "model", TINY, SHORT)


# In use. ---------------------------------------------------------------------------------------


def _scored(trained: tuple[Path, Path], tmp_path: Path) -> list:
    """Score one change of each kind in a gene of the test part."""
    folder = trained[1] / "genes"
    gene = next(f"TOY{number}" for number in range(GENES) if is_test_unit(f"TOY{number}"))
    bases = dict(
        block.split("\n")[:2] for block in (folder / "toy.fasta").read_text().split(">")[1:]
    )[gene]
    rows = ["##fileformat=VCFv4.2", "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"]
    for position in (20, 173, 175, 200):
        ref = bases[position - 1]
        alt = "A" if ref != "A" else "C"
        rows.append(f"{gene}\t{position}\t.\t{ref}\t{alt}\t.\t.\t.")
    rows.append(f"{gene}\t200\t.\t{bases[199]}\t{bases[199]}T\t.\t.\t.")
    vcf = tmp_path / "in.vcf"
    vcf.write_text("\n".join(rows) + "\n")
    files = (folder / "toy.fasta", folder / "toy.gff3")
    report = score_vcf(vcf, reference=files[0], genes=files[1])
    provider = open_provider(read_vcf(vcf), *files)
    silent = [replace(each, reason=_open_reason(each)) for each in report.scored]
    return score_nucleotides(silent, provider, trained[0])


def _open_reason(each) -> str | None:
    from genomics.rules import why_not_scored

    return why_not_scored(each.consequence) if each.reason else None


def test_where_it_speaks_a_variant_gets_a_score_and_elsewhere_a_reason(
    trained: tuple[Path, Path], tmp_path: Path
) -> None:
    upstream, benign, harmful, intron, insertion = _scored(trained, tmp_path)
    assert harmful.model == "nucleotide-lstm"
    assert harmful.reason is None
    assert 0 <= benign.score < harmful.score <= 1
    assert 0 <= harmful.doubt < 0.5
    assert intron.score is None
    assert "nucleotide-lstm is silent" in intron.reason
    assert upstream.score is None
    assert insertion.score is None
    assert insertion.model is None


def test_a_rule_is_kept_where_the_model_is_silent(
    trained: tuple[Path, Path], tmp_path: Path
) -> None:
    harmful = _scored(trained, tmp_path)[2]
    neutral = Classification(NEUTRAL, "synonymous_variant: a rule")
    quiet = replace(
        harmful,
        score=None,
        doubt=None,
        model=None,
        classification=neutral,
        consequence=replace(harmful.consequence, terms=("synonymous_variant",)),
    )
    folder = trained[1] / "genes"
    provider = open_provider(
        read_vcf(tmp_path / "in.vcf"), folder / "toy.fasta", folder / "toy.gff3"
    )
    assert score_nucleotides([quiet], provider, trained[0]) == [quiet]


def test_a_class_without_a_verdict_is_never_scored(trained: tuple[Path, Path]) -> None:
    model = NucleotideModel.load(trained[0])
    with pytest.raises(ValueError, match="does not score intron_variant"):
        model.probability([SiteContext("A" * 201, "C")], ["intron_variant"])
    with pytest.raises(ModelError, match="no verdicts"):
        NucleotideModel.load("missense-lstm")


def test_the_built_in_model_is_silent_and_its_card_says_why() -> None:
    model = NucleotideModel.load()
    assert not any(model.scores(name) for name in SCORABLE)
    card = (model.folder.path / "README.md").read_text(encoding="utf-8")
    for promised in ("silent in every class", "Not a medical device", "licence", "95 %"):
        assert promised in card
    for name, verdict in model.verdicts.items():
        able = verdict["calibration"] is not None
        better = able and verdict["test"]["better"] and verdict["unseen"]["better"]
        assert model.scores(name) is better
    assert len(model.ensemble.networks) == 3
    assert not any(is_test_unit(unit) for unit in model.folder.config["split"]["folds"]["genes"])
