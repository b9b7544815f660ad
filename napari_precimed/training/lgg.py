"""The lower-grade gliomas of TCGA: reading them, and the split that every glioma recipe shares.

One folder per patient: ``flair``, ``pre`` and ``post`` (T1 before and after contrast agent) as tall
WebP strips of 256 x 256 slices, and ``mask.png``, the FLAIR abnormality, as a strip of the same
height. Slices go from the neck up, the face is at the top of each. The source kept no spacing, so
nothing here claims millimetres. Source: Buda et al. 2019, Computers in Biology and Medicine 109.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_precimed.errors import DatasetError
from napari_precimed.training.split import split_of, split_patients

SIDE = 256
"""Width and height of a slice, pixels."""
SEQUENCES = ("flair", "pre", "post")
CLINICAL_FILE = "clinical.csv"
SALT = "lgg"
_COPY_CORRELATION = 0.985  # copies reach 0.990 and more here, sequences of their own 0.974 at most
_SCAN_DATE = re.compile(r"_\d{8}$")


@dataclass(frozen=True)
class Glioma:
    """One patient's scan; its pixels are read when they are first asked for.

    Attributes
    ----------
    folder : Path
        Its name is the patient's id and the date of the scan.
    clinical : dict of str to float or None
        The patient's row in ``clinical.csv``, as numbers and codes; None where the cell is empty.
        The dictionary is empty where there is no row.
    strips : dict of str to list of Path
        The files of each sequence and of "mask", in the order of their slices.
    """

    folder: Path
    clinical: dict[str, float | None] = field(repr=False)
    strips: dict[str, list[Path]] = field(repr=False)

    @property
    def patient(self) -> str:
        """The patient's id: the folder's name without the date of the scan."""
        return _SCAN_DATE.sub("", self.folder.name)

    @cached_property
    def flair(self) -> NDArray[np.uint8]:
        """FLAIR, shape (z, 256, 256)."""
        return _slices(self.strips["flair"])

    @cached_property
    def pre(self) -> NDArray[np.uint8]:
        """T1 before contrast agent, shape (z, 256, 256); a copy of FLAIR where it was missing."""
        return _slices(self.strips["pre"])

    @cached_property
    def post(self) -> NDArray[np.uint8]:
        """T1 after contrast agent, shape (z, 256, 256); a copy of FLAIR where it was missing."""
        return _slices(self.strips["post"])

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """The FLAIR abnormality, shape (z, 256, 256)."""
        return _slices(self.strips["mask"]) > 0

    @cached_property
    def copies(self) -> tuple[str, ...]:
        """The sequences that are copies of FLAIR, told by their correlation with it."""
        return tuple(
            name
            for name in ("pre", "post")
            if _correlation(getattr(self, name), self.flair) > _COPY_CORRELATION
        )

    def forget(self) -> None:
        """Give the pixels' memory back; they are read again when next asked for."""
        for name in (*SEQUENCES, "mask"):
            self.__dict__.pop(name, None)

    def __len__(self) -> int:
        """Number of slices."""
        return sum(_height(file) for file in self.strips["mask"]) // SIDE


class Gliomas(Sequence[Glioma]):
    """The patients of one folder, by name.

    Parameters
    ----------
    cases : sequence of Glioma
    folder : Path
        Where they lie.
    """

    def __init__(self, cases: Sequence[Glioma], folder: Path) -> None:
        self.cases = tuple(cases)
        self.folder = folder

    def __len__(self) -> int:
        return len(self.cases)

    @overload
    def __getitem__(self, index: int) -> Glioma: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Glioma, ...]: ...
    def __getitem__(self, index: int | slice) -> Glioma | tuple[Glioma, ...]:
        return self.cases[index]

    def __iter__(self) -> Iterator[Glioma]:
        return iter(self.cases)

    @property
    def patients(self) -> list[str]:
        """The patient id of each case, in order."""
        return [case.patient for case in self.cases]

    def part(self, name: str) -> list[Glioma]:
        """The cases of "train", "validation" or "test", as `split_of` divides the patients."""
        return [case for case in self.cases if split_of(case.patient, SALT) == name]

    def split(self) -> dict[str, list[str]]:
        """Part -> the ids of its patients."""
        return split_patients(self.patients, SALT)

    def without(self, patients: set[str]) -> list[Glioma]:
        """The cases of all other patients.

        Raises
        ------
        DatasetError
            If none is left.
        """
        left = [case for case in self.cases if case.patient not in patients]
        if not left:
            raise DatasetError(
                f"All {len(set(self.patients))} patients in these data were seen in training or "
                "validation; evaluate on others."
            )
        return left


def read_lgg(path: str | Path) -> Gliomas:
    """Find the patients of a folder; pixels are read when asked for.

    Parameters
    ----------
    path : path
        The folder that holds one folder per patient, or the one in which it is called ``lgg`` or
        ``imaging/lgg``.

    Raises
    ------
    DatasetError
        If there is no such folder, a strip is missing, is no image, or the strips of a patient
        have different sizes.
    """
    root = _find(Path(path))
    clinical = _clinical(root / CLINICAL_FILE)
    folders = sorted(p for p in root.iterdir() if (p / "mask.png").is_file())
    cases = []
    for folder in folders:
        case = Glioma(folder, {}, {name: _strips(folder, name) for name in (*SEQUENCES, "mask")})
        _check(case)
        case.clinical.update(clinical.get(case.patient, {}))
        cases.append(case)
    return Gliomas(cases, root)


def _find(path: Path) -> Path:
    for candidate in (path, path / "lgg", path / "imaging" / "lgg"):
        if candidate.is_dir() and any(candidate.glob("*/mask.png")):
            return candidate
    raise DatasetError(
        f"No patient's folder with a mask.png at '{path}'; give the folder that holds one folder "
        "per patient (flair.webp, pre.webp, post.webp, mask.png) with --data."
    )


def _clinical(file: Path) -> dict[str, dict[str, float | None]]:
    """Patient -> column -> number; an empty cell is None. Without the file, nobody has a row."""
    if not file.is_file():
        return {}
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
        return {
            row["Patient"]: {
                key: float(value) if value else None
                for key, value in row.items()
                if key != "Patient"
            }
            for row in rows
        }
    except (OSError, KeyError, ValueError) as error:
        raise DatasetError(
            f"{file} is no table of patients ({error}); it needs a column 'Patient', and numbers "
            "or empty cells in all others."
        ) from error


def _strips(folder: Path, name: str) -> list[Path]:
    """The strips of one sequence in order: ``flair.webp``, or ``flair_0.webp`` and so on."""
    if name == "mask":
        return [folder / "mask.png"]
    whole = folder / f"{name}.webp"
    if whole.is_file():
        return [whole]
    parts = sorted(folder.glob(f"{name}_*.webp"), key=lambda p: int(p.stem.split("_")[-1]))
    if not parts:
        raise DatasetError(f"{folder} has no {name}.webp; a patient's folder needs it.")
    return parts


def _height(file: Path) -> int:
    """Of a strip, from its header alone."""
    try:
        with Image.open(file) as image:
            width, height = image.size
    except OSError as error:
        raise DatasetError(f"{file} is no readable image: {error}") from error
    if width != SIDE or height % SIDE:
        raise DatasetError(
            f"{file} is {width} x {height} pixels; a strip is {SIDE} wide and a multiple of {SIDE} "
            "high."
        )
    return int(height)


def _check(case: Glioma) -> None:
    wanted = sum(map(_height, case.strips["mask"])) // SIDE
    for name in SEQUENCES:
        found = sum(map(_height, case.strips[name])) // SIDE
        if found != wanted:
            raise DatasetError(
                f"{case.folder}: {name} has {found} slices, mask.png {wanted}; they must agree."
            )


def _slices(files: Sequence[Path]) -> NDArray[np.uint8]:
    """Strips -> slices, shape (z, 256, 256)."""
    try:
        tall = [np.asarray(Image.open(file).convert("L")) for file in files]
    except OSError as error:
        raise DatasetError(f"{files[0]} is damaged: {error}; restore it.") from error
    return np.concatenate(tall).reshape(-1, SIDE, SIDE)


def _correlation(a: NDArray, b: NDArray) -> float:
    """Of every ninth pixel; 0 where one of the two is flat."""
    x, y = (v[:, ::3, ::3].ravel().astype(np.float32) for v in (a, b))
    x, y = x - x.mean(), y - y.mean()
    norm = float(np.sqrt((x**2).sum() * (y**2).sum()))
    return float((x * y).sum()) / norm if norm else 0.0
