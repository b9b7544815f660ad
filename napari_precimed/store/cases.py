"""CaseStore: save, find, load and delete patients' cases."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, delete, func, insert, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from genomics.errors import GenomicsError
from napari_precimed.core.patient import Case
from napari_precimed.errors import StoreError
from napari_precimed.store import rows, scans
from napari_precimed.store.database import (
    default_url,
    open_engine,
    prepare_tables,
    shown,
    transaction,
)
from napari_precimed.store.tables import (
    CaseRow,
    LesionRow,
    LesionSetRow,
    VariantReportRow,
    VariantRow,
    VolumeRow,
)


@dataclass(frozen=True)
class CaseSummary:
    """A case in a list.

    Attributes
    ----------
    id : str
    patient_id : str or None
    saved_at : datetime
        UTC.
    n_volumes, n_lesions, n_variants : int
    sample_id : str or None
        The VCF sample that is linked.
    """

    id: str
    patient_id: str | None
    saved_at: datetime
    n_volumes: int
    n_lesions: int
    n_variants: int
    sample_id: str | None


class CaseStore:
    """Cases in a database; safe to use from several threads and several programs.

    Parameters
    ----------
    url : str, optional
        A SQLAlchemy URL. PRECIMED_DATABASE if omitted, else a SQLite file in the platform's data
        folder.

    Raises
    ------
    StoreError
        If the database cannot be opened, or was made by a newer version.
    """

    def __init__(self, url: str | None = None) -> None:
        self._engine = open_engine(url or default_url())
        prepare_tables(self._engine)

    @property
    def location(self) -> str:
        """Where the cases are: a file, or a URL without its password."""
        url = self._engine.url
        if url.get_backend_name() == "sqlite":
            return url.database or ":memory:"
        return url.render_as_string(hide_password=True)

    def close(self) -> None:
        """Let go of the database; a later call opens it again."""
        self._engine.dispose()

    def save(self, case: Case) -> None:
        """Keep a case, in place of an earlier state of it. All of it is saved, or nothing.

        The voxels of its scans are not copied: `load` reads them again from their files.

        Raises
        ------
        StoreError
            If the database refuses, or holds this case under another patient.
        """
        with transaction(self._engine, writing=True) as session:
            self._refuse_another_patient(session, case)
            session.execute(delete(CaseRow).where(CaseRow.id == case.id))
            _insert(session, case)

    def load(self, case_id: str) -> Case:
        """Bring a case back, its scans read again from their files.

        A scan that is gone, or is no longer the one that was saved, is left out, and
        ``case.notes["warnings"]`` names its path and says why; lesions and variants are there all
        the same.

        Raises
        ------
        StoreError
            If there is no such case, or the database refuses.
        """
        with transaction(self._engine, writing=False) as session:
            row = session.get(CaseRow, case_id)
            if row is None:
                raise StoreError(f"{shown(self._engine.url)} holds no case '{case_id}'.")
            try:
                variants = rows.variant_report_of(row.variants) if row.variants else None
            except GenomicsError as error:
                raise StoreError(f"The variants of case '{case_id}' cannot be read: {error}") from (
                    error
                )
            stored = Case(
                patient=rows.patient_of(row),
                lesion_sets=tuple(rows.lesion_set_of(each) for each in row.lesion_sets),
                variants=variants,
                sample_link=rows.sample_link_of(row),
                id=row.id,
                notes=row.notes,
            )
            saved = [rows.values_of_volume(each) for each in row.volumes]
        return _with_scans(stored, saved)

    def summaries(self) -> list[CaseSummary]:
        """All cases, the one saved last first."""
        volumes = _count(VolumeRow.id, VolumeRow.case_id == CaseRow.id)
        lesions = _count(
            LesionRow.id,
            LesionRow.lesion_set_id == LesionSetRow.id,
            LesionSetRow.case_id == CaseRow.id,
        )
        query = (
            select(
                CaseRow.id,
                CaseRow.patient_id,
                CaseRow.saved_at,
                volumes,
                lesions,
                func.coalesce(VariantReportRow.n_variants, 0),
                VariantReportRow.sample_id,
            )
            .join(VariantReportRow, isouter=True)
            .order_by(CaseRow.saved_at.desc())
        )
        with transaction(self._engine, writing=False) as session:
            return [
                CaseSummary(row[0], row[1], datetime.fromisoformat(row[2]), *row[3:])
                for row in session.execute(query)
            ]

    def delete(self, case_id: str) -> None:
        """Forget a case: its lesions, variants and references; the scans' files stay.

        Raises
        ------
        StoreError
            If there is no such case, or the database refuses.
        """
        with transaction(self._engine, writing=True) as session:
            if session.get(CaseRow, case_id) is None:
                raise StoreError(f"{shown(self._engine.url)} holds no case '{case_id}'.")
            session.execute(delete(CaseRow).where(CaseRow.id == case_id))

    def _refuse_another_patient(self, session: Session, case: Case) -> None:
        held = session.scalars(select(CaseRow.patient_id).where(CaseRow.id == case.id)).first()
        if held is not None and held != case.patient.id:
            raise StoreError(
                f"Case '{case.id}' is of patient '{held}' and will not be overwritten with "
                f"patient '{case.patient.id}'; save the other patient as a case of its own."
            )


def _insert(session: Session, case: Case) -> None:
    """Add all rows of a case."""
    row = rows.case_row(case, datetime.now(UTC).isoformat(timespec="microseconds"))
    row.notes = scans.lasting_notes(case)
    row.volumes = [
        VolumeRow(position=k, **values) for k, values in enumerate(scans.references(case))
    ]
    row.lesion_sets = [rows.lesion_set_row(each, k) for k, each in enumerate(case.lesion_sets)]
    row.variants = rows.variant_report_row(case.variants) if case.variants is not None else None
    session.add(row)
    session.flush()
    if case.variants is not None and case.variants.scored:
        session.execute(insert(VariantRow), list(rows.variant_values(case.id, case.variants)))


def _with_scans(case: Case, saved: list[dict[str, Any]]) -> Case:
    """The case with its scans read again, and a warning for each that could not be."""
    found = [scans.reopen(reference, case.patient) for reference in saved]
    return Case(
        patient=case.patient,
        volumes=tuple(each.volume for each in found if each.volume is not None),
        lesion_sets=case.lesion_sets,
        variants=case.variants,
        sample_link=case.sample_link,
        id=case.id,
        notes=scans.notes_with(case.notes, found),
    )


def _count(
    column: InstrumentedAttribute[int], *conditions: ColumnElement[bool]
) -> ScalarSelect[int]:
    """How many rows there are, per case."""
    return select(func.count(column)).where(*conditions).correlate(CaseRow).scalar_subquery()
