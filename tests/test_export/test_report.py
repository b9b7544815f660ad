"""The report says everything, the same in HTML and PDF, and nothing that is not known."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from pypdf import PdfReader
from toy_case import toy_case

from genomics.report import VariantReport
from genomics.variant import Variant
from napari_precimed.core.lesion import Lesion, LesionSet
from napari_precimed.core.patient import Case, Patient
from napari_precimed.errors import OutputError
from napari_precimed.export.content import ReportContent
from napari_precimed.export.report import html_of, pdf_of, report_content, write_html, write_pdf


class _Page(HTMLParser):
    """The text of a page, its elements and what it refers to."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.elements, self.references = "", [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes) -> None:
        self.elements.append(tag)
        self.references += [v for k, v in attributes if k in ("src", "href", "action", "data")]
        assert not any(name.startswith("on") for name, _ in attributes)

    def handle_data(self, data: str) -> None:
        self.text += data


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def _pdf_text(pdf: bytes) -> list[str]:
    return [_squeezed(page.extract_text()) for page in PdfReader(io.BytesIO(pdf)).pages]


def _texts(content) -> list[str]:
    """Every sentence and cell of a report."""
    texts = [content.title, content.summary, content.created, content.disclaimer]
    texts += [part for fact in content.identity for part in fact]
    texts += [*content.warnings, *content.limits]
    for table in (content.series, *content.lesions, content.variants, content.ledger):
        texts += [table.title, *table.notes]
        texts += [part for row in table.rows for cell in row for part in cell.split("\n")]
    for picture in content.pictures:
        texts += [picture.title, *picture.lines]
    for block in content.runs:
        texts += [block.title, *(part for fact in block.facts for part in fact)]
    return texts


@pytest.fixture(scope="module")
def content() -> ReportContent:
    """The toy patient's report, its pictures drawn once."""
    return report_content(toy_case())


def test_html_and_pdf_say_the_same(case: Case) -> None:
    latin = replace(case, patient=replace(case.patient, name="Škvorecká Ødegård Ψ"))
    content = report_content(latin)
    html = _squeezed(_Page(html_of(content)).text)
    pages = _pdf_text(pdf_of(content))
    # A cell or sentence may go on over a page's end, with the footer in between.
    footer = re.compile(r"PatientP-01·Notamedicaldevice\.Forresearchuse\.\d+/\d+")
    pdf = footer.sub("", "".join(pages))
    for text in map(_squeezed, _texts(content)):
        assert text in html
        assert text in pdf


def test_the_report_says_what_was_found(content: ReportContent) -> None:
    text = _Page(html_of(content)).text
    assert "3 lung nodules found; the largest is number 1 (14.0 × 11.2 mm, 1,437 mm³" in text
    assert "slice 14 of 24" in text
    assert "malignant 0.73, benign 0.27" in text
    assert "readers' opinion model" in text
    assert "Readers would probably write: spiculation 3.4, calcification 5.9" in text
    assert text.count("Readers would probably write: ") == 1  # of lesion 2 nothing is known
    assert "calcification 1 popcorn to 6 absent" in text
    assert "L\u00a028.0, A\u00a010.0, I\u00a0175.0" in text
    assert "Mean density (HU)" in text
    assert "Lesion 3 reaches the edge" in text
    assert "segment: Stitched on the CPU." in text
    assert "ab" * 32 in text
    assert "ef" * 32 in text
    assert "0.70 ± 0.05" in text
    assert "same id as the scan" in text
    assert "Not a medical device. For research use." in text


def test_variants_are_ranked_and_the_account_closes(content: ReportContent, case: Case) -> None:
    genes = [row[0] for row in content.variants.rows]
    assert genes[:3] == ["TP53", "GENE7", "GENE6"]
    alleles, *parts = (int(n.replace(",", "")) for _, n in content.ledger.rows)
    assert alleles == sum(parts) == len(case.variants.scored)


def test_no_probability_claims_certainty(case: Case) -> None:
    sure = replace(case.variants.scored[1], score=0.9999, doubt=0.001)
    report = replace(case.variants, scored=(sure,))
    table = report_content(replace(case, variants=report, lesion_sets=())).variants
    assert table.rows[0][5] == ">0.99 ± 0.00"


def test_a_score_that_is_no_call_is_printed_with_its_reason_and_its_evidence(case: Case) -> None:
    first, second = case.variants.scored[1:3]
    held = replace(first, score=0.81, doubt=0.05, abstention="undecided: between 0.18 and 0.82",
                   evidence="PP3_supporting")  # fmt: skip
    foreign = replace(second, score=0.02, doubt=None, abstention="out of distribution: its order")
    benign = replace(second, score=0.01, doubt=0.0, evidence="BP4_very_strong")
    report = VariantReport("P-01", (held, foreign, benign), case.variants.run)
    content = report_content(replace(case, variants=report, lesion_sets=()))
    table = content.variants
    assert [row[5] for row in table.rows] == [
        "0.81 ± 0.05\nno call: undecided, between 0.18 and 0.82\nPP3, supporting (for pathogenic)",
        "0.02\nno call: out of distribution, its order",
        "0.01 ± 0.00\nBP4, very strong (for benign)",
    ]
    assert [note.partition(":")[0] for note in table.notes][1:] == ["No call", "PP3", "BP4"]
    for text in (_Page(html_of(content)).text, " ".join(_pdf_text(pdf_of(content)))):
        assert "between0.18and0.82" in "".join(text.split())
    plain = replace(case, variants=VariantReport("P-01", (second,), {}), lesion_sets=())
    assert len(report_content(plain).variants.notes) == 1  # nothing is explained that is not there


def test_many_variants_are_cut_and_the_rest_is_pointed_to(case: Case) -> None:
    by_rule = case.variants.scored[-1]
    many = VariantReport("P-01", case.variants.scored + (by_rule,) * 50, case.variants.run)
    table = report_content(replace(case, variants=many, lesion_sets=())).variants
    assert len(table.rows) == 15 + 8
    assert table.rows[15][0] == "GENE7"
    assert "36 more in variants.tsv, 36 of them likely disruptive." in table.notes


def test_every_page_carries_the_patient_and_its_number(content: ReportContent) -> None:
    pages = _pdf_text(pdf_of(content))
    assert len(pages) > 1
    for number, text in enumerate(pages, start=1):
        assert "PatientP-01" in text
        assert f"{number}/{len(pages)}" in text


def test_html_needs_no_other_file(content: ReportContent) -> None:
    page = _Page(html_of(content))
    assert page.references
    assert all(each.startswith("data:image/jpeg;base64,") for each in page.references)


@pytest.mark.parametrize(
    "nasty",
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "</style></title><script>alert(1)</script>",
        '"; } body { background: url(http://evil) } x { content: "',
        "{{ 7 * 7 }}{% raw %}",
        "a & b <para> </font> &amp;",
    ],
)
def test_what_a_file_says_stays_text(case: Case, content: ReportContent, nasty: str) -> None:
    lesion = replace(case.lesion_sets[0].lesions[0], finding=nasty, comment=nasty)
    hostile = replace(
        case,
        patient=Patient(nasty, nasty),
        volumes=(replace(case.volumes[0], series_description=nasty),),
        lesion_sets=(case.lesion_sets[0].with_lesions([lesion]),),
        notes={"warnings": [nasty]},
    )
    attacked = report_content(hostile)
    html = html_of(attacked)
    page = _Page(html)
    plain = _Page(html_of(content))
    assert set(page.elements) <= set(plain.elements)
    assert nasty in page.text
    style = html.partition("<style>")[2].partition("</style>")[0]
    assert "http" not in style
    assert "@media print" in style
    assert _squeezed(nasty) in "".join(_pdf_text(pdf_of(attacked)))


def test_a_case_without_findings_says_so(volume) -> None:
    empty = LesionSet(np.zeros(volume.geometry.shape, np.uint8), volume.geometry, (), (), "1.2.3.4")
    content = report_content(Case.of(volume).attach_lesions(empty))
    text = _Page(html_of(content)).text
    assert "No lesion was found." in text
    assert "No variants were read." in text
    assert content.pictures == ()
    assert len(_pdf_text(pdf_of(content))) == 1


def test_an_empty_case_is_no_failure() -> None:
    content = report_content(Case())
    text = _Page(html_of(content)).text
    assert "No scan is at hand." in text
    assert "No lesions were looked for." in text
    assert "The scan names no patient" in text
    assert pdf_of(content).startswith(b"%PDF")


def test_unknown_is_a_dash_and_never_zero(volume) -> None:
    labels = np.zeros(volume.geometry.shape, np.uint8)
    labels[7, 40, 60] = 1
    point = tuple(volume.geometry.index_to_world((7, 40, 60)))
    lesion = Lesion(1, 1.6, 6.0, point, ((7, 8), (40, 41), (60, 61)))
    lesions = LesionSet(labels, volume.geometry, (lesion,), (), "1.2.3.4")
    magnetic = replace(volume, modality="MR", array=volume.array.astype(np.float32))
    content = report_content(Case.of(magnetic).attach_lesions(lesions))
    (row,) = content.lesions[0].rows
    assert row[:3] == ("1", "–", "17 of 24")
    assert row[4:] == ("1.6", "–", "–", "–", "–", "no")
    assert "Mean intensity (no unit)" in content.lesions[0].columns
    assert "HU" not in content.pictures[0].lines[-1]


def test_of_many_lesions_the_largest_have_pictures(volume) -> None:
    labels = np.zeros(volume.geometry.shape, np.int32)
    found = []
    for k in range(100):
        z, y, x = 2 + k // 50, 5 + 2 * (k % 50), 40
        labels[z, y, x] = k + 1
        point = tuple(volume.geometry.index_to_world((z, y, x)))
        found.append(Lesion(k + 1, 1.0 + k, 6.0, point, ((z, z + 1), (y, y + 1), (x, x + 1))))
    lesions = LesionSet(labels, volume.geometry, tuple(found), (), "1.2.3.4")
    content = report_content(Case.of(volume).attach_lesions(lesions))
    assert len(content.lesions[0].rows) == 100
    assert [each.title.split(":")[0] for each in content.pictures] == [
        f"Lesion {label}" for label in range(81, 101)
    ]
    assert "20 largest of 100" in content.picture_note
    pages = _pdf_text(pdf_of(content))
    assert sum("Classprobabilities" in page for page in pages) > 3  # the head is repeated


def test_lesions_of_a_missing_scan_are_reported_without_pictures(case: Case) -> None:
    gone = replace(case, volumes=(), notes={"warnings": ["The scan 'a.nii' cannot be read."]})
    content = report_content(gone)
    assert content.warnings[0] == "The scan 'a.nii' cannot be read."
    assert content.pictures == ()
    assert "3 lesions have no picture" in content.picture_note
    assert content.lesions[0].rows[0][2] == "–"
    assert pdf_of(content).startswith(b"%PDF")


def test_a_mapped_sample_is_the_first_thing_to_read(case: Case) -> None:
    foreign = replace(case.variants, sample_id="TUMOUR-7")
    mapped = replace(case, lesion_sets=()).attach_variants(foreign, mapped=True)
    content = report_content(mapped)
    assert "TUMOUR-7" in content.warnings[0]
    assert "mapped by the user" in content.warnings[0]
    assert ("Sample", "TUMOUR-7 (mapped by the user,") in [
        (name, value.rpartition(" ")[0]) for name, value in content.identity
    ]


def test_names_in_other_scripts_are_printed(case: Case) -> None:
    names = "Škvorecká Ødegård, Αθηνά, Иванова, 山田 はなこ, 王伟, 김민준"
    named = replace(case, patient=replace(case.patient, name=names), lesion_sets=())
    content = report_content(named)
    assert names in _Page(html_of(content)).text
    pdf = "".join(_pdf_text(pdf_of(content)))
    for name in ("Škvorecká", "Ødegård", "Αθηνά", "Иванова", "山田", "김민준"):
        assert name in pdf


def test_text_of_any_length_fits_the_page(case: Case) -> None:
    first = case.variants.scored[1]
    long = replace(
        first,
        variant=Variant("GRCh38", "17", 1, "A" * 9000, "C"),
        consequence=replace(first.consequence, gene="G" * 500, hgvs_p="p." + "X" * 9000),
    )
    lesion = replace(case.lesion_sets[0].lesions[0], comment="word " * 2000, finding="x" * 2000)
    huge = replace(
        case,
        patient=Patient("P" * 4000, "n" * 4000),
        lesion_sets=(case.lesion_sets[0].with_lesions([lesion]),),
        variants=VariantReport("P-01", (long,), {"options": {"path": "y" * 9000}}),
        notes={"warnings": ["w" * 9000]},
    )
    content = report_content(huge)
    assert pdf_of(content).startswith(b"%PDF")
    assert "(9000 bases)" in _Page(html_of(content)).text


def test_files_are_written_whole_or_not_at_all(content: ReportContent, tmp_path: Path) -> None:
    write_html(content, tmp_path / "report.html")
    write_pdf(content, tmp_path / "report.pdf")
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    with pytest.raises(OutputError, match="absent"):
        write_pdf(content, tmp_path / "absent" / "report.pdf")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["report.html", "report.pdf"]


def test_how_slices_count_is_said_as_it_is(case: Case) -> None:
    drawn = case.volumes[0]
    nifti = replace(drawn, source=replace(drawn.source, format="NIfTI"))
    said = {
        volume.source.format: report_content(replace(case, volumes=(volume,))).lesions[0].notes[0]
        for volume in (drawn, nifti)
    }
    assert "not by instance number" in said["DICOM"]
    assert said["NIfTI"] == "Slices count from 1 as stored."


def test_the_nodule_models_limit_is_told_only_where_it_ran(case: Case) -> None:
    assert any("3 to 30 mm" in limit for limit in report_content(case).limits)
    by_hand = replace(case.lesion_sets[0], runs=())
    others = report_content(replace(case, lesion_sets=(by_hand,))).limits
    assert not any("3 to 30 mm" in limit for limit in others)
