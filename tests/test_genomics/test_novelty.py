from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from Bio.Seq import Seq

from genomics.catalogue import open_model
from genomics.missense.novelty import COMPOSITION, INSIDE, ORDER, UNKNOWN, fit_novelty, novelty

# Residues that follow each other more often than not, as in no uniform sequence.
_WORDS = ["ALEK", "GSTP", "VILV", "DENQ", "RKFY", "LLSA", "HMWC"]


def _natural(seed: object) -> str:
    draw = random.Random(str(seed))
    return "".join(draw.choice(_WORDS) for _ in range(26))[:101]


@pytest.fixture(scope="module")
def learnt() -> dict[str, Any]:
    return fit_novelty(
        [_natural(f"train {k}") for k in range(2000)],
        [_natural(f"validation {k}") for k in range(1000)],
    )


def test_about_as_many_natural_windows_are_flagged_as_the_limits_say(
    learnt: dict[str, Any],
) -> None:
    windows = [_natural(f"fresh {k}") for k in range(1000)]
    flagged = [why for why in novelty(learnt, windows, ["A"] * 1000) if why]
    assert len(flagged) / 1000 < 3 * (1 - INSIDE)


def test_each_kind_of_strangeness_is_named(learnt: dict[str, Any]) -> None:
    natural = _natural("one")
    draw = random.Random(1)
    shuffled = "".join(draw.sample(natural, len(natural)))
    windows = ["Q" * 101, "AG" * 50 + "A", shuffled, "X" * 10 + natural[10:], natural, natural]
    reasons = novelty(learnt, windows, ["L", "L", "L", "L", "U", "L"])
    assert reasons == [COMPOSITION, COMPOSITION, ORDER, UNKNOWN, UNKNOWN, None]


def test_places_beyond_the_protein_are_not_unknown_residues(learnt: dict[str, Any]) -> None:
    natural = _natural("one")
    at_the_start = "-" * 40 + natural[40:]
    assert novelty(learnt, [at_the_start], ["L"]) == [None]
    assert novelty(learnt, ["-" * 40 + "X" * 5 + natural[45:]], ["L"]) == [UNKNOWN]
    assert novelty(learnt, [], []) == []


@pytest.mark.data
def test_the_shipped_limits_tell_a_wrong_reading_frame_and_repeats(shared_data: Path) -> None:
    about = open_model("missense-lstm").config["novelty"]
    genes = shared_data / "genomics/genes"
    frames: dict[int, list[str]] = {0: [], 1: [], 2: []}
    for name in ("NG_017013.2", "NG_012772.1", "NG_009497.1", "NG_007107.2"):
        sequence = _coding_sequence(genes, name)
        for frame, windows in frames.items():
            shifted = sequence[frame:]
            protein = str(Seq(shifted[: len(shifted) // 3 * 3]).translate()).replace("*", "")
            windows += [protein[k : k + 101] for k in range(0, len(protein) - 100, 25)]
    flagged = {
        frame: sum(why is not None for why in novelty(about, windows, ["A"] * len(windows)))
        / len(windows)
        for frame, windows in frames.items()
    }
    assert len(frames[0]) > 40
    assert flagged[0] < 0.05
    assert (flagged[1] + flagged[2]) / 2 > 2 * flagged[0] + 0.02
    repeats = [residue * 101 for residue in "ACDEFGHIKLMNPQRSTVWY"]
    assert all(novelty(about, repeats, ["A"] * 20))


def _coding_sequence(genes: Path, name: str) -> str:
    """Join the CDS of the first transcript; read from the GFF3 without our own reader."""
    rows = [line.split("\t") for line in (genes / f"{name}.gff3").read_text().splitlines()]
    coding = [row for row in rows if len(row) == 9 and row[2] == "CDS" and row[6] == "+"]
    first = coding[0][8].partition("Parent=")[2].partition(";")[0]
    exons = sorted((int(r[3]), int(r[4])) for r in coding if f"Parent={first};" in r[8] + ";")
    text = "".join((genes / f"{name}.fasta").read_text().splitlines()[1:])
    return "".join(text[start - 1 : end] for start, end in exons)
