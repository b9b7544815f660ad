"""How fast `genomics` is, on two cores, and whether it keeps what it promises.

- `missense`: substitutions scored per second by the shipped model, (a) all 19 at each place of the
  shared genes' proteins, (b) one a place, drawn from the labelled table; each beside the plain
  computation, which reads the surroundings anew for every substitution.
- `genome`: a made-up whole genome's VCF read, annotated, scored and written, in time and peak
  memory, by one process and by two.
- `growth`: the same at four sizes.
- `consequences`: reading and placing each allele, beside `bcftools csq` on the same files.

Run: python benchmarks/genomics.py [missense|genome|growth|consequences ...] [--records 5000000]
     [--folder DIR] [--data shared data]

The made-up genome takes 3.3 GB in the folder and is kept there for the next run. Load from other
work shows in wall-clock seconds, hardly in CPU seconds; both are printed.
"""

# ruff: noqa: E402 - the path must be put right before anything is imported from it.

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

# This file has the package's name: its own folder must not be searched, the tree's root must.
ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = os.environ["PYTHONPATH"] = str(ROOT)

import torch

from benchmarks.whole_genome import Genome, genome_in, write_genome, write_variants
from genomics.coding import coding_sequence
from genomics.consequence import protein_window
from genomics.dataset import read_missense_table
from genomics.encode import encode_missense
from genomics.genes import Genes
from genomics.provider import open_provider
from genomics.reference import Reference
from genomics.score import MissenseModel
from genomics.vcf import alleles, read_vcf

SHARED = ROOT.parent / "shared" / "data"
TARGETS = {"missense per second": 10_000, "genome seconds": 300, "genome GiB": 3, "csq ratio": 3}
SATURATED_PLACES = 4_000
RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
Substitutions = list[tuple[str, str]]


class Cost(NamedTuple):
    """Of a finished process and its children: seconds, and the largest process's memory."""

    wall: float
    cpu: float
    gib: float

    def __str__(self) -> str:
        return f"{self.wall:.1f} s wall, {self.cpu:.1f} s CPU, peak {self.gib:.2f} GiB"


def missense(data: Path) -> None:
    """Substitutions scored per second, states shared and not."""
    model = MissenseModel.load("missense-lstm")
    print(f"\n## missense: target {TARGETS['missense per second']:,} a second\n")
    print("| substitutions | n | places | shared states | plain | largest difference |")
    print("|---|---|---|---|---|---|")
    for name, chosen in (
        ("all 19 at each place of the shared genes' proteins", _saturated(data)),
        ("one a place, from the labelled table", _labelled(data)),
    ):
        places = len({window for window, _ in chosen})
        shared, odds = _rate(lambda part: model.log_odds(*part), chosen)
        few = chosen[:2_000]
        plain, expected = _rate(lambda part: _plain(model, *part), few)
        difference = float(abs(odds[: len(few)] - expected).max())
        print(f"| {name} | {len(chosen):,} | {places:,} | {shared} | {plain} | {difference:.1e} |")


def _saturated(data: Path) -> Substitutions:
    chosen: dict[str, None] = {}
    for fasta in sorted((data / "genomics/genes").glob("NG_*.fasta")):
        reference, genes = Reference.open(fasta), Genes.read(fasta.with_suffix(".gff3"))
        for transcripts in genes.by_contig.values():
            for each in transcripts:
                if each.coding and each.start_known and not each.frame:
                    protein = coding_sequence(each, reference).protein.rstrip("*")
                    chosen[protein] = None
    places = [(protein, place) for protein in chosen for place in range(1, len(protein) + 1)]
    return [
        (protein_window(protein, place), mutant)
        for protein, place in places[:: max(1, len(places) // SATURATED_PLACES)]
        for mutant in RESIDUES
        if mutant != protein[place - 1]
    ]


def _labelled(data: Path) -> Substitutions:
    table = read_missense_table(data / "genomics")
    chosen = dict(zip(table["wt_window101"], table["mt"], strict=True))
    return random.Random(0).sample(sorted(chosen.items()), min(10_000, len(chosen)))


def _plain(model: MissenseModel, windows: list[str], mutants: list[str]) -> object:
    rows = []
    for start in range(0, len(windows), 256):
        part = slice(start, start + 256)
        with torch.inference_mode():
            batch = encode_missense(windows[part], mutants[part], model.network.flank)
            rows.append(model.ensemble(batch).double())
    return torch.cat(rows).numpy()


def _rate(work: Callable, chosen: Substitutions) -> tuple[str, object]:  # type: ignore[type-arg]
    columns = [window for window, _ in chosen], [mutant for _, mutant in chosen]
    work((columns[0][:256], columns[1][:256]))
    wall, cpu = time.perf_counter(), time.process_time()
    found = work(columns)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    threads = torch.get_num_threads()
    free = len(chosen) / cpu * threads
    return f"{len(chosen) / wall:,.0f}/s ({free:,.0f}/s by CPU seconds on {threads} cores)", found


def whole_genome(folder: Path, genome: Genome, records: int) -> None:
    """A whole genome's VCF to a scored VCF."""
    vcf = _variants(folder, genome, records)
    print(
        f"\n## genome: {records:,} records, 0.5 % coding, {vcf.stat().st_size / 2**20:.0f} MiB "
        f"bgzip; target {TARGETS['genome seconds']} s and {TARGETS['genome GiB']} GiB\n"
    )
    for out, workers in (("scored.tsv", 1), ("scored.vcf.gz", 1), ("scored.vcf.gz", 2)):
        cost, ledger = _score(folder, genome, vcf, folder / out, workers)
        print(f"- {out}, {workers} process(es): {cost}; {_account(ledger)}")
        if workers == 1 and out.endswith(".gz"):
            alone = (folder / out).read_bytes()
    print(f"- byte for byte the same: {(folder / out).read_bytes() == alone}")


def growth(folder: Path, genome: Genome, records: int) -> None:
    """Seconds and memory at four sizes."""
    print("\n## growth: one process, TSV\n")
    print("| records | wall s | CPU s | µs CPU a record | peak GiB |")
    print("|---|---|---|---|---|")
    for size in (records // 8, records // 4, records // 2, records):
        vcf = _variants(folder, genome, size)
        cost, _ = _score(folder, genome, vcf, folder / "grown.tsv", 1)
        each = 1e6 * cost.cpu / size
        print(f"| {size:,} | {cost.wall:.1f} | {cost.cpu:.1f} | {each:.1f} | {cost.gib:.2f} |")


def consequences(folder: Path, genome: Genome, records: int) -> None:
    """Reading and placing, beside `bcftools csq`."""
    print(f"\n## consequences: target {TARGETS['csq ratio']} times bcftools csq\n")
    print("| file | n | ours, CPU s | of it reading | csq, CPU s | ratio | ratio of wall s |")
    print("|---|---|---|---|---|---|---|")
    for name, vcf in (
        ("whole genome", _variants(folder, genome, records // 8)),
        ("coding bases only", _variants(folder, genome, records // 50, coding=1.0)),
    ):
        reading = _run([__file__, "--child", "read", str(vcf)])
        ours = _run([__file__, "--child", "place", str(vcf), str(genome.fasta), str(genome.gff3)])
        call = "import pysam.bcftools as b, sys; b.csq(*sys.argv[1:], catch_stdout=False)"
        options = [
            "-f",
            genome.fasta,
            "-g",
            genome.gff3,
            "-l",
            "-O",
            "z",
            "-o",
            folder / "csq.vcf.gz",
        ]
        csq = _run(["-c", call, *map(str, options), str(vcf)])
        n = sum(1 for _ in read_vcf(vcf).records)
        print(
            f"| {name} | {n:,} | {ours.cpu:.1f} | {reading.cpu:.1f} | {csq.cpu:.1f} "
            f"| {ours.cpu / csq.cpu:.1f} | {ours.wall / csq.wall:.1f} |"
        )


def child(kind: str, vcf: str, reference: str = "", genes: str = "") -> None:
    """Read a VCF, or read it and place each allele."""
    opened = read_vcf(vcf)
    if kind == "read":
        for record in opened.records:
            alleles(record, None)
        return
    provider = open_provider(opened, reference, genes)
    for record in opened.records:
        for allele in alleles(record, provider.build):
            provider.place(record, allele)


def _variants(folder: Path, genome: Genome, records: int, coding: float = 0.005) -> Path:
    path = folder / f"variants-{records}-{coding:g}.vcf.gz"
    if not path.exists():
        partial = path.with_suffix(".partial")
        write_variants(partial, genome, records, coding).replace(path)
    return path


def _score(
    folder: Path, genome: Genome, vcf: Path, out: Path, workers: int
) -> tuple[Cost, dict[str, object]]:
    said = folder / "summary.json"
    with said.open("w") as stream:
        cost = _run(
            ["-m", "genomics", "score", str(vcf), "--reference", str(genome.fasta), "--genes",
             str(genome.gff3), "-o", str(out), "--workers", str(workers), "--json"],
            stream,
        )  # fmt: skip
    ledger = json.loads(said.read_text())["ledger"]
    whole = ledger["scored"] + ledger["by_rule"] + sum(ledger["not_scored"].values())
    if ledger["alleles"] != whole:
        raise SystemExit(f"the ledger does not close: {ledger['alleles']} alleles, {whole} told of")
    return cost, ledger


def _account(ledger: dict[str, object]) -> str:
    return (
        f"{ledger['alleles']:,} alleles: {ledger['scored']:,} scored, {ledger['by_rule']:,} by "
        f"rule, {ledger['listed']:,} listed"
    )


def _run(arguments: list[str], stdout: object = subprocess.DEVNULL) -> Cost:
    """Run Python and return what it and its children took, by the system's own account."""
    began = time.perf_counter()
    # The measuring process waits for one child at a time: the difference is that child's.
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    timer = (
        "import resource, subprocess, sys; done = subprocess.run([sys.executable, *sys.argv[1:]]);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr);"
        "sys.exit(done.returncode)"
    )
    done = subprocess.run(
        [sys.executable, "-c", timer, *arguments],
        stdout=stdout,  # type: ignore[call-overload]
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)[:200]}: failed\n{done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    kib = int(done.stderr.split()[-1])
    return Cost(time.perf_counter() - began, cpu, kib / 2**20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", default=[])
    parser.add_argument("--records", type=int, default=5_000_000)
    parser.add_argument("--scale", type=float, default=1.0, help="of the chromosomes' lengths")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "whole-genome")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("PRECIMED_DATA", SHARED)))
    given = parser.parse_args()
    parts = given.parts or ["missense", "consequences", "genome", "growth"]
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python "
          f"{platform.python_version()}, torch {torch.__version__} on "
          f"{torch.get_num_threads()} threads")  # fmt: skip
    if "missense" in parts:
        missense(given.data)
    if set(parts) & {"consequences", "genome", "growth"}:
        genome = genome_in(given.folder, given.scale)
        if not genome.gff3.exists():
            write_genome(given.folder, given.data / "genomics/genes", given.scale)
        if "consequences" in parts:
            consequences(given.folder, genome, given.records)
        if "genome" in parts:
            whole_genome(given.folder, genome, given.records)
        if "growth" in parts:
            growth(given.folder, genome, given.records)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        main()
