"""The report of a case: one self-contained HTML file, and one PDF that says the same."""

from __future__ import annotations

import base64
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from napari_precimed.core.files import atomic_path
from napari_precimed.core.patient import Case
from napari_precimed.export.compose import report_content
from napari_precimed.export.content import ReportContent
from napari_precimed.export.pdf import pdf_of

__all__ = ["html_of", "pdf_of", "report_content", "write_html", "write_pdf"]


def write_html(case: Case | ReportContent, path: str | Path) -> None:
    """Write the report as one HTML file that needs no other file and no network.

    Parameters
    ----------
    case : Case or ReportContent
        Give `report_content(case)` to both writers to draw the pictures only once.
    path : path-like

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    html = html_of(_content(case))
    with atomic_path(path) as partial:
        partial.write_text(html, encoding="utf-8")


def write_pdf(case: Case | ReportContent, path: str | Path) -> None:
    """Write the report as a PDF of A4 pages.

    Parameters
    ----------
    case : Case or ReportContent
    path : path-like

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    pdf = pdf_of(_content(case))
    with atomic_path(path) as partial:
        partial.write_bytes(pdf)


def html_of(content: ReportContent) -> str:
    """Lay the report out as HTML."""
    template = _templates().get_template("report.html.j2")
    footer = f"Patient {content.patient} · {content.disclaimer}"
    return template.render(content=content, footer_css=_css_string(footer))


def _content(case: Case | ReportContent) -> ReportContent:
    return case if isinstance(case, ReportContent) else report_content(case)


def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("napari_precimed.export"), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode("ascii")
    return environment


def _css_string(text: str) -> Markup:
    """A CSS string with every character escaped, so that no text can leave it."""
    return Markup('"{}"').format(Markup("").join(f"\\{ord(c):06x}" for c in text))
