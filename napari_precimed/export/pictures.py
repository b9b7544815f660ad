"""A picture of a lesion: its slice, and a closer view with outline and axes.

Drawn as radiologists read: anterior up and the patient's left on the viewer's right in an axial
slice, superior up in the others, in millimetres, so that anisotropic pixels keep their shape.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from napari_precimed.core.geometry import Geometry
from napari_precimed.core.lesion import Lesion, LesionSet
from napari_precimed.core.volume import Volume

SIZE_INCH, DPI = (7.2, 3.6), 140
OUTLINE, AXES, FRAME = "#ffc83d", "#4fd8ff", "#ffffff"
LUNG_WINDOW_HU, SOFT_TISSUE_WINDOW_HU = (-1350.0, 150.0), (-150.0, 250.0)
_PLANES = ("axial", "coronal", "sagittal")
_LETTERS = (("R", "L"), ("A", "P"), ("I", "S"))
_CLOSE_UP_MM = 40.0
_BARS_MM = (1, 2, 5, 10, 20, 50, 100)


@dataclass(frozen=True)
class Section:
    """One array slice through a lesion.

    Attributes
    ----------
    axis : int
        The array axis it is perpendicular to: 0 axial, 1 coronal, 2 sagittal.
    index : int
        Its place along that axis.
    """

    axis: int
    index: int

    @property
    def name(self) -> str:
        """ "axial", "coronal" or "sagittal"."""
        return _PLANES[self.axis]

    @property
    def in_plane(self) -> tuple[int, int]:
        """The array axes drawn as rows and columns."""
        rows, columns = (axis for axis in range(3) if axis != self.axis)
        return rows, columns

    def of(self, array: NDArray) -> NDArray:
        """The slice of an array of shape (z, y, x)."""
        return np.take(array, self.index, axis=self.axis)


def section_of(lesions: LesionSet, lesion: Lesion) -> Section:
    """Find the slice to show: the one that holds both axes, else the lesion's largest axial one."""
    ends = (*(lesion.long_axis_ends_mm or ()), *(lesion.short_axis_ends_mm or ()))
    if ends:
        index = lesions.geometry.world_to_index(ends)
        for axis in range(3):
            if np.ptp(index[:, axis]) < 0.5:
                return Section(axis, _inside(index[:, axis].mean(), lesions.geometry.shape[axis]))
    (start, stop), rows, columns = lesion.bbox
    block = lesions.labels[start:stop, slice(*rows), slice(*columns)] == lesion.label
    areas = block.sum(axis=(1, 2))
    return Section(0, start + int(areas.argmax()) if areas.any() else start)


def edge_letters(geometry: Geometry, section: Section) -> dict[str, str]:
    """The patient's sides at the edges of the picture.

    Returns
    -------
    dict
        "left", "right", "top" and "bottom" of the picture, each "R", "L", "A", "P", "I" or "S".
    """
    row_end, column_end = (_letters(geometry, axis) for axis in section.in_plane)
    down, right = (_drawn_forwards(geometry, axis) for axis in section.in_plane)
    return {
        "top": row_end[0] if down else row_end[1],
        "bottom": row_end[1] if down else row_end[0],
        "left": column_end[0] if right else column_end[1],
        "right": column_end[1] if right else column_end[0],
    }


def grey_window(volume: Volume, section: Section, finding: str | None) -> tuple[float, float, str]:
    """The grey values shown as black and as white, and how to name the choice.

    CT is shown in the lung window unless the finding says that it is elsewhere; other scans from
    the 1st to the 99th percentile of the slice.
    """
    if volume.modality == "CT":
        in_lung = finding is None or "lung" in finding.lower() or "pulmon" in finding.lower()
        low, high = LUNG_WINDOW_HU if in_lung else SOFT_TISSUE_WINDOW_HU
        name = "lung window" if in_lung else "soft-tissue window"
        return low, high, f"{name} {low:.0f} to {high:.0f} HU".replace("-", "−")
    low, high = np.percentile(section.of(volume.array), (1, 99)).astype(float)
    return low, max(high, low + 1e-6), "window from the 1st to the 99th percentile of the slice"


def lesion_jpeg(volume: Volume, lesions: LesionSet, lesion: Lesion) -> bytes:
    """Draw the whole slice on the left and a close-up with outline and axes on the right.

    Parameters
    ----------
    volume : Volume
        On the grid of `lesions`.
    lesions : LesionSet
    lesion : Lesion
        One of `lesions`.

    Returns
    -------
    bytes
        A JPEG of 1008 by 504 pixels, which goes into HTML and PDF as it is.
    """
    section = section_of(lesions, lesion)
    figure = Figure(figsize=SIZE_INCH, dpi=DPI, facecolor="black")
    whole = figure.add_axes((0.0, 0.0, 0.4975, 1.0))
    close = figure.add_axes((0.5025, 0.0, 0.4975, 1.0))
    grid = lesions.geometry
    mask = section.of(lesions.labels) == lesion.label
    centre, side = _close_up(grid, section, mask)
    for view in (whole, close):
        _draw_slice(view, volume, section, lesion.finding)
        _draw_outline(view, grid, section, mask, 0.8 if view is whole else 1.4)
    _draw_axes(close, grid, section, lesion)
    _draw_box(whole, centre, side)
    extent = _extent_mm(grid, section)
    _frame(whole, grid, section, extent.mean(axis=1), float(np.ptp(extent, axis=1).max()))
    _frame(close, grid, section, centre, side)
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_jpg(stream, pil_kwargs={"quality": 90, "subsampling": 0})
    return stream.getvalue()


def _draw_slice(view: Axes, volume: Volume, section: Section, finding: str | None) -> None:
    low, high, _ = grey_window(volume, section, finding)
    (left, right), (top, bottom) = _extent_mm(volume.geometry, section)
    view.imshow(
        section.of(volume.array),
        cmap="gray",
        vmin=low,
        vmax=high,
        extent=(left, right, bottom, top),
        interpolation="bilinear",
    )


def _draw_outline(
    view: Axes, grid: Geometry, section: Section, mask: NDArray[np.bool_], width: float
) -> None:
    if not mask.any():
        return
    row_mm, column_mm = _steps_mm(grid, section)
    rows, columns = (np.arange(-1, n + 1) for n in mask.shape)
    view.contour(
        columns * column_mm,
        rows * row_mm,
        np.pad(mask, 1).astype(float),
        levels=[0.5],
        colors=[OUTLINE],
        linewidths=width,
    )


def _draw_axes(view: Axes, grid: Geometry, section: Section, lesion: Lesion) -> None:
    """The two diameters, where they lie in this slice."""
    row_mm, column_mm = _steps_mm(grid, section)
    rows, columns = section.in_plane
    for ends, style in ((lesion.long_axis_ends_mm, "-"), (lesion.short_axis_ends_mm, (0, (2, 1)))):
        if ends is None:
            continue
        index = grid.world_to_index(ends)
        if np.abs(index[:, section.axis] - section.index).max() <= 0.5:
            x, y = index[:, columns] * column_mm, index[:, rows] * row_mm
            view.plot(x, y, color=AXES, linewidth=1.2, linestyle=style, solid_capstyle="butt")


def _draw_box(view: Axes, centre: NDArray[np.float64], side: float) -> None:
    (x, y), half = centre, side / 2
    corners = ((x - half, x + half, x + half, x - half, x - half),
               (y - half, y - half, y + half, y + half, y - half))  # fmt: skip
    view.plot(*corners, color=FRAME, linewidth=0.7, alpha=0.8)


def _frame(
    view: Axes, grid: Geometry, section: Section, centre: NDArray[np.float64], side: float
) -> None:
    """Limits, orientation, letters and scale bar."""
    down, right = (_drawn_forwards(grid, axis) for axis in section.in_plane)
    (x, y), half = centre, side / 2
    view.set_xlim(*((x - half, x + half) if right else (x + half, x - half)))
    view.set_ylim(*((y + half, y - half) if down else (y - half, y + half)))
    view.set_aspect("equal")
    view.set_axis_off()
    places = {
        "left": (0.03, 0.5),
        "right": (0.97, 0.5),
        "top": (0.5, 0.965),
        "bottom": (0.5, 0.035),
    }
    for edge, letter in edge_letters(grid, section).items():
        _write(view, *places[edge], letter, 10)
    bar = max(mm for mm in _BARS_MM if mm <= max(side / 4, 1))
    view.plot(
        (0.05, 0.05 + bar / side), (0.06, 0.06),
        transform=view.transAxes, color=FRAME, linewidth=2, solid_capstyle="butt",
    )  # fmt: skip
    _write(view, 0.05 + bar / side / 2, 0.095, f"{bar} mm", 7.5)


def _write(view: Axes, x: float, y: float, text: str, size: float) -> None:
    written = view.text(
        x, y, text, transform=view.transAxes, color=FRAME, fontsize=size, ha="center", va="center"
    )
    written.set_bbox({"facecolor": "black", "alpha": 0.6, "edgecolor": "none", "pad": 1.2})


def _close_up(
    grid: Geometry, section: Section, mask: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], float]:
    """Centre (x, y) and side of the close-up, mm."""
    step = np.array(_steps_mm(grid, section))
    where = np.argwhere(mask)
    if not len(where):
        where = np.array(mask.shape)[None] // 2
    low, high = where.min(0) * step, (where.max(0) + 1) * step
    side = min(
        max(_CLOSE_UP_MM, 2.2 * float((high - low).max())),
        float((np.array(mask.shape) * step).max()),
    )
    return ((low + high - step) / 2)[::-1], side


def _extent_mm(grid: Geometry, section: Section) -> NDArray[np.float64]:
    """((left, right), (top, bottom)) of the slice's edges, mm from its first voxel's centre."""
    rows, columns = section.in_plane
    row_mm, column_mm = _steps_mm(grid, section)
    return np.array(
        [
            (-0.5 * column_mm, (grid.shape[columns] - 0.5) * column_mm),
            (-0.5 * row_mm, (grid.shape[rows] - 0.5) * row_mm),
        ]
    )


def _steps_mm(grid: Geometry, section: Section) -> tuple[float, float]:
    rows, columns = section.in_plane
    return grid.spacing_mm[rows], grid.spacing_mm[columns]


def _letters(grid: Geometry, axis: int) -> tuple[str, str]:
    """The patient's side at the beginning and at the end of an array axis."""
    vector = grid.direction[:, axis]
    world = int(np.abs(vector).argmax())
    low, high = _LETTERS[world]
    return (low, high) if vector[world] > 0 else (high, low)


def _drawn_forwards(grid: Geometry, axis: int) -> bool:
    """Whether an array axis is drawn downwards or rightwards: to posterior, left or inferior."""
    return _letters(grid, axis)[1] in ("P", "L", "I")


def _inside(index: float, count: int) -> int:
    return int(np.clip(np.rint(index), 0, count - 1))
