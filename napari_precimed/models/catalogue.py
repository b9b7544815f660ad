"""Which models exist: read from each bundle's metadata.json, without torch.

Built-in bundles lie in ``zoo/``; the user's own in the folders named by ``PRECIMED_MODELS``
(separated as PATH is) and in ``models`` of the application's data folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from napari_precimed.errors import BundleError, InputError, ModelNotFoundError

ZOO = Path(__file__).parent / "zoo"
_METADATA = Path("configs") / "metadata.json"
_OURS = "precimed"
"""Key in metadata.json under which a bundle says what the MONAI schema has no word for."""


@dataclass(frozen=True)
class ModelEntry:
    """What the window and the command line show of a model before it is loaded.

    Attributes
    ----------
    name : str
        The bundle's folder name.
    version, title, description, license : str
    task : str
        "segmentation" or "classification".
    modality : str
        "CT", "MR", ...
    finding : str or None
        What it segments or classifies, in words.
    labels : dict of int to str
        Output channel or class -> its name.
    folder : Path
    built_in : bool
        Shipped with this package, and so trusted.
    settings : dict
        The bundle's own values for our pipeline (tile, threshold, ...).
    """

    name: str
    version: str
    title: str
    description: str
    license: str
    task: str
    modality: str
    finding: str | None
    labels: dict[int, str]
    folder: Path
    built_in: bool
    settings: dict[str, Any]

    @property
    def card(self) -> Path:
        """The model card."""
        return self.folder / "docs" / "README.md"

    @property
    def weights(self) -> Path:
        """The weights, a plain state dict."""
        return self.folder / "models" / "model.pt"

    @property
    def classifies_slices(self) -> bool:
        """Whether it classifies whole slices, and so needs no outlined lesions."""
        return self.task == "classification" and self.settings.get("input") == "slices"

    def check(self, task: str, modality: str | None) -> None:
        """Raise `InputError` unless this model does `task` on such scans.

        Parameters
        ----------
        task : {"segmentation", "classification"}
        modality : str or None
            Of the scan; None where its file does not say.
        """
        if self.task != task:
            raise InputError(
                f"'{self.name}' is a {self.task} model; choose a {task} model "
                "(`precimed models` lists them)."
            )
        if modality and modality != self.modality:
            raise InputError(
                f"'{self.name}' is for {self.modality}, this scan is {modality}; choose a model "
                f"for {modality}."
            )


def models() -> tuple[ModelEntry, ...]:
    """All models, built-in first, each group by name; broken bundles are left out."""
    return tuple(entry for folder in _bundle_folders() if (entry := _entry_or_none(folder)))


def find(name: str) -> ModelEntry:
    """The model of that name, or the bundle at that path.

    Raises
    ------
    ModelNotFoundError
        If there is none; the message lists what there is.
    BundleError
        If it is there but its metadata cannot be read.
    """
    for folder in _bundle_folders():
        if folder.name == name:
            return read_entry(folder)
    if (Path(name) / _METADATA).is_file():
        return read_entry(Path(name))
    known = ", ".join(entry.name for entry in models()) or "none"
    raise ModelNotFoundError(f"There is no model '{name}'. Models: {known}.")


def read_entry(folder: Path) -> ModelEntry:
    """Read one bundle's metadata.

    Raises
    ------
    BundleError
        If ``configs/metadata.json`` is missing, is not JSON, or lacks a version.
    """
    file = folder / _METADATA
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BundleError(f"'{folder}' is no MONAI bundle: {file} cannot be read.") from error
    except ValueError as error:
        raise BundleError(f"{file} is not JSON ({error}); restore it from the bundle.") from error
    if not isinstance(values, dict) or "version" not in values:
        raise BundleError(f"{file} names no version; a MONAI bundle's metadata must.")
    ours = values.get(_OURS, {})
    inputs = values.get("network_data_format", {}).get("inputs", {}).get("image", {})
    outputs = values.get("network_data_format", {}).get("outputs", {}).get("pred", {})
    return ModelEntry(
        name=folder.name,
        version=str(values["version"]),
        title=ours.get("title", values.get("name", folder.name)),
        description=values.get("description", ""),
        license=ours.get("license", "unstated"),
        task=ours.get("task", outputs.get("type", "segmentation")),
        modality=inputs.get("modality", "unknown"),
        finding=ours.get("finding"),
        labels={int(k): str(v) for k, v in outputs.get("channel_def", {}).items()},
        folder=folder,
        built_in=folder.parent == ZOO,
        settings=ours,
    )


def _bundle_folders() -> Iterator[Path]:
    own = [Path(p) for p in os.environ.get("PRECIMED_MODELS", "").split(os.pathsep) if p]
    shared = Path(platformdirs.user_data_dir("napari-precimed", appauthor=False)) / "models"
    for root in (ZOO, *own, shared):
        if root.is_dir():
            yield from sorted(p for p in root.iterdir() if (p / _METADATA).is_file())


def _entry_or_none(folder: Path) -> ModelEntry | None:
    try:
        return read_entry(folder)
    except BundleError:
        return None
