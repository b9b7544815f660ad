"""A case made into the content of its report."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import PurePath

from napari_precimed._version import __version__
from napari_precimed.core.lesion import Lesion, LesionSet
from napari_precimed.core.patient import Case
from napari_precimed.core.volume import Volume
from napari_precimed.export import wording as say
from napari_precimed.export.content import Picture, ReportContent, Table
from napari_precimed.export.pictures import grey_window, lesion_jpeg, section_of
from napari_precimed.export.runs import run_blocks
from napari_precimed.export.table import lesion_sets, plain, stored_slice
from napari_precimed.export.variants import ledger_table, variant_table, variants_sentence

MAX_PICTURES = 20
OBLIQUE_DEG = 0.5
LIMITS = (
    "Lesions are what the segmentation model outlined. It misses lesions and marks things that are "
    "none: every mark needs a reader, and so does the rest of the scan.",
    "Volumes and diameters are those of the outline. Long and short axis follow RECIST 1.1: the "
    "longest diameter in an acquisition plane, and the longest perpendicular to it there.",
    "Only variants in the VCF are reported. A gene without a variant here may not have been "
    "sequenced well enough; a variant without a score is not thereby harmless.",
    "Scores of variants are probabilities at the share of pathogenic variants in the model's "
    "training data. They are no classification by ACMG/AMP rules and no basis for treatment.",
)
_NODULE_LIMIT = (
    "The lung-nodule model was trained on nodules of 3 to 30 mm. Masses over 3 cm are not outlined "
    "whole; pieces of their rim may be listed as nodules."
)
_NODULE_MODEL = "lung-nodule"
_READERS_OPINION_MODEL = "lung-nodule-malignancy"

_LesionsOfScan = tuple[LesionSet, Volume | None]


def report_content(case: Case) -> ReportContent:
    """Gather what a report of this case says.

    Parameters
    ----------
    case : Case
        Lesion sets whose scan is not at hand are reported without pictures.
    """
    found = list(lesion_sets(case))
    pictures, picture_note = _pictures(found)
    return ReportContent(
        title="Imaging and variant report",
        patient=say.shortened(case.patient.id, 48) if case.patient.id else "Patient without an id",
        identity=_identity(case),
        warnings=tuple(dict.fromkeys(say.shortened(w, 600) for w in _warnings(case, found))),
        series=_series_table(case),
        summary=f"{_lesions_sentence(found)} {variants_sentence(case.variants)}",
        lesions=tuple(_lesion_table(lesions, volume) for lesions, volume in found),
        pictures=pictures,
        picture_note=picture_note,
        variants=variant_table(case.variants),
        ledger=ledger_table(case.variants),
        runs=tuple(run_blocks(case)),
        limits=_limits(found),
        created=f"napari-precimed {__version__}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    )


def _limits(found: list[_LesionsOfScan]) -> tuple[str, ...]:
    """What holds for every report, and for the model that ran."""
    ran = {
        (run.model or "").partition(" ")[0]
        for lesions, _ in found
        for run in lesions.runs
        if run.task == "segment"
    }
    return (LIMITS[0], _NODULE_LIMIT, *LIMITS[1:]) if _NODULE_MODEL in ran else LIMITS


def _identity(case: Case) -> tuple[tuple[str, str], ...]:
    patient, link = case.patient, case.sample_link
    facts = [
        ("Patient", patient.id),
        ("Name", patient.name),
        ("Sex", patient.sex),
        ("Born", say.date(patient.birth_date) if patient.birth_date else None),
    ]
    if link:
        how = "same id as the scan" if link.reason == "same id" else link.reason
        facts.append(("Sample", f"{link.sample_id or '(unnamed)'} ({how}, {link.linked_at[:10]})"))
    return tuple(
        (name, say.shortened(value)) for name, value in facts if value or name == "Patient"
    )


def _warnings(case: Case, found: list[_LesionsOfScan]) -> Iterator[str]:
    """What changes how the report is to be read."""
    if case.patient.id is None:
        yield "The scan names no patient; check that this report is filed with the right one."
    link = case.sample_link
    if link and link.reason != "same id":
        yield (
            f"The VCF does not name this patient: its sample '{link.sample_id or '(unnamed)'}' was "
            f"{link.reason}, for {link.patient_id or 'a patient without an id'}. Check that scan "
            "and sample are of one person."
        )
    yield from (str(text) for text in case.notes.get("warnings", ()))
    for volume in case.volumes:
        name = _series_name(volume)
        yield from (f"{name}: {note}" for note in (volume.source.notes if volume.source else ()))
        if volume.geometry.obliquity_deg > OBLIQUE_DEG:
            yield (
                f"{name} is tilted by {volume.geometry.obliquity_deg:.1f}° against the patient's "
                "axes. Positions and measurements use the exact transform; pictures show the "
                "slices as acquired."
            )
    for lesions, _ in found:
        yield from (f"{run.task}: {text}" for run in lesions.runs for text in run.warnings)
        cut = [lesion.label for lesion in lesions if lesion.touches_border]
        if cut:
            yield (
                f"{'Lesion' if len(cut) == 1 else 'Lesions'} {say.listed(cut)} "
                f"{'reaches' if len(cut) == 1 else 'reach'} the edge of the scan and may go on "
                "outside: volume and diameters are lower bounds."
            )
    run = plain(getattr(case.variants, "run", None)) or {}
    yield from (f"{run.get('task', 'variants')}: {text}" for text in run.get("warnings") or ())


def _series_table(case: Case) -> Table:
    rows = []
    for volume in case.volumes:
        spacing = " × ".join(f"{mm:.3g}" for mm in volume.geometry.spacing_mm)
        count, *_ = volume.source.axis_order.undo(volume.array).shape if volume.source else (
            volume.geometry.shape
        )  # fmt: skip
        rows.append(
            (
                volume.modality or say.UNKNOWN,
                say.shortened(volume.series_description),
                say.date(volume.study_date),
                spacing,
                str(count),
                say.shortened(PurePath(volume.source.path).name) if volume.source else say.UNKNOWN,
            )
        )
    return Table(
        "Series",
        ("Modality", "Description", "Date", "Spacing z × y × x (mm)", "Slices", "Source"),
        (1.0, 2.2, 1.2, 1.9, 0.8, 2.2),
        tuple(rows),
        (),
        "No scan is at hand.",
    )


def _lesions_sentence(found: list[_LesionsOfScan]) -> str:
    every = [(lesion, volume) for lesions, volume in found for lesion in lesions]
    if not found:
        return "No lesions were looked for."
    if not every:
        return "No lesion was found."
    largest, volume = max(every, key=lambda pair: pair[0].volume_mm3)
    findings = {lesion.finding for lesion, _ in every}
    name = findings.pop() if len(findings) == 1 else None
    which = "; the largest is" if len(every) > 1 else ":"
    size = f"{say.diameters(largest)} mm, " if largest.long_axis_mm is not None else ""
    where = f", slice {_slice(largest, volume)}" if volume else ""
    return (
        f"{say.count(len(every), name or 'lesion')} found{which} number {largest.label} "
        f"({size}{say.number(largest.volume_mm3, 0)} mm³{where})."
    )


def _lesion_table(lesions: LesionSet, volume: Volume | None) -> Table:
    unit = volume.intensity_unit if volume else None
    series = _series_name(volume) if volume else "a scan that is not at hand"
    return Table(
        f"Lesions in {series}",
        (
            "No.",
            "Finding",
            "Slice",
            "Position (mm)",
            "Volume (mm³)",
            "Long × short axis (mm)",
            f"Mean density ({unit})" if unit else "Mean intensity (no unit)",
            "Class probabilities",
            "Confidence",
            "At edge",
        ),
        (0.45, 1.15, 0.95, 1.35, 0.95, 1.2, 1.05, 1.45, 1.15, 0.6),
        tuple(_lesion_row(lesion, volume) for lesion in lesions),
        tuple(_lesion_notes(lesions, volume)),
        "No lesion was found in this scan.",
    )


def _lesion_row(lesion: Lesion, volume: Volume | None) -> tuple[str, ...]:
    return (
        str(lesion.label),
        say.shortened(lesion.finding),
        _slice(lesion, volume),
        say.place(lesion.centroid_mm),
        say.number(lesion.volume_mm3, 0 if lesion.volume_mm3 >= 10 else 1),
        say.diameters(lesion),
        say.number(lesion.mean_intensity, 0),
        say.probabilities(lesion.probabilities),
        say.number(lesion.confidence, 2),
        "yes" if lesion.touches_border else "no",
    )


def _lesion_notes(lesions: LesionSet, volume: Volume | None) -> Iterator[str]:
    """What the reader of the lesion table must know."""
    is_dicom = volume is not None and volume.source is not None and volume.source.format == "DICOM"
    yield (
        "Slices count from 1 in order of position along the series, not by instance number, so a "
        "viewer may number them otherwise."
        if is_dicom
        else "Slices count from 1 as stored."
    )
    yield (
        "Positions are the centroid to the patient's right or left "
        "(R, L), anterior or posterior (A, P), superior or inferior (S, I) of the scanner's origin."
    )
    classifiers = [run.model or "" for run in lesions.runs if run.task == "classify"]
    if any(name.startswith(_READERS_OPINION_MODEL) for name in classifiers):
        yield (
            "Class probabilities are from a readers' opinion model: it learnt what radiologists "
            "thought of nodules, not what pathology found. They are no diagnosis."
        )
    elif any(lesion.probabilities for lesion in lesions):
        yield "What the class probabilities mean is said in the card of the model that gave them."
    if any(lesion.attributes for lesion in lesions):
        yield (
            "What readers would probably write is the model's guess on LIDC's scales, lowest to "
            "highest: subtlety 1 extremely subtle to 5 obvious; calcification 1 popcorn to 6 "
            "absent; margin 1 poorly defined to 5 sharp; lobulation and spiculation 1 none to 5 "
            "marked; texture 1 ground glass to 5 solid."
        )
    if any(lesion.confidence is not None for lesion in lesions):
        yield (
            "Confidence says how far an outline can be relied on, as the card of the model that "
            "drew it defines it; it is no probability that the mark is a lesion."
        )


def _pictures(found: list[_LesionsOfScan]) -> tuple[tuple[Picture, ...], str]:
    """Pictures of the largest lesions, in the order of the tables, and what is left out."""
    every = [(lesions, lesion, volume) for lesions, volume in found for lesion in lesions]
    drawable = [(lesions, lesion, volume) for lesions, lesion, volume in every if volume]
    by_size = sorted(range(len(drawable)), key=lambda k: -drawable[k][1].volume_mm3)
    shown = [drawable[k] for k in sorted(by_size[:MAX_PICTURES])]
    notes = []
    if len(drawable) > len(shown):
        notes.append(
            f"Pictures of the {len(shown)} largest of {len(drawable)} lesions; all are in the "
            "table and in lesions.csv."
        )
    if len(every) > len(drawable):
        notes.append(
            f"{say.count(len(every) - len(drawable), 'lesion has', 'lesions have')} no picture: "
            "the scan is not at hand."
        )
    return tuple(_picture(*each) for each in shown), " ".join(notes)


def _picture(lesions: LesionSet, lesion: Lesion, volume: Volume) -> Picture:
    section = section_of(lesions, lesion)
    unit = volume.intensity_unit or "(no unit)"
    lines = [
        f"Slice {_slice(lesion, volume)}, {section.name}",
        f"{say.diameters(lesion)} mm, {say.number(lesion.volume_mm3, 0)} mm³",
        f"Mean {say.number(lesion.mean_intensity, 0)} {unit}",
    ]
    if lesion.probabilities:
        lines.append(f"{say.probabilities(lesion.probabilities)} (model)")
    if lesion.attributes:
        lines.append(f"Readers would probably write: {say.attributes(lesion.attributes)}")
    if lesion.touches_border:
        lines.append("Reaches the edge of the scan")
    if lesion.comment:
        lines.append(say.shortened(lesion.comment, 200))
    window = grey_window(volume, section, lesion.finding)[2]
    lines.append(
        f"Yellow: outline. Blue: long axis; dashed: short axis. {window[0].upper()}{window[1:]}."
    )
    title = f"Lesion {lesion.label}: {say.shortened(lesion.finding or 'finding not named', 60)}"
    return Picture(title, tuple(lines), lesion_jpeg(volume, lesions, lesion))


def _series_name(volume: Volume) -> str:
    named = " ".join(filter(None, (volume.modality, volume.series_description)))
    if named or volume.source is None:
        return say.shortened(named) if named else "the scan"
    return say.shortened(PurePath(volume.source.path).name)


def _slice(lesion: Lesion, volume: Volume | None) -> str:
    if volume is None:
        return say.UNKNOWN
    number, count = stored_slice(volume, lesion.centroid_mm)
    return f"{number} of {count}"
