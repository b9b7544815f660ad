"""Our caller held against ``bcftools csq`` and ``norm`` on real genes.

``benchmarks/consequences.py`` does the same on every SNV; here a seeded part of it runs, and every
SNV around the exons of two genes is compared by its most severe term.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genomics.caller import GeneCaller
from genomics.consequence import by_severity
from genomics.genes import Genes
from genomics.reference import Reference
from genomics.variant import Variant

pysam = pytest.importorskip("pysam", reason="pysam has no wheel for this platform")

_ROOT = Path(__file__).resolve().parents[2]
_REACH_BP = 12


@pytest.fixture
def oracle(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Return an importer of the modules in ``benchmarks/csq_oracle``."""
    monkeypatch.syspath_prepend(str(_ROOT / "benchmarks"))
    return lambda name: importlib.import_module(f"csq_oracle.{name}")


@pytest.mark.data
@pytest.mark.parametrize(
    ("record", "name"),
    [("NG_017013.2", "NM_000546.5"), ("NG_012337.3", "NM_012459.4")],
    ids=["TP53, plus strand", "TIMM8B, minus strand"],
)
def test_every_snv_around_the_exons_agrees(
    shared_data: Path, tmp_path: Path, oracle: Callable[[str], Any], record: str, name: str
) -> None:
    bcftools, ensembl_gff3 = oracle("bcftools"), oracle("gff").ensembl_gff3
    folder = shared_data / "genomics/genes"
    reference = Reference.open(folder / f"{record}.fasta")
    genes = Genes.read(folder / f"{record}.gff3")
    (transcript,) = [each for each in genes.by_contig[record] if each.name == name]
    bases = reference.bases(record, 1, reference.lengths[record])
    positions = {
        position
        for first, last in transcript.exons
        for position in range(max(1, first - _REACH_BP), min(len(bases), last + _REACH_BP) + 1)
    }
    snvs = [
        Variant(None, record, p, bases[p - 1], alt)
        for p in sorted(positions)
        for alt in "ACGT"
        if alt != bases[p - 1]
    ]
    (tmp_path / "ref.fa").write_text(f">{record}\n{bases}\n")
    (tmp_path / "genes.gff3").write_text(ensembl_gff3({"T": transcript}))
    bcftools.write_vcf(tmp_path / "in.vcf", {record: len(bases)}, snvs)
    theirs, _ = bcftools.consequences(tmp_path, 1)
    caller = GeneCaller(reference, Genes(genes.path, {record: [transcript]}))
    differing = []
    for each in snvs:
        ours = caller.consequences(each)
        our_term = ours[0].term if ours else None
        said = theirs[record, each.position, each.ref, each.alt].get("T")
        their_term = by_severity(said.terms)[0] if said else None
        if our_term != their_term:
            differing.append((each.key, our_term, their_term))
    assert len(snvs) > 2000
    assert differing == []


@pytest.mark.data
def test_a_seeded_part_of_the_benchmark_reaches_its_aim(shared_data: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "benchmarks/consequences.py", str(shared_data), "--json"),
            *("--every", "40", "--changes", "1500", "--seed", "11"),
        ],
        cwd=_ROOT,
        env=os.environ | {"PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )
    found = json.loads(done.stdout)
    agreement = found["agreement"]
    assert agreement["all"]["n"] > 8000
    assert agreement["all"]["after"] >= 0.995
    assert agreement["SNV"]["after"] == 1
    for kind in ("insertion", "deletion", "indel", "MNV"):
        assert agreement[kind]["n"] > 200
        assert agreement[kind]["after"] >= 0.98
    assert found["residues"]["same"] == found["residues"]["n"] > 5000
    assert found["normalised"] == {"n": 1500, "same": 1500}


@pytest.mark.data
def test_a_difference_that_is_not_documented_is_not_explained_away(
    shared_data: Path, oracle: Callable[[str], Any]
) -> None:
    """A caller that takes every missense change for a silent one agrees nowhere."""
    explain, facts_of = oracle("differences").explain, oracle("facts").Facts
    folder = shared_data / "genomics/genes"
    reference = Reference.open(folder / "NG_017013.2.fasta")
    genes = Genes.read(folder / "NG_017013.2.gff3")
    (transcript,) = [t for t in genes.by_contig["NG_017013.2"] if t.name == "NM_000546.5"]
    bases = reference.bases("NG_017013.2", 1, reference.lengths["NG_017013.2"])
    for position in range(transcript.coding[3][0], transcript.coding[3][1]):
        variant = Variant(None, "NG_017013.2", position, bases[position - 1], "N")
        facts = facts_of(variant, transcript, bases)
        missense, silent = frozenset({"missense_variant"}), frozenset({"synonymous_variant"})
        assert explain(facts, silent, missense) is None
        assert explain(facts, missense, frozenset({"stop_gained"})) is None


def test_each_difference_is_in_the_documentation(oracle: Callable[[str], Any]) -> None:
    text = (_ROOT / "docs/consequences.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE))
    assert listed == set(oracle("differences").NAMES)
