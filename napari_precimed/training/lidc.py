"""The LIDC nodule crops: reading them, and the split that every lung recipe shares.

The crops are 96 x 96 pixels around one nodule, all the slices that hold it. Grey is linear in HU
inside a slice, but the gain differs between slices, so nothing here claims HU: the networks
normalise each slice on their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_precimed.errors import DatasetError
from napari_precimed.training.split import split_of, split_patients

FILE_NAME = "lidc_nodules.npz"
_KEYS = ("image", "reader_bits", "offset", "name", "malignancy", "n_readers", "spacing_zyx_mm")


@dataclass(frozen=True)
class Nodule:
    """One nodule.

    Attributes
    ----------
    name : str
        ``"<patient>/nodule-<k>"``.
    image : ndarray of uint8, shape (z, y, x)
        Grey values; ascending z; the gain differs from slice to slice.
    reader_masks : ndarray of bool, shape (reader, z, y, x)
        What each reader marked.
    malignancy : float
        Mean reader opinion, 1 (highly unlikely) to 5 (highly suspicious); not pathology.
    spacing_mm : tuple of float
        (z, y, x).
    """

    name: str
    image: NDArray[np.uint8]
    reader_masks: NDArray[np.bool_]
    malignancy: float
    spacing_mm: tuple[float, float, float]

    @property
    def patient(self) -> str:
        """The patient's id, the part of the name before the slash."""
        return self.name.split("/")[0]

    @cached_property
    def reader_share(self) -> NDArray[np.float32]:
        """Share of the readers who marked the voxel, 0 to 1; shape (z, y, x)."""
        return self.reader_masks.mean(axis=0, dtype=np.float32)

    @property
    def volume_mm3(self) -> float:
        """Volume of the consensus mask."""
        return float(self.consensus.sum() * np.prod(self.spacing_mm))

    @property
    def diameter_mm(self) -> float:
        """Diameter of the sphere of the consensus mask's volume."""
        return float((6 * self.volume_mm3 / np.pi) ** (1 / 3))

    @property
    def consensus(self) -> NDArray[np.bool_]:
        """The mask that at least half of the readers drew, shape (z, y, x)."""
        return self.reader_share >= 0.5


@dataclass(frozen=True)
class LidcNodules:
    """All nodules of one file in the LIDC crop format; holds the arrays, hands out `Nodule`.

    Attributes
    ----------
    arrays : dict of str to ndarray
        The arrays of the file.
    folder : Path
        Where the file lies, for what lies beside it.
    """

    arrays: dict[str, NDArray]
    folder: Path

    def __len__(self) -> int:
        return len(self.arrays["name"])

    def __getitem__(self, index: int) -> Nodule:
        a = self.arrays
        part = slice(int(a["offset"][index]), int(a["offset"][index + 1]))
        bits = a["reader_bits"][part]
        n_readers = int(a["n_readers"][index])
        readers = _readers(bits, n_readers)[:, None, None, None]
        z, y, x = (float(v) for v in a["spacing_zyx_mm"][index])
        return Nodule(
            name=str(a["name"][index]),
            image=a["image"][part],
            reader_masks=(bits[None] >> readers & 1).astype(bool),
            malignancy=float(a["malignancy"][index]),
            spacing_mm=(z, y, x),
        )

    def __iter__(self) -> Iterator[Nodule]:
        return (self[i] for i in range(len(self)))

    @cached_property
    def patients(self) -> list[str]:
        """The patient id of each nodule, in order."""
        return [str(name).split("/")[0] for name in self.arrays["name"]]

    def part(self, name: str) -> list[Nodule]:
        """The nodules of "train", "validation" or "test", as `split_of` divides the patients."""
        return [self[i] for i, patient in enumerate(self.patients) if split_of(patient) == name]

    def split(self) -> dict[str, list[str]]:
        """Part -> the ids of its patients."""
        return split_patients(self.patients, "lidc")

    def without(self, patients: set[str]) -> list[Nodule]:
        """The nodules of all other patients.

        Raises
        ------
        DatasetError
            If none is left.
        """
        left = [self[i] for i, patient in enumerate(self.patients) if patient not in patients]
        if not left:
            raise DatasetError(
                f"All {len(set(self.patients))} patients in these data were seen in training or "
                "validation; evaluate on others."
            )
        return left


def _readers(bits: NDArray[np.uint8], n_readers: int) -> NDArray[np.uint8]:
    """The bits that the readers of this nodule use; a reader may have marked nothing here."""
    used = [k for k in range(8) if (bits >> k & 1).any()]
    unused = [k for k in range(8) if k not in used]
    return np.array(sorted([*used, *unused][:n_readers]), np.uint8)


def read_lidc(path: str | Path) -> LidcNodules:
    """Read a file of nodule crops.

    Parameters
    ----------
    path : path
        The ``.npz`` file, or a folder that holds ``lidc_nodules.npz`` (directly or in
        ``imaging/``).

    Raises
    ------
    DatasetError
        If there is no such file or it lacks an array.
    """
    file = _find(Path(path))
    try:
        with np.load(file, allow_pickle=False) as archive:
            missing = [key for key in _KEYS if key not in archive]
            if missing:
                raise DatasetError(
                    f"{file} lacks the array '{missing[0]}'; a file of nodule crops holds "
                    f"{', '.join(_KEYS)}."
                )
            return LidcNodules({key: archive[key] for key in _KEYS}, file.parent)
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{file} is not a readable .npz file of nodule crops: {error}"
        ) from error


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    for candidate in (path / FILE_NAME, path / "imaging" / FILE_NAME):
        if candidate.is_file():
            return candidate
    raise DatasetError(
        f"No {FILE_NAME} at '{path}'; give the file, or the folder that holds it, with --data."
    )
