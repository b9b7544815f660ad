"""How good scores are: AUROC, calibration, baselines, and intervals bootstrapped by gene."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
Statistic = Callable[[Floats], float]

BOOTSTRAPS = 1000
CALIBRATION_BINS = 15
# Fewer variants of a class than this make one gene's AUROC a coin toss.
MIN_PER_CLASS_IN_GENE = 3
SUBSTITUTION_PSEUDOCOUNT = 10


def auroc(
    labels: npt.ArrayLike, scores: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> float:
    """Return the area under the ROC curve, ties counting one half.

    Parameters
    ----------
    labels : array_like of 0 or 1, shape (n,)
    scores : array_like of float, shape (n,)
        Higher means more likely 1.
    weights : array_like of float, shape (n,), optional

    Returns
    -------
    float
        In 0..1; nan where one class is absent.
    """
    ranks = _ranks(scores)
    weight = np.ones(len(ranks)) if weights is None else np.asarray(weights, dtype=np.float64)
    return _auroc_of_ranks(np.asarray(labels), ranks, weight)


def _ranks(scores: npt.ArrayLike) -> npt.NDArray[np.intp]:
    """Return each score's place among the distinct scores, from 0; what a bootstrap sorts once."""
    return np.unique(np.asarray(scores, dtype=np.float64), return_inverse=True)[1]


def _auroc_of_ranks(labels: npt.NDArray[Any], rank: npt.NDArray[np.intp], weight: Floats) -> float:
    positive = np.bincount(rank, weight * (labels == 1))
    negative = np.bincount(rank, weight * (labels == 0))
    if positive.sum() == 0 or negative.sum() == 0:
        return float("nan")
    below = np.cumsum(negative) - negative
    return float((positive * (below + negative / 2)).sum() / (positive.sum() * negative.sum()))


def expected_calibration_error(
    labels: npt.ArrayLike, probabilities: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> float:
    """Return the expected calibration error over ``CALIBRATION_BINS`` equally wide bins.

    Guo et al., On Calibration of Modern Neural Networks, ICML 2017, eq. 3.
    """
    labels = np.asarray(labels, dtype=np.float64)
    probabilities = np.asarray(probabilities, dtype=np.float64)
    weight = np.ones(len(labels)) if weights is None else np.asarray(weights, dtype=np.float64)
    bins = np.minimum((probabilities * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gap = np.bincount(bins, weight * (labels - probabilities), minlength=CALIBRATION_BINS)
    return float(np.abs(gap).sum() / weight.sum())


def precision_at_recall(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
    recall: float = 0.9,
) -> float:
    """Return the precision at the highest threshold that finds a share ``recall`` of the labels 1.

    Variants of equal score are taken together. nan where no label is 1.
    """
    label, score = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    weight = np.ones(len(label)) if weights is None else np.asarray(weights, dtype=np.float64)
    values, place = np.unique(-score, return_inverse=True)
    found = np.cumsum(np.bincount(place, weight * (label == 1), minlength=len(values)))
    taken = np.cumsum(np.bincount(place, weight, minlength=len(values)))
    if not len(found) or found[-1] == 0:
        return float("nan")
    # A share of 0.9 of ten labels is nine of them, whatever the last bit of 0.9 * 10 says.
    first = int(np.searchsorted(found, recall * found[-1] * (1 - 1e-12)))
    return float(found[first] / taken[first])


def fit_substitution_baseline(
    wild_type: Sequence[str], mutant: Sequence[str], labels: Sequence[int]
) -> dict[str, float]:
    """Return the pathogenic fraction of each substitution ("AV"), and of all of them ("").

    Each is shrunk towards the overall fraction by ``SUBSTITUTION_PSEUDOCOUNT`` variants.
    """
    label = np.asarray(labels, dtype=np.float64)
    overall = float(label.mean())
    pairs, index = np.unique(
        [f"{before}{after}" for before, after in zip(wild_type, mutant, strict=True)],
        return_inverse=True,
    )
    total, count = np.bincount(index, label), np.bincount(index)
    fractions = (total + SUBSTITUTION_PSEUDOCOUNT * overall) / (count + SUBSTITUTION_PSEUDOCOUNT)
    return {"": overall} | {str(p): float(f) for p, f in zip(pairs, fractions, strict=True)}


def substitution_scores(
    fractions: Mapping[str, float], wild_type: Sequence[str], mutant: Sequence[str]
) -> Floats:
    """Return the baseline's score of each substitution, shape (n,)."""
    pairs = (f"{before}{after}" for before, after in zip(wild_type, mutant, strict=True))
    return np.array([fractions.get(pair, fractions[""]) for pair in pairs])


def leave_one_out_gene_mean(genes: npt.ArrayLike, labels: npt.ArrayLike) -> Floats:
    """Return for each variant the mean label of its gene's *other* variants, shape (n,).

    Shrunk to the overall mean by one pseudo-variant, so that a gene with a single variant has a
    value. It looks at the labels of the very genes that are tested: no model of unseen genes can
    do so. It says how much of an AUROC knowing the gene alone would explain.
    """
    _, index = np.unique(np.asarray(genes), return_inverse=True)
    label = np.asarray(labels, dtype=np.float64)
    total, count = np.bincount(index, label), np.bincount(index)
    return (total[index] - label + label.mean()) / count[index]


def mean_auroc_within_genes(
    genes: npt.ArrayLike, labels: npt.ArrayLike, scores: npt.ArrayLike
) -> dict[str, float]:
    """Return the AUROC inside each gene with ``MIN_PER_CLASS_IN_GENE`` variants of each class."""
    genes, labels, scores = np.asarray(genes), np.asarray(labels), np.asarray(scores)
    order = np.argsort(genes, kind="stable")
    names, starts = np.unique(genes[order], return_index=True)
    inside: dict[str, float] = {}
    for name, members in zip(names, np.split(order, starts[1:]), strict=True):
        positives = int(labels[members].sum())
        if min(positives, len(members) - positives) >= MIN_PER_CLASS_IN_GENE:
            inside[str(name)] = auroc(labels[members], scores[members])
    return inside


@dataclass(frozen=True)
class GeneBootstrap:
    """Resampling of whole genes: variants of one gene are not independent of each other."""

    genes: npt.NDArray[Any]
    seed: int = 0
    repeats: int = BOOTSTRAPS

    def interval(self, statistic: Statistic) -> list[float | None]:
        """Return the 95 % percentile interval of ``statistic(weights)``; None where undefined.

        ``weights`` has one entry per variant: how often its gene was drawn.
        """
        _, index = np.unique(self.genes, return_inverse=True)
        count = int(index.max()) + 1
        draw = np.random.default_rng(self.seed)
        values = [
            statistic(draw.multinomial(count, np.full(count, 1 / count))[index].astype(float))
            for _ in range(self.repeats)
        ]
        finite = [value for value in values if np.isfinite(value)]
        if len(finite) < self.repeats / 2:
            return [None, None]
        return [float(bound) for bound in np.percentile(finite, [2.5, 97.5])]


def missense_metrics(
    genes: npt.ArrayLike,
    labels: npt.ArrayLike,
    probability: npt.ArrayLike,
    substitution: Floats,
    zero_shot: Floats | None = None,
) -> dict[str, dict[str, Any]]:
    """Return every metric of a missense model as ``{name: {value, ci95, n, ...}}``.

    Parameters
    ----------
    genes, labels, probability : array_like, shape (n,)
        Gene symbol, 0 or 1, and the model's calibrated probability of pathogenic.
    substitution : ndarray, shape (n,)
        The score of the substitution-only baseline.
    zero_shot : ndarray, shape (n,), optional
        The score of the language model that no label has taught.
    """
    genes, labels = np.asarray(genes), np.asarray(labels)
    probability = np.asarray(probability, dtype=np.float64)
    resample = GeneBootstrap(genes)

    def rank(scores: Floats) -> Statistic:
        ranks = _ranks(scores)
        return lambda weights: _auroc_of_ranks(labels, ranks, weights)

    def calibration(weights: Floats) -> float:
        return expected_calibration_error(labels, probability, weights)

    gene_mean = leave_one_out_gene_mean(genes, labels)
    statistics: dict[str, Statistic] = {
        "auroc": rank(probability),
        "auroc_substitution_only": rank(substitution),
        "auroc_gene_mean": rank(gene_mean),
        "precision_at_recall_90": lambda weights: precision_at_recall(labels, probability, weights),
        "ece": calibration,
    }
    if zero_shot is not None:
        statistics["auroc_zero_shot"] = rank(zero_shot)
    metrics: dict[str, dict[str, Any]] = {
        name: _metric(statistic(np.ones(len(labels))), resample.interval(statistic), len(labels))
        for name, statistic in statistics.items()
    }
    metrics["auroc_per_gene_mean"] = _per_gene_metric(genes, labels, probability)
    return metrics


_FEW_VARIANTS = 100


def missense_subgroups(table: pd.DataFrame, probability: Floats) -> list[dict[str, Any]]:
    """Return AUROC and calibration error within groups that could hide a weakness.

    Groups: where in the protein the change is, how many labelled variants its gene has, and which
    source gave the label. Each has its 95 % interval, bootstrapped by gene.
    """
    per_gene = table.groupby("gene")["gene"].transform("size")
    window = table["wt_window101"]
    groups = {
        "within 50 residues of an end": window.str.contains("-", regex=False),
        "in the middle of the protein": ~window.str.contains("-", regex=False),
        "gene with fewer than 10 labelled variants": per_gene < 10,
        "gene with 10 to 49 labelled variants": per_gene.between(10, 49),
        "gene with 50 labelled variants or more": per_gene >= 50,
        "glycine or proline replaced": table["wt"].isin(["G", "P"]),
        "cysteine replaced": table["wt"] == "C",
    }
    if "sources" in table.columns:
        groups["labelled by UniProt"] = table["sources"].str.contains("UniProt", regex=False)
        groups["labelled by ClinVar alone"] = ~groups["labelled by UniProt"]
    return [
        _subgroup(name, table[members], probability[members.to_numpy()])
        for name, members in groups.items()
        if members.sum() >= _FEW_VARIANTS
    ]


def _subgroup(name: str, rows: pd.DataFrame, probability: Floats) -> dict[str, Any]:
    labels = rows["label"].to_numpy()
    ranks = _ranks(probability)
    resample = GeneBootstrap(rows["gene"].to_numpy(), repeats=BOOTSTRAPS // 5)
    statistics: Mapping[str, Statistic] = {
        "auroc": lambda weights: _auroc_of_ranks(labels, ranks, weights),
        "ece": lambda weights: expected_calibration_error(labels, probability, weights),
    }
    every = np.ones(len(labels))
    metrics = {
        metric: _metric(statistic(every), resample.interval(statistic), len(labels))
        for metric, statistic in statistics.items()
    }
    return {"name": name, "genes": int(rows["gene"].nunique()), "metrics": metrics}


def _metric(value: float, ci95: list[float | None], n: int) -> dict[str, Any]:
    return {"value": value if np.isfinite(value) else None, "ci95": ci95, "n": n}


def _per_gene_metric(
    genes: npt.NDArray[Any], labels: npt.NDArray[Any], probability: Floats
) -> dict[str, Any]:
    inside = mean_auroc_within_genes(genes, labels, probability)
    if not inside:
        return _metric(float("nan"), [None, None], 0)
    values = np.array(list(inside.values()))
    resample = GeneBootstrap(np.array(list(inside)))
    return _metric(
        float(values.mean()),
        resample.interval(lambda weights: float(np.average(values, weights=weights))),
        len(values),
    )


def spearman(one: npt.ArrayLike, other: npt.ArrayLike) -> float:
    """Return Spearman's rank correlation, ties ranked at their mean; 0 where one is constant."""
    first, second = (_mean_ranks(each) for each in (one, other))
    first, second = first - first.mean(), second - second.mean()
    norm = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / norm if norm > 0 else 0.0


def _mean_ranks(scores: npt.ArrayLike) -> Floats:
    index = _ranks(scores)
    counts = np.bincount(index)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[index])
