"""Who is in a VCF, told from genotypes and depths: sex, phasing, relatives, tumour or germline."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from statistics import median

from genomics.contigs import canonical_name
from genomics.par import REGIONS, is_pseudoautosomal
from genomics.variant import Genotype
from genomics.vcf import VcfRecord
from genomics.vcf.header import VcfHeader

_MOST_SAMPLES = 10
"""Samples looked at; a cohort's first ones are enough to know the file."""
_MOST_GENOTYPES = 8_000
_LEAST_X_CALLS, _MALE_HET_SHARE, _FEMALE_HET_SHARE = 20, 0.1, 0.25
_LEAST_Y_CALLS = 5
_LEAST_TRIO_SITES, _LEAST_TRIO_SHARE, _TRIO_MARGIN = 30, 0.9, 0.1
_LEAST_DEPTH, _LEAST_FRACTIONS = 10, 30
_LOW_FRACTION, _LOW_SHARE = 0.3, 0.4

_TUMOUR = re.compile(r"tumou?r|metasta|cancer|primary(?![a-z])", re.IGNORECASE)
_NORMAL = re.compile(r"normal|germline|blood|control", re.IGNORECASE)
_SOMATIC_CALLERS = {
    "Mutect": re.compile(r"mutect", re.IGNORECASE),
    "Strelka": re.compile(r"strelka.*somatic", re.IGNORECASE),
    "VarScan": re.compile(r"varscan.*somatic", re.IGNORECASE),
    "SomaticSniper": re.compile(r"somatic-?sniper", re.IGNORECASE),
    "CaVEMan": re.compile(r"caveman", re.IGNORECASE),
    "MuSE": re.compile(r"\bMuSE\b"),
    "TNscope": re.compile(r"tnscope", re.IGNORECASE),
}
_SOMATIC_INFO = ("SOMATIC", "TLOD", "SomaticEVS", "NLOD", "GERMQ", "SSC")


@dataclass(frozen=True)
class SampleFinding:
    """One sample.

    Attributes
    ----------
    name : str
    called : int
        Genotypes that are called, of the records looked at.
    heterozygous, phased : int
        Heterozygous genotypes, and those of them whose phase is known.
    sex : str or None
        "XX" or "XY" as the genotypes show; None where they leave it open.
    sex_evidence : str
        The counts behind it.
    """

    name: str
    called: int
    heterozygous: int
    phased: int
    sex: str | None
    sex_evidence: str


@dataclass(frozen=True)
class Called:
    """A record with its samples' genotypes."""

    record: VcfRecord
    genotypes: tuple[Genotype | None, ...]

    @property
    def is_snv(self) -> bool:
        """Whether all alleles are single bases."""
        alts = self.record.alts
        return len(self.record.ref) == 1 and all(len(a) == 1 and a not in "*." for a in alts)


def genotypes_of(header: VcfHeader, records: Iterable[VcfRecord]) -> list[Called]:
    """Return the records with the genotypes of the first samples.

    Of many records only some are taken, but all on X and Y, which are few.
    """
    shown = range(min(len(header.samples), _MOST_SAMPLES))
    records = list(records)
    step = 1 + len(records) * len(shown) // _MOST_GENOTYPES
    return [
        Called(each, tuple(each.genotype(i) for i in shown))
        for place, each in enumerate(records)
        if place % step == 0 or canonical_name(each.chrom) in {"X", "Y"}
    ]


def describe_samples(
    header: VcfHeader, called: Sequence[Called], build: str | None
) -> tuple[SampleFinding, ...]:
    """Describe each of the first samples."""
    found = []
    for index, name in enumerate(header.samples[:_MOST_SAMPLES]):
        genotypes = [each.genotypes[index] for each in called]
        known = [each for each in genotypes if each and None not in each.alleles]
        mixed = [each for each in known if len(set(each.alleles)) > 1]
        sex, evidence = _sex(called, index, build)
        phased = sum(each.phased for each in mixed)
        found.append(SampleFinding(name, len(known), len(mixed), phased, sex, evidence))
    return tuple(found)


def _sex(called: Iterable[Called], index: int, build: str | None) -> tuple[str | None, str]:
    """Tell the sex chromosomes from variants on X and Y outside the pseudoautosomal regions."""
    builds = [build] if build else list(REGIONS)  # where it is unknown, those of any build
    mixed = pure = haploid = on_y = 0
    for each in called:
        chrom = canonical_name(each.record.chrom)
        genotype = each.genotypes[index]
        if chrom not in {"X", "Y"} or not each.is_snv or genotype is None:
            continue
        if None in genotype.alleles or not any(genotype.alleles):
            continue
        if any(is_pseudoautosomal(one, chrom, each.record.position) for one in builds):
            continue
        if chrom == "Y":
            on_y += 1
        elif len(genotype.alleles) == 1:
            haploid += 1
        elif len(set(genotype.alleles)) > 1:
            mixed += 1
        else:
            pure += 1
    evidence = (
        f"outside the pseudoautosomal regions X has {mixed} heterozygous, {pure} homozygous and "
        f"{haploid} haploid SNVs, Y has {on_y}"
        if mixed + pure + haploid + on_y
        else "no SNV on X or Y among the records looked at"
    )
    return _sex_of_counts(mixed, pure + haploid, haploid, on_y), evidence


def _sex_of_counts(mixed: int, pure: int, haploid: int, on_y: int) -> str | None:
    if mixed + pure < _LEAST_X_CALLS:
        return None
    share = mixed / (mixed + pure)
    if share <= _MALE_HET_SHARE:
        # Few heterozygous SNVs and nothing on Y: consanguinity, one X, or a panel without Y.
        return "XY" if on_y >= _LEAST_Y_CALLS or haploid > pure // 2 else None
    return "XX" if share >= _FEMALE_HET_SHARE and on_y < _LEAST_Y_CALLS else None


def find_relation(header: VcfHeader, called: Sequence[Called]) -> tuple[str | None, str]:
    """Return "trio", "tumour/normal pair" or None, and what speaks for it."""
    names = header.samples
    for line in header.definitions.get("PEDIGREE", {}).values():
        if {"Father", "Mother"} <= set(line):
            return "trio", f"##PEDIGREE: {line['ID']} of {line['Father']} and {line['Mother']}"
        if "Original" in line:
            return "tumour/normal pair", f"##PEDIGREE: {line['ID']} derives from {line['Original']}"
    if len(names) == 2:
        return _pair(header)
    if len(names) == 3:
        return _trio(names, called)
    return None, ""


def _pair(header: VcfHeader) -> tuple[str | None, str]:
    said = {
        line.partition("=")[2]: line.partition("=")[0].removeprefix("##")
        for line in header.lines
        if line.startswith(("##tumor_sample=", "##normal_sample="))
    }
    roles = {
        name: said.get(name)
        or ("tumour" if _TUMOUR.search(name) else "normal" if _NORMAL.search(name) else "?")
        for name in header.samples
    }
    kinds = {role[0] for role in roles.values()}
    if kinds != {"t", "n"}:
        return None, ""
    first, second = header.samples
    tumour, normal = (first, second) if roles[first].startswith("t") else (second, first)
    how = "the header says so" if said else "by their names"
    return "tumour/normal pair", f"tumour {tumour}, normal {normal} ({how})"


def _trio(names: Sequence[str], called: Iterable[Called]) -> tuple[str | None, str]:
    """Find which of three samples is the child of the two others, if one is."""
    sites = list(_family_sites(called))
    if len(sites) < _LEAST_TRIO_SITES:
        return None, f"{len(sites)} places at which the three differ are too few to tell a trio"
    shares = []
    for child, one, other in ((0, 1, 2), (1, 0, 2), (2, 0, 1)):
        fit = sum(_inherited(site[child], site[one], site[other]) for site in sites)
        shares.append((fit / len(sites), child, one, other))
    best, second = sorted(shares, reverse=True)[:2]
    if best[0] < _LEAST_TRIO_SHARE or best[0] - second[0] < _TRIO_MARGIN:
        return None, (
            f"no sample is the others' child: at best {best[0]:.0%} of {len(sites)} places fit"
        )
    return "trio", (
        f"{names[best[1]]} fits as the child of {names[best[2]]} and {names[best[3]]} at "
        f"{best[0]:.0%} of {len(sites)} places where the three differ"
    )


def _family_sites(called: Iterable[Called]) -> Iterator[tuple[Genotype, Genotype, Genotype]]:
    for each in called:
        one, two, three = each.genotypes
        if one is None or two is None or three is None or not each.is_snv:
            continue
        three_calls = (one, two, three)
        if any(None in g.alleles or len(g.alleles) != 2 for g in three_calls):
            continue
        if (
            canonical_name(each.record.chrom).isdigit()
            and len({frozenset(g.alleles) for g in three_calls}) > 1
        ):
            yield three_calls


def _inherited(child: Genotype, one: Genotype, other: Genotype) -> bool:
    return any(a in one.alleles and b in other.alleles for a, b in permutations(child.alleles, 2))


def find_origin(
    header: VcfHeader, called: Iterable[Called], relation: str | None
) -> tuple[str | None, tuple[str, ...]]:
    """Return "germline", "somatic" or None, and what speaks for it."""
    evidence = []
    callers = _somatic_callers(header)
    if callers:
        evidence.append(f"somatic caller in the header: {', '.join(callers)}")
    keys = [key for key in _SOMATIC_INFO if key in header.definitions.get("INFO", {})]
    if keys:
        evidence.append(f"somatic INFO keys: {', '.join(keys)}")
    if relation == "tumour/normal pair":
        evidence.append("tumour and normal samples")
    fractions = list(_fractions(called))
    low = None
    if len(fractions) < _LEAST_FRACTIONS:
        evidence.append(f"{len(fractions)} SNVs with allele depths are too few to tell it by")
    if len(fractions) >= _LEAST_FRACTIONS:
        low = sum(each < _LOW_FRACTION for each in fractions) / len(fractions) >= _LOW_SHARE
        evidence.append(
            f"allele fractions of {len(fractions)} carried SNVs: median {median(fractions):.2f}, "
            f"{sum(each < _LOW_FRACTION for each in fractions) / len(fractions):.0%} below "
            f"{_LOW_FRACTION}"
        )
    if callers or relation == "tumour/normal pair" or (keys and low):
        return "somatic", tuple(evidence)
    if low is None:
        return None, tuple(evidence)
    return ("somatic" if low else "germline"), tuple(evidence)


def _somatic_callers(header: VcfHeader) -> list[str]:
    definitions = ("##INFO", "##FORMAT", "##FILTER", "##ALT", "##contig")
    lines = [
        line for line in header.lines if line.startswith("##") and not line.startswith(definitions)
    ]
    return [
        name
        for name, pattern in _SOMATIC_CALLERS.items()
        if any(pattern.search(line) for line in lines)
    ]


def _fractions(called: Iterable[Called]) -> Iterator[float]:
    """Yield ALT's share of the reads where a sample carries it, from FORMAT/AD."""
    for each in called:
        fields = each.record.fields
        keys = fields[8].split(":") if len(fields) > 8 else []
        if "AD" not in keys or not each.is_snv or len(each.record.alts) != 1:
            continue
        place = keys.index("AD")
        for genotype, column in zip(each.genotypes, fields[9:], strict=False):
            values = column.split(":")
            if genotype is None or not genotype.carries(1) or len(values) <= place:
                continue
            depths = values[place].split(",")
            if len(depths) == 2 and all(depth.isdigit() for depth in depths):
                total = int(depths[0]) + int(depths[1])
                if total >= _LEAST_DEPTH:
                    yield int(depths[1]) / total
