"""``bcftools csq`` and ``norm`` through pysam, always in a child process.

csq can take the interpreter down with it, and keeps state from one call to the next.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from genomics.variant import Variant

# csq's own short names; the rest are Sequence Ontology terms already.
_NAMES = {
    "splice_acceptor": "splice_acceptor_variant",
    "splice_donor": "splice_donor_variant",
    "splice_region": "splice_region_variant",
    "missense": "missense_variant",
    "synonymous": "synonymous_variant",
    "frameshift": "frameshift_variant",
    "stop_retained": "stop_retained_variant",
    "start_retained": "start_retained_variant",
    "inframe_altering": "protein_altering_variant",
    "coding_sequence": "coding_sequence_variant",
    "intron": "intron_variant",
    "5_prime_utr": "5_prime_UTR_variant",
    "3_prime_utr": "3_prime_UTR_variant",
    "non_coding": "non_coding_transcript_exon_variant",
}
_CALL = (
    "import pysam.bcftools as b, sys; getattr(b, sys.argv[1])(*sys.argv[2:], catch_stdout=False)"
)


@dataclass(frozen=True)
class Said:
    """What csq says of one allele on one transcript: its terms, residues ("12V>12L") and bases."""

    terms: frozenset[str]
    residues: str
    bases: str


Answers = Mapping[tuple[str, int, str, str], Mapping[str, Said]]


def write_vcf(path: Path, lengths: Mapping[str, int], variants: Sequence[Variant]) -> None:
    """Write sorted records whose IDs are the places in ``variants``."""
    contigs = "".join(f"##contig=<ID={name},length={n}>\n" for name, n in lengths.items())
    place = {name: number for number, name in enumerate(lengths)}
    ordered = sorted(enumerate(variants), key=lambda each: (place[each[1].chrom], each[1].position))
    rows = "".join(f"{v.chrom}\t{v.position}\t{n}\t{v.ref}\t{v.alt}\t.\t.\t.\n" for n, v in ordered)
    columns = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    path.write_text(f"##fileformat=VCFv4.2\n{contigs}{columns}{rows}")


def run(folder: Path, command: str, *arguments: str) -> float:
    """Run a bcftools command in a folder and return its processor seconds.

    Python's own start is in them: a tenth of a second or two.
    """
    before = os.times()
    subprocess.run(
        [sys.executable, "-c", _CALL, command, *arguments],
        cwd=folder,
        check=True,
        timeout=1800,
        stderr=subprocess.PIPE,
    )
    after = os.times()
    used = after.children_user - before.children_user
    return used + after.children_system - before.children_system


def normalised(folder: Path) -> dict[int, tuple[int, str, str]]:
    """Run norm on ``in.vcf`` and return position, REF and ALT by ID."""
    run(folder, "norm", "-f", "ref.fa", "-O", "v", "-o", "norm.vcf", "in.vcf")
    found = {}
    with (folder / "norm.vcf").open() as stream:
        for line in stream:
            if not line.startswith("#"):
                fields = line.split("\t")
                found[int(fields[2])] = (int(fields[1]), fields[3], fields[4])
    return found


def consequences(folder: Path, code: int) -> tuple[Answers, float]:
    """Run csq on ``in.vcf``, ``ref.fa`` and ``genes.gff3`` of a folder, each record alone.

    Parameters
    ----------
    code : int
        NCBI's number of the genetic code; 1 is csq's ``-C 0``.
    """
    seconds = run(
        folder, "csq", "-f", "ref.fa", "-g", "genes.gff3", "-l", "-n", "60",
        "-C", str(code if code > 1 else 0), "-O", "v", "-o", "out.vcf", "in.vcf",
    )  # fmt: skip
    return dict(_answers(folder / "out.vcf")), seconds


def _answers(path: Path) -> Iterator[tuple[tuple[str, int, str, str], Mapping[str, Said]]]:
    with path.open() as stream:
        for line in stream:
            if line.startswith("#"):
                continue
            fields = line.rstrip("\n").split("\t")
            key = (fields[0], int(fields[1]), fields[3], fields[4])
            _, _, said = fields[7].partition("BCSQ=")
            yield key, _by_transcript(said)


def _by_transcript(said: str) -> dict[str, Said]:
    found: dict[str, Said] = {}
    for entry in filter(None, said.split(",")):
        # Of introns and non-coding exons csq names the gene only; each transcript has its own.
        terms, gene, *words = [*entry.split("|"), "", "", "", ""]
        read = frozenset(_NAMES.get(term, term) for term in terms.lstrip("*").split("&"))
        before = found.get(gene, Said(frozenset(), "", ""))
        found[gene] = Said(
            before.terms | read, before.residues or words[3], before.bases or words[4]
        )
    return found
