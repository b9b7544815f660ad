"""What each remedy against a small data set buys: the table of docs/small-data.md.

Run: python benchmarks/small_data.py [folder of the shared data] [--out FOLDER] [--row NAME ...]
                                     [--seeds N] [--steps N]

Each row is trained once per seed, and its answers on the test patients are kept in FOLDER, so that
rows can be run one by one and a stopped run goes on where it was. Without --row, all rows are run;
the table of what is there is printed at the end. `python benchmarks/small_data.py --steps 0` prints
it without training.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from napari_precimed.core.files import atomic_path
from napari_precimed.models.bundle import build_network
from napari_precimed.training import article_cnn, recipes, tumour_slice
from napari_precimed.training.fit import Batch, FitOptions, fit
from napari_precimed.training.lgg import Gliomas, read_lgg
from napari_precimed.training.scores import auprc, auroc, metric
from napari_precimed.training.slices import SliceSampler, SliceStack, stack_of

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
TRUST_IN_TEACHER = 0.5
"""What the teacher's answer weighs beside the truth, where all labels are known."""


@dataclass(frozen=True)
class Row:
    """One line of the table: which network, with which remedies, on how many of the labels."""

    title: str
    recipe: str = "tumour-slice"
    augment: bool = True
    regularise: bool = True
    early_stopping: bool = True
    start_from: str | None = None
    labels: float = 1.0
    teacher: str | None = None
    only_map: bool = False
    with_map: bool = False


_PLAIN = {"augment": False, "regularise": False, "early_stopping": False}
ROWS = {
    "article": Row("the article's CNN, as it is", "article-cnn", **_PLAIN),
    "plain": Row("`tumour-slice`'s network, plain", **_PLAIN),
    "augmented": Row("+ augmentation", regularise=False, early_stopping=False),
    "regularised": Row("+ dropout and weight decay", early_stopping=False),
    "stopped": Row("+ early stopping"),
    "map": Row("(the pre-training of the next row, on masks)", only_map=True),
    "transferred": Row("+ transfer from a network that outlines", start_from="map"),
    "mapped": Row("+ the mask as a second task instead (what is shipped)", with_map=True),
    "labels-10": Row("10 % of the labels", labels=0.10),
    "pseudo-10": Row("10 %, pseudo-labels for the rest", labels=0.10, teacher="labels-10"),
    "labels-25": Row("25 % of the labels", labels=0.25),
    "pseudo-25": Row("25 %, pseudo-labels for the rest", labels=0.25, teacher="labels-25"),
    "pseudo-100": Row("100 %, half of each label from the teacher", teacher="stopped"),
}


@dataclass(frozen=True)
class Bench:
    """The data, where results are kept, and how long each row may train."""

    data: Gliomas
    out: Path
    steps: int

    @cached_property
    def train(self) -> list[SliceStack]:
        """The training patients."""
        return [stack_of(case) for case in self.data.part("train")]

    @cached_property
    def validation(self) -> list[SliceStack]:
        """The validation patients."""
        return [stack_of(case) for case in self.data.part("validation")]

    @cached_property
    def test(self) -> list[SliceStack]:
        """The test patients."""
        return [stack_of(case) for case in self.data.part("test")]

    def run(self, name: str, seed: int) -> None:
        """Train one row, unless its result is there."""
        result = self.out / f"{name}-{seed}.json"
        if result.exists():
            steps = json.loads(result.read_text())["steps"]
            if steps != self.steps:
                raise SystemExit(
                    f"{result} was trained for {steps} steps, not {self.steps}; rows of one table "
                    "train equally long: name another folder with --out."
                )
            return
        row = ROWS[name]
        began = time.process_time()
        network, best_step = self._train(name, row, seed)
        seconds = time.process_time() - began
        torch.save(network.state_dict(), self._weights(name, seed))
        figures = {
            "steps": self.steps,
            "best_step": best_step,
            "cpu_s": round(seconds),
            "parameters": sum(p.numel() for p in network.parameters()),
            "labelled_patients": len(self._labelled(row, seed)),
            "validation_auroc": round(tumour_slice.auroc_on(self.validation)(network), 4),
            "test_logits": [round(float(v), 4) for v in tumour_slice.predict(network, self.test)],
        }
        with atomic_path(result) as part:
            part.write_text(json.dumps(figures))
        print(name, seed, {k: v for k, v in figures.items() if k != "test_logits"}, flush=True)

    def _train(self, name: str, row: Row, seed: int) -> tuple[torch.nn.Module, int]:
        torch.manual_seed(seed)
        network = self._network(row)
        if row.start_from:
            network.load_state_dict(self._state(row.start_from, seed))
        options = self._options(row, seed)
        count = iter(range(10**9))
        best = tumour_slice.auroc_on(self.validation)
        state = fit(
            network,
            SliceSampler(self._stacks(row, seed), options.batch_size, seed, row.augment),
            _loss_of(row),
            best if row.early_stopping else lambda network: float(next(count)),
            options,
            self.out / f"{name}-{seed}-fit",
        )
        return network, state.best_step

    def _network(self, row: Row) -> torch.nn.Module:
        network = build_network(recipes.template(row.recipe).folder, trusted=True)
        for module in network.modules():
            if isinstance(module, torch.nn.Dropout) and not row.regularise:
                module.p = 0.0
        return network

    def _options(self, row: Row, seed: int) -> FitOptions:
        recipe = article_cnn if row.recipe == "article-cnn" else tumour_slice
        options = replace(recipe.OPTIONS, steps=self.steps, seed=seed)
        every = max(1, self.steps // 8) if row.early_stopping else self.steps
        options = replace(options, validate_every=every, patience=3 if row.early_stopping else 99)
        return options if row.regularise else replace(options, weight_decay=0.0)

    def _labelled(self, row: Row, seed: int) -> NDArray[np.int_]:
        """Which of the training patients have labels; the fewer are among the more."""
        order = np.random.default_rng(seed).permutation(len(self.train))
        return order[: max(1, round(row.labels * len(order)))]

    def _stacks(self, row: Row, seed: int) -> list[SliceStack]:
        labelled = set(self._labelled(row, seed).tolist())
        if row.teacher is None:
            return [self.train[k] for k in sorted(labelled)]
        teacher = self._network(row)
        teacher.load_state_dict(self._state(row.teacher, seed))
        teacher.eval()
        return [
            _taught(stack, teacher, known=k in labelled and row.labels < 1, certain=row.labels < 1)
            for k, stack in enumerate(self.train)
        ]

    def _weights(self, name: str, seed: int) -> Path:
        return self.out / f"{name}-{seed}.pt"

    def _state(self, name: str, seed: int) -> dict[str, torch.Tensor]:
        """The weights of another row, which is run first if need be."""
        self.run(name, seed)
        return dict(torch.load(self._weights(name, seed), weights_only=True))


def _taught(
    stack: SliceStack, teacher: torch.nn.Module, *, known: bool, certain: bool
) -> SliceStack:
    """A patient with the teacher's labels, or with labels halfway between hers and the truth."""
    if known:
        return stack
    said = 1 / (1 + np.exp(-tumour_slice.predict(teacher, [stack])))
    trust = 1.0 if certain else TRUST_IN_TEACHER
    return replace(stack, target=(trust * said + (1 - trust) * stack.target).astype(np.float32))


def _loss_of(row: Row) -> Callable[[torch.nn.Module, Batch], torch.Tensor]:
    if row.only_map:
        return tumour_slice.map_loss
    return tumour_slice.loss_of if row.with_map else tumour_slice.label_loss


def table(bench: Bench) -> Sequence[str]:
    """Markdown: AUROC and average precision on the test patients, mean over the seeds."""
    positive = np.concatenate([stack.target for stack in bench.test]) >= 0.5
    cases = bench.data.part("test")
    patients = np.concatenate(
        [np.full(len(s.target), c.patient) for s, c in zip(bench.test, cases, strict=True)]
    )
    lines = [
        f"{len(positive)} slices of {len(cases)} test patients, {positive.sum()} with a tumour.",
        "",
        "| row | labelled patients | seeds | AUROC | 95 % interval | gain over the row `plain` | "
        "average precision | on validation | core minutes |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    plain = _results(bench, "plain")
    for name, row in ROWS.items():
        results = _results(bench, name)
        if not results or row.only_map:
            continue
        logits = np.array([r["test_logits"] for r in results])
        figure = metric(_mean_of(auroc, logits, positive), patients)
        precision = metric(_mean_of(auprc, logits, positive), patients)
        gain = ""
        if plain and name != "plain":
            base = np.array([r["test_logits"] for r in plain])
            first, second = _mean_of(auroc, logits, positive), _mean_of(auroc, base, positive)
            gain = "{value:+.3f} ({ci95[0]:+.3f} to {ci95[1]:+.3f})".format(
                **metric(lambda k, a=first, b=second: a(k) - b(k), patients)
            )
        low, high = figure["ci95"]
        on_validation = np.mean([r["validation_auroc"] for r in results])
        minutes = np.mean([r["cpu_s"] for r in results]) / 60
        lines.append(
            f"| {row.title} | {results[0]['labelled_patients']} | {len(results)} "
            f"| {figure['value']:.3f} | {low:.3f} to {high:.3f} | {gain} "
            f"| {precision['value']:.3f} | {on_validation:.3f} | {minutes:.1f} |"
        )
    return lines


def _results(bench: Bench, name: str) -> list[dict]:
    files = sorted(bench.out.glob(f"{name}-[0-9].json"))
    return [json.loads(file.read_text()) for file in files]


def _mean_of(
    score: Callable[..., float], logits: NDArray, positive: NDArray
) -> Callable[[NDArray[np.int_]], float]:
    """Case indices -> the score's mean over the seeds."""
    return lambda k: float(np.mean([score(row[k], positive[k]) for row in logits]))


def main() -> None:
    """Run the rows asked for, then print the table of all that are there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", type=Path, default=SHARED)
    parser.add_argument("--out", type=Path, default=Path("small-data"))
    parser.add_argument("--row", action="append", choices=list(ROWS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=300)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    asked.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(read_lgg(asked.data), asked.out, asked.steps)
    if asked.steps:
        for seed in range(asked.seeds):
            for name in asked.row or ROWS:
                bench.run(name, seed)
    print("\n".join(table(bench)))


if __name__ == "__main__":
    main()
