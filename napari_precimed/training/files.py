"""Which files belong to which scan: the three forms of a folder of labelled scans."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_precimed.errors import DatasetError
from napari_precimed.io.itk import suffix_of

Pairs = Mapping[str, tuple[tuple[Path, ...], Path | None]]
"""Name -> its channels and its labels."""

_CHANNEL = re.compile(r"^(?P<name>.+)_(?P<channel>\d{4})$")


def listed(root: Path, entries: Iterable[Any]) -> Pairs:
    """The pairs that an MSD dataset.json lists."""
    pairs: dict[str, tuple[tuple[Path, ...], Path | None]] = {}
    for entry in entries:
        if not isinstance(entry, dict) or not {"image", "label"} <= set(entry):
            raise DatasetError(
                f"{root / 'dataset.json'} lists {entry!r} under 'training'; each must name an "
                "'image' and a 'label'."
            )
        listed = entry["image"] if isinstance(entry["image"], list) else [entry["image"]]
        images = tuple(_existing(root / str(each), root) for each in listed)
        name = stem_of(images[0])
        if len(images) > 1 and (match := _CHANNEL.match(name)):
            name = match["name"]
        if name in pairs:
            raise DatasetError(f"{root / 'dataset.json'} lists '{name}' twice; once is enough.")
        pairs[name] = (images, _existing(root / str(entry["label"]), root))
    return pairs


def _existing(path: Path, root: Path) -> Path:
    """The file, or the same whose name ends in _0000, as some exports have it."""
    if path.exists():
        return path
    suffix = suffix_of(path) or ""
    other = path.with_name(path.name.removesuffix(suffix) + "_0000" + suffix)
    if other.exists():
        return other
    raise DatasetError(f"{root / 'dataset.json'} lists {path}, which does not exist.")


def paired(images: Path, labels: Path) -> Pairs:
    """The pairs of two folders, by name; whoever has no partner is refused."""
    if not labels.is_dir():
        raise DatasetError(f"There is no folder {labels}; it holds the labels of {images}.")
    masks = {stem_of(path): path for path in entries_of(labels)}
    names = {stem_of(path) for path in entries_of(images)}  # case_0001 may be the whole name
    found = images_in(images, with_channels=not names & set(masks))
    for name in sorted(set(found) ^ set(masks)):
        have, lack = (found[name][0], labels) if name in found else (masks[name], images)
        raise DatasetError(
            f"{have} has no partner of the name '{name}' in {lack}; an image and its labels have "
            "the same name."
        )
    return {name: (paths, masks[name]) for name, paths in found.items()}


def images_in(folder: Path, with_channels: bool) -> dict[str, tuple[Path, ...]]:
    """Name -> its channels in order; a name's suffix _0000 counts as a channel only if asked."""
    found: dict[str, dict[int, Path]] = {}
    for path in entries_of(folder):
        match = _CHANNEL.match(stem_of(path)) if with_channels else None
        name, channel = (match["name"], int(match["channel"])) if match else (stem_of(path), 0)
        if channel in found.setdefault(name, {}):
            raise DatasetError(f"{found[name][channel]} and {path} have the same name; keep one.")
        found[name][channel] = path
    for name, channels in found.items():
        if sorted(channels) != list(range(len(channels))):
            raise DatasetError(
                f"'{name}' in {folder} has channels {sorted(channels)}; they count from 0 without "
                "a gap."
            )
    return {name: tuple(path for _, path in sorted(c.items())) for name, c in found.items()}


def all_first_channels(entries: Sequence[Path]) -> bool:
    """Whether each name ends as nnU-Net's only channel does."""
    return all(stem_of(path).endswith("_0000") for path in entries)


def entries_of(folder: Path) -> Sequence[Path]:
    """Image files and DICOM folders; hidden files and others are passed over."""
    return sorted(
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and (path.is_dir() or suffix_of(path) is not None)
    )


def stem_of(path: Path) -> str:
    """The name without the suffix of its image format."""
    return path.name[: len(path.name) - len(suffix_of(path) or "")]


def read_json(file: Path) -> dict[str, Any]:
    """The object in a dataset.json."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{file} is not readable JSON: {error}") from error
    if not isinstance(values, dict):
        raise DatasetError(f"{file} is no JSON object; see the format of MSD or nnU-Net.")
    return values


def label_names(about: Mapping[str, Any], root: Path) -> dict[int, str]:
    """MSD writes number -> name, nnU-Net name -> number; background is left out."""
    names: dict[int, str] = {}
    for key, value in dict(about.get("labels", {})).items():
        try:
            number, name = (int(key), value) if str(key).isdigit() else (int(value), key)
        except (TypeError, ValueError):
            raise DatasetError(
                f"{root / 'dataset.json'} gives label '{key}' as {value!r}; a label is one whole "
                "number (regions of several are not supported)."
            ) from None
        if number:
            names[number] = str(name)
    if sorted(names) != list(range(1, len(names) + 1)):
        raise DatasetError(
            f"{root / 'dataset.json'} numbers its labels {sorted(names)}; number them 1, 2, … "
            "without a gap."
        )
    return names


def modality_of(about: Mapping[str, Any]) -> str | None:
    """DICOM's word for the first channel: "CT", "PT", or "MR" for the names of MR sequences."""
    channels = about.get("channel_names") or about.get("modality") or {}
    if not isinstance(channels, dict) or not channels:
        return None
    first = str(channels[min(channels)]).upper()
    if "CT" in re.split(r"[^A-Z]", first):
        return "CT"
    if "PET" in first or first == "PT":
        return "PT"
    mr = ("MR", "T1", "T2", "FLAIR", "ADC", "DWI", "DTI")
    return "MR" if any(word in first for word in mr) else None
