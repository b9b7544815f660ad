"""Text for a PDF in any script: which font can print which character.

Helvetica is in every PDF reader and prints Western European text. DejaVu Sans comes with Matplotlib
and is embedded for Latin, Greek and Cyrillic beyond that, and for symbols. Chinese, Japanese and
Korean use the reader's own fonts. Right-to-left scripts print their letters, unjoined; the HTML
report sets them right.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from itertools import groupby
from pathlib import Path
from xml.sax.saxutils import escape

import matplotlib
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.ttfonts import TTFont

REGULAR, BOLD = "Helvetica", "Helvetica-Bold"
_WIDE = "PrecimedDejaVuSans"
_EAST_ASIAN = {"HANGUL": "HYGothic-Medium", "HIRAGANA": "HeiseiKakuGo-W5",
               "KATAKANA": "HeiseiKakuGo-W5", "CJK": "STSong-Light"}  # fmt: skip


def marked_up(text: str) -> str:
    """Escape a text for a ReportLab paragraph, each run of it in a font that has its characters.

    A line break becomes one on the page; other control characters, which no font prints, go.
    """
    kana = any(_script(c) in ("HIRAGANA", "KATAKANA") for c in text)
    parts = []
    for font, run in groupby(text, key=lambda c: _font_of(c, kana)):
        words = "".join(c for c in run if c == "\n" or unicodedata.category(c) != "Cc")
        marked = escape(words).replace("\n", "<br/>")
        parts.append(f'<font name="{font}">{marked}</font>' if font else marked)
    return "".join(parts)


def _font_of(character: str, kana: bool) -> str | None:
    """The font that prints a character; None for the paragraph's own."""
    try:
        character.encode("cp1252")
    except UnicodeEncodeError:
        pass
    else:
        return None
    if ord(character) in _dejavu().face.charToGlyph:
        return _WIDE
    script = _script(character)
    if script == "CJK" and kana:
        script = "HIRAGANA"
    return _east_asian(_EAST_ASIAN[script]) if script in _EAST_ASIAN else _WIDE


def _script(character: str) -> str:
    return unicodedata.name(character, "").partition(" ")[0]


@cache
def _dejavu() -> TTFont:
    font = TTFont(_WIDE, Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")
    pdfmetrics.registerFont(font)
    return font


@cache
def _east_asian(name: str) -> str:
    pdfmetrics.registerFont(UnicodeCIDFont(name))
    return name
