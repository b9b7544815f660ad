"""From a scan and a VCF to a report: what the command line and the window both call."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_precimed.core.files import check_writable
from napari_precimed.core.folders import draft_of, publish
from napari_precimed.core.lesion import LesionSet
from napari_precimed.core.measure import measure
from napari_precimed.core.patient import Case
from napari_precimed.core.volume import Volume
from napari_precimed.errors import CancelledError, InputError, OutputError, PatientMismatchError

if TYPE_CHECKING:
    from genomics.report import VariantReport

Progress = Callable[[str, int, int | None], None]
"""Called as progress(stage, done, total)."""

RESULT_FILES = (
    "labels.nii.gz",
    "lesions.csv",
    "lesions.json",
    "variants.tsv",
    "report.html",
    "report.pdf",
    "run.json",
)
"""What `write_results` writes for a case with a scan and variants.

The labels of further scans go into labels-2.nii.gz, labels-3.nii.gz, ...
"""
_RESULT_NAME = re.compile(
    rf"(labels-[0-9]+\.nii\.gz|{'|'.join(re.escape(name) for name in RESULT_FILES)})"
)


@dataclass(frozen=True)
class AnalyseOptions:
    """What to do with a case; the defaults live here.

    Attributes
    ----------
    segment_model, classify_model : str or None
        Names in the catalogue; None leaves the step out.
    device : {"auto", "cpu", "cuda", "mps"}
    vcf : Path or None
    sample : str or None
        Naming the sample also says that it is this patient, whatever its id.
    reference, genes : Path or None
        FASTA and GFF3; not needed where the VCF is annotated.
    channels : mapping of str to Volume
        For a segmentation model of several input channels: the scan for each but the first.
    """

    segment_model: str | None = "lung-nodule"
    classify_model: str | None = "lung-nodule-malignancy"
    device: str = "auto"
    vcf: Path | None = None
    sample: str | None = None
    reference: Path | None = None
    genes: Path | None = None
    channels: Mapping[str, Volume] = field(default_factory=dict)


def find_lesions(
    volume: Volume,
    options: AnalyseOptions,
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> LesionSet:
    """Segment, measure and classify the lesions of one scan.

    Raises
    ------
    InputError
        If a model does not exist, does not fit, or is not for this scan.
    CancelledError
    """
    from napari_precimed.models.catalogue import find
    from napari_precimed.models.classify import classify
    from napari_precimed.models.segment import segment

    if options.segment_model is None:
        raise InputError("No segmentation model was named; choose one with --model.")
    found = segment(
        volume,
        options.segment_model,
        channels=options.channels,
        device=options.device,
        progress=progress,
        cancelled=cancelled,
    )
    if progress:
        progress("measure", 0, None)
    finding = find(options.segment_model).finding
    lesions = measure(
        found.labels, volume, finding=finding, confidence=found.confidence, runs=(found.run,)
    )
    if found.findings:
        named = [replace(each, finding=found.findings.get(each.label)) for each in lesions]
        lesions = lesions.with_lesions(named)
    classifier = _classifier(options)
    if classifier is None:
        return lesions
    return classify(
        volume,
        lesions,
        classifier,
        device=options.device,
        progress=progress,
        cancelled=cancelled,
    )


def score_variants(
    options: AnalyseOptions,
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> VariantReport:
    """Score the variants of `options.vcf`.

    Raises
    ------
    InputError
        If the VCF, its sample, the reference or the genes cannot be used.
    CancelledError
    """
    from genomics.errors import CancelledError as GenomicsCancelled
    from genomics.errors import InputError as GenomicsInputError
    from genomics.score import score_vcf

    if options.vcf is None:
        raise InputError("No VCF was named; give one with --vcf.")

    def report(done: int, total: int | None) -> None:
        if progress:
            progress("variants", done, total)

    try:
        return score_vcf(
            options.vcf,
            sample=options.sample,
            reference=options.reference,
            genes=options.genes,
            progress=report,
            cancelled=cancelled,
        )
    except GenomicsCancelled as error:
        raise CancelledError(str(error)) from error
    except GenomicsInputError as error:
        raise InputError(str(error)) from error


def analyse(
    case: Case,
    options: AnalyseOptions,
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Case:
    """Do for a case all that the options ask for; what can be refused is refused first.

    Parameters
    ----------
    case : Case
        With its scans; lesions are looked for in the first.
    options : AnalyseOptions

    Returns
    -------
    Case
        With lesions and variants attached.

    Raises
    ------
    PatientMismatchError
        If the VCF's sample is not this patient, before any computing.
    InputError, CancelledError
    """
    mapped = False
    if options.vcf is not None:
        options, mapped = _with_sample(case, options)
    if case.volumes:
        check_models(case.volumes[0], options)
    if options.vcf is not None:
        report = score_variants(options, progress=progress, cancelled=cancelled)
        case = case.attach_variants(report, mapped=mapped)
    if case.volumes and options.segment_model is not None:
        lesions = find_lesions(case.volumes[0], options, progress=progress, cancelled=cancelled)
        case = case.attach_lesions(lesions)
    return case


def check_models(volume: Volume, options: AnalyseOptions) -> None:
    """Refuse now what would otherwise stop the work when it comes to the models.

    Raises
    ------
    InputError
        If a model does not exist, is broken, does another task or is not for this scan, or the
        device does not exist.
    """
    from napari_precimed.models.bundle import load_network
    from napari_precimed.models.catalogue import find
    from napari_precimed.models.inference import choose_engine

    choose_engine(options.device)
    for name, task in (
        (options.segment_model, "segmentation"),
        (_classifier(options), "classification"),
    ):
        if name is not None:
            entry = find(name)
            entry.check(task, volume.modality)
            load_network(entry)  # kept in memory, so that it is loaded only once


def _classifier(options: AnalyseOptions) -> str | None:
    """The classification model, unless it is for other lesions than those to be segmented."""
    from napari_precimed.models.catalogue import find

    if options.segment_model is None or options.classify_model is None:
        return options.classify_model
    same = find(options.classify_model).finding == find(options.segment_model).finding
    return options.classify_model if same else None


def _with_sample(case: Case, options: AnalyseOptions) -> tuple[AnalyseOptions, bool]:
    """Choose the sample that is this patient, and say whether the user had to map it.

    Another patient's VCF is refused here, before minutes are spent on it. Among several samples
    the one with the patient's id is taken. A VCF without samples has none to be named: any
    `sample` then says that the variants are this patient's.
    """
    from genomics.errors import InputError as GenomicsInputError
    from genomics.vcf import samples

    if options.vcf is None:
        return options, False
    try:
        names = samples(options.vcf)
    except GenomicsInputError as error:
        raise InputError(str(error)) from error
    if options.sample is not None:
        if not names:
            return replace(options, sample=None), True
        if options.sample not in names:
            raise InputError(
                f"'{options.vcf}' has no sample '{options.sample}'; it has {', '.join(names)}. "
                "Name one of them with --sample."
            )
        return options, options.sample != case.patient.id
    if case.patient.id in names:
        return replace(options, sample=case.patient.id), False
    if len(names) > 1:
        raise PatientMismatchError(case.patient.id, None, names)
    raise PatientMismatchError(case.patient.id, names[0] if names else None)


def write_results(case: Case, folder: str | Path) -> dict[str, Path]:
    """Write labels, tables, report and run record of a case, all of them or none.

    Parameters
    ----------
    case : Case
    folder : path
        Created where missing. The results of an earlier run in it are replaced, all of them: the
        variants of one patient must not stay beside the report of another.

    Returns
    -------
    dict of str to Path
        File name -> where it is; only those that the case has content for.

    Raises
    ------
    OutputError
        If the folder cannot be written, or a scan of the case lies in it under the name of a
        result; the folder is then as it was before.
    """
    from napari_precimed.export import report, table
    from napari_precimed.io.itk import write_labels

    folder = Path(folder)
    _refuse_to_replace_a_scan(case, folder)
    with draft_of(folder) as draft:
        for name, lesions, volume in table.label_files(case):
            write_labels(draft / name, lesions.labels, volume)
        if case.lesion_sets:
            table.write_lesions_csv(draft / "lesions.csv", case)
            table.write_lesions_json(draft / "lesions.json", case)
        if case.variants is not None:
            table.write_variants_tsv(draft / "variants.tsv", case.variants)
        content = report.report_content(case)  # once: it draws the pictures
        report.write_html(content, draft / "report.html")
        report.write_pdf(content, draft / "report.pdf")
        table.write_run_json(draft / "run.json", case)
        return publish(draft, folder, _results_in(folder))


def _refuse_to_replace_a_scan(case: Case, folder: Path) -> None:
    """The scans themselves must not go the way of an earlier run's results."""
    scans = [Path(volume.source.path) for volume in case.volumes if volume.source]
    for result in _results_in(folder):
        if any(scan.is_file() and scan.samefile(result) for scan in scans):
            raise OutputError(
                f"'{result}' is a scan of this case and would be replaced by the results; choose "
                "another folder."
            )


def _results_in(folder: Path) -> list[Path]:
    """The results of an earlier run; a folder of such a name is none."""
    if not folder.is_dir():
        return []
    return sorted(
        each
        for each in folder.iterdir()
        if _RESULT_NAME.fullmatch(each.name) and (each.is_symlink() or not each.is_dir())
    )


def check_output_folder(folder: str | Path) -> None:
    """Raise `OutputError` now, if results could not be written there later."""
    folder = Path(folder)
    with draft_of(folder):
        check_writable(folder / RESULT_FILES[0])
        for name in RESULT_FILES:
            if (folder / name).is_dir():
                raise OutputError(
                    f"'{folder / name}' is a folder, where a result is to be written; choose "
                    "another folder."
                )
