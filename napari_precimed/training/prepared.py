"""Scans made ready for training, once: each is read, checked, resampled and kept as plain arrays.

Crops are then read from the disk, so that a hundred scans need the memory of one.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_precimed.core.files import atomic_path
from napari_precimed.training.cases import ScanCase, fingerprint
from napari_precimed.training.preprocessing import Preprocessing

_SPOTS = 4000  # labelled places remembered per scan and label, to aim crops at
_DONE = "done.json"


@dataclass(frozen=True)
class ReadyScan:
    """One scan on the network's grid; the arrays are read from the disk as they are used.

    Attributes
    ----------
    name, patient : str
    folder : Path
        Holds ``image.npy``, ``labels.npy`` (where the scan has labels) and ``spots.npz``.
    """

    name: str
    patient: str
    folder: Path

    @property
    def image(self) -> NDArray[np.float16]:
        """Shape (channel, z, y, x)."""
        return np.load(self.folder / "image.npy", mmap_mode="r")

    @property
    def labels(self) -> NDArray[np.uint8] | None:
        """Shape (z, y, x); None where the scan has none."""
        file = self.folder / "labels.npy"
        return np.load(file, mmap_mode="r") if file.is_file() else None

    def spots(self) -> dict[int, NDArray[np.int32]]:
        """Label -> some of its voxels, shape (n, 3), indices (z, y, x)."""
        with np.load(self.folder / "spots.npz") as archive:
            return {int(key): archive[key] for key in archive.files}


def make_ready(
    cases: Sequence[ScanCase],
    preprocessing: Preprocessing,
    folder: Path,
    say: Callable[[str], None] = lambda line: None,
) -> list[ReadyScan]:
    """Make scans ready under a folder; those that are ready already are left as they are.

    Raises
    ------
    ReadError, GeometryError
        If a scan cannot be read, or its labels lie on another grid.
    """
    ready = []
    for k, case in enumerate(cases, start=1):
        place = folder / hashlib.sha256(case.name.encode()).hexdigest()[:16]
        wanted = {"case": case.name, "files": fingerprint([case]), "steps": preprocessing.listed}
        if not _is_done(place, wanted):
            say(f"making scan {k} of {len(cases)} ready: {case.name}")
            _write(case, preprocessing, place, wanted)
        ready.append(ReadyScan(case.name, case.patient, place))
    return ready


def _is_done(place: Path, wanted: Mapping[str, Any]) -> bool:
    try:
        return bool(json.loads((place / _DONE).read_text(encoding="utf-8")) == wanted)
    except (OSError, ValueError):
        return False


def _write(
    case: ScanCase, preprocessing: Preprocessing, place: Path, wanted: Mapping[str, Any]
) -> None:
    scan = case.read()
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    np.save(place / "image.npy", preprocessing.image(scan).numpy().astype(np.float16))
    if scan.labels is not None:
        labels = preprocessing.labels(scan)
        np.save(place / "labels.npy", labels)
        np.savez(place / "spots.npz", **_spots(labels, case.name))  # type: ignore[arg-type]
    with atomic_path(place / _DONE) as part:
        part.write_text(json.dumps(wanted), encoding="utf-8")


def _spots(labels: NDArray[np.uint8], name: str) -> dict[str, NDArray[np.int32]]:
    rng = np.random.default_rng(list(name.encode()))
    spots = {}
    for value in np.unique(labels):
        if value:
            voxels = np.argwhere(labels == value).astype(np.int32)
            few = rng.permutation(len(voxels))[:_SPOTS]
            spots[str(int(value))] = voxels[few]
    return spots
