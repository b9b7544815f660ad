"""GFF3 -> transcripts, in the styles of RefSeq, Ensembl and GENCODE."""

from __future__ import annotations

import gzip
import re
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

from genomics.contigs import MITOCHONDRION, canonical_name
from genomics.errors import GenesError

STANDARD_CODE, MITOCHONDRIAL_CODE = 1, 2
Span = tuple[int, int]

_GENE_TYPES = frozenset({"gene", "pseudogene", "ncRNA_gene"})
_RECODED = re.compile(r"pos:(?:complement\()?(?:join\()?(\d+)\.\.(\d+)[^)]*?aa:Sec")


@dataclass(frozen=True)
class Transcript:
    """One transcript; positions are 1-based with both ends included, on the sequence's + strand.

    Attributes
    ----------
    name, gene : str
    contig : str
        As the GFF3 writes it.
    strand : int
        1 or -1.
    biotype : str
    preference : int
        0 MANE Select, 1 canonical (Ensembl canonical, RefSeq Select), 3 any other.
    exons, coding : tuple of (first, last)
        Ascending. ``coding`` is empty for a non-coding transcript.
    frame : int
        Bases to skip at the coding sequence's 5' end before its first whole codon.
    code : int
        NCBI's number of the genetic code.
    recoded : frozenset of int
        First positions (lowest on the + strand) of TGA codons read as selenocysteine.
    start_known : bool
        False where the coding sequence is cut off at its 5' end.
    """

    name: str
    gene: str
    contig: str
    strand: int
    biotype: str
    preference: int
    exons: tuple[Span, ...]
    coding: tuple[Span, ...] = ()
    frame: int = 0
    code: int = STANDARD_CODE
    recoded: frozenset[int] = frozenset()
    start_known: bool = True

    @cached_property
    def span(self) -> Span:
        """First and last position."""
        return self.exons[0][0], self.exons[-1][1]

    @cached_property
    def introns(self) -> list[Span]:
        """Ascending spans between the exons."""
        return [
            (left[1] + 1, right[0] - 1)
            for left, right in zip(self.exons, self.exons[1:], strict=False)
            if right[0] - left[1] > 1
        ]

    def introns_near(self, first: int, last: int) -> list[Span]:
        """Return the introns that share a base with ``first..last``."""
        begin = bisect_left(self.introns, first, key=lambda span: span[1])
        end = bisect_right(self.introns, last, key=lambda span: span[0])
        return self.introns[begin:end]

    @cached_property
    def coding_span(self) -> Span:
        """First and last coding position; (0, -1) for a non-coding transcript."""
        return (self.coding[0][0], self.coding[-1][1]) if self.coding else (0, -1)

    @cached_property
    def coding_in_exons(self) -> tuple[int, int]:
        """0-based places of the first and last coding base in the spliced transcript."""
        low, high = self.coding_span
        start, stop = (low, high) if self.strand > 0 else (high, low)
        return self.exon_offset(start) or 0, self.exon_offset(stop) or 0

    def coding_offset(self, position: int) -> int | None:
        """Return the 0-based place of a position in the coding sequence; None outside it."""
        return _offset(self.coding, self.strand, position)

    def exon_offset(self, position: int) -> int | None:
        """Return the 0-based place of a position in the spliced transcript; None in an intron."""
        return _offset(self.exons, self.strand, position)


def _offset(spans: Sequence[Span], strand: int, position: int) -> int | None:
    passed = 0
    for first, last in spans if strand > 0 else reversed(spans):
        if first <= position <= last:
            return passed + (position - first if strand > 0 else last - position)
        passed += last - first + 1
    return None


@dataclass(frozen=True)
class Genes:
    """Transcripts of a GFF3, found by position.

    Attributes
    ----------
    path : Path
    by_contig : mapping
        Transcripts by sequence name, ascending by their first position.
    """

    path: Path
    by_contig: Mapping[str, Sequence[Transcript]]
    _index: dict[str, tuple[list[int], list[int]]] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, path: str | Path) -> Genes:
        """Read a GFF3, plain or gzipped.

        Raises
        ------
        GenesError
            The file is missing, not GFF3, or holds no transcript.
        """
        path = Path(path)
        if not path.is_file():
            raise GenesError(f"{path}: no such file; give the genes as a GFF3 file")
        features = _Features()
        try:
            for number, line in _lines(path):
                features.add(path, number, line)
        except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError, OSError) as error:
            raise GenesError(f"{path}: cannot be read as text ({error}); copy it anew") from error
        by_contig: dict[str, list[Transcript]] = {}
        for transcript in features.transcripts():
            by_contig.setdefault(transcript.contig, []).append(transcript)
        if not by_contig:
            raise GenesError(f"{path}: holds no transcript with exons; give a GFF3 of genes")
        for transcripts in by_contig.values():
            transcripts.sort(key=lambda each: each.span)
        return cls(path, by_contig)

    def overlapping(self, contig: str, first: int, last: int) -> list[Transcript]:
        """Return the transcripts that share a base with ``first..last``."""
        transcripts = self.by_contig.get(contig, ())
        if contig not in self._index:
            starts = [each.span[0] for each in transcripts]
            # Running maximum of the ends: no transcript before a place reaches beyond it.
            reach, furthest = [], 0
            for each in transcripts:
                furthest = max(furthest, each.span[1])
                reach.append(furthest)
            self._index[contig] = (starts, reach)
        starts, reach = self._index[contig]
        found = []
        for place in range(bisect_right(starts, last) - 1, -1, -1):
            if reach[place] < first:
                break
            if transcripts[place].span[1] >= first:
                found.append(transcripts[place])
        return found[::-1]


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    with path.open("rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
    with gzip.open(path, "rb") if zipped else path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if line.startswith(b"##FASTA"):
                return
            yield number, line.decode("utf-8").rstrip("\r\n")


@dataclass
class _Part:
    """What is collected for one transcript."""

    contig: str
    strand: int
    exons: list[Span] = field(default_factory=list)
    coding: list[tuple[int, int, int]] = field(default_factory=list)
    coding_attributes: Mapping[str, str] = field(default_factory=dict)
    cut_off: bool = False


class _Features:
    """Gathers a GFF3's lines into transcripts."""

    def __init__(self) -> None:
        self._attributes: dict[str, Mapping[str, str]] = {}
        self._types: dict[str, str] = {}
        self._parts: dict[str, _Part] = {}

    def add(self, path: Path, number: int, line: str) -> None:
        if not line or line.startswith("#"):
            return
        columns = line.split("\t")
        if len(columns) != 9:
            raise GenesError(
                f"{path}, line {number}: expected 9 columns, found {len(columns)}; give a GFF3 file"
            )
        contig, _, kind, first, last, _, strand, phase, text = columns
        if not (first.isdigit() and last.isdigit()):
            raise GenesError(
                f"{path}, line {number}: start and end must be whole numbers; "
                f"found {first!r}, {last!r}"
            )
        attributes = _parse_attributes(text)
        if "ID" not in attributes and "Parent" not in attributes and ' "' in text:
            raise GenesError(f"{path}, line {number}: this is GTF; convert it to GFF3 (AGAT)")
        identifier = attributes.get("ID")
        if kind not in {"exon", "CDS"}:
            if identifier:
                self._attributes[identifier], self._types[identifier] = attributes, kind
            return
        for parent in filter(None, attributes.get("Parent", "").split(",")):
            part = self._parts.setdefault(parent, _Part(contig, -1 if strand == "-" else 1))
            if kind == "exon":
                part.exons.append((int(first), int(last)))
            else:
                part.coding.append((int(first), int(last), int(phase) if phase.isdigit() else 0))
                part.coding_attributes = attributes
                part.cut_off |= ("end_range" if strand == "-" else "start_range") in attributes

    def transcripts(self) -> Iterator[Transcript]:
        described = {self._attributes.get(each, {}).get("Parent") for each in self._parts}
        for identifier, part in self._parts.items():
            # RefSeqGene repeats the exons of a gene under the gene itself, beside its transcripts.
            is_gene = self._types.get(identifier) in _GENE_TYPES
            if not (is_gene and identifier in described and not part.coding):
                yield self._transcript(identifier, part)

    def _transcript(self, identifier: str, part: _Part) -> Transcript:
        own = self._attributes.get(identifier, {})
        # RefSeq hangs mitochondrial coding sequences on the gene itself.
        is_gene = self._types.get(identifier) in _GENE_TYPES
        parent = own if is_gene else self._attributes.get(own.get("Parent", ""), {})
        coding = sorted(part.coding)
        spans = tuple((first, last) for first, last, _ in coding)
        exons = tuple(sorted(set(part.exons))) or spans
        mitochondrial = canonical_name(part.contig) == MITOCHONDRION
        code = part.coding_attributes.get("transl_table")
        recoded = _RECODED.findall(part.coding_attributes.get("transl_except", ""))
        return Transcript(
            name=_first(own, "transcript_id", "Name") or identifier.removeprefix("transcript:"),
            gene=_first(parent, "gene_name", "Name", "gene")
            or _first(own, "gene_name", "gene")
            or identifier,
            contig=part.contig,
            strand=part.strand,
            biotype=_biotype(own, parent, bool(coding)),
            preference=_preference(own),
            exons=exons,
            coding=spans,
            frame=coding[0 if part.strand > 0 else -1][2] if coding else 0,
            code=int(code or (MITOCHONDRIAL_CODE if mitochondrial else STANDARD_CODE)),
            recoded=frozenset(int(first) for first, _ in recoded),
            start_known=not (part.cut_off or "_start_NF" in own.get("tag", "")),
        )


def _parse_attributes(text: str) -> dict[str, str]:
    pairs = (entry.partition("=") for entry in text.split(";"))
    return {key.strip(): unquote(value) for key, _, value in pairs if value}


def _first(attributes: Mapping[str, str], *names: str) -> str | None:
    return next((attributes[name] for name in names if attributes.get(name)), None)


def _biotype(own: Mapping[str, str], gene: Mapping[str, str], coding: bool) -> str:
    stated = _first(own, "transcript_type", "biotype", "transcript_biotype")
    if stated:
        return stated
    return "protein_coding" if coding else (_first(gene, "gene_biotype") or "non_coding")


def _preference(attributes: Mapping[str, str]) -> int:
    tags = {tag.strip().replace(" ", "_") for tag in attributes.get("tag", "").split(",")}
    if "MANE_Select" in tags:
        return 0
    return 1 if tags & {"Ensembl_canonical", "RefSeq_Select", "MANE_Plus_Clinical"} else 3
