"""Chromosome names and genome builds: one place where they are settled."""

from __future__ import annotations

import re
from collections.abc import Mapping

# Lengths in bases, chromosomes 1 to 22, X, Y, as the assemblies were published.
_CHROMOSOMES = [*map(str, range(1, 23)), "X", "Y"]
_LENGTHS = {
    "GRCh37": "249250621 243199373 198022430 191154276 180915260 171115067 159138663 146364022 "
    "141213431 135534747 135006516 133851895 115169878 107349540 102531392 90354753 81195210 "
    "78077248 59128983 63025520 48129895 51304566 155270560 59373566",
    "GRCh38": "248956422 242193529 198295559 190214555 181538259 170805979 159345973 145138636 "
    "138394717 133797422 135086622 133275309 114364328 107043718 101991189 90338345 83257441 "
    "80373285 58617616 64444167 46709983 50818468 156040895 57227415",
    "T2T-CHM13": "248387328 242696752 201105948 193574945 182045439 172126628 160567428 146259331 "
    "150617247 134758134 135127769 133324548 113566686 101161492 99753195 96330374 84276897 "
    "80542538 61707364 66210255 45090682 51324926 154259566 62460029",
}
BUILD_LENGTHS: Mapping[str, Mapping[str, int]] = {
    build: dict(zip(_CHROMOSOMES, map(int, lengths.split()), strict=True))
    for build, lengths in _LENGTHS.items()
}

# Version of the RefSeq accession of each GRCh37 chromosome; GRCh38's is one higher throughout.
_GRCH37_VERSIONS = dict(
    zip(
        _CHROMOSOMES,
        # Chromosomes 1 to 12, then 13 to 22, X and Y.
        [10, 11, 11, 11, 9, 11, 13, 10, 11, 10, 9, 11, 10, 8, 9, 9, 10, 9, 9, 10, 8, 10, 10, 9],
        strict=True,
    )
)
_T2T_FIRST_ACCESSION = 60925
MITOCHONDRION = "MT"

_ACCESSION = re.compile(r"NC_0*(\d+)\.(\d+)$")
_BUILD_NAMES = (
    ("GRCh38", re.compile(r"GRCh38|hg38|hs38|(?<![a-z])b38", re.IGNORECASE)),
    ("GRCh37", re.compile(r"GRCh37|hg19|hs37|human_g1k_v37|(?<![a-z])b37", re.IGNORECASE)),
    ("T2T-CHM13", re.compile(r"CHM13|T2T|(?<![a-z])hs1(?![a-z0-9])", re.IGNORECASE)),
)


def canonical_name(contig: str) -> str:
    """Return one name for a sequence however it is written.

    ``chr1``, ``1`` and ``NC_000001.11`` give ``1``; ``chrM``, ``M``, ``MT`` and ``NC_012920.1``
    give ``MT``. Any other name is returned as it is.
    """
    accession = _ACCESSION.match(contig)
    if accession:
        return _chromosome_of_accession(int(accession[1])) or contig
    bare = contig[3:] if contig[:3].lower() == "chr" else contig
    if bare.upper() in {"M", "MT"}:
        return MITOCHONDRION
    return bare.upper() if bare.upper() in _CHROMOSOMES else contig


def _chromosome_of_accession(number: int) -> str | None:
    if number == 12920:
        return MITOCHONDRION
    if 1 <= number <= len(_CHROMOSOMES):
        return _CHROMOSOMES[number - 1]
    if 0 <= number - _T2T_FIRST_ACCESSION < len(_CHROMOSOMES):
        return _CHROMOSOMES[number - _T2T_FIRST_ACCESSION]
    return None


def build_from_lengths(lengths: Mapping[str, int]) -> str | None:
    """Return the build whose chromosomes have these lengths; None where none or several do.

    Parameters
    ----------
    lengths : mapping
        Length in bases by sequence name, in any naming.
    """
    votes = {
        build
        for name, length in lengths.items()
        for build, known in BUILD_LENGTHS.items()
        if known.get(canonical_name(name)) == length
    }
    return votes.pop() if len(votes) == 1 else None


def build_from_accession(contig: str) -> str | None:
    """Return the build that a versioned RefSeq chromosome accession belongs to, or None."""
    accession = _ACCESSION.match(contig)
    if not accession:
        return None
    number, version = int(accession[1]), int(accession[2])
    if 0 <= number - _T2T_FIRST_ACCESSION < len(_CHROMOSOMES):
        return "T2T-CHM13"
    if not 1 <= number <= len(_CHROMOSOMES):
        return None
    offset = version - _GRCH37_VERSIONS[_CHROMOSOMES[number - 1]]
    return {0: "GRCh37", 1: "GRCh38"}.get(offset)


def build_from_text(text: str) -> str | None:
    """Return the build that a header line or file name speaks of; None where none or several."""
    named = [build for build, pattern in _BUILD_NAMES if pattern.search(text)]
    return named[0] if len(named) == 1 else None


def naming_style(contig: str) -> str | None:
    """Return how a chromosome's name is written: "chr1", "1" or "NC_000001.11"; None for others.

    The mitochondrion and unplaced sequences are None: every style writes them in several ways.
    """
    if canonical_name(contig) not in _CHROMOSOMES:
        return None
    if _ACCESSION.match(contig):
        return "NC_000001.11"
    return "chr1" if contig[:3].lower() == "chr" else "1"
