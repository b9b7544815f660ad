"""The manifest's writers: labels and scans go back to files in the source's own geometry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from napari_precimed.errors import InputError


def write_labels(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write a labels layer beside its scan's grid; see `napari_precimed.io.itk.write_labels`.

    Raises
    ------
    InputError, GeometryError, OutputError
        If the layer does not know its scan, was resampled, or the file cannot be written.
    """
    from napari_precimed.io.itk import write_labels as write

    labels = np.asarray(data)
    write(Path(path), labels, _scan_of(labels, attributes))
    return [path]


def write_image(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write a scan; raises as `write_labels`."""
    from napari_precimed.io.itk import write_volume

    write_volume(Path(path), _scan_of(np.asarray(data), attributes))
    return [path]


def _scan_of(array: np.ndarray, attributes: dict[str, Any]) -> Any:
    """The scan of a layer, or of the layer of ours that lies exactly where this one lies."""
    from napari import current_viewer

    from napari_precimed.ui.layers import layer_scan, volume_from

    metadata = attributes.get("metadata", {})
    try:
        return volume_from(array, metadata)
    except InputError:
        viewer = current_viewer()
        for layer in viewer.layers if viewer is not None else ():
            if layer_scan(layer) is not None and _same_place(array, attributes, layer):
                return volume_from(array, layer.metadata)
        raise


def _same_place(array: np.ndarray, attributes: dict[str, Any], layer: Any) -> bool:
    return (
        array.shape == layer.data.shape
        and np.allclose(attributes.get("scale", 1), layer.scale, atol=1e-6)
        and np.allclose(attributes.get("translate", 0), layer.translate, atol=1e-3)
    )
