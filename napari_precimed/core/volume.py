"""A scan: voxels, where they are, and whose they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from napari_precimed.core.geometry import AxisOrder, Geometry
from napari_precimed.errors import GeometryError


@dataclass(frozen=True)
class Source:
    """Where a volume came from.

    Attributes
    ----------
    path : str
        File or folder.
    format : str
        "NIfTI", "NRRD", "MetaImage", "DICOM", "phantom", ...
    axis_order : AxisOrder
        How the stored array (slowest axis first) became the canonical one; its `undo` gives back
        the array as stored.
    notes : tuple of str
        What the reader did that a report must mention.
    """

    path: str
    format: str
    axis_order: AxisOrder = field(default_factory=AxisOrder)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels on a grid, in a patient.

    Attributes
    ----------
    array : ndarray, shape (z, y, x)
        In canonical order; HU for CT.
    geometry : Geometry
    modality : str or None
        "CT", "MR", "PT", ... or None where the file does not say.
    patient_id, study_uid, series_uid : str or None
    source : Source or None
    series_description, study_date : str or None
        The date as DICOM writes it, YYYYMMDD.

    Raises
    ------
    GeometryError
        If array and geometry differ in shape.
    """

    array: NDArray
    geometry: Geometry
    modality: str | None = None
    patient_id: str | None = None
    study_uid: str | None = None
    series_uid: str | None = None
    source: Source | None = None
    series_description: str | None = None
    study_date: str | None = None

    def __post_init__(self) -> None:
        if self.array.shape != self.geometry.shape:
            raise GeometryError(
                f"An array of shape {self.array.shape} does not fit a grid of "
                f"{self.geometry.shape}."
            )

    def with_array(self, array: NDArray) -> Volume:
        """New voxels, shape (z, y, x), on the old geometry and in the old patient."""
        return replace(self, array=np.asarray(array))

    def stored_to_canonical(self, index: Sequence[int]) -> tuple[int, int, int]:
        """Index (z, y, x) into the array as the file stores it -> index into `array`."""
        order = self.source.axis_order if self.source else AxisOrder()
        stored_shape = np.asarray(self.array.shape)[np.argsort(order.order)]
        z, y, x = (int(v) for v in order.apply_to_index(index, stored_shape.tolist()))
        return z, y, x

    @property
    def scan_key(self) -> str | None:
        """What tells this scan from others of the patient: its series, else its file.

        None for voxels that came from neither. Scans without series UIDs may share one grid.
        """
        return self.series_uid or (self.source.path if self.source else None) or None

    @property
    def intensity_unit(self) -> str | None:
        """The unit of the grey values, where the modality fixes one."""
        return "HU" if self.modality == "CT" else None
