"""The open patient's variants: load a VCF, score it, and read the ranked table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari.utils.notifications import show_info
from qtpy.QtCore import Qt, Signal
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
from napari_precimed.ui.scrolling import fill
from napari_precimed.ui.session import Session
from napari_precimed.ui.settings import remote_sidecar
from napari_precimed.ui.tables import RecordTable
from napari_precimed.ui.variant_explain import ExplainRow
from napari_precimed.ui.variant_text import details_html, variant_columns
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
        self.reference = FileButton("Reference…", "Reference sequence (FASTA)", _FASTA)
        self.genes = FileButton("Genes…", "Gene models (GFF3)", _GFF)
        self.summary = QLabel(_NO_VARIANTS, self)
        self.table = RecordTable(variant_columns(), self)
        self.details = QTextBrowser(self)
        self.progress = ProgressRow(self)
        self.explain = ExplainRow(self.progress, self.reference, self.genes, self)
        self._lay_out()
        self.load.clicked.connect(self._ask_vcf)
        self.table.chosen.connect(self._show_details)
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
        self.explain.setVisible(report is not None)
        self.explain.show_variant(None)
        self.load.setEnabled(not self.progress.running)

    def _show_details(self, variant: Any) -> None:
        self.details.setHtml(details_html(variant))
        case = self._session.case
        self.explain.show_variant(variant, case.patient.id if case else None)

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
        # It takes what is left; else its preferred height would scroll the button out of sight.
        split.setSizePolicy(QSizePolicy.Ignored, QSizePolicy.Ignored)
        self.table.setMinimumHeight(70)
        self.details.setMinimumHeight(48)
        inside = QWidget(self)
        layout = QVBoxLayout(inside)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(buttons)
        layout.addWidget(self.progress)
        layout.addWidget(self.summary)
        layout.addWidget(split, 1)
        layout.addWidget(self.explain)
        fill(self, inside)


class FileButton(QPushButton):
    """Chooses a file that stays chosen for the next VCF."""

    chosen = Signal()

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
        self.chosen.emit()

    def _ask(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, self._purpose, "", self._pattern)
        if name:
            self.choose(Path(name))


def _ledger_text(report: Any) -> str:
    ledger = report.ledger
    without = sum(ledger["not_scored"].values())
    return (
        f"Sample {report.sample_id or 'not named'}: {ledger['alleles']:,} variants = "
        f"{ledger['scored']:,} scored + {ledger['by_rule']:,} by rule + {without:,} with a reason"
    )
