"""A MONAI bundle on disk -> a network with its weights.

A bundle's config can name any Python object, and its expressions are Python code. A bundle that
did not come with this package may therefore name only classes of `monai`, `torch.nn` and
`torch.optim`, and put parts together by calling one of those on them, as in
``$torch.nn.Sequential(@first, @second)``; anything else is refused, with what it wanted, unless the
caller trusts it.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from pydoc import locate
from typing import Any

import torch
from monai.bundle import ComponentLocator, ConfigParser

from napari_precimed.core.run import sha256_of
from napari_precimed.errors import BundleError
from napari_precimed.models.catalogue import ModelEntry

_ALLOWED = ("monai.", "torch.nn.", "torch.optim.")
_NETWORK = "network_def"
_REFERENCE = re.compile(r"@\w+(?:::\w+)*")
_DOTTED = re.compile(r"[A-Za-z]\w*(?:\.[A-Za-z]\w*)+")


def load_network(entry: ModelEntry, *, trust: bool = False) -> torch.nn.Module:
    """Build a bundle's network and load its weights.

    Parameters
    ----------
    entry : ModelEntry
    trust : bool
        Let a bundle from outside run expressions and name any class.

    Returns
    -------
    torch.nn.Module
        In eval mode, on the CPU. The same object is returned while the weights stay the same.

    Raises
    ------
    BundleError
        If the config or the weights are missing, broken, do not fit each other, or ask for more
        than they may.
    """
    return _load(entry.folder, weights_sha256(entry), trust or entry.built_in)


def build_network(folder: Path, *, trusted: bool) -> torch.nn.Module:
    """The network that ``configs/inference.json`` defines, with fresh weights."""
    config = _read_config(folder)
    if not trusted:
        refuse_code(config, folder)
    parser = ConfigParser()
    parser.update(pairs=config)
    try:
        network = parser.get_parsed_content(_NETWORK)
    except Exception as error:  # MONAI raises many kinds here
        raise BundleError(f"The network of '{folder.name}' cannot be built: {error}") from error
    if not isinstance(network, torch.nn.Module):
        raise BundleError(f"'{_NETWORK}' of '{folder.name}' is {type(network)}, not a network.")
    return network


def weights_sha256(entry: ModelEntry) -> str:
    """SHA-256 of the bundle's weights file."""
    if not entry.weights.is_file():
        raise BundleError(f"The weights of '{entry.name}' are missing: {entry.weights}.")
    return _sha256(entry.weights, entry.weights.stat().st_mtime_ns)


def refuse_code(config: Any, folder: Path) -> None:
    """Raise `BundleError`, naming it, for the first thing in the config that would run code.

    Only what is needed to build the network is looked at, since only that is built: `network_def`
    and whatever it refers to.
    """
    for value in _reachable(config, config.get(_NETWORK), set()):
        if isinstance(value, dict) and "_target_" in value:
            target = str(value["_target_"])
            if not _is_allowed_class(target):
                raise BundleError(
                    f"The bundle '{folder.name}' wants '{target}'; only classes of monai, torch.nn "
                    "and torch.optim are allowed. If you know where it comes from: --trust."
                )
        if isinstance(value, str) and value.startswith("$") and not _only_composes(value[1:]):
            raise BundleError(
                f"The bundle '{folder.name}' wants to run '{value[1:]}'. If you know where it "
                "comes from: --trust."
            )


def _only_composes(expression: str) -> bool:
    """Whether it is one call of an allowed class on references, and nothing else."""
    try:
        tree = ast.parse(_REFERENCE.sub("reference", expression), mode="eval").body
    except SyntaxError:
        return False
    return (
        isinstance(tree, ast.Call)
        and not tree.keywords
        and all(isinstance(part, ast.Name) and part.id == "reference" for part in tree.args)
        and _is_allowed_class(ast.unparse(tree.func))
    )


def _is_allowed_class(name: str) -> bool:
    """Whether a target is a class of the allowed packages: not a function, which could do anything.

    MONAI lets a bundle leave out the module of its own classes and functions.
    """
    if name.isidentifier():
        modules = ComponentLocator().get_component_module_name(name)
        name = f"{modules[0] if isinstance(modules, list) else modules}.{name}"
    return (
        _DOTTED.fullmatch(name) is not None
        and name.startswith(_ALLOWED)
        and isinstance(locate(name), type)
    )


def _reachable(config: dict[str, Any], value: Any, seen: set[str]) -> Iterator[Any]:
    """`value`, everything inside it, and everything its @references lead to."""
    yield value
    if isinstance(value, dict):
        for inner in value.values():
            yield from _reachable(config, inner, seen)
    elif isinstance(value, list):
        for inner in value:
            yield from _reachable(config, inner, seen)
    elif isinstance(value, str):
        for reference in _REFERENCE.findall(value):
            key = reference[1:].split("::")[0]
            if key not in seen:
                seen.add(key)
                yield from _reachable(config, config.get(key), seen)


def _read_config(folder: Path) -> dict[str, Any]:
    file = folder / "configs" / "inference.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"'{folder.name}' has no readable {file.name}: {error}") from error
    if _NETWORK not in config:
        raise BundleError(f"{file} defines no '{_NETWORK}'.")
    return dict(config)


@lru_cache(maxsize=8)
def _sha256(file: Path, _mtime_ns: int) -> str:
    return sha256_of(file)


@lru_cache(maxsize=4)
def _load(folder: Path, sha256: str, trusted: bool) -> torch.nn.Module:
    network = build_network(folder, trusted=trusted)
    file = folder / "models" / "model.pt"
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and torch raise many kinds for a broken file
        raise BundleError(
            f"{file} (SHA-256 {sha256[:12]}…) is damaged, or holds more than weights: {error}"
        ) from error
    try:
        network.load_state_dict(state)
    except (RuntimeError, AttributeError, TypeError) as error:
        first = str(error).splitlines()[0]
        raise BundleError(
            f"{file} (SHA-256 {sha256[:12]}…) does not fit the network of '{folder.name}': {first}"
        ) from error
    return network.eval()
