"""However a change is written it gets one answer, and its names give the change back."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from genomics_toys import MINUS, PLUS, reverse_complement, write_toy_genome
from hypothesis import given, settings
from hypothesis import strategies as st

from genomics.caller import GeneCaller
from genomics.genes import Genes, Transcript
from genomics.places import Places
from genomics.reference import Reference
from genomics.regions import terms_at
from genomics.transcript_model import TranscriptModel
from genomics.variant import Variant

_TEXT = {"toy_plus": PLUS, "toy_minus": MINUS}
_PLACE = r"([-*]?)(\d+)([+-]\d+)?"
_NAME = re.compile(
    rf"c\.{_PLACE}(?:_{_PLACE})?(?:([ACGT])>([ACGT])|(delins|ins|del|dup|inv)([ACGT]*))$"
)


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> GeneCaller:
    files = write_toy_genome(tmp_path_factory.mktemp("toy"))
    return GeneCaller(Reference.open(files.fasta), Genes.read(files.gff3))


@st.composite
def _changes(draw: st.DrawFn) -> Variant:
    """Any small change in or around the gene, often in its repeats."""
    contig = draw(st.sampled_from(sorted(_TEXT)))
    text = _TEXT[contig]
    position = draw(st.integers(12, 84))
    ref = text[position - 1 : position - 1 + draw(st.integers(1, 6))]
    near = st.integers(0, 6).map(lambda n: ref + text[position + len(ref) - 1 :][:n])
    alt = draw(st.one_of(near, st.text("ACGT", min_size=1, max_size=7)).filter(lambda a: a != ref))
    return Variant(None, contig, position, ref, alt)


def _padded(variant: Variant, before: int, after: int) -> Variant:
    text, end = _TEXT[variant.chrom], variant.position - 1 + len(variant.ref)
    left = text[variant.position - 1 - before : variant.position - 1]
    right = text[end : end + after]
    return replace(
        variant,
        position=variant.position - before,
        ref=left + variant.ref + right,
        alt=left + variant.alt + right,
    )


def _shifted(variant: Variant) -> list[Variant]:
    """Every writing of an insertion or deletion that gives the same sequence."""
    text = _TEXT[variant.chrom]
    result = _applied(variant)
    long = max(len(variant.ref), len(variant.alt))
    found = []
    for position in range(
        max(1, variant.position - 12), min(len(text) - long, variant.position + 12)
    ):
        ref = text[position - 1 : position - 1 + len(variant.ref)]
        alt = result[position - 1 : position - 1 + len(variant.alt)]
        other = replace(variant, position=position, ref=ref, alt=alt)
        if ref and alt and _applied(other) == result:
            found.append(other)
    return found


def _applied(variant: Variant) -> str:
    text = _TEXT[variant.chrom]
    return (
        text[: variant.position - 1] + variant.alt + text[variant.position - 1 + len(variant.ref) :]
    )


@given(_changes(), st.integers(0, 9), st.integers(0, 9))
@settings(max_examples=150, deadline=None)
def test_padding_changes_nothing(
    caller: GeneCaller, variant: Variant, before: int, after: int
) -> None:
    assert caller.consequence(_padded(variant, before, after)) == caller.consequence(variant)


@given(_changes())
@settings(max_examples=150, deadline=None)
def test_every_equivalent_writing_gets_one_answer(caller: GeneCaller, variant: Variant) -> None:
    writings = _shifted(variant)
    assert variant in writings
    expected = caller.consequence(variant)
    assert all(caller.consequence(each) == expected for each in writings)


@given(_changes())
@settings(max_examples=250, deadline=None)
def test_the_c_name_gives_the_patients_sequence_back(caller: GeneCaller, variant: Variant) -> None:
    found = caller.consequences(variant)
    name = found[0].hgvs_c if found else None
    if name is None:
        # Only what reaches beyond the transcript has no name.
        assert not found or variant.position < 18 or variant.position > 74
        return
    forward = _applied(variant)
    if variant.chrom == "toy_minus":
        forward = reverse_complement(forward)
    assert _by_name(name) == forward, name


def _by_name(name: str) -> str:
    """Apply a ``c.`` name to the toy gene, whose numbering is worked out by hand."""
    match = _NAME.match(name)
    assert match is not None, name
    first = _index(*match.group(1, 2, 3))
    last = first if match[5] is None else _index(*match.group(4, 5, 6))
    if match[7]:
        assert PLUS[first] == match[7]
        return PLUS[:first] + match[8] + PLUS[first + 1 :]
    kind, bases = match[9], match[10]
    named = PLUS[first : last + 1]
    if kind == "ins":
        assert last == first + 1
        # What repeats the bases before it is a dup; what goes on further 3' is named there.
        assert PLUS[: first + 1][-len(bases) :] != bases
        assert bases[0] != PLUS[last]
        return PLUS[: first + 1] + bases + PLUS[last:]
    if kind in {"del", "dup"}:
        assert named[0] != PLUS[last + 1]
    new = {"del": "", "dup": named * 2, "inv": reverse_complement(named), "delins": bases}[kind]
    return PLUS[:first] + new + PLUS[last + 1 :]


def _index(sign: str, number: str, intronic: str | None) -> int:
    """Return the 0-based place on toy_plus: c.1 is base 21, c.12 base 32, c.13 base 63."""
    n = int(number)
    if sign == "-":
        return 20 - n
    if sign == "*":
        return 76 + n
    exonic = 19 + n if n <= 12 else 49 + n
    return exonic + int(intronic or 0)


def test_the_short_way_for_substitutions_agrees_with_the_long_one(tmp_path: Path) -> None:
    files = write_toy_genome(tmp_path)
    reference, genes = Reference.open(files.fasta), Genes.read(files.gff3)
    caller = GeneCaller(reference, genes)
    compared = 0
    for contig, text in _TEXT.items():
        (transcript,) = genes.by_contig[contig]
        model = caller.model(transcript)
        for position in range(transcript.span[0], transcript.span[1] + 1):
            for alt in set("ACGT") - {text[position - 1]}:
                variant = Variant(None, contig, position, text[position - 1], alt)
                left, right = caller.placements(variant)
                short = model.substitution(position, variant.ref, alt, "g")
                assert short == model.change(left, right, "g")
                compared += 1
    assert compared == 2 * 77 * 3


def test_pieces_cover_a_transcript_without_gaps(tmp_path: Path) -> None:
    files = write_toy_genome(tmp_path)
    reference, genes = Reference.open(files.fasta), Genes.read(files.gff3)
    for contig in _TEXT:
        (transcript,) = genes.by_contig[contig]
        places = TranscriptModel(transcript, reference, lambda first, last: "").places
        for position in range(*transcript.span):
            piece = places.piece(position)
            assert piece is not None
            assert piece.terms == terms_at(transcript, position)
            assert places.coding_offset(position) == transcript.coding_offset(position)
        assert places.piece(transcript.span[0] - 1) is None
        assert places.piece(transcript.span[1] + 1) is None


@pytest.mark.parametrize(("strand", "middle"), [(1, "3+4"), (-1, "3+4")])
def test_the_middle_of_an_odd_intron_is_counted_from_the_exon_before(
    strand: int, middle: str
) -> None:
    # Exons 1-3 and 11-13, an intron of 7 bases between: 4 is +1 or -7, 7 is the middle.
    exons = ((1, 3), (11, 13))
    transcript = Transcript("T", "G", "c", strand, "protein_coding", 3, exons, exons)
    places = Places(transcript, terms_at)
    assert places.name(7) == middle
    names = [places.name(position) for position in range(4, 11)]
    counted = ["3+1", "3+2", "3+3", "3+4", "4-3", "4-2", "4-1"]
    assert names == (counted if strand > 0 else counted[::-1])
