"""Volumes and lesions as napari layers: the only home of viewer coordinates.

napari draws rows downwards and knows no patient. A layer of ours lies in *viewer coordinates*
(-z, y, x), in millimetres of the patient's LPS frame: the negative z brings the head up in coronal
and sagittal views, and keeps the 3D view right-handed, so that it is not left-right mirrored.

A scan that was acquired obliquely is drawn on its own axes (napari cannot slice a rotated layer);
its true geometry stays in ``layer.metadata["precimed"]`` and is what measuring and saving use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_precimed.core.geometry import Geometry
from napari_precimed.core.lesion import LesionSet
from napari_precimed.core.volume import Volume
from napari_precimed.errors import GeometryError, InputError

if TYPE_CHECKING:
    from napari.layers import Image, Labels, Vectors

    from napari_precimed.models.doubt import Doubt
    from napari_precimed.models.explain import Explanation

METADATA_KEY = "precimed"
OBLIQUE_DEG = 0.5
"""Above this angle the name of the layer says that the scan is oblique."""

LayerData = tuple[Any, dict[str, Any], str]
"""What napari's readers and writers pass: data, attributes, type."""

_FRAME: Mapping[str, Any] = {"units": ("mm", "mm", "mm"), "axis_labels": ("z", "y", "x")}
_CT_WINDOW_HU = (-1000.0, 400.0)
_AXIS_COLOURS = ("#ffd24d", "#4dd2ff")
SALIENCY, DOUBT = "saliency", "doubt"
"""The maps that a scan may have, one of each kind."""
_FOR_AND_AGAINST = {
    "name": "for and against",
    "colors": [(0.1, 0.55, 1.0), (0.0, 0.0, 0.0), (1.0, 0.5, 0.05)],
}
"""Added to a grey picture, black leaves it as it is."""


def display_transform(geometry: Geometry) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scale and translate of a layer on this grid.

    Returns
    -------
    scale, translate : ndarray, shape (3,)
        Index (z, y, x) -> viewer coordinates, mm. The centre of the volume is where it truly is;
        an oblique volume is turned about it.
    """
    scale = np.asarray(geometry.spacing_mm) * (-1, 1, 1)
    centre = (np.asarray(geometry.shape) - 1) / 2
    x, y, z = geometry.index_to_world(centre)
    return scale, np.array([-z, y, x]) - scale * centre


def to_viewer(geometry: Geometry, world_mm: ArrayLike) -> NDArray[np.float64]:
    """World (..., 3) as (x, y, z) LPS mm -> where the layers of this grid show it, (..., 3)."""
    scale, translate = display_transform(geometry)
    return geometry.world_to_index(world_mm) * scale + translate


def to_world(geometry: Geometry, viewer_mm: ArrayLike) -> NDArray[np.float64]:
    """The inverse of `to_viewer`."""
    scale, translate = display_transform(geometry)
    return geometry.index_to_world((np.asarray(viewer_mm, float) - translate) / scale)


def image_layer(volume: Volume) -> LayerData:
    """A scan as an image layer."""
    attributes = {
        **_attributes(volume, volume_name(volume)),
        "colormap": "gray",
        "contrast_limits": _contrast_limits(volume),
    }
    return volume.array, attributes, "image"


def labels_layer(lesions: LesionSet, volume: Volume) -> LayerData:
    """The lesions of a scan as a labels layer.

    The layer gets its own copy of the labels: painting must not change lesions that were measured.
    """
    attributes = {
        **_attributes(volume, f"{volume_name(volume)} lesions"),
        "opacity": 0.55,
    }
    return lesions.labels.astype(np.int32, copy=True), attributes, "labels"


def axes_layer(lesions: LesionSet, volume: Volume) -> LayerData | None:
    """The long and short axes of all lesions as a vectors layer; None where no lesion has any."""
    ends = [
        (pair, colour)
        for lesion in lesions
        for pair, colour in zip(
            (lesion.long_axis_ends_mm, lesion.short_axis_ends_mm), _AXIS_COLOURS, strict=True
        )
        if pair is not None
    ]
    if not ends:
        return None
    index = volume.geometry.world_to_index(np.array([pair for pair, _ in ends]))
    vectors = np.stack([index[:, 0], index[:, 1] - index[:, 0]], axis=1)
    attributes = {
        **_attributes(volume, f"{volume_name(volume)} axes"),
        "edge_color": [colour for _, colour in ends],
        "edge_width": 0.6,
        "vector_style": "line",
        "opacity": 1.0,
    }
    return vectors, attributes, "vectors"


def saliency_layer(explanation: Explanation, volume: Volume) -> LayerData:
    """What moved a classifier's answer, as a layer to add to the scan: orange for, blue against."""
    signed = explanation.method != "grad-cam"
    highest = _strongest(explanation.map)
    attributes = {
        **_map_attributes(SALIENCY, explanation.start, explanation.map, volume),
        "colormap": _FOR_AND_AGAINST if signed else "inferno",
        "contrast_limits": (-highest, highest) if signed else (0.0, highest),
    }
    return explanation.map, attributes, "image"


def doubt_layer(doubt: Doubt, volume: Volume) -> LayerData:
    """Where outlines are uncertain, as a layer to add to the scan: entropy, 0 to 1 bit."""
    box, start = doubt.cropped()
    attributes = {
        **_map_attributes(DOUBT, start, box, volume),
        "colormap": "inferno",
        "contrast_limits": (0.0, 1.0),
    }
    return box, attributes, "image"


def redraw_map(layer: Image, drawn: LayerData) -> None:
    """Draw another map, made by `saliency_layer` or `doubt_layer`, into its layer."""
    values, attributes, _ = drawn
    layer.data = values
    layer.translate = attributes["translate"]
    layer.metadata = attributes["metadata"]
    layer.colormap = attributes["colormap"]
    layer.contrast_limits_range = layer.contrast_limits = attributes["contrast_limits"]


def map_of(layer: Any) -> tuple[str, Volume] | None:
    """Which kind of map a layer shows, and of which scan; None for a layer that is no map."""
    own = layer.metadata.get(METADATA_KEY) or {}
    return (own["map"], own["scan"]) if "map" in own else None


def redraw_labels(layer: Labels, lesions: LesionSet) -> None:
    """Draw other lesions into their labels layer, as one step of its undo history.

    The array is not swapped: napari would undo older steps into the new one.
    """
    changed = np.nonzero(layer.data != lesions.labels)
    if changed[0].size:
        layer.data_setitem(changed, lesions.labels[changed])


def redraw_axes(layer: Vectors, axes: LayerData) -> None:
    """Draw other axes, made by `axes_layer`, into their layer."""
    vectors, attributes, _ = axes
    layer.data = vectors
    layer.edge_color = attributes["edge_color"]


def volume_from(data: NDArray, metadata: Mapping[str, Any]) -> Volume:
    """The scan that a layer shows, with its exact geometry, patient and source.

    Parameters
    ----------
    data : ndarray, shape (z, y, x)
        The layer's array.
    metadata : mapping
        The layer's metadata.

    Raises
    ------
    InputError
        If the layer was not made by this plugin, so that its place in the patient is unknown.
    GeometryError
        If the array no longer has the shape of the scan.
    """
    own = metadata.get(METADATA_KEY)
    if own is None:
        raise InputError(
            "This layer does not know its place in the patient. Open the scan with "
            "napari-precimed, or make the layer from one that was."
        )
    volume: Volume = own["volume"]
    if data is volume.array:
        return volume
    if tuple(data.shape) != volume.geometry.shape:
        raise GeometryError(
            f"The layer has shape {tuple(data.shape)}, the scan it belongs to "
            f"{volume.geometry.shape}: it was cropped or resampled, and its place in the patient "
            "is lost. Save the original layer."
        )
    return volume.with_array(data)


def layer_scan(layer: Any) -> Volume | None:
    """The scan that a layer of any type belongs to; None for a layer that is not ours."""
    own = layer.metadata.get(METADATA_KEY)
    return own["volume"] if own else None


def same_scan(a: Volume, b: Volume) -> bool:
    """Whether two volumes are the same series, perhaps read twice."""
    if a is b:
        return True
    known = a.scan_key is not None
    return known and a.scan_key == b.scan_key and a.geometry.matches(b.geometry)


def volume_name(volume: Volume) -> str:
    """What a scan is called in lists: description, or file, with the modality before it."""
    source = Path(volume.source.path).name if volume.source else ""
    name = volume.series_description or source or "scan"
    if volume.modality and volume.modality.lower() not in name.lower():
        name = f"{volume.modality} {name}"
    angle = volume.geometry.obliquity_deg
    return f"{name} (oblique {angle:.0f}°)" if angle > OBLIQUE_DEG else name


def _attributes(volume: Volume, name: str) -> dict[str, Any]:
    scale, translate = display_transform(volume.geometry)
    own = {"volume": volume, "geometry": volume.geometry}
    return {
        "name": name,
        "scale": scale,
        "translate": translate,
        "metadata": {METADATA_KEY: own},
        **_FRAME,
    }


def _map_attributes(
    kind: str, start: Sequence[int], values: NDArray, volume: Volume
) -> dict[str, Any]:
    """A map on a part of the scan's grid, placed as the scan is; napari turns neither."""
    scale, translate = display_transform(volume.geometry)
    part = replace(volume, array=values, geometry=volume.geometry.cropped(start, values.shape))
    own = {"volume": part, "geometry": part.geometry, "map": kind, "scan": volume}
    return {
        "name": f"{volume_name(volume)} {kind}",
        "scale": scale,
        "translate": translate + scale * np.asarray(start),
        "metadata": {METADATA_KEY: own},
        "blending": "additive",
        "opacity": 0.8,
        "interpolation2d": "linear",
        **_FRAME,
    }


def _strongest(values: NDArray) -> float:
    """The value that is shown brightest: a few voxels may be brighter, or all would look dark."""
    found = np.abs(values[values != 0])
    return float(np.percentile(found, 99.5)) if found.size else 1.0


def _contrast_limits(volume: Volume) -> tuple[float, float]:
    if volume.modality == "CT":
        return _CT_WINDOW_HU
    step = tuple(max(1, n // 64) for n in volume.array.shape)
    sample = volume.array[:: step[0], :: step[1], :: step[2]]
    low, high = np.percentile(sample, (0.5, 99.5))
    return (float(low), float(high)) if high > low else (float(low), float(low) + 1)
