"""The one writing of an allele by which databases know it, beside the user's own."""

from __future__ import annotations

from genomics.reference import Reference
from genomics.variant import Bases, Variant

_WINDOW_BP = 200


def normalised(variant: Variant, reference: Reference | None) -> Variant | None:
    """Return an allele trimmed and, where a reference is at hand, left-aligned.

    Parameters
    ----------
    variant : Variant
        One allele of a record: multi-allelic records are split before.
    reference : Reference or None
        Without it, an insertion or deletion in a repeat stays where its record puts it.

    Returns
    -------
    Variant or None
        None for an allele that is not written out as bases, for one that equals REF, and for an
        insertion or deletion whose REF is not what the reference has there.
    """
    if not variant.is_sequence or variant.ref == variant.alt:
        return None
    if len(variant.ref) == len(variant.alt) == 1:
        return variant
    trimmed = variant.trimmed()
    if reference is None or len(trimmed.ref) == len(trimmed.alt):
        return trimmed
    name = reference.name_of(variant.chrom)
    if name is None:
        return trimmed
    if not 1 <= variant.position <= reference.lengths[name] - len(variant.ref) + 1:
        return None
    bases = _windowed(reference, variant.chrom)
    found = bases(variant.position, variant.position + len(variant.ref) - 1)
    if any(a != b and "N" not in {a, b} for a, b in zip(variant.ref, found, strict=True)):
        return None
    return trimmed.left_aligned(bases)


def _windowed(reference: Reference, chrom: str) -> Bases:
    """Return the reference's bases, read a window at a time: left-aligning asks base by base."""
    window, start = "", 1

    def bases(first: int, last: int) -> str:
        nonlocal window, start
        if not start <= first <= last < start + len(window):
            start = max(1, last - _WINDOW_BP + 1)
            window = reference.bases(chrom, start, last)
        return window[first - start : last - start + 1]

    return bases
