"""The open patient's variants: load a VCF, score it, and read the ranked table."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_info
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QSplitter,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from genomics.errors import GenomicsError
from napari_precimed.errors import InputError, PatientMismatchError
from napari_precimed.ui import dialogs
from napari_precimed.ui.progress_row import ProgressRow
from napari_precimed.ui.session import Session
from napari_precimed.ui.settings import remote_sidecar
from napari_precimed.ui.tables import Column, RecordTable
from napari_precimed.ui.worker import show_problem

_NO_VARIANTS = "No variants yet. Load the patient's VCF."
_HINT = "Choose a variant to read what is known of it."
_VCF = "VCF (*.vcf *.vcf.gz *.vcf.bgz);;All files (*)"
_FASTA = "FASTA (*.fa *.fasta *.fna *.fa.gz *.fasta.gz *.fna.gz);;All files (*)"
_GFF = "GFF3 (*.gff *.gff3 *.gff.gz *.gff3.gz);;All files (*)"


class VariantPanel(QWidget):
    """Variants of the open patient, most noteworthy first."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.load = QPushButton("Load VCF…", self)
        self.reference = _FileButton("Reference…", "Reference sequence (FASTA)", _FASTA)
        self.genes = _FileButton("Genes…", "Gene models (GFF3)", _GFF)
        self.summary = QLabel(_NO_VARIANTS, self)
        self.table = RecordTable(variant_columns(), self)
        self.details = QTextBrowser(self)
        self.progress = ProgressRow(self)
        self._lay_out()
        self.load.clicked.connect(self._ask_vcf)
        self.table.chosen.connect(lambda each: self.details.setHtml(details_html(each)))
        session.case_changed.connect(self.refresh)
        self.refresh()

    def load_vcf(self, path: Path) -> None:
        """Choose the sample, settle whose it is, and have it scored in the variant service."""
        from genomics.vcf import samples

        if self.progress.running:
            return
        try:
            found = samples(path)
        except (GenomicsError, OSError) as error:
            show_problem(error, "Reading the VCF")
            return
        sample = self._sample_of(found)
        if len(found) > 1 and sample is None:
            return
        mapped = self._is_mapped(sample)
        if mapped is not None:
            self._score(path, sample, mapped)

    def refresh(self) -> None:
        """Show the variants of the case as it is now."""
        report = self._session.case.variants if self._session.case else None
        self.table.show_records(report.ranked() if report is not None else ())
        self.summary.setText(_NO_VARIANTS if report is None else _ledger_text(report))
        self.details.setHtml(f"<p>{_HINT}</p>")
        self.details.setVisible(report is not None)
        self.load.setEnabled(not self.progress.running)

    def _sample_of(self, samples: list[str]) -> str | None:
        if len(samples) < 2:
            return samples[0] if samples else None
        case = self._session.case
        return dialogs.choose_sample(samples, case.patient.id if case else None)

    def _is_mapped(self, sample: str | None) -> bool | None:
        """Whether the user maps the sample to the patient; None if they are not to be linked."""
        case = self._session.case
        if case is None and sample is not None:
            return False
        patient = case.patient.id if case else None
        if sample is not None and sample == patient:
            return False
        error = PatientMismatchError(patient, sample)  # type: ignore[arg-type]
        return True if dialogs.ask_mapping(error) else None

    def _score(self, path: Path, sample: str | None, mapped: bool) -> None:
        from napari_precimed.pipeline import AnalyseOptions
        from napari_precimed.ui.scoring import scoring

        try:
            remote = remote_sidecar()
        except InputError as error:
            show_problem(error, "Scoring variants")
            return
        options = AnalyseOptions(
            vcf=path, sample=sample, reference=self.reference.path, genes=self.genes.path
        )
        case = self._session.case
        case_id = case.id if case else None
        task = scoring(options, remote)
        task.succeeded.connect(lambda scored: self._take(scored, mapped, case_id))
        self.load.setEnabled(False)
        self.progress.follow(task)
        task.finished.connect(lambda: self.load.setEnabled(True))
        task.succeeded.connect(lambda _: self.progress.hide())
        task.start()

    def _take(self, scored: Any, mapped: bool, case_id: str | None) -> None:
        """Link the result, unless the patient was changed while it was computed."""
        report, notice = scored
        if notice is not None:
            show_info(notice)
        case = self._session.case
        if (case.id if case else None) != case_id:
            self.summary.setText(
                "The patient was changed while variants were scored: the result was not linked. "
                "Load the VCF again."
            )
            return
        try:
            self._session.set_variants(report, mapped=mapped)
        except PatientMismatchError as error:
            if dialogs.ask_mapping(error):
                self._session.set_variants(report, mapped=True)

    def _ask_vcf(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "The patient's variants", "", _VCF)
        if name:
            self.load_vcf(Path(name))

    def _lay_out(self) -> None:
        buttons = QHBoxLayout()
        for button in (self.load, self.reference, self.genes):
            buttons.addWidget(button)
        buttons.addStretch()
        self.summary.setWordWrap(True)
        self.summary.setSizePolicy(QSizePolicy.Ignored, QSizePolicy.Minimum)
        self.details.setOpenExternalLinks(True)
        split = QSplitter(Qt.Vertical, self)
        split.addWidget(self.table)
        split.addWidget(self.details)
        split.setStretchFactor(0, 3)
        split.setStretchFactor(1, 2)
        split.setChildrenCollapsible(False)
        self.table.setMinimumHeight(70)
        self.details.setMinimumHeight(48)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(buttons)
        layout.addWidget(self.progress)
        layout.addWidget(self.summary)
        layout.addWidget(split, 1)


class _FileButton(QPushButton):
    """Chooses a file that stays chosen for the next VCF."""

    def __init__(self, title: str, purpose: str, pattern: str) -> None:
        super().__init__(title)
        self._purpose, self._pattern = purpose, pattern
        self.path: Path | None = None
        self.setToolTip(f"{purpose}; not needed where the VCF is annotated (VEP or SnpEff)")
        self.clicked.connect(self._ask)

    def choose(self, path: Path | None) -> None:
        """Take this file."""
        self.path = path
        self.setText(path.name[:18] if path else self.text())
        if path:
            self.setToolTip(f"{self._purpose}: {path}")

    def _ask(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, self._purpose, "", self._pattern)
        if name:
            self.choose(Path(name))


def variant_columns() -> tuple[Column, ...]:
    """The columns of the variant table."""
    return (
        Column("Gene", "Gene symbol", lambda v: _of(v, "gene"), lambda v: _of(v, "gene") or None),
        Column("Change", "Protein change, else coding change, else position", change_text,
               change_text),
        Column("Score", "Calibrated probability of being pathogenic, or the class by rule",
               score_text, _score_value),
        Column("Consequence", "Sequence Ontology term", consequence_text, consequence_text),
        Column("Zygosity", "How the sample carries it", lambda v: v.zygosity or "not known",
               lambda v: v.zygosity),
        Column("Filter", "The caller's filters that the record failed", filter_text, filter_text),
        Column("Why", "The rule, or the reason why there is no score", why_text, why_text),
    )  # fmt: skip


def change_text(variant: Any) -> str:
    """The most telling name of a variant."""
    return _of(variant, "hgvs_p") or _of(variant, "hgvs_c") or variant.variant.key


def consequence_text(variant: Any) -> str:
    """Its consequence in words: ``missense variant``."""
    terms = variant.consequence.terms if variant.consequence else ()
    return ", ".join(terms).replace("_", " ")


def score_text(variant: Any) -> str:
    """Its score or class; a dash where it has neither, never 0."""
    if variant.score is not None:
        return f"{variant.score:.2f}"
    return variant.classification.label if variant.classification else "–"


def why_text(variant: Any) -> str:
    """The model, the rule, or the reason for having no score."""
    if variant.score is not None:
        return str(variant.model)
    return variant.classification.rule if variant.classification else str(variant.reason)


def filter_text(variant: Any) -> str:
    """``filtered: MAPQ0``, ``PASS``, or a dash where the file does not say."""
    if variant.failed_filters is not None:
        return f"filtered: {variant.failed_filters}"
    return (variant.record.filters if variant.record else None) or "–"


def details_html(variant: Any) -> str:
    """All that is known of one variant, as a small table."""
    place, record = variant.variant, variant.record
    doubt = f" ± {variant.doubt:.2f} (spread of the ensemble)" if variant.doubt is not None else ""
    rows = {
        "Variant": f"{place.key} ({place.build or 'build not known'})",
        "Gene": _of(variant, "gene"),
        "Coding change": _of(variant, "hgvs_c"),
        "Protein change": _of(variant, "hgvs_p"),
        "Genomic change": _of(variant, "hgvs_g"),
        "Transcript": _of(variant, "transcript"),
        "Consequence": consequence_text(variant),
        **_readings(variant),
        "Annotated by": _of(variant, "source"),
        "Genotype": f"{variant.genotype or 'not given'} ({variant.zygosity or 'not known'})",
        "Filter": filter_text(variant),
        "Score" if variant.score is not None else "Class": score_text(variant) + doubt,
        "Why": why_text(variant),
        "In the file": f"line {record.line_number}, {record.key}" if record else "",
    }
    cells = "".join(
        f"<tr><td><b>{name}</b>&nbsp;&nbsp;</td><td>{escape(str(text))}</td></tr>"
        for name, text in rows.items()
        if text
    )
    return f"<table cellspacing='2'>{cells}</table>"


def _readings(variant: Any) -> dict[str, str]:
    """What it was read together with, and what it is read otherwise."""
    compound = variant.consequence.compound if variant.consequence else None
    if compound is None:
        return {}
    rows = {"Read with": f"{', '.join(compound.partners)}: {compound.phase} ({compound.evidence})"}
    for how in ("alone", "together"):
        other = getattr(compound, how)
        if other is not None:
            named = other.hgvs_p or other.hgvs_c or ""
            rows[f"If read {how}"] = f"{', '.join(other.terms).replace('_', ' ')} {named}".strip()
    return rows


def _of(variant: Any, name: str) -> str:
    return (getattr(variant.consequence, name, None) or "") if variant.consequence else ""


def _score_value(variant: Any) -> float | None:
    """Sorting value: disruptive by rule above every score, neutral by rule below."""
    if variant.score is not None:
        return float(variant.score)
    if variant.classification is None:
        return None
    return {"likely disruptive": 2.0, "possibly disruptive": 1.5}.get(
        variant.classification.label, -1.0
    )


def _ledger_text(report: Any) -> str:
    ledger = report.ledger
    without = sum(ledger["not_scored"].values())
    return (
        f"Sample {report.sample_id or 'not named'}: {ledger['alleles']:,} variants = "
        f"{ledger['scored']:,} scored + {ledger['by_rule']:,} by rule + {without:,} with a reason"
    )
