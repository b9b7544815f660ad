"""A lesion, and all lesions found in one volume."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_precimed.core.geometry import Geometry
from napari_precimed.core.run import RunRecord
from napari_precimed.errors import GeometryError

Point = tuple[float, float, float]
"""World (x, y, z), LPS millimetres."""


@dataclass(frozen=True)
class Lesion:
    """One lesion and its measurements; what is unknown is None, never 0.

    Attributes
    ----------
    label : int
        Its value in the label array, from 1.
    volume_mm3, surface_mm2 : float
    centroid_mm : Point
    bbox : tuple of (start, stop) pairs
        Index ranges along (z, y, x), stop exclusive.
    long_axis_mm, short_axis_mm : float or None
        RECIST 1.1: the longest diameter in an acquisition plane, and the longest perpendicular to
        it in that plane. None where no plane holds two of the lesion's voxels.
    long_axis_ends_mm, short_axis_ends_mm : pair of Point, or None
    mean_intensity, sd_intensity : float or None
    touches_border : bool
        The lesion reaches the edge of the volume, so it may go on outside.
    finding : str or None
        What it is, in words ("lung nodule").
    probabilities : mapping of str to float, or None
        Calibrated class probabilities; None where no classifier ran or it abstained.
    attributes : mapping of str to float, or None
        What readers would probably write of it ("spiculation": 2.4), each on the readers' own
        scale; None where the classifier says nothing of the kind.
    confidence : float or None
        How far the outline can be relied on, 0 to 1, as the segmenting model's card defines it.
    comment : str
    """

    label: int
    volume_mm3: float
    surface_mm2: float
    centroid_mm: Point
    bbox: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    long_axis_mm: float | None = None
    long_axis_ends_mm: tuple[Point, Point] | None = None
    short_axis_mm: float | None = None
    short_axis_ends_mm: tuple[Point, Point] | None = None
    mean_intensity: float | None = None
    sd_intensity: float | None = None
    touches_border: bool = False
    finding: str | None = None
    probabilities: Mapping[str, float] | None = None
    confidence: float | None = None
    comment: str = ""
    attributes: Mapping[str, float] | None = None

    @property
    def equivalent_diameter_mm(self) -> float:
        """Diameter of the sphere of the same volume, mm."""
        return float((6 * self.volume_mm3 / np.pi) ** (1 / 3))


@dataclass(frozen=True, eq=False)
class LesionSet:
    """The lesions of one volume: labels, grid, measurements, and how they came about.

    Attributes
    ----------
    labels : ndarray of integers, shape (z, y, x)
        0 is background; lesion n carries value n.
    geometry : Geometry
        The grid of `labels`, the same as the volume's.
    lesions : tuple of Lesion
        One per value in `labels`, the order of the table.
    runs : tuple of RunRecord
        Segmentation, measurement, classification, in the order they ran.
    series_uid : str or None
        The series that was segmented.
    source_path : str or None
        The file or folder that it was read from.
    """

    labels: NDArray
    geometry: Geometry
    lesions: tuple[Lesion, ...] = ()
    runs: tuple[RunRecord, ...] = ()
    series_uid: str | None = None
    source_path: str | None = None

    def __post_init__(self) -> None:
        if self.labels.shape != self.geometry.shape:
            raise GeometryError(
                f"Labels of shape {self.labels.shape} do not fit a grid of {self.geometry.shape}."
            )

    @property
    def scan_key(self) -> str | None:
        """The `Volume.scan_key` of the scan that they were found in."""
        return self.series_uid or self.source_path or None

    def __len__(self) -> int:
        return len(self.lesions)

    def __iter__(self) -> Iterator[Lesion]:
        return iter(self.lesions)

    def lesion(self, label: int) -> Lesion:
        """The lesion with this label.

        Raises
        ------
        KeyError
            If there is none.
        """
        for lesion in self.lesions:
            if lesion.label == label:
                return lesion
        raise KeyError(f"no lesion has label {label}")

    def mask(self, label: int) -> NDArray[np.bool_]:
        """The voxels of one lesion, shape (z, y, x)."""
        return self.labels == label

    def with_lesions(self, lesions: Sequence[Lesion], *runs: RunRecord) -> LesionSet:
        """The same labels with other measurements; `runs` are added to the record."""
        return replace(self, lesions=tuple(lesions), runs=(*self.runs, *runs))
