"""Whether the outlines that agree under mirroring are the better ones.

Per nodule of patients that training never saw, outlined from one click: the agreement of
`lung-nodule`'s eight outlines, and the Dice of their mean against the mask that at least half of
the readers drew. Printed: Spearman's rank correlation of the two, with its 95 % interval by
bootstrap over patients.

Run: python benchmarks/doubt.py [folder of the shared data] [--part validation|test] [--model NAME]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from napari_precimed.models.agreement import agreement_of, outlines
from napari_precimed.models.bundle import load_network
from napari_precimed.models.catalogue import find
from napari_precimed.models.doubt import entropy_bits
from napari_precimed.models.inference import choose_engine
from napari_precimed.models.outline import Outlines, piece_at
from napari_precimed.models.search import outlines_of
from napari_precimed.training.lidc import Nodule, read_lidc
from napari_precimed.training.lung_nodule import clicked
from napari_precimed.training.scores import dice, metric

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def measured(outlines_at: Outlines, nodule: Nodule) -> dict[str, float]:
    """What is known without the readers, and the Dice that it is to foretell."""
    point = clicked(nodule)
    place, stack = outlines_at.ways(nodule.image, point)
    at = tuple(p - part.start for p, part in zip(point, place, strict=True))
    mean = stack.mean(0)
    whole = piece_at(mean >= outlines_at.threshold, at)
    agreement = agreement_of(outlines(stack, whole, outlines_at.threshold))
    inside = entropy_bits(stack)[whole]
    return {
        "dice": dice(whole, nodule.consensus[place]),
        "agreement": 0.0 if agreement is None else agreement,
        "certainty inside": 1 - float(inside.mean()) if inside.size else 0.0,
        "highest probability": float(mean.max()),
        "voxels": float(whole.sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shared", nargs="?", type=Path, default=SHARED)
    parser.add_argument("--part", choices=("validation", "test"), default="validation")
    parser.add_argument("--nodules", type=int, default=None, help="evenly chosen; all if left out")
    parser.add_argument("--model", default="lung-nodule")
    given = parser.parse_args()
    entry = find(given.model)
    outlines_at = outlines_of(entry.settings, load_network(entry), choose_engine("cpu"))
    nodules = read_lidc(given.shared / "imaging").part(given.part)
    if given.nodules:
        chosen = np.linspace(0, len(nodules) - 1, given.nodules).astype(int)
        nodules = [nodules[k] for k in chosen]
    rows = [measured(outlines_at, nodule) for nodule in nodules]
    patients = [nodule.patient for nodule in nodules]
    column = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    print(f"{entry.name} {entry.version}, {given.part}: {len(nodules)} nodules of "
          f"{len(set(patients))} patients, mean Dice {column['dice'].mean():.3f}")  # fmt: skip
    print("| foretells Dice | Spearman | 95 % interval | nodules | patients |")
    print("|---|---|---|---|---|")
    for name in list(column)[1:]:
        figure = metric(_rank_correlation(column[name], column["dice"]), patients)
        low, high = figure["ci95"]
        print(f"| {name} | {figure['value']:.2f} | {low:.2f} to {high:.2f} | {figure['n']} "
              f"| {figure['patients']} |")  # fmt: skip
    order = np.argsort(column["agreement"], kind="stable")
    print("\n| a third of the nodules | agreement | mean Dice |")
    print("|---|---|---|")
    for name, group in zip(("least", "middle", "most"), np.array_split(order, 3), strict=True):
        print(f"| {name} | {column['agreement'][group].mean():.2f} "
              f"| {column['dice'][group].mean():.2f} |")  # fmt: skip


def _rank_correlation(a: NDArray, b: NDArray):  # type: ignore[no-untyped-def]
    return lambda index: float(spearmanr(a[index], b[index]).statistic)


if __name__ == "__main__":
    main()
