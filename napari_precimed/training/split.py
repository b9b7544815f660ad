"""Who is in which part: by patient, kept in a file, and checked whenever it is read.

The rule is a hash of the patient's id, so that a patient keeps the part whatever else joins the
data. Sets too small for that are dealt out in the order of the hash, kind by kind, so that no part
is empty and each has its share of scans with and without a lesion.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from napari_precimed.core.files import atomic_path
from napari_precimed.errors import DatasetError

Split = dict[str, list[str]]
PARTS = ("train", "validation", "test")
SPLIT_PERCENT = {"test": 20, "validation": 12}  # the rest is training
INIT_PART = "seen by --init"
"""Part of a split: patients that the bundle trained on from which this training started."""
_FEW = 60  # patients; below, a hash alone may leave a part empty or lopsided


def hash_percent(patient: str, salt: str) -> int:
    """0 to 99, evenly, from the patient's id alone."""
    return int(hashlib.sha256(f"{salt}:{patient}".encode()).hexdigest()[:8], 16) % 100


def split_of(patient: str, salt: str = "lidc") -> str:
    """The part that the hash gives a patient: "train", "validation" or "test".

    Parameters
    ----------
    patient : str
    salt : str
        The data set: patients of two data sets are divided independently.
    """
    percent = hash_percent(patient, salt)
    if percent < SPLIT_PERCENT["test"]:
        return "test"
    if percent < SPLIT_PERCENT["test"] + SPLIT_PERCENT["validation"]:
        return "validation"
    return "train"


def divide(kinds: Mapping[str, str], salt: str = "precimed") -> Split:
    """Divide patients.

    Parameters
    ----------
    kinds : mapping of str to str
        Patient -> kind; few patients are dealt out kind by kind, in the order of the kinds' names.
    salt : str
        Another salt, another split.

    Raises
    ------
    DatasetError
        If there are fewer than two patients.
    """
    if len(kinds) < 2:
        raise DatasetError(
            f"These data are of {len(kinds)} patient{'' if len(kinds) == 1 else 's'}; training "
            "needs two at least, one to learn from and one to validate on. If one name stands for "
            "several people, say so in patients.csv."
        )
    split: Split = {part: [] for part in PARTS}
    if len(kinds) >= _FEW:
        for patient in sorted(kinds):
            split[split_of(patient, salt)].append(patient)
        return split
    room = _room(len(kinds))
    for kind in sorted(set(kinds.values())):
        group = sorted((p for p in kinds if kinds[p] == kind), key=lambda p: _order(p, salt))
        for patient, part in zip(group, _seats(len(group), len(kinds), room), strict=True):
            split[part].append(patient)
    return {part: sorted(names) for part, names in split.items()}


def _order(patient: str, salt: str) -> tuple[int, str]:
    return hash_percent(patient, salt), patient


def _room(n: int) -> dict[str, int]:
    """How many of `n` patients go into each part; one at least, but two make no test part."""
    validation = max(1, round(n * SPLIT_PERCENT["validation"] / 100))
    test = 0 if n == 2 else max(1, round(n * SPLIT_PERCENT["test"] / 100))
    return {"train": n - validation - test, "validation": validation, "test": test}


def _seats(size: int, n: int, room: dict[str, int]) -> list[str]:
    """The parts of the `size` patients of one kind among `n`; takes them out of `room`.

    The first three go one to each part, the others where the kind is furthest below its share.
    """
    share = {part: room[part] * size / n for part in PARTS}
    seats: list[str] = []
    for _ in range(size):
        free = [part for part in PARTS if room[part]]
        new = [part for part in free if part not in seats]
        seats.append(new[0] if new else max(free, key=lambda p: share[p] - seats.count(p)))
        part = seats[-1]
        room[part] -= 1
    return seats


def checked(split: Mapping[str, Sequence[str]], where: str) -> Split:
    """A split with no patient in two parts, and someone to learn from and to validate on.

    Parameters
    ----------
    split : mapping
        Part -> patient ids.
    where : str
        Named in the message.

    Raises
    ------
    DatasetError
    """
    strange = set(split) - {*PARTS, INIT_PART}
    if strange:
        raise DatasetError(
            f"{where} names a part '{sorted(strange)[0]}'; the parts are {', '.join(PARTS)}."
        )
    at: dict[str, str] = {}
    for part in PARTS:
        for patient in split.get(part, ()):
            if at.setdefault(patient, part) != part:
                raise DatasetError(
                    f"{where} has patient '{patient}' both in {at[patient]} and in {part}; a "
                    "patient belongs in one part."
                )
    for part in ("train", "validation"):
        if not split.get(part):
            raise DatasetError(f"{where} has no patient in {part}; name one at least.")
    return {part: sorted(set(names)) for part, names in split.items()}


def read_split(file: Path) -> Split:
    """Read and check a file of a split.

    Raises
    ------
    DatasetError
        If it is missing, is no JSON object of lists, or fails `checked`.
    """
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        split = {str(part): [str(name) for name in names] for part, names in values.items()}
    except OSError as error:
        raise DatasetError(f"The split {file} cannot be read: {error.strerror}.") from error
    except (ValueError, AttributeError, TypeError) as error:
        raise DatasetError(
            f'{file} is no split; it should read {{"train": ["patient", …], "validation": […], '
            '"test": […]}.'
        ) from error
    return checked(split, str(file))


def write_split(file: Path, split: Mapping[str, Iterable[str]]) -> None:
    """Write a split as JSON, the patients of each part sorted."""
    ids = {part: sorted(names) for part, names in split.items()}
    with atomic_path(file) as beside:
        beside.write_text(json.dumps(ids, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def restricted(split: Split, patients: set[str], where: str) -> Split:
    """Only those of a split who are in the data.

    Raises
    ------
    DatasetError
        If nobody is left to learn from or to validate on.
    """
    kept = {part: [p for p in names if p in patients] for part, names in split.items()}
    for part in ("train", "validation"):
        if not kept.get(part):
            raise DatasetError(
                f"None of the patients that {where} puts in {part} is in the data; its ids and "
                f"those of the data ({', '.join(sorted(patients)[:3])}, …) must be the same."
            )
    return kept


class Division:
    """Who of one data set is in which part: by the rule, or as the user says.

    Parameters
    ----------
    salt : str
        Of the data set, as in `split_of`.
    given : mapping of str to sequence of str, or None
        Part -> patients; whoever it does not name is in no part.
    """

    def __init__(self, salt: str, given: Mapping[str, Sequence[str]] | None = None) -> None:
        self.salt = salt
        self._given = None if given is None else {p: k for k in PARTS for p in given.get(k, ())}

    def part_of(self, patient: str) -> str | None:
        """The patient's part."""
        if self._given is None:
            return split_of(patient, self.salt)
        return self._given.get(patient)

    def split(self, patients: Iterable[str]) -> Split:
        """Part -> who of the patients is in it, sorted."""
        names: Split = {part: [] for part in PARTS}
        for patient in sorted(set(patients)):
            part = self.part_of(patient)
            if part is not None:
                names[part].append(patient)
        return names

    def as_given(self, split: Split, patients: Iterable[str]) -> Division:
        """The division that the user gives instead, for those patients who are in the data."""
        return Division(self.salt, restricted(split, set(patients), "the split"))
