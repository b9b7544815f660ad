"""Consequences that a VCF already carries: VEP's ``CSQ`` and SnpEff's ``ANN``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from Bio.SeqUtils import seq1

from genomics.consequence import Consequence, by_severity, protein_window, with_others
from genomics.escape import SINGLE_EXON
from genomics.vcf import Allele, VcfRecord
from genomics.vcf.header import VcfHeader

_VEP_SEPARATOR = "Format: "
_SNPEFF_SEPARATOR = "annotations: "
_SNPEFF_SUBSTITUTION = re.compile(r"p\.([A-Z][a-z]{2})(\d+)([A-Z][a-z]{2})$")

Fields = Mapping[str, str]


@dataclass(frozen=True)
class Annotation:
    """The annotation of one VCF file.

    Attributes
    ----------
    tool : str
        "VEP" or "SnpEff".
    info_id : str
        The INFO key that holds it.
    names : tuple of str
        Its fields, in order.
    """

    tool: str
    info_id: str
    names: tuple[str, ...]

    def consequence(self, record: VcfRecord, allele: Allele) -> Consequence | None:
        """Return what the annotation says of an allele; None where it says nothing of it."""
        read = _read_vep if self.tool == "VEP" else _read_snpeff
        entries = list(self._entries(record))
        mine = [fields for fields in entries if self._speaks_of(fields, record, allele)]
        if (
            not mine
            and len(record.alts) == 1
            and len({fields["Allele"] for fields in entries}) == 1
        ):
            # One ALT and one annotated allele are the same, however the annotator trimmed it.
            mine = entries
        return with_others(_each(mine, read))

    def _entries(self, record: VcfRecord) -> Iterator[Fields]:
        for entry in (record.info(self.info_id) or "").split(","):
            values = entry.split("|")
            if len(values) >= len(self.names) // 2:
                yield dict.fromkeys(self.names, "") | dict(zip(self.names, values, strict=False))

    def _speaks_of(self, fields: Fields, record: VcfRecord, allele: Allele) -> bool:
        if fields.get("ALLELE_NUM"):
            return fields["ALLELE_NUM"] == str(allele.index)
        alt = record.alts[allele.index - 1] if allele.index else ""
        written = alt if self.tool == "SnpEff" else vep_allele(record.ref, record.alts, alt)
        return fields["Allele"] == written


def find_annotation(header: VcfHeader) -> Annotation | None:
    """Return the annotation that the header describes, VEP's before SnpEff's; None without one."""
    for tool, info_id, separator in (
        ("VEP", "CSQ", _VEP_SEPARATOR),
        ("VEP", "vep", _VEP_SEPARATOR),
        ("SnpEff", "ANN", _SNPEFF_SEPARATOR),
    ):
        names = header.annotation_fields(info_id, separator)
        if names and "Allele" in names:
            return Annotation(tool, info_id, tuple(names))
    return None


def vep_allele(ref: str, alts: tuple[str, ...], alt: str) -> str:
    """Return the name that VEP gives to an ALT: without the base that all alleles begin with.

    VEP strips that base where the record holds an insertion or deletion, and writes ``-`` for an
    allele of which nothing is left.
    """
    lengths = {len(ref), *(len(each) for each in alts)}
    shared = all(each[:1] == ref[:1] for each in alts if each != "*")
    if len(lengths) == 1 or not shared:
        return alt
    return alt[1:] or "-"


def _each(
    entries: list[Fields], read: Callable[[Fields], Consequence | None]
) -> Iterator[Consequence]:
    for fields in entries:
        consequence = read(fields)
        if consequence is not None:
            yield consequence


def _read_vep(fields: Fields) -> Consequence | None:
    if not fields["Consequence"]:
        return None
    terms = by_severity(fields["Consequence"].split("&"))
    wild_type, _, mutant = fields.get("Amino_acids", "").partition("/")
    position = _first_number(fields.get("Protein_position", ""))
    protein = fields.get("WildtypeProtein", "")
    window, note = None, None
    if "missense_variant" in terms:
        window, note = _window(protein, position, wild_type, mutant)
    return Consequence(
        terms=terms,
        source="VEP",
        gene=fields.get("SYMBOL") or fields.get("Gene") or None,
        transcript=fields.get("Feature") or None,
        biotype=fields.get("BIOTYPE") or None,
        preference=_vep_preference(fields),
        hgvs_c=_without_reference(fields.get("HGVSc", "")),
        hgvs_p=_without_reference(fields.get("HGVSp", "")),
        protein_position=position,
        wild_type=wild_type or None,
        mutant=(mutant or wild_type) or None,
        window=window,
        note=note,
        exceptions=_vep_exceptions(terms, fields.get("EXON", "")),
    )


def _vep_exceptions(terms: tuple[str, ...], exon: str) -> tuple[str, ...]:
    """Return what VEP's exon number ("12/12") says against a loss of function.

    More is known where the genes are given; see :mod:`genomics.escape`.
    """
    number, _, of = exon.partition("/")
    if number != of or not number or not {"stop_gained", "frameshift_variant"} & set(terms):
        return ()
    if of == "1":
        return (SINGLE_EXON,)
    return (f"the change is in the last exon ({exon}): nonsense-mediated decay is likely escaped",)


def _vep_preference(fields: Fields) -> int:
    if fields.get("MANE_SELECT") or "MANE_Select" in fields.get("MANE", ""):
        return 0
    if fields.get("CANONICAL") == "YES":
        return 1
    return 2 if fields.get("PICK") == "1" else 3


def _read_snpeff(fields: Fields) -> Consequence | None:
    if not fields["Annotation"] or fields.get("Feature_Type") not in {"transcript", "", None}:
        return None
    terms = by_severity(fields["Annotation"].split("&"))
    hgvs_p = fields.get("HGVS.p") or None
    position, wild_type, mutant = None, None, None
    substitution = _SNPEFF_SUBSTITUTION.match(hgvs_p or "")
    if substitution:
        wild_type, mutant = seq1(substitution[1]), seq1(substitution[3])
        position = int(substitution[2])
    return Consequence(
        terms=terms,
        source="SnpEff",
        gene=fields.get("Gene_Name") or None,
        transcript=fields.get("Feature_ID") or None,
        biotype=fields.get("Transcript_BioType") or None,
        hgvs_c=fields.get("HGVS.c") or None,
        hgvs_p=hgvs_p,
        protein_position=position or _first_number(_snpeff_protein_position(fields)),
        wild_type=wild_type,
        mutant=mutant,
        note=NO_PROTEIN if "missense_variant" in terms else None,
    )


NO_PROTEIN = "the annotation has no protein sequence; score with --reference and --genes"


def _snpeff_protein_position(fields: Fields) -> str:
    return next((value for name, value in fields.items() if name.startswith("AA.pos")), "")


def _window(
    protein: str, position: int | None, wild_type: str, mutant: str
) -> tuple[str | None, str | None]:
    """Return the window around a substitution, or why there is none."""
    if len(wild_type) != 1 or len(mutant) != 1:
        return None, "changes several residues; the model reads single substitutions"
    if not protein or position is None:
        return None, NO_PROTEIN
    found = protein[position - 1 : position]
    if found != wild_type:
        return None, (
            f"protein mismatch: residue {position} of the annotation's protein is "
            f"{found or 'beyond its end'}, its own change says {wild_type}"
        )
    return protein_window(protein, position), None


def _first_number(text: str) -> int | None:
    match = re.search(r"\d+", text.split("/")[0])
    return int(match[0]) if match else None


def _without_reference(hgvs: str) -> str | None:
    return unquote(hgvs).rpartition(":")[2] or None
