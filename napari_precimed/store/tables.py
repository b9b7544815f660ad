"""What the database looks like."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, ForeignKey, LargeBinary, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

SCHEMA_VERSION = 3
"""Grows when the tables change; a database of a newer version is refused, not guessed at."""

UPGRADES = {
    1: (
        "ALTER TABLE precimed_lesion_set ADD COLUMN source_path TEXT",
        # Which of several scans a set was found in was not kept; of one there is no doubt.
        "UPDATE precimed_lesion_set SET source_path = ("
        "SELECT CASE WHEN count(*) = 1 THEN min(v.path) END FROM precimed_volume v "
        "WHERE v.case_id = precimed_lesion_set.case_id)",
    ),
    2: ("ALTER TABLE precimed_lesion ADD COLUMN attributes JSON",),
}
"""By version: the statements that make its tables those of the next."""

_JSON = JSON(none_as_null=True)


class Base(DeclarativeBase):
    """All tables of the store."""


class SchemaVersion(Base):
    """One row: the version of the tables."""

    __tablename__ = "precimed_schema"
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class CaseRow(Base):
    """One patient's case, and why its VCF sample is held to be the patient."""

    __tablename__ = "precimed_case"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    patient_id: Mapped[str | None] = mapped_column(Text, index=True)
    patient_name: Mapped[str | None] = mapped_column(Text)
    patient_sex: Mapped[str | None] = mapped_column(Text)
    patient_birth_date: Mapped[str | None] = mapped_column(Text)
    saved_at: Mapped[str] = mapped_column(String(40), index=True)
    sample_link: Mapped[dict[str, Any] | None] = mapped_column(_JSON)
    notes: Mapped[dict[str, Any]] = mapped_column(_JSON)
    volumes: Mapped[list[VolumeRow]] = relationship(order_by="VolumeRow.position")
    lesion_sets: Mapped[list[LesionSetRow]] = relationship(order_by="LesionSetRow.position")
    variants: Mapped[VariantReportRow | None] = relationship()


class VolumeRow(Base):
    """Where a scan is and what it must look like; its voxels stay in their own file."""

    __tablename__ = "precimed_volume"
    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[str] = mapped_column(
        ForeignKey("precimed_case.id", ondelete="CASCADE"), index=True
    )
    position: Mapped[int]
    path: Mapped[str | None] = mapped_column(Text)
    format: Mapped[str | None] = mapped_column(Text)
    patient_id: Mapped[str | None] = mapped_column(Text)
    study_uid: Mapped[str | None] = mapped_column(Text)
    series_uid: Mapped[str | None] = mapped_column(Text)
    series_description: Mapped[str | None] = mapped_column(Text)
    study_date: Mapped[str | None] = mapped_column(Text)
    modality: Mapped[str | None] = mapped_column(Text)
    shape_zyx: Mapped[list[int]] = mapped_column(_JSON)
    affine: Mapped[list[list[float]]] = mapped_column(_JSON)
    voxels_sha256: Mapped[str] = mapped_column(String(64))


class LesionSetRow(Base):
    """The labels of one scan as one compressed block, and how they came about."""

    __tablename__ = "precimed_lesion_set"
    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[str] = mapped_column(
        ForeignKey("precimed_case.id", ondelete="CASCADE"), index=True
    )
    position: Mapped[int]
    series_uid: Mapped[str | None] = mapped_column(Text)
    source_path: Mapped[str | None] = mapped_column(Text)
    shape_zyx: Mapped[list[int]] = mapped_column(_JSON)
    affine: Mapped[list[list[float]]] = mapped_column(_JSON)
    block_start_zyx: Mapped[list[int]] = mapped_column(_JSON)
    block_shape_zyx: Mapped[list[int]] = mapped_column(_JSON)
    block_type: Mapped[str] = mapped_column(String(8))
    labels_type: Mapped[str] = mapped_column(String(8))
    block: Mapped[bytes] = mapped_column(LargeBinary)
    runs: Mapped[list[dict[str, Any]]] = mapped_column(_JSON)
    lesions: Mapped[list[LesionRow]] = relationship(order_by="LesionRow.position")


class LesionRow(Base):
    """One lesion, its measurements as columns that a query can ask for."""

    __tablename__ = "precimed_lesion"
    id: Mapped[int] = mapped_column(primary_key=True)
    lesion_set_id: Mapped[int] = mapped_column(
        ForeignKey("precimed_lesion_set.id", ondelete="CASCADE"), index=True
    )
    position: Mapped[int]
    label: Mapped[int]
    finding: Mapped[str | None] = mapped_column(Text)
    volume_mm3: Mapped[float]
    surface_mm2: Mapped[float]
    centroid_x_mm: Mapped[float]
    centroid_y_mm: Mapped[float]
    centroid_z_mm: Mapped[float]
    long_axis_mm: Mapped[float | None]
    short_axis_mm: Mapped[float | None]
    mean_intensity: Mapped[float | None]
    sd_intensity: Mapped[float | None]
    touches_border: Mapped[bool]
    confidence: Mapped[float | None]
    comment: Mapped[str] = mapped_column(Text)
    bbox: Mapped[list[list[int]]] = mapped_column(_JSON)
    long_axis_ends_mm: Mapped[list[list[float]] | None] = mapped_column(_JSON)
    short_axis_ends_mm: Mapped[list[list[float]] | None] = mapped_column(_JSON)
    probabilities: Mapped[dict[str, float] | None] = mapped_column(_JSON)
    attributes: Mapped[dict[str, float] | None] = mapped_column(_JSON)


class VariantReportRow(Base):
    """The variant report in its own JSON, compressed."""

    __tablename__ = "precimed_variant_report"
    case_id: Mapped[str] = mapped_column(
        ForeignKey("precimed_case.id", ondelete="CASCADE"), primary_key=True
    )
    sample_id: Mapped[str | None] = mapped_column(Text)
    n_variants: Mapped[int]
    content: Mapped[bytes] = mapped_column(LargeBinary)


class VariantRow(Base):
    """One variant, to be searched for; the report's own JSON is what is read back."""

    __tablename__ = "precimed_variant"
    case_id: Mapped[str] = mapped_column(
        ForeignKey("precimed_case.id", ondelete="CASCADE"), primary_key=True
    )
    position_in_report: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    chrom: Mapped[str] = mapped_column(Text)
    position: Mapped[int]
    ref: Mapped[str] = mapped_column(Text)
    alt: Mapped[str] = mapped_column(Text)
    gene: Mapped[str | None] = mapped_column(Text, index=True)
    consequence: Mapped[str | None] = mapped_column(Text)
    score: Mapped[float | None]
    classification: Mapped[str | None] = mapped_column(Text)
