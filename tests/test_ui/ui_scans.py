"""Small scans for the window's tests."""

from __future__ import annotations

import numpy as np

from napari_precimed.core.geometry import Geometry
from napari_precimed.core.volume import Source, Volume


def small_scan(
    patient_id: str | None = "P-1",
    *,
    name: str = "chest",
    spacing_mm: tuple[float, float, float] = (2.5, 0.8, 0.8),
    direction: np.ndarray | None = None,
) -> Volume:
    """A CT of noise, 12 × 40 × 40, with its centre off the origin."""
    geometry = Geometry.from_parts((12, 40, 40), spacing_mm, (-16.0, 40.0, -120.0), direction)
    array = np.random.default_rng(1).normal(-500, 30, geometry.shape).astype(np.int16)
    return Volume(
        array,
        geometry,
        modality="CT",
        patient_id=patient_id,
        series_uid=f"1.2.3.{abs(hash(name)) % 1000}",
        source=Source(f"{name}.nii.gz", "NIfTI"),
        series_description=name,
        study_date="20240131",
    )
