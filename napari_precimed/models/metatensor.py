"""Our volumes as MONAI's own loader would give them, and the way back.

MONAI's arrays are (channel, x, y, z) as the file stores them, with an affine to RAS millimetres;
ours are (z, y, x), canonical, LPS. A bundle that asks for no orientation sees the stored one, so
that it gives what it would give elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from numpy.typing import NDArray

from napari_precimed.core.geometry import AxisOrder
from napari_precimed.core.volume import Volume

_RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def to_metatensor(volumes: Sequence[Volume], *, spatial_dims: int = 3) -> MetaTensor:
    """Scans on one grid as the channels of one image.

    Parameters
    ----------
    volumes : sequence of Volume
        All on the grid of the first.
    spatial_dims : {2, 3}
        2 for the one slice of a scan that is a single slice: the axis of the slices is left out.

    Returns
    -------
    MetaTensor of float32, shape (channel, x, y, z) or (channel, x, y)
    """
    order = _order(volumes[0])
    stored = [order.undo(volume.array).transpose(2, 1, 0) for volume in volumes]
    array = np.stack([each.astype(np.float32) for each in stored])
    affine = _RAS_FROM_LPS @ volumes[0].geometry.as_stored(order).affine[:, [2, 1, 0, 3]]
    if spatial_dims == 2:
        array = array.reshape(array.shape[0], *[n for n in array.shape[1:] if n > 1][:2])
    transform = torch.as_tensor(np.ascontiguousarray(affine), dtype=torch.float64)
    source = volumes[0].source
    meta = {
        "original_affine": transform.clone(),
        "space": "RAS",
        "spatial_shape": np.asarray(array.shape[1:]),
        "original_channel_dim": 0,
        "filename_or_obj": source.path if source else "scan",
    }
    return MetaTensor(torch.from_numpy(np.ascontiguousarray(array)), affine=transform, meta=meta)


def to_canonical(array: NDArray, volume: Volume) -> NDArray:
    """One channel on the stored grid, shape (x, y, z) -> (z, y, x) on the volume's."""
    return np.ascontiguousarray(_order(volume).apply(array.transpose(2, 1, 0)))


def stored_shape(volume: Volume) -> tuple[int, int, int]:
    """The shape (x, y, z) of the volume as it is stored."""
    z, y, x = volume.geometry.as_stored(_order(volume)).shape
    return x, y, z


def _order(volume: Volume) -> AxisOrder:
    return volume.source.axis_order if volume.source else AxisOrder()
