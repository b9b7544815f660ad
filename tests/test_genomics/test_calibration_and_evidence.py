from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genomics.calibration import (
    abstention_band,
    coverage_table,
    fit_platt,
    reliability_table,
    sigmoid,
)
from genomics.metrics import precision_at_recall
from genomics.missense.evidence import (
    STRENGTHS,
    Calibration,
    evidence_code,
    evidence_thresholds,
    local_likelihood_ratio,
    observed_evidence,
)
from genomics.missense.judgement import judgement


def _draw(count: int, slope: float, intercept: float, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Log-odds whose labels were drawn at sigmoid(slope * log-odds + intercept)."""
    draw = np.random.default_rng(seed)
    log_odds = draw.normal(0, 2, count)
    labels = (draw.random(count) < sigmoid(slope * log_odds + intercept)).astype(int)
    return log_odds, labels


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.4, 0.5), (2.0, -1.0)])
def test_platt_finds_the_line_that_the_labels_were_drawn_from(
    slope: float, intercept: float
) -> None:
    log_odds, labels = _draw(40_000, slope, intercept)
    found = fit_platt(log_odds, labels, labels.mean())
    assert found == pytest.approx((slope, intercept), abs=0.07)


def test_another_share_of_pathogenic_variants_moves_the_probabilities_to_it() -> None:
    log_odds, labels = _draw(20_000, 1.0, 0.7)
    slope, intercept = fit_platt(log_odds, labels, 0.3)
    probability = sigmoid(slope * log_odds + intercept)
    weight = np.where(labels == 1, 0.3 / labels.mean(), 0.7 / (1 - labels.mean()))
    assert np.average(probability, weights=weight) == pytest.approx(0.3, abs=1e-6)


def test_scores_that_say_nothing_or_the_opposite_are_not_turned_round() -> None:
    log_odds, labels = _draw(2000, -1.0, 0.0)
    assert fit_platt(log_odds, labels, 0.5) == (1.0, 0.0)
    assert fit_platt(np.zeros(10), np.arange(10) % 2, 0.5) == (1.0, 0.0)


def test_outside_the_abstention_band_the_promised_share_is_right() -> None:
    log_odds, labels = _draw(20_000, 1.0, 0.0)
    probability = sigmoid(log_odds)
    low, high = abstention_band(labels, probability, accuracy=0.9)
    assert 0.05 < low < 0.5 < high < 0.95
    assert labels[probability >= high].mean() >= 0.9
    assert (1 - labels[probability <= low]).mean() >= 0.9
    # Wider apart would be wasteful: a little inside, the promise breaks.
    assert labels[probability >= high - 0.03].mean() < 0.9
    stricter = abstention_band(labels, probability, accuracy=0.95)
    assert stricter[0] < low
    assert stricter[1] > high


def test_where_no_score_is_good_enough_nothing_is_said() -> None:
    draw = np.random.default_rng(0)
    assert abstention_band(draw.integers(0, 2, 4000), draw.random(4000) * 0.8 + 0.1, 0.99) == (0, 1)


def test_the_tables_by_hand() -> None:
    labels = np.array([0, 0, 1, 1])
    probability = np.array([0.05, 0.62, 0.68, 1.0])
    rows = reliability_table(labels, probability)
    assert [(row["from"], row["n"], row["pathogenic"]) for row in rows] == [
        (0.0, 1, 0.0),
        (0.6, 2, 0.5),
        (0.9, 1, 1.0),
    ]
    assert rows[1]["mean_probability"] == pytest.approx(0.65)
    table = coverage_table(labels, probability, np.abs(probability - 0.5))
    assert [row["accuracy"] for row in table if row["coverage"] in (1.0, 0.5)] == [0.75, 1.0]


def test_precision_at_recall_by_hand() -> None:
    labels, scores = [1, 0, 1, 0, 1], [0.9, 0.8, 0.7, 0.6, 0.5]
    assert precision_at_recall(labels, scores, recall=0.6) == pytest.approx(2 / 3)
    assert precision_at_recall(labels, scores, recall=1.0) == pytest.approx(3 / 5)
    # The benign variant at 0.8 counted three times.
    assert precision_at_recall(labels, scores, [1, 3, 1, 1, 1], 0.6) == pytest.approx(2 / 5)
    assert np.isnan(precision_at_recall([0, 0], [0.1, 0.2]))


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 4)), min_size=1, max_size=30))
def test_precision_at_recall_is_that_of_the_highest_sufficient_threshold(
    pairs: list[tuple[int, int]],
) -> None:
    labels = np.array([label for label, _ in pairs])
    scores = np.array([score for _, score in pairs])
    got = precision_at_recall(labels, scores)
    if labels.sum() == 0:
        assert np.isnan(got)
        return
    for threshold in sorted(set(scores), reverse=True):
        taken = scores >= threshold
        if labels[taken].sum() >= 0.9 * labels.sum() - 1e-9:
            assert got == pytest.approx(labels[taken].mean())
            return


def test_the_local_ratio_is_that_of_the_window_over_the_whole() -> None:
    """Among 400 evenly spaced scores, half of each class, pathogenic all above 0.5."""
    scores = np.linspace(0, 1, 400)
    labels = (np.arange(400) % 2).astype(float)
    labels[:100] = 0
    labels[300:] = 1
    ones = np.ones(400)
    low, middle, high = local_likelihood_ratio(scores, labels, ones, np.array([0.05, 0.5, 0.95]))
    # A window of 100 variants, all of one class, with half a variant of each added.
    assert low == pytest.approx(0.5 / 100.5, rel=0.05)
    assert middle == pytest.approx(1, abs=0.05)
    assert high == pytest.approx(100.5 / 0.5, rel=0.05)


def _simulated(count: int, separation: float, seed: int = 0) -> Calibration:
    """Scores whose likelihood ratio is known: normal, of unit variance, ``separation`` apart."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 2, count)
    scores = draw.normal(labels * separation, 1)
    return Calibration(np.arange(count).astype(str), labels, scores)


def test_thresholds_lie_a_little_beyond_where_the_true_ratio_reaches_the_strength() -> None:
    separation = 2.0
    found = evidence_thresholds(_simulated(8000, separation), repeats=200)
    for strength in ("supporting", "moderate"):
        # log LR(s) = separation * s - separation^2 / 2 for two normals of unit variance.
        true = np.log(STRENGTHS[strength]) / separation + separation / 2
        mirrored = separation - true
        assert true - 0.1 < (found["PP3"][strength] or 0) < true + 0.6
        assert mirrored - 0.6 < (found["BP4"][strength] or 0) < mirrored + 0.1
    assert found["PP3"]["very_strong"] is None


def test_scores_that_tell_nothing_support_nothing() -> None:
    found = evidence_thresholds(_simulated(3000, 0.0), repeats=100)
    assert found == {code: dict.fromkeys(STRENGTHS) for code in ("PP3", "BP4")}


def test_variants_of_few_genes_support_less_than_as_many_of_many() -> None:
    many = _simulated(3000, 2.0)
    few = Calibration((np.arange(3000) % 6).astype(str), many.labels, many.scores)
    shifted = Calibration(few.genes, few.labels, few.scores + (few.genes.astype(int) - 2.5) * 0.5)
    loose = evidence_thresholds(many, repeats=100)["PP3"]["supporting"]
    strict = evidence_thresholds(shifted, repeats=100)["PP3"]["supporting"]
    assert loose is not None
    assert strict is None or strict > loose


def test_the_strongest_supported_code_is_given() -> None:
    thresholds = {
        "PP3": {"supporting": 0.7, "moderate": 0.9, "strong": None, "very_strong": None},
        "BP4": {"supporting": 0.2, "moderate": None, "strong": None, "very_strong": None},
    }
    expected = {0.95: "PP3_moderate", 0.9: "PP3_moderate", 0.7: "PP3_supporting", 0.5: None}
    expected |= {0.2: "BP4_supporting", 0.0: "BP4_supporting"}
    assert {score: evidence_code(thresholds, score) for score in expected} == expected
    data = Calibration(
        np.array(["A"] * 6), np.array([1, 1, 0, 0, 0, 1]), np.array([0.8, 0.8, 0.8, 0.1, 0.1, 0.5])
    )
    rows = observed_evidence(data, thresholds)
    assert [(row["code"], row["n"], row["pathogenic"]) for row in rows] == [
        ("BP4_supporting", 2, 0),
        ("PP3_supporting", 3, 2),
    ]
    assert rows[1]["likelihood_ratio"] == pytest.approx((2 / 3) / (1 / 3))
    assert rows[0]["likelihood_ratio"] is None


def test_a_score_is_judged_by_its_band_and_its_protein() -> None:
    config = {
        "abstention": {"low": 0.2, "high": 0.8},
        "evidence": {"PP3": {"supporting": 0.7}, "BP4": {"supporting": 0.1}},
    }
    sure = judgement(config, 0.9, 0.01, None)
    assert (sure.abstention, sure.evidence) == (None, "PP3_supporting")
    unsure = judgement(config, 0.75, 0.01, None)
    assert unsure.abstention == "undecided: between 0.20 and 0.80"
    assert unsure.evidence == "PP3_supporting"
    strange = judgement(config, 0.9, 0.01, "unusual composition")
    assert strange.abstention == "out of distribution: unusual composition"
    assert strange.evidence is None
    assert (strange.score, strange.doubt) == (0.9, 0.01)
