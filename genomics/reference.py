"""The reference genome: a FASTA read in windows, its names and its build settled once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import pyfaidx

from genomics.contigs import build_from_accession, build_from_lengths, canonical_name
from genomics.errors import BuildMismatchError, ReferenceGenomeError
from genomics.fasta_index import index_path
from genomics.vcf import VcfRecord
from genomics.vcf.header import VcfHeader

_BLOCK_BP = 2**17
_BLOCKS_KEPT = 8


@dataclass(frozen=True)
class Reference:
    """Sequences of one genome build.

    Sequences are found by any of their names: ``chr1``, ``1`` and ``NC_000001.11`` are one.

    Attributes
    ----------
    path : Path
    build : str or None
        From the chromosomes' lengths or accessions; None where neither tells.
    lengths : mapping
        Bases by sequence name, as the FASTA writes it.
    """

    path: Path
    build: str | None
    lengths: Mapping[str, int]
    _fasta: pyfaidx.Faidx
    _names: Mapping[str, str]
    _blocks: dict[tuple[str, int], str] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def open(cls, path: str | Path) -> Reference:
        """Open a FASTA, plain or bgzip.

        Its index is taken from beside it where there is one, else made in the user's cache, so
        that a read-only folder will do.

        Raises
        ------
        ReferenceGenomeError
            The file is missing or not a FASTA.
        """
        path = Path(path)
        if not path.is_file():
            raise ReferenceGenomeError(f"{path}: no such file; give the reference as a FASTA file")
        try:
            index = index_path(path)
            fasta = pyfaidx.Faidx(
                str(path),
                indexname=str(index),
                gzi_indexname=str(index.with_suffix(".gzi")),
                rebuild=path.suffix == ".gz",
                sequence_always_upper=True,
            )
        except (
            pyfaidx.FastaIndexingError,
            pyfaidx.IndexNotFoundError,
            ValueError,
            OSError,
        ) as error:
            raise ReferenceGenomeError(
                f"{path}: not a readable FASTA ({error}); compressed ones must be bgzip"
            ) from error
        lengths = {name: int(entry.rlen) for name, entry in fasta.index.items()}
        if not lengths:
            raise ReferenceGenomeError(f"{path}: holds no sequence; a FASTA record begins with '>'")
        named = {build for build in map(build_from_accession, lengths) if build}
        build = build_from_lengths(lengths) or (named.pop() if len(named) == 1 else None)
        names = {canonical_name(name): name for name in lengths} | {name: name for name in lengths}
        return cls(path, build, MappingProxyType(lengths), fasta, MappingProxyType(names))

    def name_of(self, contig: str) -> str | None:
        """Return the FASTA's name for a sequence; None where it has none."""
        return self._names.get(contig) or self._names.get(canonical_name(contig))

    def bases(self, contig: str, first: int, last: int) -> str:
        """Return upper-case bases, both ends 1-based and included; "" for an empty range.

        Raises
        ------
        ReferenceGenomeError
            The range leaves the sequence, or there is no such sequence.
        """
        name = self.name_of(contig)
        if name is None:
            raise ReferenceGenomeError(
                f"{self.path}: no sequence {contig!r}; it has {self._listed()}"
            )
        if last < first:
            return ""
        if first < 1 or last > self.lengths[name]:
            raise ReferenceGenomeError(
                f"{self.path}: {contig}:{first}-{last} leaves the sequence of "
                f"{self.lengths[name]} bases"
            )
        if first // _BLOCK_BP == last // _BLOCK_BP:
            # Changes come sorted: the next one is nearly always near the last.
            block = self._block(name, first // _BLOCK_BP)
            return block[first % _BLOCK_BP : last % _BLOCK_BP + 1]
        return str(self._fasta.fetch(name, first, last).seq)

    def _block(self, name: str, number: int) -> str:
        """Return bases ``number * _BLOCK_BP`` up to the next block, as if a base 0 were there."""
        held = self._blocks.get((name, number))
        if held is None:
            begin, end = number * _BLOCK_BP, (number + 1) * _BLOCK_BP - 1
            end = min(end, self.lengths[name])
            held = str(self._fasta.fetch(name, max(1, begin), end).seq)
            if number == 0:
                held = "N" + held
            if len(self._blocks) >= _BLOCKS_KEPT:
                self._blocks.pop(next(iter(self._blocks)))
            self._blocks[name, number] = held
        return held

    def check_header(self, header: VcfHeader, vcf: Path) -> None:
        """Check that a VCF can be on this reference.

        Raises
        ------
        BuildMismatchError
            The builds differ, or a sequence's declared length does.
        """
        if header.build and self.build and header.build != self.build:
            raise BuildMismatchError(
                f"{vcf} is on {header.build}, the reference {self.path} is {self.build}; "
                f"give a {header.build} reference"
            )
        for contig, length in header.contigs.items():
            name = self.name_of(contig)
            if name is not None and length and length != self.lengths[name]:
                raise BuildMismatchError(
                    f"{vcf} declares {contig} with {length} bases, in {self.path} it has "
                    f"{self.lengths[name]}; give the reference that the VCF was called on"
                )

    def agrees(self, record: VcfRecord) -> bool | None:
        """Whether a record's REF is what the sequence has; None where that cannot be told.

        N on either side matches anything.
        """
        if self.name_of(record.chrom) is None or record.position < 1:
            return None
        ref, found = record.ref.upper(), self._bases_of(record)
        return ref == found or (
            len(found) == len(ref)
            and all(
                written == base or written == "N" or base not in "ACGT"
                for written, base in zip(ref, found, strict=True)
            )
        )

    def contradiction(self, record: VcfRecord) -> str:
        """Return a record's REF and the sequence's bases in words."""
        found = self._bases_of(record)
        return (
            f"{record.chrom}:{record.position}: REF is {record.ref[:40].upper()}, the reference "
            f"{self.path.name} has {found[:40] or 'no such position'}"
        )

    def _bases_of(self, record: VcfRecord) -> str:
        length = self.lengths[str(self.name_of(record.chrom))]
        last = min(record.position + len(record.ref) - 1, length)
        return self.bases(record.chrom, record.position, last) if last >= record.position else ""

    def _listed(self) -> str:
        names = list(self.lengths)
        return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
