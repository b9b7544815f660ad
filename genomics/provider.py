"""Where consequences come from for one VCF: its own annotation, a FASTA with a GFF3, or both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from genomics.annotation import Annotation, find_annotation
from genomics.caller import GeneCaller
from genomics.consequence import Consequence
from genomics.errors import GenesError, InputError
from genomics.genes import Genes
from genomics.reference import Reference
from genomics.vcf import Allele, VcfFile, VcfRecord

REF_CONTRADICTS = "REF contradicts the reference"
NOT_IN_REFERENCE = "the sequence is not in the reference"


@dataclass(frozen=True)
class ConsequenceProvider:
    """Places alleles in genes.

    Where FASTA and GFF3 are given they speak first; the annotation answers for sequences on which
    the GFF3 has no gene.

    Attributes
    ----------
    build : str or None
        The genome build of the VCF, where it or the reference tells.
    annotation : Annotation or None
    reference : Reference or None
    caller : GeneCaller or None
    """

    build: str | None
    annotation: Annotation | None
    reference: Reference | None = None
    caller: GeneCaller | None = None

    @property
    def description(self) -> str:
        """What the consequences rest on."""
        parts = ["FASTA and GFF3"] if self.caller else []
        if self.annotation:
            parts.append(f"{self.annotation.tool} annotation ({self.annotation.info_id})")
        return ", then ".join(parts)

    def is_foreign(self, sequence: str) -> bool:
        """Whether the reference, where there is one, lacks a sequence."""
        return self.reference is not None and self.reference.name_of(sequence) is None

    def place(self, record: VcfRecord, allele: Allele) -> tuple[Consequence | None, str | None]:
        """Return the consequence of an allele, and why it cannot be scored where it cannot."""
        if self.reference is not None and self.reference.agrees(record) is False:
            return None, f"{REF_CONTRADICTS}: {self.reference.contradiction(record)}"
        annotated = None
        if self.annotation is not None and allele.index:
            annotated = self.annotation.consequence(record, allele)
        if allele.unscorable is not None or self.caller is None or self.reference is None:
            return annotated, allele.unscorable
        if self.reference.name_of(record.chrom) is None:
            return annotated, None if annotated else f"{NOT_IN_REFERENCE}: {record.chrom}"
        if not self.caller.has(record.chrom):
            reason = f"the GFF3 has no gene on the sequence: {record.chrom}"
            return annotated, None if annotated else reason
        if record.position < 1:
            return None, "telomere: the position is before the first base"
        return self.caller.consequence(allele.variant), None


def open_provider(
    vcf: VcfFile, reference: str | Path | None, genes: str | Path | None
) -> ConsequenceProvider:
    """Open what places this VCF's alleles in genes.

    Raises
    ------
    InputError
        There is neither an annotation nor a FASTA with a GFF3, or one of the two is missing.
    ReferenceGenomeError, GenesError
        The files cannot be used, or are on another build than the VCF.
    """
    annotation = find_annotation(vcf.header)
    if reference is None and genes is None:
        if annotation is None:
            raise InputError(
                f"{vcf.path}: has no VEP (CSQ) or SnpEff (ANN) annotation; give --reference FASTA "
                "and --genes GFF3"
            )
        return ConsequenceProvider(vcf.header.build, annotation)
    if reference is None or genes is None:
        missing = "--reference FASTA" if reference is None else "--genes GFF3"
        raise GenesError(f"{missing} is missing; consequences need both reference and genes")
    opened = Reference.open(reference)
    opened.check_header(vcf.header, vcf.path)
    caller = GeneCaller(opened, Genes.read(genes))
    return ConsequenceProvider(vcf.header.build or opened.build, annotation, opened, caller)
