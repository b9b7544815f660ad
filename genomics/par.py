"""The pseudoautosomal regions: where X and Y are one sequence.

Reads from there cannot be told apart, so assemblies often mask Y's copy, callers place all
variants on X, and gene files may list the genes on X only. Coordinates: Genome Reference
Consortium for GRCh37 and GRCh38, the T2T consortium for T2T-CHM13v2.0.
"""

from __future__ import annotations

from genomics.contigs import canonical_name

Span = tuple[int, int]

REGIONS: dict[str, tuple[tuple[Span, Span], ...]] = {
    "GRCh37": (
        ((60001, 2699520), (10001, 2649520)),
        ((154931044, 155260560), (59034050, 59363566)),
    ),
    "GRCh38": (
        ((10001, 2781479), (10001, 2781479)),
        ((155701383, 156030895), (56887903, 57217415)),
    ),
    "T2T-CHM13": (
        ((1, 2394410), (1, 2458320)),
        ((153925835, 154259566), (62122810, 62460029)),
    ),
}
"""Build -> (PAR1, PAR2), each as (on X, on Y); 1-based, both ends included."""


def is_pseudoautosomal(build: str | None, chrom: str, position: int) -> bool:
    """Whether a 1-based position is in a pseudoautosomal region; False where the build is unknown.

    Parameters
    ----------
    build : str or None
        "GRCh37", "GRCh38" or "T2T-CHM13".
    chrom : str
        In any naming.
    """
    name = canonical_name(chrom)
    if name not in {"X", "Y"}:
        return False
    return any(
        span[0] <= position <= span[1]
        for regions in REGIONS.get(build or "", ())
        for span in [regions[name == "Y"]]
    )


def home_on_x(build: str | None, chrom: str, position: int) -> int | None:
    """Return the position on X that a position in Y's pseudoautosomal regions is a copy of.

    None for any other place, and on T2T-CHM13, whose X and Y come from different people and
    differ in length there.
    """
    if canonical_name(chrom) != "Y":
        return None
    for on_x, on_y in REGIONS.get(build or "", ()):
        same_length = on_x[1] - on_x[0] == on_y[1] - on_y[0]
        if same_length and on_y[0] <= position <= on_y[1]:
            return position - on_y[0] + on_x[0]
    return None
