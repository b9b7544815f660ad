"""What a report says, as plain text and pictures; HTML and PDF only lay it out."""

from __future__ import annotations

from dataclasses import dataclass

NOT_A_DEVICE = "Not a medical device. For research use."


@dataclass(frozen=True)
class Table:
    """Rows of text under a head.

    Attributes
    ----------
    title : str
    columns : tuple of str
    widths : tuple of float
        Relative widths of the columns.
    rows : tuple of tuple of str
    notes : tuple of str
        Sentences under the table.
    empty : str
        What to say in its place when there is no row.
    """

    title: str
    columns: tuple[str, ...]
    widths: tuple[float, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    empty: str = ""


@dataclass(frozen=True)
class Picture:
    """A lesion's picture (JPEG) and what is written beside it."""

    title: str
    lines: tuple[str, ...]
    jpeg: bytes


@dataclass(frozen=True)
class Block:
    """A heading with names and values under it."""

    title: str
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ReportContent:
    """The whole report, in the order in which it is read.

    Attributes
    ----------
    title, patient : str
        `patient` is the id, short enough for a footer.
    identity : tuple of (name, value)
        Who it is, and why scan and sample are held to be one person.
    warnings : tuple of str
        What changes how the rest is to be read.
    series, variants, ledger : Table
    summary : str
        The findings in a sentence or two.
    lesions : tuple of Table
        One per lesion set.
    pictures : tuple of Picture
    picture_note : str
        Which lesions have no picture and why; may be empty.
    runs : tuple of Block
    limits : tuple of str
    created : str
        By which release, and when.
    disclaimer : str
    """

    title: str
    patient: str
    identity: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    series: Table
    summary: str
    lesions: tuple[Table, ...]
    pictures: tuple[Picture, ...]
    picture_note: str
    variants: Table
    ledger: Table
    runs: tuple[Block, ...]
    limits: tuple[str, ...]
    created: str
    disclaimer: str = NOT_A_DEVICE
