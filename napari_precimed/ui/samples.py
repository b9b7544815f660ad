"""The manifest's sample data: a synthetic patient whose lesions are known."""

from __future__ import annotations

from napari_precimed.ui.layers import LayerData


def phantom_ct() -> list[LayerData]:
    """A chest CT with lesions of known size."""
    from napari_precimed.io.phantom import phantom_ct
    from napari_precimed.ui.layers import image_layer

    return [image_layer(phantom_ct())]


def phantom_mr() -> list[LayerData]:
    """A brain MR with lesions of known size."""
    from napari_precimed.io.phantom import phantom_mr
    from napari_precimed.ui.layers import image_layer

    return [image_layer(phantom_mr())]
