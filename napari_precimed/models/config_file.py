"""A bundle's inference configuration as it is written: found, read, and freed of file names."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from napari_precimed.errors import BundleError

FILES = ("inference.json", "inference.yaml", "inference.yml")

READERS = frozenset(("LoadImage", "EnsureChannelFirst", "AddChannel", "AsChannelFirst"))
WRITERS = frozenset(("SaveImage", "SaveClassification", "WriteFileMapping"))


def read_config(folder: Path) -> dict[str, Any]:
    """The inference configuration of a bundle, JSON or YAML, as it is written.

    Raises
    ------
    BundleError
        If there is none, or it cannot be read.
    """
    file = next((f for name in FILES if (f := folder / "configs" / name).is_file()), None)
    if file is None:
        raise BundleError(
            f"'{folder.name}' has no configs/{FILES[0]} (nor .yaml), which says what network it is."
        )
    try:
        text = file.read_text(encoding="utf-8")
        config = json.loads(text) if file.suffix == ".json" else _yaml(text)
    except (OSError, ValueError) as error:
        raise BundleError(
            f"'{folder.name}' has no readable {file.name}: {' '.join(str(error).split())}"
        ) from error
    if not isinstance(config, dict):
        raise BundleError(f"{file} holds {type(config).__name__}, not named parts.")
    return config


def without_files(config: dict[str, Any]) -> dict[str, Any]:
    """A copy in which what reads or writes images is disabled: the scan is in memory."""

    def disabled(value: Any) -> Any:
        if isinstance(value, dict):
            value = {key: disabled(inner) for key, inner in value.items()}
            return {**value, "_disabled_": True} if _handles_files(value) else value
        return [disabled(inner) for inner in value] if isinstance(value, list) else value

    return {key: disabled(value) for key, value in config.items()}


def expanded(config: dict[str, Any]) -> dict[str, Any]:
    """Relative ids made absolute, and texts that stand for another part replaced by a copy of it.

    A text that stands for a part of another file is left, and refused later.
    """

    def expand(value: Any, name: str) -> Any:
        if isinstance(value, (dict, list)):
            inner = {k: expand(v, f"{name}::{k}" if name else f"{k}") for k, v in items(value)}
            return inner if isinstance(value, dict) else list(inner.values())
        if not isinstance(value, str):
            return value
        text = ConfigParser.resolve_relative_ids(name, value)
        if not text.startswith("%"):
            return text
        file, other = ConfigParser.split_path_id(text[1:])
        return text if file else deepcopy(ConfigParser(config)[other])

    return dict(expand(config, ""))


def _yaml(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def items(value: Any) -> list[tuple[Any, Any]]:
    """Keys and values of a dictionary, places and values of a list; nothing of anything else."""
    if isinstance(value, dict):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, list) else []


def _handles_files(value: dict[str, Any]) -> bool:
    return base_name(value.get("_target_")) in READERS | WRITERS


def base_name(target: Any) -> str:
    """The name of a MONAI transform without module and without the ending for dictionaries."""
    name = str(target).rpartition(".")[2]
    for ending in ("Dict", "D", "d"):
        if name.endswith(ending) and name.removesuffix(ending) in READERS | WRITERS:
            return name.removesuffix(ending)
    return name
