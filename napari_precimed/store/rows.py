"""A case as rows, and rows as a case again."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from genomics.report import VariantReport
from napari_precimed.core.geometry import Geometry
from napari_precimed.core.lesion import Lesion, LesionSet, Point
from napari_precimed.core.patient import Case, Patient, SampleLink
from napari_precimed.core.run import RunRecord
from napari_precimed.core.volume import Volume
from napari_precimed.store.tables import (
    CaseRow,
    LesionRow,
    LesionSetRow,
    VariantReportRow,
    VolumeRow,
)

_SCALARS = (
    "label",
    "finding",
    "volume_mm3",
    "surface_mm2",
    "long_axis_mm",
    "short_axis_mm",
    "mean_intensity",
    "sd_intensity",
    "touches_border",
    "confidence",
    "comment",
)


def case_row(case: Case, saved_at: str) -> CaseRow:
    """The row of a case without its volumes, lesion sets and variants."""
    return CaseRow(
        id=case.id,
        patient_id=case.patient.id,
        patient_name=case.patient.name,
        patient_sex=case.patient.sex,
        patient_birth_date=case.patient.birth_date,
        saved_at=saved_at,
        sample_link=asdict(case.sample_link) if case.sample_link else None,
    )


def patient_of(row: CaseRow) -> Patient:
    """The inverse of `case_row`."""
    return Patient(row.patient_id, row.patient_name, row.patient_sex, row.patient_birth_date)


def sample_link_of(row: CaseRow) -> SampleLink | None:
    """Why the VCF sample is held to be the patient."""
    return SampleLink(**row.sample_link) if row.sample_link else None


def volume_values(volume: Volume) -> dict[str, Any]:
    """What is kept of a scan: where it is, and what it must look like when it is read again."""
    source = volume.source
    return {
        "path": _lasting_path(source.path) if source and source.path else None,
        "format": source.format if source else None,
        "patient_id": volume.patient_id,
        "study_uid": volume.study_uid,
        "series_uid": volume.series_uid,
        "series_description": volume.series_description,
        "study_date": volume.study_date,
        "modality": volume.modality,
        "shape_zyx": list(volume.geometry.shape),
        "affine": volume.geometry.affine.tolist(),
        "voxels_sha256": voxels_sha256(volume.array),
    }


def values_of_volume(row: VolumeRow) -> dict[str, Any]:
    """The inverse of ``VolumeRow(**volume_values(volume))``."""
    return {
        column.name: getattr(row, column.name)
        for column in VolumeRow.__table__.columns
        if column.name not in ("id", "case_id", "position")
    }


def voxels_sha256(array: NDArray[Any]) -> str:
    """SHA-256 of the voxels in (z, y, x) order, whatever their layout in memory and byte order."""
    digest = hashlib.sha256()
    little = array.dtype.newbyteorder("<")
    for plane in array:
        digest.update(np.ascontiguousarray(plane, dtype=little).data)
    return digest.hexdigest()


def lesion_set_row(lesions: LesionSet, position: int) -> LesionSetRow:
    """The row of a lesion set; its labels are cropped to where there are any, and compressed."""
    start, block = _crop(lesions.labels)
    return LesionSetRow(
        position=position,
        series_uid=lesions.series_uid,
        source_path=_lasting_path(lesions.source_path) if lesions.source_path else None,
        shape_zyx=list(lesions.geometry.shape),
        affine=lesions.geometry.affine.tolist(),
        block_start_zyx=start,
        block_shape_zyx=list(block.shape),
        block_type=block.dtype.str,
        labels_type=lesions.labels.dtype.str,
        block=zlib.compress(block.tobytes(), level=1),
        runs=[run.to_dict() for run in lesions.runs],
        lesions=[_lesion_row(lesion, k) for k, lesion in enumerate(lesions)],
    )


def lesion_set_of(row: LesionSetRow) -> LesionSet:
    """The inverse of `lesion_set_row`."""
    labels = np.zeros(row.shape_zyx, np.dtype(row.labels_type))
    block = np.frombuffer(zlib.decompress(row.block), np.dtype(row.block_type))
    where = tuple(
        slice(start, start + extent)
        for start, extent in zip(row.block_start_zyx, row.block_shape_zyx, strict=True)
    )
    labels[where] = block.reshape(row.block_shape_zyx)
    z, y, x = row.shape_zyx
    return LesionSet(
        labels,
        Geometry((z, y, x), np.array(row.affine)),
        tuple(_lesion_of(lesion) for lesion in row.lesions),
        tuple(RunRecord.from_dict(run) for run in row.runs),
        row.series_uid,
        row.source_path,
    )


def variant_report_row(report: VariantReport) -> VariantReportRow:
    """The row that gives the report back."""
    return VariantReportRow(
        sample_id=report.sample_id,
        n_variants=len(report.scored),
        content=zlib.compress(report.to_json().encode(), level=1),
    )


def variant_report_of(row: VariantReportRow) -> VariantReport:
    """The inverse of `variant_report_row`."""
    return VariantReport.from_json(zlib.decompress(row.content).decode())


def variant_values(case_id: str, report: VariantReport) -> Iterator[dict[str, Any]]:
    """The rows to search in, one per variant in the report's order."""
    for position, each in enumerate(report.scored):
        consequence = each.consequence
        yield {
            "case_id": case_id,
            "position_in_report": position,
            "chrom": each.variant.chrom,
            "position": each.variant.position,
            "ref": each.variant.ref,
            "alt": each.variant.alt,
            "gene": consequence.gene if consequence else None,
            "consequence": "&".join(consequence.terms) if consequence else None,
            "score": each.score,
            "classification": each.classification.label if each.classification else None,
        }


def _lasting_path(path: str) -> str:
    """The path that still leads there from another working folder; others stay as they are."""
    return str(Path(path).absolute()) if Path(path).exists() else path


def _crop(labels: NDArray[Any]) -> tuple[list[int], NDArray[Any]]:
    """Start (z, y, x) and the smallest block, of the smallest type, that holds every label."""
    (where,) = ndimage.find_objects((labels != 0).view(np.uint8), max_label=1)
    if where is None:
        return [0, 0, 0], np.zeros((0, 0, 0), np.uint8)
    block = labels[where]
    smallest = np.result_type(np.min_scalar_type(block.min()), np.min_scalar_type(block.max()))
    return [part.start for part in where], block.astype(smallest.newbyteorder("<"))


def _lesion_row(lesion: Lesion, position: int) -> LesionRow:
    x, y, z = lesion.centroid_mm
    return LesionRow(
        position=position,
        centroid_x_mm=float(x),
        centroid_y_mm=float(y),
        centroid_z_mm=float(z),
        bbox=[[int(start), int(stop)] for start, stop in lesion.bbox],
        long_axis_ends_mm=_points(lesion.long_axis_ends_mm),
        short_axis_ends_mm=_points(lesion.short_axis_ends_mm),
        probabilities=None if lesion.probabilities is None else dict(lesion.probabilities),
        attributes=None if lesion.attributes is None else dict(lesion.attributes),
        **{name: _python_number(getattr(lesion, name)) for name in _SCALARS},
    )


def _lesion_of(row: LesionRow) -> Lesion:
    (z0, z1), (y0, y1), (x0, x1) = row.bbox
    return Lesion(
        centroid_mm=(row.centroid_x_mm, row.centroid_y_mm, row.centroid_z_mm),
        bbox=((z0, z1), (y0, y1), (x0, x1)),
        long_axis_ends_mm=_ends(row.long_axis_ends_mm),
        short_axis_ends_mm=_ends(row.short_axis_ends_mm),
        probabilities=row.probabilities,
        attributes=row.attributes,
        **{name: getattr(row, name) for name in _SCALARS},
    )


def _python_number(value: Any) -> Any:
    """NumPy's numbers as Python's: drivers store the former as bytes, or not at all."""
    return value.item() if isinstance(value, np.generic) else value


def _points(points: tuple[Point, Point] | None) -> list[list[float]] | None:
    return None if points is None else [[float(n) for n in point] for point in points]


def _ends(points: list[list[float]] | None) -> tuple[Point, Point] | None:
    if points is None:
        return None
    (ax, ay, az), (bx, by, bz) = points
    return (ax, ay, az), (bx, by, bz)
