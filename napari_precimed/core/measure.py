"""Labels and the scan they were drawn on -> measured lesions.

Lengths, areas and volumes are taken in the patient, through the exact transform, so that they hold
on anisotropic, oblique and sheared grids.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import marching_cubes, mesh_surface_area

from napari_precimed.core.diameters import InPlane, longest_in_plane
from napari_precimed.core.geometry import Geometry
from napari_precimed.core.lesion import Lesion, LesionSet, Point
from napari_precimed.core.run import RunRecord
from napari_precimed.core.volume import Volume
from napari_precimed.errors import GeometryError, InputError

HIGHEST_LABEL = 1_000_000

_SURFACE_SIGMA_VOXELS = 0.7
_CLEARLY_LARGER = 1.01
_TOUCHING = np.ones((3, 3, 3), bool)  # also by a corner


def measure(
    labels: NDArray,
    volume: Volume,
    *,
    finding: str | None = None,
    confidence: Mapping[int, float] | None = None,
    runs: Sequence[RunRecord] = (),
    min_voxels: int = 1,
) -> LesionSet:
    """Measure every lesion of a label array.

    Parameters
    ----------
    labels : ndarray of whole numbers, shape (z, y, x)
        On the volume's grid; 0 is background, lesion n carries value n.
    volume : Volume
    finding : str, optional
        What the lesions are, in words; written into each.
    confidence : mapping of int to float, optional
        By label, 0 to 1; a label that is not in it has an unknown confidence.
    runs : sequence of RunRecord
        How the labels came about; the record of this measurement follows them.
    min_voxels : int
        Smaller lesions are taken out of the labels; the record says how many.

    Returns
    -------
    LesionSet
        Lesions in ascending order of label. Its run record warns of lesions left out, and of those
        in several pieces.

    Raises
    ------
    GeometryError
        If the labels have another shape than the volume.
    InputError
        If they hold fractions, NaN, negative or absurdly high values.
    """
    started = time.perf_counter()
    if labels.shape != volume.geometry.shape:
        raise GeometryError(
            f"Labels of shape {labels.shape} do not lie on the scan's grid of "
            f"{volume.geometry.shape} (z, y, x)."
        )
    labels = _whole_numbers(labels)
    normal = acquisition_axis(volume)
    lesions, dropped, warnings = [], [], []
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        mask = labels[box] == label
        if np.count_nonzero(mask) < min_voxels:
            dropped.append((label, box, mask))
            continue
        n_pieces = ndimage.label(mask, _TOUCHING)[1]
        if n_pieces > 1:
            warnings.append(f"Lesion {label} is in {n_pieces} separate pieces, measured as one.")
        how_sure = None if confidence is None else confidence.get(label)
        lesions.append(_lesion(label, box, mask, volume, normal, finding, how_sure))
    if dropped:
        warnings.append(f"{len(dropped)} lesion(s) of under {min_voxels} voxels were left out.")
        labels = labels.copy()
        for _, box, mask in dropped:
            labels[box][mask] = 0
    record = RunRecord(
        task="measure",
        options={"min_voxels": min_voxels, "acquisition_axis": normal},
        timings_s={"measure": round(time.perf_counter() - started, 3)},
        warnings=tuple(warnings),
    )
    return LesionSet(
        labels,
        volume.geometry,
        tuple(lesions),
        (*runs, record),
        volume.series_uid,
        volume.source.path if volume.source else None,
    )


def acquisition_axis(volume: Volume) -> int:
    """The array axis (0 = z, 1 = y, 2 = x) across which the slices were acquired.

    For DICOM it is known: the stored slices. Elsewhere a file may have been transposed since, and
    the axis with clearly the largest spacing is taken; where there is none, the stored slowest one.
    """
    spacing = volume.geometry.spacing_mm
    source = volume.source
    stored_slices = 0 if source is None else source.axis_order.order.index(0)
    second, largest = sorted(spacing)[1:]
    is_dicom = source is not None and source.format == "DICOM"
    if is_dicom or largest < _CLEARLY_LARGER * second:
        return stored_slices
    return spacing.index(largest)


def surface_area_mm2(mask: NDArray[np.bool_], geometry: Geometry) -> float:
    """Area of the surface of a mask, mm².

    Marching cubes (Lewiner et al. 2003) on the mask, smoothed by a fraction of a voxel because the
    staircase of a binary mask is some 8 % too large. Never below the area of the sphere of the same
    volume, the least that any body has; so lesions of a few voxels stay sensible.

    Parameters
    ----------
    mask : ndarray of bool, shape (z, y, x)
        A crop is enough.
    geometry : Geometry
        Of the image; only its spacing and direction are used.
    """
    volume_mm3 = np.count_nonzero(mask) * geometry.voxel_volume_mm3
    sphere = float(np.pi ** (1 / 3) * (6 * volume_mm3) ** (2 / 3))
    soft = ndimage.gaussian_filter(
        np.pad(mask, 3).astype(np.float32), _SURFACE_SIGMA_VOXELS, mode="constant"
    )
    if soft.max() <= 0.5:
        return sphere
    corners, faces, _, _ = marching_cubes(soft, 0.5)
    return max(sphere, float(mesh_surface_area(corners @ geometry.affine[:3, :3].T, faces)))


def _lesion(
    label: int,
    box: tuple[slice, slice, slice],
    mask: NDArray[np.bool_],
    volume: Volume,
    normal: int,
    finding: str | None,
    confidence: float | None,
) -> Lesion:
    geometry = volume.geometry
    start = np.array([along.start for along in box])
    stop = np.array([along.stop for along in box])
    values = volume.array[box][mask].astype(np.float64)
    known = bool(np.isfinite(values).all())
    axes = longest_in_plane(mask, start, geometry, normal) or InPlane()
    return Lesion(
        label=label,
        volume_mm3=len(values) * geometry.voxel_volume_mm3,
        surface_mm2=surface_area_mm2(mask, geometry),
        centroid_mm=_point(geometry.index_to_world(np.argwhere(mask).mean(axis=0) + start)),
        bbox=tuple((along.start, along.stop) for along in box),  # type: ignore[arg-type]
        long_axis_mm=axes.long_mm,
        long_axis_ends_mm=axes.long_ends_mm,
        short_axis_mm=axes.short_mm,
        short_axis_ends_mm=axes.short_ends_mm,
        mean_intensity=float(values.mean()) if known else None,
        sd_intensity=float(values.std()) if known and len(values) > 1 else None,
        touches_border=bool((start == 0).any() or (stop == geometry.shape).any()),
        finding=finding,
        confidence=confidence,
    )


def _whole_numbers(labels: NDArray) -> NDArray[np.int32]:
    if labels.dtype == bool or labels.dtype.kind in "iu":
        lowest, highest = int(labels.min(initial=0)), int(labels.max(initial=0))
    elif labels.dtype.kind != "f":
        raise InputError(f"Labels of type {labels.dtype} are no numbers; expected integers.")
    elif not np.isfinite(labels).all() or (labels != np.rint(labels)).any():
        wrong = ~np.isfinite(labels) | (labels != np.rint(labels))
        raise InputError(
            f"{np.count_nonzero(wrong)} label voxels hold fractions or NaN (such as "
            f"{labels[wrong][0]}); labels are whole numbers from 0. Threshold probabilities first."
        )
    else:
        lowest, highest = int(labels.min(initial=0)), int(labels.max(initial=0))
    if lowest < 0 or highest > HIGHEST_LABEL:
        raise InputError(
            f"Labels run from {lowest} to {highest}; expected 0 to {HIGHEST_LABEL}. Renumber them."
        )
    return labels.astype(np.int32, copy=False)


def _point(world: NDArray) -> Point:
    x, y, z = world
    return float(x), float(y), float(z)
