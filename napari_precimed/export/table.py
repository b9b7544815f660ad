"""Lesions as CSV and JSON, variants as TSV, and the record of what was run.

Unknown is an empty cell or null, never 0. Positions are world (x, y, z) in LPS millimetres; slice
numbers count from 1 along the slices as they are stored.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from napari_precimed._version import __version__
from napari_precimed.core.files import atomic_path
from napari_precimed.core.geometry import Geometry
from napari_precimed.core.lesion import Lesion, LesionSet
from napari_precimed.core.patient import Case
from napari_precimed.core.volume import Volume

JSON_FORMAT = "napari-precimed lesions 1"
"""What `lesions.json` says it is; the number grows when a reader would have to change."""

_WHOLE_NUMBERS = (
    "label",
    "slice",
    "slices",
    *(f"bbox_{a}_{e}" for a in "zyx" for e in ("start", "stop")),
)


class VariantTable(Protocol):
    """What the tables need of a variant report; `genomics.report.VariantReport` fits."""

    @property
    def sample_id(self) -> str | None:
        """The sample the variants were read for; None where the VCF names none."""
        ...

    def to_frame(self) -> pd.DataFrame:
        """One row per variant, in the order of the VCF."""
        ...


def stored_slice(volume: Volume, point_mm: tuple[float, float, float]) -> tuple[int, int]:
    """Find the slice of the stored series that holds a world position.

    Parameters
    ----------
    volume : Volume
    point_mm : (x, y, z)
        LPS millimetres.

    Returns
    -------
    number, count : int
        The slice, from 1, along the stored array's slowest axis, and how many slices there are.
        For a DICOM series the slices count in order of position, not by InstanceNumber.
    """
    grid = volume.geometry
    if volume.source is not None:
        grid = grid.as_stored(volume.source.axis_order)
    index = int(np.rint(grid.world_to_index(point_mm)[0]))
    return min(max(index, 0), grid.shape[0] - 1) + 1, grid.shape[0]


def lesion_frame(lesions: LesionSet, volume: Volume | None = None) -> pd.DataFrame:
    """One row per lesion, in the order of the set.

    Parameters
    ----------
    lesions : LesionSet
    volume : Volume, optional
        The scan they were found in; without it slice numbers and the unit of the intensities are
        left empty.

    Returns
    -------
    pandas.DataFrame
        Units are in the column names; `mean_intensity` and `sd_intensity` are in the unit that
        `intensity_unit` names, in the scan's own grey values where that is empty. One
        `probability_<class>` column per class that any lesion has, and one `attribute_<name>`
        column, on the readers' scale, per attribute.
    """
    named = (
        sorted({name for lesion in lesions for name in lesion.probabilities or ()}),
        sorted({name for lesion in lesions for name in lesion.attributes or ()}),
    )
    rows = [_flat(lesion, lesions, volume, *named) for lesion in lesions]
    columns = list(_flat(_NO_LESION, lesions, volume, *named))
    frame = pd.DataFrame(rows, columns=columns)
    return frame.astype(dict.fromkeys(_WHOLE_NUMBERS, "Int64"))


def lesion_sets(case: Case) -> Iterator[tuple[LesionSet, Volume | None]]:
    """Each lesion set with the scan it was found in, None where the scan is not at hand."""
    for lesions in case.lesion_sets:
        yield lesions, next((v for v in case.volumes if case.lesions_of(v) is lesions), None)


def label_files(case: Case) -> Iterator[tuple[str, LesionSet, Volume]]:
    """Each scan with lesions, and the name of the file for its labels.

    The first is ``labels.nii.gz``, then ``labels-2.nii.gz`` and so on, in the order of the scans.
    """
    found = ((case.lesions_of(volume), volume) for volume in case.volumes)
    known = ((lesions, volume) for lesions, volume in found if lesions is not None)
    for number, (lesions, volume) in enumerate(known, start=1):
        yield "labels.nii.gz" if number == 1 else f"labels-{number}.nii.gz", lesions, volume


def write_lesions_csv(path: str | Path, case: Case) -> None:
    """Write the lesions of all scans of a case as one CSV table.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    frames = []
    for lesions, volume in lesion_sets(case):
        frame = lesion_frame(lesions, volume)
        frame.insert(1, "labels_file", _labels_file(case, lesions))
        frames.append(frame)
    table = pd.concat(frames or [lesion_frame(_NO_LESIONS)], ignore_index=True)
    table.insert(0, "patient_id", case.patient.id)
    with atomic_path(path) as partial:
        table.to_csv(partial, index=False, encoding="utf-8", lineterminator="\n")


def write_lesions_json(path: str | Path, case: Case) -> None:
    """Write the lesions of all scans of a case, with axis end points, grids and run records.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    _write_json(
        path,
        {
            "format": JSON_FORMAT,
            "patient_id": case.patient.id,
            "lesion_sets": [
                {"labels_file": _labels_file(case, lesions), **_set_record(lesions, volume)}
                for lesions, volume in lesion_sets(case)
            ],
        },
    )


def write_variants_tsv(path: str | Path, report: VariantTable | None) -> None:
    """Write one row per variant; an empty file with a header where no variants were read.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    frame = pd.DataFrame(columns=["sample_id"]) if report is None else report.to_frame()
    if "sample_id" not in frame.columns:
        frame.insert(0, "sample_id", None if report is None else report.sample_id)
    with atomic_path(path) as partial:
        frame.to_csv(partial, sep="\t", index=False, encoding="utf-8", lineterminator="\n")


def run_json(case: Case) -> dict[str, Any]:
    """What was run on what, with which models and options, as plain JSON values."""
    return {
        "napari_precimed": __version__,
        "case_id": case.id,
        "patient_id": case.patient.id,
        "sample_link": asdict(case.sample_link) if case.sample_link else None,
        "scans": [_volume_record(volume) for volume in case.volumes],
        "lesion_sets": [
            {
                "series_uid": lesions.series_uid,
                "lesions": len(lesions),
                "runs": [run.to_dict() for run in lesions.runs],
            }
            for lesions in case.lesion_sets
        ],
        "variants": None if case.variants is None else _variants_record(case.variants),
        "notes": plain(case.notes),
    }


def write_run_json(path: str | Path, case: Case) -> None:
    """Write `run_json`.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    _write_json(path, run_json(case))


def plain(value: Any) -> Any:
    """Turn a value into what JSON can say; a number that is none (NaN, infinity) becomes null."""
    if hasattr(value, "to_dict"):
        return plain(value.to_dict())
    if hasattr(value, "__dataclass_fields__"):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return str(value)


_NO_LESION = Lesion(0, 0.0, 0.0, (0.0, 0.0, 0.0), ((0, 0), (0, 0), (0, 0)))
_NO_LESIONS = LesionSet(np.zeros((1, 1, 1), np.uint8), Geometry.from_parts((1, 1, 1)))


def _flat(
    lesion: Lesion,
    lesions: LesionSet,
    volume: Volume | None,
    classes: list[str],
    attributes: list[str],
) -> dict[str, Any]:
    """One row of the CSV table."""
    x, y, z = lesion.centroid_mm
    number, count = stored_slice(volume, lesion.centroid_mm) if volume else (None, None)
    probabilities = lesion.probabilities or {}
    return {
        "series_uid": lesions.series_uid,
        "label": lesion.label,
        "finding": lesion.finding,
        "slice": number,
        "slices": count,
        "centroid_x_mm": x,
        "centroid_y_mm": y,
        "centroid_z_mm": z,
        "volume_mm3": lesion.volume_mm3,
        "surface_mm2": lesion.surface_mm2,
        "equivalent_diameter_mm": lesion.equivalent_diameter_mm,
        "long_axis_mm": lesion.long_axis_mm,
        "short_axis_mm": lesion.short_axis_mm,
        "mean_intensity": lesion.mean_intensity,
        "sd_intensity": lesion.sd_intensity,
        "intensity_unit": volume.intensity_unit if volume else None,
        "touches_border": lesion.touches_border,
        "confidence": lesion.confidence,
        **{f"probability_{name}": probabilities.get(name) for name in classes},
        **{f"attribute_{name}": (lesion.attributes or {}).get(name) for name in attributes},
        **{
            f"bbox_{axis}_{end}": limits[k]
            for axis, limits in zip("zyx", lesion.bbox, strict=True)
            for k, end in enumerate(("start", "stop"))
        },
        "comment": lesion.comment,
    }


def _labels_file(case: Case, lesions: LesionSet) -> str | None:
    """The file that holds the labels of a set; None where its scan is not at hand."""
    return next((name for name, each, _ in label_files(case) if each is lesions), None)


def _set_record(lesions: LesionSet, volume: Volume | None) -> dict[str, Any]:
    """One lesion set in `lesions.json`."""
    return {
        "series_uid": lesions.series_uid,
        "scan": _volume_record(volume) if volume else None,
        "shape_zyx": list(lesions.geometry.shape),
        "spacing_zyx_mm": list(lesions.geometry.spacing_mm),
        "index_zyx_to_world_xyz": lesions.geometry.affine.tolist(),
        "lesions": [_lesion_record(lesion, volume) for lesion in lesions],
        "runs": [run.to_dict() for run in lesions.runs],
    }


def _lesion_record(lesion: Lesion, volume: Volume | None) -> dict[str, Any]:
    """One lesion in `lesions.json`."""
    number, count = stored_slice(volume, lesion.centroid_mm) if volume else (None, None)
    return {
        **asdict(lesion),
        "equivalent_diameter_mm": lesion.equivalent_diameter_mm,
        "slice": number,
        "slices": count,
        "intensity_unit": volume.intensity_unit if volume else None,
    }


def _volume_record(volume: Volume) -> dict[str, Any]:
    """Which scan it was."""
    return {
        "patient_id": volume.patient_id,
        "study_uid": volume.study_uid,
        "series_uid": volume.series_uid,
        "series_description": volume.series_description,
        "study_date": volume.study_date,
        "modality": volume.modality,
        "shape_zyx": list(volume.geometry.shape),
        "spacing_zyx_mm": list(volume.geometry.spacing_mm),
        "path": volume.source.path if volume.source else None,
        "format": volume.source.format if volume.source else None,
        "notes": list(volume.source.notes) if volume.source else [],
    }


def _variants_record(report: Any) -> dict[str, Any]:
    """What was read and scored of the genome, and by which model."""
    return {
        "sample_id": report.sample_id,
        "ledger": plain(report.ledger),
        "run": plain(report.run),
    }


def _write_json(path: str | Path, value: Any) -> None:
    text = json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_path(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")
