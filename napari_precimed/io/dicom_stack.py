"""From the slices of one DICOM series to one regular grid, or the reason why there is none.

Slices are sorted by position along their normal, never by instance number; the spacing between
them is measured from their positions, never taken from the slice thickness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from napari_precimed.core.geometry import Geometry
from napari_precimed.errors import ReadError

MIN_SLICES = 3
"""With two slices a missing third cannot be noticed, so their distance proves no spacing."""
MAX_TILT_DEG = 0.1
"""Between the slice normal and the line through the slices; 0.5 mm over 300 mm."""

_UNEVEN_MM = 0.01
_UNEVEN_FRACTION = 0.01
_SAME_DIRECTION = 1e-4
_PLACE = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}
_MUST_AGREE = {
    "PatientID": "patients",
    "FrameOfReferenceUID": "frames of reference",
    "Rows": "image heights",
    "Columns": "image widths",
    "PixelSpacing": "pixel spacings",
}


@dataclass(frozen=True, eq=False)
class Slice:
    """One file of a series: where it is, and its header without pixels."""

    path: Path
    header: Dataset

    @property
    def position_mm(self) -> NDArray[np.float64]:
        """Centre of the first voxel, world (x, y, z)."""
        return np.array(self.header.ImagePositionPatient, float)


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices in ascending order along their normal, on a grid (slice, row, column)."""

    slices: tuple[Slice, ...]
    geometry: Geometry
    notes: tuple[str, ...]


def regular_stack(slices: Sequence[Slice]) -> Stack:
    """Sort the slices of one series and check that they form one regular grid.

    Raises
    ------
    ReadError
        If they do not; the message names the first reason and, where one is missing, the gap.
    """
    slices, notes = _without_copies(slices)
    _refuse_other_kinds(slices)
    row, column = _orientation(slices)
    _refuse_disagreement(slices)
    normal = np.cross(row, column)
    along = np.array([one.position_mm @ normal for one in slices])
    ranked = np.argsort(along, kind="stable")
    slices = [slices[i] for i in ranked]
    _refuse_bad_steps(slices, along[ranked], normal)
    positions = np.array([one.position_mm for one in slices])
    step = (positions[-1] - positions[0]) / (len(slices) - 1)
    _refuse_tilt(positions, step, normal)
    row_mm, column_mm = (float(v) for v in slices[0].header.PixelSpacing)
    affine = np.eye(4)
    affine[:3, :3] = np.stack([step, column * row_mm, row * column_mm], axis=1)
    affine[:3, 3] = positions[0]
    first = slices[0].header
    shape = (len(slices), int(first.Rows), int(first.Columns))
    return Stack(tuple(slices), Geometry(shape, affine), notes)


def _without_copies(slices: Sequence[Slice]) -> tuple[list[Slice], tuple[str, ...]]:
    """Without files that carry an image once more (the same SOP instance)."""
    kept: dict[str, Slice] = {}
    for one in slices:
        kept.setdefault(str(one.header.get("SOPInstanceUID", one.path)), one)
    n_copies = len(slices) - len(kept)
    notes = (f"{n_copies} file(s) repeat an image and were read once.",) if n_copies else ()
    return list(kept.values()), notes


def _refuse_other_kinds(slices: Sequence[Slice]) -> None:
    for one in slices:
        header = one.header
        if int(header.get("NumberOfFrames") or 1) > 1 or "SharedFunctionalGroupsSequence" in header:
            raise ReadError(
                f"{one.path.name} is a multi-frame image ({header.get('NumberOfFrames')} frames), "
                "which is not read yet; convert it to one file per slice or to NIfTI."
            )
        if int(header.get("SamplesPerPixel") or 1) != 1:
            raise ReadError(f"{one.path.name} is a colour image; a scan has one grey value.")
        if "ModalityLUTSequence" in header:
            raise ReadError(
                f"{one.path.name} maps its values by a lookup table, which is not read; export it "
                "with RescaleSlope and RescaleIntercept."
            )
        for keyword, n_values in _PLACE.items():
            if len(header.get(keyword) or ()) != n_values:
                raise ReadError(
                    f"{one.path.name} has no usable {keyword}, so its place in the patient is not "
                    "known (a screenshot, a projection, or de-identified too far)."
                )
        if min(float(v) for v in header.PixelSpacing) <= 0:
            raise ReadError(
                f"{one.path.name} has a PixelSpacing of {list(header.PixelSpacing)} mm; both must "
                "be above 0. Export the series again."
            )
    if any("LOCALIZER" in (one.header.get("ImageType") or ()) for one in slices):
        raise ReadError(
            f"The series holds localizer images ({len(slices)} slices), which are no volume; "
            "choose another series, or take the localizers out of the folder."
        )


def _refuse_disagreement(slices: Sequence[Slice]) -> None:
    for keyword, plural in _MUST_AGREE.items():
        values = {str(one.header.get(keyword)) for one in slices}
        if keyword == "PixelSpacing":
            values = {str([round(float(v), 5) for v in one.header.PixelSpacing]) for one in slices}
        if len(values) > 1:
            shown = ", ".join(sorted(values)[:4])
            raise ReadError(
                f"The series mixes {plural} ({keyword} {shown}); give each part in a folder of its "
                "own."
            )


def _orientation(slices: Sequence[Slice]) -> tuple[NDArray, NDArray]:
    """Unit vectors along a row and along a column, world (x, y, z), common to all slices."""
    cosines = np.array([one.header.ImageOrientationPatient for one in slices], float)
    apart = np.abs(cosines - cosines[0]).max(axis=1) > _SAME_DIRECTION
    if apart.any():
        distinct = len(np.unique(cosines.round(3), axis=0))
        raise ReadError(
            f"The series mixes {distinct} slice orientations (as a localizer or a radial scan "
            f"does): {slices[0].path.name} {cosines[0].round(3).tolist()}, "
            f"{slices[int(apart.argmax())].path.name} {cosines[apart][0].round(3).tolist()}. Give "
            "each orientation in a folder of its own."
        )
    row, column = cosines.mean(axis=0).reshape(2, 3)
    if max(abs(row @ row - 1), abs(column @ column - 1), abs(row @ column)) > 1e-3:
        raise ReadError(
            f"ImageOrientationPatient {cosines[0].tolist()} is not two perpendicular unit vectors; "
            "export the series again."
        )
    return row / np.linalg.norm(row), column / np.linalg.norm(column)


def _refuse_bad_steps(slices: Sequence[Slice], along: NDArray, normal: NDArray) -> None:
    """Refuse too few slices, several at one position, and uneven distances."""
    n = len(slices)
    steps = np.diff(along)
    if n > 1 and np.ptp(along) < _UNEVEN_MM:
        raise ReadError(
            f"All {n} slices lie at one position (a time series or several contrasts), so they are "
            "no volume; give the slices of one time point."
        )
    if n < MIN_SLICES:
        raise ReadError(
            f"The series has {n} slice{'s'[: n != 1]}; at least {MIN_SLICES} are needed to know "
            "their spacing. Give the whole series."
        )
    if (steps < _UNEVEN_MM).any():
        n_places = 1 + int((steps >= _UNEVEN_MM).sum())
        raise ReadError(
            f"{n} slices lie at only {n_places} positions (several time points, echoes or "
            "b-values in one series); give each in a folder of its own."
        )
    usual = float(np.median(steps))
    uneven = np.abs(steps - usual) > max(_UNEVEN_MM, _UNEVEN_FRACTION * usual)
    if uneven.any():
        raise ReadError(_gap_message(slices, steps, normal))


def _gap_message(slices: Sequence[Slice], steps: NDArray, normal: NDArray) -> str:
    """In the words of a person who looks for the missing slice."""
    multiples = steps / steps.min()  # not the median: with every second slice missing it is a gap
    missing = np.rint(multiples).astype(int) - 1
    if (np.abs(multiples - missing - 1) < 0.05).all() and missing.sum() < len(slices):
        at = int(np.flatnonzero(missing)[0])
        n_here, total = int(missing[at]), len(slices) + int(missing.sum())
        number = at + 2
        what = f"Slice {number} of {total} is"
        if n_here > 1:
            what = f"Slices {number} to {number + n_here - 1} of {total} are"
        more = int(missing.sum()) - n_here
        rest = f", and {more} more further on" if more else ""
        return f"{what} missing {_between(slices, at, normal)}{rest}; re-export the whole series."
    usual = float(np.median(steps))
    at = int(np.abs(steps - usual).argmax())
    return (
        f"The slices are unevenly spaced: {steps[at]:.3f} mm {_between(slices, at, normal)}, "
        f"{usual:.3f} mm elsewhere (from {steps.min():.3f} to {steps.max():.3f} mm); reconstruct "
        "the series with even slices."
    )


def _between(slices: Sequence[Slice], at: int, normal: NDArray) -> str:
    axis = int(np.abs(normal).argmax())
    low, high = slices[at], slices[at + 1]
    return (
        f"between {'xyz'[axis]} = {low.position_mm[axis]:.2f} and {high.position_mm[axis]:.2f} mm "
        f"({low.path.name}, {high.path.name})"
    )


def _refuse_tilt(positions: NDArray, step: NDArray, normal: NDArray) -> None:
    tilt = float(np.degrees(np.arccos(np.clip(step @ normal / np.linalg.norm(step), -1, 1))))
    if tilt > MAX_TILT_DEG:
        raise ReadError(
            f"The slices are sheared by {tilt:.1f} degrees (gantry tilt); resample the series to "
            "upright slices first, or reconstruct it without tilt."
        )
    line = positions[0] + np.arange(len(positions))[:, None] * step
    off = np.linalg.norm(positions - line, axis=1)
    allowed = max(10 * _UNEVEN_MM, _UNEVEN_FRACTION * float(np.linalg.norm(step)))
    if off.max() > allowed:
        raise ReadError(
            f"Slice {int(off.argmax()) + 1} of {len(positions)} lies {off.max():.2f} mm beside the "
            "line of the others; reconstruct the series on one axis."
        )
