"""The open patient: scans, lesions and variants of one person, and the check that it is one."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from napari_precimed.core.lesion import LesionSet
from napari_precimed.core.volume import Volume
from napari_precimed.errors import GeometryError, InputError, PatientMismatchError


class Variants(Protocol):
    """What a case needs of a variant report; `genomics.report.VariantReport` fits."""

    @property
    def sample_id(self) -> str | None:
        """The sample the variants were read for; None where the VCF has no samples."""
        ...


@dataclass(frozen=True)
class Patient:
    """Who it is; all unknown fields are None."""

    id: str | None = None
    name: str | None = None
    sex: str | None = None
    birth_date: str | None = None


@dataclass(frozen=True)
class SampleLink:
    """Why a VCF sample is held to be this patient.

    Attributes
    ----------
    sample_id, patient_id : str or None
    reason : str
        "same id" or "mapped by the user".
    linked_at : str
        ISO 8601, UTC.
    """

    sample_id: str | None
    patient_id: str | None
    reason: str
    linked_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


@dataclass(frozen=True, eq=False)
class Case:
    """Everything about one patient; a change gives a new case.

    Attributes
    ----------
    patient : Patient
    volumes : tuple of Volume
    lesion_sets : tuple of LesionSet
        At most one per volume, matched by `scan_key` and grid.
    variants : VariantReport or None
    sample_link : SampleLink or None
        Set exactly when `variants` is.
    id : str
        Stable across save and load.
    notes : mapping
        Free JSON values kept with the case.
    """

    patient: Patient = field(default_factory=Patient)
    volumes: tuple[Volume, ...] = ()
    lesion_sets: tuple[LesionSet, ...] = ()
    variants: Any = None
    sample_link: SampleLink | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    notes: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, volume: Volume, patient_id: str | None = None) -> Case:
        """A case that starts with one scan.

        Parameters
        ----------
        volume : Volume
        patient_id : str, optional
            For a scan whose file names no patient. Raises `InputError` if the file names another.
        """
        if patient_id and volume.patient_id and patient_id != volume.patient_id:
            raise InputError(
                f"The scan is of patient '{volume.patient_id}', not '{patient_id}'; leave "
                "--patient out, or check that this is the right scan."
            )
        case = cls(Patient(id=volume.patient_id or patient_id))
        return case.attach_volume(volume, mapped=True)

    def attach_volume(self, volume: Volume, *, mapped: bool = False) -> Case:
        """Add a scan of the same patient.

        Parameters
        ----------
        volume : Volume
        mapped : bool
            The user has said that the scan is of this patient, although the case or the scan, and
            so perhaps the sample that is linked, does not say it.

        Raises
        ------
        InputError
            If the scan names another patient; or nobody, while the case names one and the user has
            not mapped it.
        PatientMismatchError
            If the scan tells the patient's id, a sample with another id was linked before that was
            known, and the user has not mapped it again.
        """
        if volume.patient_id and self.patient.id and volume.patient_id != self.patient.id:
            raise InputError(
                f"This scan is of patient '{volume.patient_id}', the open patient is "
                f"'{self.patient.id}'. Close the open patient first."
            )
        if self.patient.id and not volume.patient_id and not mapped:
            raise InputError(
                f"This scan names no patient, the open patient is '{self.patient.id}'. Say "
                "explicitly that it is the same person, or open it as another patient."
            )
        case = replace(self, volumes=(*self.volumes, volume))
        if self.patient.id is None and volume.patient_id:
            return case._with_patient_id(volume.patient_id, mapped)
        return case

    def _with_patient_id(self, patient_id: str, mapped: bool) -> Case:
        """The case with the id that a scan tells; a sample linked without it is checked again."""
        case = replace(self, patient=replace(self.patient, id=patient_id))
        return case if self.variants is None else case.attach_variants(self.variants, mapped=mapped)

    def attach_lesions(self, lesions: LesionSet) -> Case:
        """Set the lesions of the volume they were found in, in place of earlier ones there.

        Raises
        ------
        GeometryError
            If they lie on the grid of none of the volumes.
        """
        if not any(v.geometry.matches(lesions.geometry) for v in self.volumes):
            why = (
                self.volumes[0].geometry.difference(lesions.geometry) if self.volumes else "no scan"
            )
            raise GeometryError(f"The lesions are not on the grid of the open scan: {why}.")
        others = tuple(
            s
            for s in self.lesion_sets
            if s.scan_key != lesions.scan_key or not s.geometry.matches(lesions.geometry)
        )
        return replace(self, lesion_sets=(*others, lesions))

    def attach_variants(self, variants: Variants, *, mapped: bool = False) -> Case:
        """Link the variants of this patient.

        Parameters
        ----------
        variants : VariantReport
        mapped : bool
            The user has said that this sample is this patient, although the ids differ.

        Raises
        ------
        PatientMismatchError
            If the sample's id is not the patient's and the user has not mapped it.
        """
        same = self.patient.id is not None and variants.sample_id == self.patient.id
        if not same and not mapped:
            raise PatientMismatchError(self.patient.id, variants.sample_id)
        link = SampleLink(
            variants.sample_id, self.patient.id, "same id" if same else "mapped by the user"
        )
        return replace(self, variants=variants, sample_link=link)

    def lesions_of(self, volume: Volume) -> LesionSet | None:
        """The lesions found in this volume, or None."""
        for lesions in self.lesion_sets:
            if lesions.scan_key == volume.scan_key and volume.geometry.matches(lesions.geometry):
                return lesions
        return None
