"""A researcher's own scans with their labels, found on the disk and read when they are asked for.

Three forms are known: a folder with ``images/`` and ``labels/`` (partners have the same name), a
Medical Segmentation Decathlon ``dataset.json``, and an nnU-Net raw folder (``imagesTr``,
``labelsTr``; channels end in ``_0000``, ``_0001``, …). An image is a file of any format that
`napari_precimed.io` reads, or a folder that holds one DICOM series.

Whose a scan is: what ``patients.csv`` beside the data says (columns ``case`` and ``patient``); else
the name up to the first ``__``, or BIDS's ``sub-…``; else the whole name, one patient a scan.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_precimed.core.volume import Volume
from napari_precimed.errors import DatasetError, GeometryError
from napari_precimed.io import read_volume
from napari_precimed.io.itk import read_itk, read_labels
from napari_precimed.training.files import (
    Pairs,
    all_first_channels,
    entries_of,
    images_in,
    label_names,
    listed,
    modality_of,
    paired,
    read_json,
)
from napari_precimed.training.patients import PatientTable, read_patients
from napari_precimed.training.split import PARTS, Split, restricted

_FORMS = "images/ and labels/, an MSD dataset.json, or an nnU-Net raw folder (imagesTr/, labelsTr/)"


@dataclass(frozen=True, eq=False)
class Scan:
    """A case that has been read.

    Attributes
    ----------
    volume : Volume
        The first channel, with the grid that all share.
    channels : ndarray of float32, shape (channel, z, y, x)
    labels : ndarray of int32, shape (z, y, x), or None
        None where the case has no labels.
    """

    volume: Volume
    channels: NDArray[np.float32]
    labels: NDArray[np.int32] | None

    @property
    def truth(self) -> NDArray[np.int32]:
        """The labels, of a scan that must have some.

        Raises
        ------
        DatasetError
            If it has none.
        """
        if self.labels is None:
            where = self.volume.source.path if self.volume.source else "A scan"
            raise DatasetError(f"{where} has no labels; add them, or leave the scan out.")
        return self.labels


@dataclass(frozen=True)
class ScanCase:
    """One scan on the disk.

    Attributes
    ----------
    name : str
        The file's name without suffix and channel.
    patient : str
    images : tuple of Path
        One for each channel.
    labels : Path or None
    """

    name: str
    patient: str
    images: tuple[Path, ...]
    labels: Path | None = None

    def read(self) -> Scan:
        """Read image and labels.

        Raises
        ------
        ReadError, GeometryError
            If a file cannot be read, or lies on another grid than the first channel.
        """
        volumes = [read_volume(path) for path in self.images]
        for path, volume in zip(self.images[1:], volumes[1:], strict=True):
            if difference := volumes[0].geometry.difference(volume.geometry):
                raise GeometryError(
                    f"{path} does not lie on the grid of {self.images[0].name}: {difference}. "
                    "Resample the channels of a scan onto one grid."
                )
        labels = None if self.labels is None else read_labels(self.labels, volumes[0])
        channels = np.stack([volume.array.astype(np.float32) for volume in volumes])
        return Scan(volumes[0], channels, labels)


@dataclass(frozen=True)
class CaseSet:
    """Scans of many patients, each read when it is asked for.

    Attributes
    ----------
    root : Path
    cases : tuple of ScanCase
    label_names : mapping of int to str
        As ``dataset.json`` has them, without background; empty where nothing says.
    modality : str or None
        "CT", "MR", … where ``dataset.json`` says.
    patients : PatientTable
        Age, gender, … of the patients; may be empty.
    given : mapping of str to str, or None
        Patient -> part.
    """

    root: Path
    cases: tuple[ScanCase, ...]
    label_names: Mapping[int, str]
    modality: str | None
    patients: PatientTable
    given: Mapping[str, str] | None = None

    def __len__(self) -> int:
        return len(self.cases)

    @property
    def n_channels(self) -> int:
        """Files per scan."""
        return len(self.cases[0].images)

    def divided(self, split: Split) -> CaseSet:
        """The same scans, divided so; those of a patient in no part are left out."""
        known = restricted(split, {case.patient for case in self.cases}, "the split")
        return replace(self, given={p: part for part in PARTS for p in known.get(part, ())})

    def part(self, name: str) -> list[ScanCase]:
        """The scans of "train", "validation" or "test"; nothing before `divided`."""
        return [case for case in self.cases if (self.given or {}).get(case.patient) == name]

    def split(self) -> Split:
        """Part -> the ids of its patients; empty before `divided`."""
        return {part: sorted({case.patient for case in self.part(part)}) for part in PARTS}

    def kinds(self) -> dict[str, str]:
        """Patient -> "labelled", or "nothing labelled" where all of their labels are 0."""
        kinds: dict[str, str] = {}
        for case in self.cases:
            some = case.labels is not None and bool(read_itk(case.labels).array.any())
            if some or case.patient not in kinds:
                kinds[case.patient] = "labelled" if some else "nothing labelled"
        return kinds

    def fingerprint(self) -> str:
        """Changes when a scan joins, leaves, or is written anew."""
        return fingerprint(self.cases)

    def without(self, patients: set[str]) -> CaseSet:
        """The scans of all other patients.

        Raises
        ------
        DatasetError
            If none is left.
        """
        left = tuple(case for case in self.cases if case.patient not in patients)
        if not left:
            raise DatasetError(
                f"All {len({case.patient for case in self.cases})} patients in {self.root} were "
                "seen in training or validation; evaluate on others."
            )
        return replace(self, cases=left)


def holds_cases(path: Path) -> bool:
    """Whether the path has one of the forms that this module reads; looks at names alone."""
    if path.is_file():
        return path.name == "dataset.json"
    return any((path / name).exists() for name in ("dataset.json", "imagesTr", "images"))


def read_cases(path: Path) -> CaseSet:
    """Find the scans and their labels; none is opened yet.

    Raises
    ------
    DatasetError
        If the path has none of the known forms, or an image or a label has no partner.
    """
    path = Path(path)
    root = path.parent if path.is_file() else path
    about = read_json(root / "dataset.json") if (root / "dataset.json").is_file() else {}
    if isinstance(about.get("training"), list) and about["training"]:
        pairs = listed(root, about["training"])
    elif (root / "imagesTr").is_dir():
        pairs = paired(root / "imagesTr", root / "labelsTr")
    elif (root / "images").is_dir():
        pairs = paired(root / "images", root / "labels")
    else:
        raise DatasetError(f"There are no scans at '{path}'; give {_FORMS} with --data.")
    return _case_set(root, pairs, about)


def read_unlabelled(path: Path, n_channels: int) -> CaseSet:
    """Find scans without labels: a folder of images, or any form of `read_cases`.

    Parameters
    ----------
    path : Path
    n_channels : int
        Of the labelled scans; the unlabelled need as many.

    Raises
    ------
    DatasetError
        If there is none.
    """
    path = Path(path)
    if holds_cases(path) and not (path / "images").is_dir():
        cases = read_cases(path)
        return replace(cases, cases=tuple(replace(c, labels=None) for c in cases.cases))
    folder = path / "images" if (path / "images").is_dir() else path
    entries = entries_of(folder) if folder.is_dir() else ()
    if not entries:
        raise DatasetError(f"There are no scans at '{path}'; give a folder of images.")
    found = images_in(folder, n_channels > 1 or all_first_channels(entries))
    return _case_set(path, {name: (images, None) for name, images in found.items()}, {})


def fingerprint(cases: Iterable[ScanCase]) -> str:
    """Changes when a scan joins, leaves, or is written anew."""
    digest = hashlib.sha256()
    for case in cases:
        digest.update(f"{case.name}|{case.patient}|".encode())
        for path in (*case.images, *([case.labels] if case.labels else [])):
            try:
                state = path.stat()
            except OSError as error:
                raise DatasetError(f"{path} cannot be read: {error.strerror}.") from error
            digest.update(f"{path.name}|{state.st_size}|{state.st_mtime_ns}|".encode())
    return digest.hexdigest()


def patient_of(name: str) -> str:
    """Whose a scan is, from its name alone."""
    if name.startswith("sub-"):
        return name.split("_")[0]
    return name.split("__")[0]


def _case_set(root: Path, pairs: Pairs, about: Mapping[str, Any]) -> CaseSet:
    if not pairs:
        raise DatasetError(f"There is not one scan in '{root}'; put in {_FORMS}.")
    counts = {name: len(images) for name, (images, _) in pairs.items()}
    first = next(iter(counts))
    for name, count in counts.items():
        if count != counts[first]:
            raise DatasetError(
                f"'{name}' has {count} channels, '{first}' has {counts[first]}; all scans need "
                "the same ones."
            )
    table = read_patients(root)
    cases = tuple(
        ScanCase(name, table.patient_of_case(name) or patient_of(name), images, labels)
        for name, (images, labels) in sorted(pairs.items())
    )
    return CaseSet(root, cases, label_names(about, root), modality_of(about), table)


def check_labels(values: Mapping[str, Iterable[int]], names: Mapping[int, str]) -> int:
    """How many kinds of label there are, once every scan's values have been seen.

    Parameters
    ----------
    values : mapping of str to iterable of int
        Scan -> the values in its labels.
    names : mapping of int to str
        Of the labels, where the data name them.

    Raises
    ------
    InputError
        If nothing is labelled, a value has no name, or the values leave a gap.
    """
    seen = sorted({v for found in values.values() for v in found if v})
    if not seen:
        raise DatasetError(
            f"Not one voxel is labelled in {len(values)} scans; labels are 1, 2, … where something "
            "is, and 0 elsewhere."
        )
    most = max(names, default=seen[-1])
    if seen[-1] > most:
        name = next(n for n, found in values.items() if seen[-1] in found)
        raise DatasetError(
            f"The labels of '{name}' hold {seen[-1]}, but dataset.json names labels up to {most}."
        )
    gap = next((v for v in range(1, most + 1) if v not in seen), None)
    if gap is not None and not names:
        raise DatasetError(
            f"The labels hold {', '.join(map(str, seen))} but no {gap}; number them 1, 2, … "
            "without a gap."
        )
    return most
