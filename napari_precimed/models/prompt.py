"""Points inside lesions -> labels."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from napari_precimed.core.run import RunRecord
from napari_precimed.core.volume import Volume
from napari_precimed.errors import CancelledError, InputError
from napari_precimed.models.bundle import load_network, weights_sha256
from napari_precimed.models.catalogue import find
from napari_precimed.models.inference import Progress, choose_engine
from napari_precimed.models.preprocess import HU_RANGE
from napari_precimed.models.search import outlines_of
from napari_precimed.models.segment import Segmentation


def prompt(
    volume: Volume,
    points: Sequence[Sequence[int]],
    model: str = "lung-nodule",
    *,
    device: str = "auto",
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Segmentation:
    """Outline the lesions that points lie in.

    Parameters
    ----------
    volume : Volume
    points : sequence of (z, y, x)
        Canonical voxel indices, each inside a lesion. Points in the same lesion give one label.
    model : str
        Name in the catalogue, or the folder of a bundle, of a model that takes points.
    device, progress, cancelled
        As for `segment`.

    Returns
    -------
    Segmentation
        Numbered in the order of the points. A point at which the model sees no lesion leaves no
        label, and a warning in the run record.

    Raises
    ------
    ModelNotFoundError, BundleError, CancelledError
    InputError
        If there is no point, one lies outside the scan, or the model takes none or is for another
        modality.
    """
    entry = find(model)
    entry.check("segmentation", volume.modality)
    if not entry.settings.get("prompts"):
        raise InputError(f"'{model}' takes no points; use `precimed segment` with it.")
    _check_points(points, volume)
    engine = choose_engine(device)
    began = time.perf_counter()
    outlines = outlines_of(entry.settings, load_network(entry), engine)
    image = np.clip(volume.array, *HU_RANGE).astype(np.float32)
    labels = np.zeros(volume.array.shape, np.int32)
    confidence: dict[int, float] = {}
    warnings: list[str] = []
    for done, point in enumerate(points, start=1):
        if cancelled and cancelled():
            raise CancelledError("Cancelled; nothing was changed.")
        outline = outlines.from_click(image, [int(v) for v in point])
        known = np.unique(labels[outline.place][outline.mask])
        known = known[known > 0]
        number = int(known[0]) if len(known) else int(labels.max()) + 1
        if outline.mask.any():
            outline.draw(labels, number)
            if outline.agreement is not None:
                confidence[number] = outline.agreement
        else:
            at = ",".join(str(int(v)) for v in point)
            warnings.append(f"'{entry.name}' sees no lesion at the point {at}.")
        if progress:
            progress("outline", done, len(points))
    run = RunRecord(
        task="prompt",
        model=f"{entry.name} {entry.version}",
        weights_sha256=weights_sha256(entry),
        options={
            "device": device,
            "points": [[int(v) for v in point] for point in points],
            "threshold": outlines.threshold,
        },
        device=f"{engine.device.type} ({engine.reason})",
        precision=engine.precision,
        timings_s={"prompt": round(time.perf_counter() - began, 3)},
        warnings=tuple(warnings),
    )
    return Segmentation(labels, confidence, run)


def _check_points(points: Sequence[Sequence[int]], volume: Volume) -> None:
    if not len(points):
        raise InputError("No point was given; name one inside a lesion, as --point Z,Y,X.")
    shape = volume.array.shape
    for point in points:
        if not all(0 <= int(v) < n for v, n in zip(point, shape, strict=True)):
            raise InputError(
                f"The point {tuple(point)} lies outside the scan, which has {shape} voxels "
                "(z, y, x); count from 0."
            )
