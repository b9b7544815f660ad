"""The report laid out as a PDF with ReportLab."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import partial
from typing import Any

from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    CondPageBreak,
    Flowable,
    Image,
    KeepTogether,
    Paragraph,
    SimpleDocTemplate,
    Spacer,
)
from reportlab.platypus import Table as Grid

from napari_precimed.export.content import Block, Picture, ReportContent, Table
from napari_precimed.export.fonts import BOLD, REGULAR, marked_up
from napari_precimed.export.pictures import SIZE_INCH

_INK, _SOFT, _LINE, _ACCENT = map(HexColor, ("#1c2530", "#5c6773", "#d6dbe0", "#23527c"))
_WARN, _WARN_FILL = HexColor("#c77700"), HexColor("#fff7e8")
_MARGIN, _FOOT = 15 * mm, 11 * mm
_WIDTH = A4[0] - 2 * _MARGIN
_FRAME_PADDING = 6  # points that ReportLab puts around everything on a page
_PICTURE_WIDTH = 118 * mm


def _style(name: str, size: float, **more: Any) -> ParagraphStyle:
    values = {"fontName": REGULAR, "textColor": _INK, "leading": size * 1.32, **more}
    return ParagraphStyle(name, fontSize=size, **values)


_TITLE = _style("title", 17, fontName=BOLD, leading=21)
_HEAD = _style("head", 11.5, fontName=BOLD, textColor=_ACCENT, spaceBefore=13, spaceAfter=4)
_SMALL_HEAD = _style("small head", 9, fontName=BOLD, spaceAfter=1.5)
_BODY = _style("body", 9, spaceAfter=2)
_SUMMARY = _style("summary", 10, spaceAfter=2)
_NOTE = _style("note", 7.5, textColor=_SOFT, spaceBefore=2)
_CELL = _style("cell", 7.5)
_CELL_HEAD = _style("cell head", 7.5, fontName=BOLD, textColor=_SOFT)
_NAME = _style("name", 7.5, textColor=_SOFT)
_STRONG = _style("strong", 9.5, fontName=BOLD)


def pdf_of(content: ReportContent) -> bytes:
    """Lay the report out on A4 pages, each with the patient's id and the page number."""
    stream = io.BytesIO()
    document = SimpleDocTemplate(
        stream,
        pagesize=A4,
        leftMargin=_MARGIN - _FRAME_PADDING,
        rightMargin=_MARGIN - _FRAME_PADDING,
        topMargin=15 * mm,
        bottomMargin=19 * mm,
        title=f"{content.title}: {content.patient}",
        author="napari-precimed",
        subject=content.disclaimer,
        lang="en",
    )
    footer = f"Patient {content.patient} · {content.disclaimer}"
    document.build(list(_story(content)), canvasmaker=partial(_NumberedCanvas, footer=footer))
    return stream.getvalue()


class _NumberedCanvas(Canvas):
    """A canvas that holds its pages back until it knows how many there are."""

    def __init__(self, *args: Any, footer: str, **more: Any) -> None:
        super().__init__(*args, **more)
        self._footer = footer
        self._held: list[dict[str, Any]] = []

    def showPage(self) -> None:  # noqa: N802 - ReportLab's name
        """Hold the page back."""
        self._held.append(dict(self.__dict__))
        self._startPage()

    def save(self) -> None:
        """Write all pages, each with its footer."""
        for number, page in enumerate(self._held, start=1):
            self.__dict__.update(page)
            self._draw_footer(number, len(self._held))
            super().showPage()
        super().save()

    def _draw_footer(self, number: int, count: int) -> None:
        self.setStrokeColor(_LINE)
        self.setLineWidth(0.5)
        self.line(_MARGIN, _FOOT + 4 * mm, _MARGIN + _WIDTH, _FOOT + 4 * mm)
        left = Paragraph(marked_up(self._footer), _NAME)
        left.wrapOn(self, _WIDTH - 30 * mm, 10 * mm)
        left.drawOn(self, _MARGIN, _FOOT)
        self.setFont(REGULAR, 7.5)
        self.setFillColor(_SOFT)
        self.drawRightString(_MARGIN + _WIDTH, _FOOT + 2.4, f"{number} / {count}")


def _story(content: ReportContent) -> Iterator[Flowable]:
    yield _text(content.title, _TITLE)
    yield _text(f"{content.created} · {content.disclaimer}", _NOTE)
    yield Spacer(0, 5)
    yield _identity(content)
    if content.warnings:
        yield Spacer(0, 6)
        yield from _warnings(content.warnings)
    yield from _section(content.series)
    yield from _headed("Findings", _text(content.summary, _SUMMARY))
    for lesions in content.lesions:
        yield from _section(lesions)
    yield from _pictures(content)
    yield from _section(content.variants)
    yield from _section(content.ledger, width=0.6)
    yield from _runs(content.runs)
    yield from _headed("Limits", _text(f"• {content.limits[0]}", _BODY))
    for limit in content.limits[1:]:
        yield _text(f"• {limit}", _BODY)
    yield _text(content.disclaimer, _STRONG)
    yield _signature()


def _text(words: str, style: ParagraphStyle) -> Paragraph:
    return Paragraph(marked_up(words), style)


def _headed(title: str, first: Flowable) -> Iterator[Flowable]:
    """A heading that is never left alone at the foot of a page."""
    yield KeepTogether([_text(title, _HEAD), first])


def _identity(content: ReportContent) -> Flowable:
    cells = [[_text(name, _NAME), _text(value, _STRONG)] for name, value in content.identity]
    wide = {"Patient": 1.3, "Name": 1.5, "Sample": 1.9}
    weights = [wide.get(name, 0.7) for name, _ in content.identity]
    widths = [_WIDTH * weight / sum(weights) for weight in weights]
    box = [("LEFTPADDING", (0, 0), (-1, -1), 0), ("VALIGN", (0, 0), (-1, -1), "TOP")]
    return Grid(
        [cells], colWidths=widths, style=[*box, ("LINEABOVE", (0, 0), (-1, 0), 1.2, _ACCENT)]
    )


def _warnings(warnings: tuple[str, ...]) -> Iterator[Flowable]:
    rows = [[_text("Read this first", _SMALL_HEAD)], *([_text(f"• {w}", _BODY)] for w in warnings)]
    style = [
        ("BACKGROUND", (0, 0), (-1, -1), _WARN_FILL),
        ("LINEBEFORE", (0, 0), (0, -1), 3, _WARN),
        ("LEFTPADDING", (0, 0), (-1, -1), 9),
        ("TOPPADDING", (0, 0), (-1, -1), 2),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 1),
    ]
    yield Grid(rows, colWidths=[_WIDTH], style=style)


def _section(table: Table, width: float = 1.0) -> Iterator[Flowable]:
    if not table.rows:
        yield from _headed(table.title, _text(table.empty, _BODY))
        return
    yield CondPageBreak(32 * mm)
    yield _text(table.title, _HEAD)
    yield _grid(table, width)
    for note in table.notes:
        yield _text(note, _NOTE)


def _grid(table: Table, width: float) -> Grid:
    """A table whose head is repeated on each page and whose rows stay whole."""
    head = [_text(name, _CELL_HEAD) for name in table.columns]
    body = [[_text(cell, _CELL) for cell in row] for row in table.rows]
    total = sum(table.widths)
    style = [
        ("VALIGN", (0, 0), (-1, 0), "BOTTOM"),
        ("VALIGN", (0, 1), (-1, -1), "TOP"),
        ("LINEBELOW", (0, 0), (-1, 0), 0.7, _INK),
        ("LINEBELOW", (0, 1), (-1, -1), 0.4, _LINE),
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("RIGHTPADDING", (0, 0), (-1, -1), 5),
        ("TOPPADDING", (0, 0), (-1, -1), 2.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2.5),
    ]
    widths = [_WIDTH * width * part / total for part in table.widths]
    return Grid([head, *body], colWidths=widths, repeatRows=1, style=style, hAlign="LEFT")


def _pictures(content: ReportContent) -> Iterator[Flowable]:
    if not content.pictures and not content.picture_note:
        return
    opening: list[Flowable] = [_text("Pictures", _HEAD)]
    if content.picture_note:
        opening.append(_text(content.picture_note, _NOTE))
    first, *others = [_picture(each) for each in content.pictures] or [Spacer(0, 1)]
    yield KeepTogether([*opening, first])
    yield from others


def _picture(picture: Picture) -> Flowable:
    height = _PICTURE_WIDTH * SIZE_INCH[1] / SIZE_INCH[0]
    image = Image(io.BytesIO(picture.jpeg), _PICTURE_WIDTH, height)
    *facts, legend = picture.lines
    words = [
        _text(picture.title, _SMALL_HEAD),
        *(_text(line, _CELL) for line in facts),
        _text(legend, _NOTE),
    ]
    style = [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LEFTPADDING", (0, 0), (0, 0), 0),
        ("LEFTPADDING", (1, 0), (1, 0), 9),
        ("RIGHTPADDING", (0, 0), (-1, -1), 0),
    ]
    return Grid([[image, words]], colWidths=[_PICTURE_WIDTH, _WIDTH - _PICTURE_WIDTH], style=style)


def _runs(runs: tuple[Block, ...]) -> Iterator[Flowable]:
    blocks = [_run(block) for block in runs] or [[_text("No run is on record.", _BODY)]]
    yield KeepTogether([_text("What was run", _HEAD), *blocks[0]])
    for block in blocks[1:]:
        yield KeepTogether([Spacer(0, 5), *block])


def _run(block: Block) -> list[Flowable]:
    rows = [[_text(name, _NAME), _text(value, _CELL)] for name, value in block.facts]
    style = [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("TOPPADDING", (0, 0), (-1, -1), 0.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 0.5),
    ]
    facts = [Grid(rows, colWidths=[30 * mm, _WIDTH - 30 * mm], style=style)] if rows else []
    return [_text(block.title, _SMALL_HEAD), *facts]


def _signature() -> Flowable:
    gap, field = 8 * mm, (_WIDTH - 16 * mm) / 3
    cells = [_text("Reviewed by", _NAME), "", _text("Date", _NAME), "", _text("Signature", _NAME)]
    style = [
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        *(("LINEABOVE", (k, 0), (k, 0), 0.6, _INK) for k in (0, 2, 4)),
    ]
    grid = Grid([cells], colWidths=[field, gap, field, gap, field], style=style)
    return KeepTogether([Spacer(0, 16 * mm), grid])
