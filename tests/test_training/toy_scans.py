"""A few small scans with a ball in each, written in any of the forms that training reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from napari_precimed.core.geometry import Geometry
from napari_precimed.core.volume import Volume
from napari_precimed.io.itk import write_labels, write_volume

SHAPE, SPACING_MM = (16, 24, 24), (2.0, 1.0, 1.0)


def ball(seed: int, value: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Image and labels, (z, y, x); the ball is three spreads of the noise brighter per value."""
    rng = np.random.default_rng(seed)
    grid = np.mgrid[tuple(slice(n) for n in SHAPE)]
    image, labels = rng.normal(100, 10, SHAPE), np.zeros(SHAPE, np.uint8)
    for k in range(1, value + 1):
        centre = [rng.uniform(5, n - 5) for n in SHAPE]
        distance = np.sqrt(
            sum(((g - c) * s) ** 2 for g, c, s in zip(grid, centre, SPACING_MM, strict=True))
        )
        labels[distance < 5] = k
        image[distance < 5] += 60 * k
    return image.astype(np.float32), labels


def write_scans(
    root: Path,
    names: Sequence[str],
    *,
    folders: tuple[str, str] = ("images", "labels"),
    channels: int = 0,
    value: int = 1,
) -> Path:
    """Write scans; `channels` of nnU-Net's, or one file each where it is 0."""
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names):
        image, labels = ball(seed, value)
        volume = Volume(image, Geometry.from_parts(SHAPE, SPACING_MM))
        for k in range(max(1, channels)):
            channel = f"_{k:04d}" if channels else ""
            write_volume(root / folders[0] / f"{name}{channel}.nii.gz", volume)
        write_labels(root / folders[1] / f"{name}.nii.gz", labels, volume)
    return root
