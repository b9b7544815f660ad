"""The caller against bcftools csq and norm: the figures of docs/consequences.md.

Run: python benchmarks/consequences.py [folder of the shared data] [--every N] [--changes N]
                                       [--seed N] [--examples N] [--json]

Every SNV of each coding sequence of the shared genes, and 20,000 random insertions, deletions,
indels and MNVs, are given to both; what both say of each variant on each coding transcript is
compared term by term, before and after the documented differences. --every takes each Nth SNV.
Non-coding transcripts are left out: csq names their exons by gene only. csq and norm run through
pysam in child processes. Times are processor seconds: for both from the opening of the files on.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# `genomics.py` beside this file is a benchmark; the package of that name must be found first.
sys.path.append(sys.path.pop(0))

from csq_oracle import bcftools
from csq_oracle.differences import explain
from csq_oracle.facts import Facts
from csq_oracle.gff import ensembl_gff3
from csq_oracle.variants import every_snv, genes_of, random_changes

from genomics.caller import GeneCaller
from genomics.consequence import Consequence
from genomics.genes import Genes, Transcript
from genomics.reference import Reference
from genomics.variant import Variant

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
MITOCHONDRION = "NC_012920.1"
_RESIDUES = re.compile(r"(\d+)([A-Z*])(?:>\d+([A-Z*]))?")
_RESIDUE_TERMS = {"missense_variant", "synonymous_variant", "stop_gained"}


@dataclass
class Tally:
    """Agreement by class of variant, and how often each difference was met."""

    n: Counter[str] = field(default_factory=Counter)
    same: Counter[str] = field(default_factory=Counter)
    documented: Counter[str] = field(default_factory=Counter)
    differences: Counter[str] = field(default_factory=Counter)
    unknown: list[str] = field(default_factory=list)
    normalised: Counter[str] = field(default_factory=Counter)
    residues: Counter[str] = field(default_factory=Counter)
    other_residues: list[str] = field(default_factory=list)
    seconds: Counter[str] = field(default_factory=Counter)
    variants: int = 0

    def as_dict(self) -> dict[str, object]:
        rows = {
            kind: {
                "n": self.n[kind],
                "before": self.same[kind] / self.n[kind],
                "after": (self.same[kind] + self.documented[kind]) / self.n[kind],
            }
            for kind in sorted(self.n)
        }
        n = self.n.total()
        rows["all"] = {
            "n": n,
            "before": self.same.total() / n,
            "after": (self.same.total() + self.documented.total()) / n,
        }
        return {
            "variants": self.variants,
            "agreement": rows,
            "differences": dict(self.differences.most_common()),
            "unknown": len(self.unknown),
            "residues": dict(self.residues),
            "normalised": dict(self.normalised),
            "seconds": {name: round(value, 2) for name, value in self.seconds.items()},
        }


@dataclass(frozen=True)
class Locus:
    """One sequence of the shared genes."""

    name: str
    bases: str
    reference: Reference
    genes: Genes

    @property
    def transcripts(self) -> Sequence[Transcript]:
        return self.genes.by_contig[self.name]


def compare(loci: Sequence[Locus], code: int, options: argparse.Namespace, tally: Tally) -> None:
    """Compare on loci of one genetic code."""
    named = {f"T{n}": each for n, each in enumerate(t for at in loci for t in at.transcripts)}
    variants = list(_variants(loci, options))
    tally.variants += len(variants)
    with tempfile.TemporaryDirectory() as held:
        folder = Path(held)
        (folder / "ref.fa").write_text("".join(f">{at.name}\n{at.bases}\n" for at in loci))
        (folder / "genes.gff3").write_text(ensembl_gff3(named))
        bcftools.write_vcf(folder / "in.vcf", {at.name: len(at.bases) for at in loci}, variants)
        theirs, seconds = bcftools.consequences(folder, code)
        _compare_normalised(folder, loci, variants, tally)
    tally.seconds["csq"] += seconds
    ours = _ours(loci, named, variants, tally)
    bases = {at.name: at.bases for at in loci}
    for variant in variants:
        said = theirs[variant.chrom, variant.position, variant.ref, variant.alt]
        mine = ours[variant]
        for name in said.keys() | mine.keys():
            if named[name].coding:
                told = said[name].terms if name in said else frozenset()
                facts = Facts(variant, named[name], bases[variant.chrom])
                terms = frozenset(mine[name].terms) if name in mine else frozenset()
                _count(facts, terms, told, tally)
                if facts.kind == "SNV" and name in mine and name in said:
                    _compare_residues(mine[name], said[name].residues, tally)


def _variants(loci: Sequence[Locus], options: argparse.Namespace) -> Iterator[Variant]:
    for at in loci:
        yield from list(every_snv(at.name, at.bases, at.transcripts))[:: options.every]
    mitochondrial = loci[0].name == MITOCHONDRION
    # A tenth of the random changes on the mitochondrion's dense 16,569 bases.
    share = options.changes // 10 if mitochondrial else options.changes - options.changes // 10
    yield from random_changes(
        {at.name: at.bases for at in loci},
        {at.name: at.transcripts for at in loci},
        share,
        options.seed,
    )


def _ours(
    loci: Sequence[Locus],
    named: dict[str, Transcript],
    variants: Sequence[Variant],
    tally: Tally,
) -> dict[Variant, dict[str, Consequence]]:
    names = {(each.contig, each.name): name for name, each in named.items()}
    began = time.process_time()
    opened = {
        at.name: GeneCaller(Reference.open(at.reference.path), Genes.read(at.genes.path))
        for at in loci
    }
    called = [opened[each.chrom].consequences(each) for each in variants]
    tally.seconds["ours"] += time.process_time() - began
    return {
        variant: {names[variant.chrom, str(c.transcript)]: c for c in found}
        for variant, found in zip(variants, called, strict=True)
    }


def _count(facts: Facts, ours: frozenset[str], theirs: frozenset[str], tally: Tally) -> None:
    kind = ("mitochondrial " if facts.transcript.code == 2 else "") + facts.kind
    tally.n[kind] += 1
    if ours == theirs:
        tally.same[kind] += 1
        return
    names = explain(facts, ours, theirs)
    if names is None:
        words = ("&".join(sorted(ours)) or "-", "&".join(sorted(theirs)) or "-")
        tally.unknown.append(f"{facts.variant.key} {facts.transcript.name}: {words[0]}; {words[1]}")
        return
    tally.documented[kind] += 1
    tally.differences.update(names)


def _compare_residues(ours: Consequence, theirs: str, tally: Tally) -> None:
    """Compare a substitution's residues.

    csq reads selenocysteine as a stop, and mitochondrial start codons other than ATG as what they
    are elsewhere: both are documented, and left out.
    """
    match = _RESIDUES.fullmatch(theirs)
    if match is None or ours.protein_position is None or "U" in (ours.wild_type or ""):
        return
    if not _RESIDUE_TERMS & set(ours.terms) or "start_retained_variant" in ours.terms:
        return
    mine = (str(ours.protein_position), ours.wild_type, ours.mutant)
    tally.residues["n"] += 1
    same = mine == (match[1], match[2], match[3] or match[2])
    tally.residues["same"] += same
    if not same:
        tally.other_residues.append(f"{ours.hgvs_g} {ours.transcript} {ours.hgvs_p}; {theirs}")


def _compare_normalised(
    folder: Path, loci: Sequence[Locus], variants: Sequence[Variant], tally: Tally
) -> None:
    """Compare left-alignment and trimming with norm's."""
    theirs = bcftools.normalised(folder)
    text = {at.name: at.bases for at in loci}
    for number, variant in enumerate(variants):
        if len(variant.ref) == len(variant.alt) == 1:
            continue
        bases = text[variant.chrom]
        mine = variant.left_aligned(lambda first, last, bases=bases: bases[first - 1 : last])
        tally.normalised["n"] += 1
        same = theirs[number] == (mine.position, mine.ref, mine.alt)
        tally.normalised["same"] += same


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", nargs="?", type=Path, default=SHARED)
    parser.add_argument("--every", type=int, default=1, help="take each Nth SNV")
    parser.add_argument("--changes", type=int, default=20_000, help="random changes")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--examples", type=int, default=20, help="disagreements to print")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    loci = [Locus(*each) for each in genes_of(options.data / "genomics" / "genes")]
    tally = Tally()
    compare([at for at in loci if at.name != MITOCHONDRION], 1, options, tally)
    compare([at for at in loci if at.name == MITOCHONDRION], 2, options, tally)
    found = tally.as_dict()
    if options.json:
        print(json.dumps(found))
        return 0
    print(f"{tally.variants:,} variants; pairs of variant and coding transcript:")
    print(f"{'class':24}{'n':>10}{'before':>10}{'after':>10}")
    for kind, row in found["agreement"].items():
        print(f"{kind:24}{row['n']:>10,}{row['before']:>10.3%}{row['after']:>10.3%}")
    print("differences (pairs):")
    for name, n in tally.differences.most_common():
        print(f"  {name:34}{n:>8,}")
    print(f"unexplained: {len(tally.unknown)}")
    for each in tally.unknown[: options.examples]:
        print("  ", each)
    print(f"normalised as norm does: {tally.normalised['same']:,} of {tally.normalised['n']:,}")
    print(f"residues of SNVs as csq: {tally.residues['same']:,} of {tally.residues['n']:,}")
    for each in tally.other_residues[: options.examples]:
        print("  ", each)
    ratio = tally.seconds["ours"] / tally.seconds["csq"]
    print(
        f"processor seconds: ours {tally.seconds['ours']:.1f}, csq {tally.seconds['csq']:.1f}",
        end="",
    )
    print(f"; ratio {ratio:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
