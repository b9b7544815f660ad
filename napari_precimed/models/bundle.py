"""A MONAI bundle on disk -> a network with its weights.

A bundle's configuration can name any Python object, and its expressions are Python code. What one
that did not come with this package may do without the user's trust is in `config`, `permitted` and
`expressions`.
"""

from __future__ import annotations

import zipfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from napari_precimed.core.run import sha256_of
from napari_precimed.errors import BundleError
from napari_precimed.models.catalogue import ModelEntry, find
from napari_precimed.models.config import BundleConfig
from napari_precimed.models.config_file import FILES
from napari_precimed.models.trust import is_trusted, remember

_HOLDERS = ("model", "state_dict", "network", "net")
"""Under which key a training checkpoint keeps the weights."""
_PARALLEL = "module."
"""What torch's data parallelism puts before each name."""


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
    UntrustedBundleError
        If it asks for more than it may.
    BundleError
        If the config or the weights are missing, broken or do not fit each other.
    """
    trusted = trust or is_trusted(entry)
    sha256 = weights_sha256(entry)
    return _load(entry.folder, sha256, _stamp(entry.folder), trusted)


def build_network(folder: Path, *, trusted: bool) -> torch.nn.Module:
    """The network that the bundle's configuration defines, with fresh weights."""
    config = BundleConfig(folder, trusted=trusted)
    if config.network_id is None:
        raise BundleError(f"The configuration of '{folder.name}' defines no network.")
    network = config.build(config.network_id)
    if not isinstance(network, torch.nn.Module):
        raise BundleError(
            f"'{config.network_id}' of '{folder.name}' is {type(network)}, not a network."
        )
    return network


def untrusted_wishes(name: str) -> tuple[str, ...]:
    """What the model of that name wants to run, quoted; nothing where it need not be asked about.

    Raises
    ------
    ModelNotFoundError, BundleError
    """
    entry = find(name)
    return BundleConfig(entry.folder, trusted=is_trusted(entry)).wishes()


def trust_from_now_on(name: str) -> None:
    """Let the model of that name run what it wants, until its files change."""
    remember(find(name))


def weights_sha256(entry: ModelEntry) -> str:
    """SHA-256 of the bundle's weights file."""
    if not entry.weights.is_file():
        raise BundleError(
            f"The weights of '{entry.name}' are missing: {entry.weights}. Put them there, a "
            f"state dict of the network that its configuration defines.{_torchscript_beside(entry)}"
        )
    return _sha256(entry.weights, entry.weights.stat().st_mtime_ns)


def _torchscript_beside(entry: ModelEntry) -> str:
    beside = entry.weights.with_suffix(".ts")
    return f" {beside.name} is TorchScript, a program, and is not run." if beside.is_file() else ""


def _stamp(folder: Path) -> tuple[int, ...]:
    files = (folder / "configs" / name for name in FILES)
    return tuple(file.stat().st_mtime_ns for file in files if file.is_file())


@lru_cache(maxsize=8)
def _sha256(file: Path, _mtime_ns: int) -> str:
    return sha256_of(file)


@lru_cache(maxsize=4)
def _load(folder: Path, sha256: str, _config: tuple[int, ...], trusted: bool) -> torch.nn.Module:
    network = build_network(folder, trusted=trusted)
    file = folder / "models" / "model.pt"
    known = f"{file} (SHA-256 {sha256[:12]}…)"
    state = _weights_in(file, known)
    try:
        network.load_state_dict(state)
    except (RuntimeError, AttributeError, TypeError) as error:
        raise BundleError(
            f"{known} does not fit the network of '{folder.name}': {_first_misfit(error)}. Use "
            "the weights that belong to this configuration."
        ) from error
    return network.eval()


def _weights_in(file: Path, known: str) -> Any:
    """The state dict in a file, also where it lies in a training checkpoint."""
    if _is_torchscript(file):
        raise BundleError(
            f"{known} is TorchScript, a program that would run unseen; save its weights instead: "
            "torch.save(torch.jit.load(FILE).state_dict(), 'model.pt')."
        )
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and torch raise many kinds for a broken file
        raise BundleError(
            f"{known} is damaged, or holds more than weights "
            f"({str(error).splitlines()[0][:200] if str(error) else type(error).__name__}); copy "
            "or download it again."
        ) from error
    if isinstance(state, dict):
        held = next((state[key] for key in _HOLDERS if isinstance(state.get(key), dict)), None)
        state = state if held is None else held
    if isinstance(state, dict) and state and all(str(k).startswith(_PARALLEL) for k in state):
        state = {str(k).removeprefix(_PARALLEL): value for k, value in state.items()}
    return state


def _is_torchscript(file: Path) -> bool:
    try:
        with zipfile.ZipFile(file) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError):
        return False


def _first_misfit(error: Exception) -> str:
    """What torch says of the first weight that does not fit."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = lines[1] if len(lines) > 1 else lines[0] if lines else type(error).__name__
    return told.rstrip(".")[:200]
