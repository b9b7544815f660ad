"""Where consequences come from for one VCF: its own annotation, a FASTA with a GFF3, or both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from genomics.annotation import Annotation, find_annotation
from genomics.consequence import Consequence
from genomics.errors import InputError
from genomics.vcf import Allele, VcfFile, VcfRecord


@dataclass(frozen=True)
class ConsequenceProvider:
    """Places alleles in genes.

    Attributes
    ----------
    build : str or None
        The genome build of the VCF, where it or the reference tells.
    annotation : Annotation or None
    """

    build: str | None
    annotation: Annotation | None

    @property
    def description(self) -> str:
        """What the consequences rest on."""
        return f"{self.annotation.tool} annotation" if self.annotation else ""

    def place(self, record: VcfRecord, allele: Allele) -> tuple[Consequence | None, str | None]:
        """Return the consequence of an allele, and why it cannot be scored if it cannot."""
        if allele.unscorable is not None and allele.index == 0:
            return None, allele.unscorable
        found = self.annotation.consequence(record, allele) if self.annotation else None
        return found, allele.unscorable


def open_provider(
    vcf: VcfFile, reference: str | Path | None, genes: str | Path | None
) -> ConsequenceProvider:
    """Open what places this VCF's alleles in genes."""
    annotation = find_annotation(vcf.header)
    if annotation is None:
        raise InputError("x")
    return ConsequenceProvider(vcf.header.build, annotation)
