"""Which models exist: read from each bundle's metadata.json, without torch.

Built-in bundles lie in ``zoo/``; the user's own, folders or zip archives, in the folders named by
``PRECIMED_MODELS`` (separated as PATH is) and in ``models`` of the application's data folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from napari_precimed.errors import BundleError, InputError, ModelNotFoundError
from napari_precimed.models.archive import is_archive, unpacked

ZOO = Path(__file__).parent / "zoo"
_METADATA = Path("configs") / "metadata.json"
_OURS = "precimed"
"""Key in metadata.json under which a bundle says what the MONAI schema has no word for."""
_MODALITIES = {"MRI": "MR", "MAMMOGRAM": "MG", "MAMMOGRAPHY": "MG", "PET": "PT", "ULTRASOUND": "US"}
"""What bundles call a modality -> what DICOM calls it."""


@dataclass(frozen=True)
class ModelEntry:
    """What the window and the command line show of a model before it is loaded.

    Attributes
    ----------
    name : str
        The bundle's folder name.
    version, title, description, license : str
    task : str
        "segmentation" or "classification"; another bundle's may be "detection" or the like.
    modality : str
        "CT", "MR", ...; "unknown" where the bundle does not say.
    finding : str or None
        What it segments or classifies, in words.
    labels : dict of int to str
        Output channel or class -> its name.
    folder : Path
    built_in : bool
        Shipped with this package, and so trusted.
    settings : dict
        The bundle's own values for our pipeline (tile, threshold, ...).
    channels : tuple of str
        What each channel of its input is to be, in the network's order.
    copies : int
        How often the one scan is repeated where the network wants grey as several channels.
    spatial_dims : int
        3, or 2 for a network of single slices.
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
    channels: tuple[str, ...] = ("image",)
    copies: int = 1
    spatial_dims: int = 3

    @property
    def card(self) -> Path:
        """The model card."""
        return self.folder / "docs" / "README.md"

    @property
    def weights(self) -> Path:
        """The weights, a plain state dict."""
        return self.folder / "models" / "model.pt"

    @property
    def runs_itself(self) -> bool:
        """Whether it is run by the pipeline in its own configuration, not by one of ours."""
        return "tile" not in self.settings

    @property
    def classifies_scans(self) -> bool:
        """Whether it classifies a scan as a whole, not each outlined lesion as ours do."""
        ours = {"recipe", "negative_label"} & self.settings.keys()
        return self.task == "classification" and not ours

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
        if modality and self.modality not in (modality, "unknown"):
            raise InputError(
                f"'{self.name}' is for {self.modality}, this scan is {modality}; choose a model "
                f"for {modality}."
            )


def models() -> tuple[ModelEntry, ...]:
    """All models, built-in first, each group by name; broken bundles are left out."""
    return tuple(entry for _, folder in _bundles() if (entry := _entry_or_none(folder)))


def find(name: str) -> ModelEntry:
    """The model of that name, or the bundle at that path.

    Parameters
    ----------
    name : str
        A name of the catalogue, the folder of a bundle, or a zip archive of one.

    Raises
    ------
    ModelNotFoundError
        If there is none; the message lists what there is.
    BundleError
        If it is there but cannot be unpacked, or its metadata cannot be read.
    """
    for root, folder in _bundles():
        if name in (folder.name, root.stem if is_archive(root) else folder.name):
            return read_entry(folder)
    if is_archive(Path(name)):
        return read_entry(unpacked(Path(name)))
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
    try:
        return _entry(folder, values)
    except (ValueError, TypeError, AttributeError) as error:
        raise BundleError(
            f"{file} does not describe a bundle as MONAI does ({error}); restore it."
        ) from error


def _entry(folder: Path, values: dict[str, Any]) -> ModelEntry:
    ours = values.get(_OURS, {})
    data = values.get("network_data_format", {})
    inputs = _first_image(data.get("inputs", {}), "image")
    outputs = _first_image(data.get("outputs", {}), "pred")
    channels = _in_order(inputs.get("channel_def", {})) or ("image",)
    count = int(inputs.get("num_channels", len(channels)))
    if len(channels) not in (1, count):
        channels = tuple(f"channel {k}" for k in range(count))
    return ModelEntry(
        name=folder.name,
        version=str(values["version"]),
        title=ours.get("title", values.get("name", folder.name)),
        description=values.get("description", ""),
        license=ours.get("license", values.get("license", "unstated")),
        task=ours.get("task", _task(outputs, str(values.get("task", "")))),
        modality=_modality(inputs.get("modality")),
        finding=ours.get("finding"),
        labels={int(k): str(v) for k, v in outputs.get("channel_def", {}).items()},
        folder=folder,
        built_in=folder.parent == ZOO,
        settings=ours,
        channels=channels,
        copies=count if len(channels) == 1 else 1,
        spatial_dims=2 if len(inputs.get("spatial_shape", ())) == 2 else 3,
    )


def user_models() -> Path:
    """Where the user's own bundles are installed."""
    return Path(platformdirs.user_data_dir("napari-precimed", appauthor=False)) / "models"


def _first_image(parts: dict[str, Any], usual: str) -> dict[str, Any]:
    """The part of that name, else the first."""
    return dict(parts.get(usual) or next(iter(parts.values()), {}))


def _in_order(channel_def: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(channel_def[key]) for key in sorted(channel_def, key=int))


def _modality(named: Any) -> str:
    name = str(named or "unknown")
    upper = name.upper()
    short = _MODALITIES.get(upper, upper)
    return short if len(short) == 2 and short.isalpha() else "unknown"


def _task(outputs: dict[str, Any], described: str) -> str:
    """What a model is for; MONAI's schema says it in several places, none of them binding."""
    text = " ".join([str(outputs.get("type", "")), str(outputs.get("format", "")), described])
    for task in ("segment", "classif", "detect", "generat", "registrat"):
        if task in text.lower():
            return {"segment": "segmentation", "classif": "classification"}.get(task, f"{task}ion")
    return "segmentation"


def _bundles() -> Iterator[tuple[Path, Path]]:
    """What lies in the places of bundles, and the folder of the bundle that it is."""
    own = [Path(p) for p in os.environ.get("PRECIMED_MODELS", "").split(os.pathsep) if p]
    for root in (ZOO, *own, user_models()):
        for path in sorted(root.iterdir()) if root.is_dir() else ():
            if (path / _METADATA).is_file():
                yield path, path
            elif is_archive(path):
                with suppress(BundleError):  # as broken folders, it is left out
                    yield path, unpacked(path)


def _entry_or_none(folder: Path) -> ModelEntry | None:
    try:
        return read_entry(folder)
    except BundleError:
        return None
