from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genomics.variant import Genotype, Variant

_BASES = st.text("AC", min_size=8, max_size=30)


def _applied(sequence: str, variant: Variant) -> str:
    start = variant.position - 1
    assert sequence[start : start + len(variant.ref)] == variant.ref
    return sequence[:start] + variant.alt + sequence[start + len(variant.ref) :]


@st.composite
def _variants(draw: st.DrawFn) -> tuple[str, Variant]:
    """A repetitive sequence and an insertion, deletion or substitution in it."""
    sequence = draw(_BASES)
    start = draw(st.integers(1, len(sequence) - 1))
    length = draw(st.integers(1, min(5, len(sequence) - start)))
    ref = sequence[start : start + length]
    alt = draw(st.text("AC", min_size=1, max_size=6).filter(lambda bases: bases != ref))
    return sequence, Variant(None, "c", start + 1, ref, alt)


@given(_variants())
def test_normalising_keeps_the_patients_sequence(case: tuple[str, Variant]) -> None:
    sequence, variant = case
    expected = _applied(sequence, variant)
    assert _applied(sequence, variant.trimmed()) == expected
    aligned = variant.left_aligned(lambda first, last: sequence[first - 1 : last])
    assert _applied(sequence, aligned) == expected


@given(_variants())
def test_left_alignment_is_the_leftmost_shortest_writing(case: tuple[str, Variant]) -> None:
    sequence, variant = case

    def bases(first: int, last: int) -> str:
        return sequence[first - 1 : last]

    aligned = variant.left_aligned(bases)
    assert aligned.left_aligned(bases) == aligned
    # Tan et al. 2015: shortest, and neither allele ends alike unless at the sequence's start.
    assert aligned.position == 1 or aligned.ref[-1] != aligned.alt[-1]
    if min(len(aligned.ref), len(aligned.alt)) > 1:
        assert aligned.ref[0] != aligned.alt[0]


@given(_variants(), st.integers(0, 3), st.integers(0, 3))
def test_every_writing_of_a_change_aligns_to_the_same(
    case: tuple[str, Variant], before: int, after: int
) -> None:
    sequence, variant = case

    def bases(first: int, last: int) -> str:
        return sequence[first - 1 : last]

    before = min(before, variant.position - 1)
    end = variant.position - 1 + len(variant.ref)
    left, right = (
        sequence[variant.position - 1 - before : variant.position - 1],
        sequence[end : end + after],
    )
    wider = replace(
        variant,
        position=variant.position - before,
        ref=left + variant.ref + right,
        alt=left + variant.alt + right,
    )
    assert wider.left_aligned(bases) == variant.left_aligned(bases)


def test_a_deletion_in_a_repeat_moves_to_its_left_end() -> None:
    sequence = "GGCACACATT"
    last_repeat = Variant("GRCh38", "1", 6, "ACA", "A")
    aligned = last_repeat.left_aligned(lambda first, last: sequence[first - 1 : last])
    assert aligned == Variant("GRCh38", "1", 2, "GCA", "G")


def test_trimming_drops_the_shared_end_before_the_shared_beginning() -> None:
    assert Variant(None, "1", 10, "CTCC", "CCC").trimmed() == Variant(None, "1", 10, "CT", "C")
    assert Variant(None, "1", 10, "GAT", "GCT").trimmed() == Variant(None, "1", 11, "A", "C")


@pytest.mark.parametrize(
    ("alleles", "carried", "zygosity"),
    [
        ((0, 1), True, "heterozygous"),
        ((1, 1), True, "homozygous"),
        ((1,), True, "hemizygous"),
        ((0, 0), False, "not carried"),
        ((0, 2), False, "not carried"),
        ((None, None), None, None),
        ((0, None), None, None),
        ((None, 1), True, None),
        ((), None, None),
    ],
)
def test_a_missing_copy_is_never_reference(
    alleles: tuple[int | None, ...], carried: bool | None, zygosity: str | None
) -> None:
    genotype = Genotype(alleles)
    assert genotype.carries(1) is carried
    assert genotype.zygosity(1) == zygosity


def test_symbolic_alleles_are_not_sequence() -> None:
    assert Variant(None, "1", 1, "A", "GT").is_sequence
    assert not any(
        Variant(None, "1", 1, "A", alt).is_sequence for alt in ("<DEL>", "*", ".", "A[2:3[")
    )
