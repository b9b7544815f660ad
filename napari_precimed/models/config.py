"""A bundle's inference configuration: what it asks for, and the parts built from it.

A bundle that came with this package, or that the user trusts, is read by MONAI's own parser, which
runs whatever it says. Any other is built here: references, literals, permitted classes and harmless
expressions, and nothing that this module does not know.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

from napari_precimed.errors import BundleError, UntrustedBundleError
from napari_precimed.models.config_file import (
    base_name,
    expanded,
    items,
    read_config,
    without_files,
)
from napari_precimed.models.expressions import REFERENCE, Expression, WantsCodeError
from napari_precimed.models.permitted import fetched, permitted_class

NETWORKS = ("network_def", "network", "net")
"""The ids under which bundles keep their network, the plainest first."""

PREPROCESSING, INFERER, POSTPROCESSING = "preprocessing", "inferer", "postprocessing"

_NOT_ARGUMENTS = frozenset(("_target_", "_disabled_", "_requires_", "_desc_", "_mode_"))
_NOTHING = object()


class BundleConfig:
    """The configuration of one bundle.

    Parameters
    ----------
    folder : Path
    trusted : bool
        Let it run what it wants.
    device : torch.device
        Where its parts will work, whatever the configuration says of devices.

    Raises
    ------
    BundleError
        If there is none, or it cannot be read.
    """

    def __init__(self, folder: Path, *, trusted: bool, device: torch.device | None = None) -> None:
        self.folder, self.trusted = folder, trusted
        config = without_files(read_config(folder))
        config["device"] = device or torch.device("cpu")
        config["bundle_root"] = str(folder)
        self.network_id = next((name for name in NETWORKS if name in config), None)
        if self.network_id is None:
            raise BundleError(
                f"The configuration of '{folder.name}' defines no '{NETWORKS[0]}', so there is no "
                "network to load."
            )
        self._parser = ConfigParser(config) if trusted else None
        self._config = {} if trusted else expanded(config)
        self._built: dict[str, Any] = {}
        self._building: list[str] = []

    def __contains__(self, name: str) -> bool:
        config = self._config if self._parser is None else self._parser.get()
        return config.get(name) is not None

    def refuse_code(self) -> None:
        """Raise `UntrustedBundleError` if the bundle wants code to be run and is not trusted."""
        if wishes := self.wishes():
            raise UntrustedBundleError(self.folder.name, wishes)

    def wishes(self) -> tuple[str, ...]:
        """What it wants to run beyond what is permitted, quoted; nothing where it is trusted.

        Looked at is what will be built: the network, the processing before and after it, the
        inferer, and all that these refer to.
        """
        if self._parser is not None:
            return ()
        seen: set[str] = set()
        roots = (self.network_id, PREPROCESSING, INFERER, POSTPROCESSING)
        found = (wish for root in roots if root for wish in self._wishes_of(root, seen))
        return tuple(dict.fromkeys(found))

    def build(self, name: str) -> Any:
        """The part with that id; each part is built once.

        Raises
        ------
        UntrustedBundleError
        BundleError
            If it cannot be built; the message says why.
        """
        self.refuse_code()
        try:
            if self._parser is None:
                return self._build(name)
            with _scripts_of(self.folder):
                return self._parser.get_parsed_content(name)
        except BundleError:
            raise
        except Exception as error:  # whatever the classes named raise
            raise BundleError(
                f"The {_in_words(name)} of '{self.folder.name}' cannot be built: "
                f"{_root_cause(error)}"
            ) from error

    def setting(self, *path: str) -> Any:
        """A plain value deep in the configuration, None where there is none or it wants code."""
        try:
            if self._parser is not None:
                return self._parser.get_parsed_content("::".join(path))
            name = "::".join(path)
            value = self._raw(name)
            return None if tuple(self._wishes_in(value, name, set())) else self._build(name)
        except Exception:  # it is only asked for what may well be missing
            return None

    @property
    def image_keys(self) -> tuple[str, ...]:
        """Under which keys the bundle's own loader would put the image; "image" by default."""
        config = self._config if self._parser is None else self._parser.get()
        for value in _dictionaries(config.get(PREPROCESSING, {})):
            if base_name(value.get("_target_")) == "LoadImage":
                keys = value.get("keys", "image")
                named = [keys] if isinstance(keys, str) else list(keys)
                return tuple(
                    str(self.setting(key[1:])) if REFERENCE.fullmatch(str(key)) else str(key)
                    for key in named
                )
        return ("image",)

    def _raw(self, name: str) -> Any:
        value: Any = self._config
        for step in name.split("::"):
            try:
                value = value[int(step)] if isinstance(value, list) else value[step]
            except (KeyError, IndexError, ValueError, TypeError):
                raise BundleError(
                    f"The configuration of '{self.folder.name}' refers to '@{name}', which it "
                    "does not define."
                ) from None
        return value

    def _wishes_of(self, name: str, seen: set[str]) -> Iterator[str]:
        if name in seen:
            return
        seen.add(name)
        try:
            value = self._raw(name)
        except BundleError:
            return  # said when it is built
        yield from self._wishes_in(value, name, seen)

    def _wishes_in(self, value: Any, name: str, seen: set[str]) -> Iterator[str]:
        if isinstance(value, str):
            yield from self._wishes_of_text(value, seen)
            return
        if isinstance(value, dict):
            if "_target_" in value and _says_disabled(value.get("_disabled_")):
                return
            yield from _wishes_of_target(value)
        for key, inner in items(value):
            if key != "_target_":
                yield from self._wishes_in(inner, f"{name}::{key}", seen)

    def _wishes_of_text(self, text: str, seen: set[str]) -> Iterator[str]:
        references: tuple[str, ...] = ()
        if text.startswith("$"):
            try:
                references = Expression(text).references
            except WantsCodeError:
                yield f"'{text[1:]}'"
        elif text.startswith("%"):
            yield f"the file '{text[1:]}'"
        elif REFERENCE.fullmatch(text):
            references = (text[1:],)
        for name in references:
            yield from self._wishes_of(name, seen)

    def _build(self, name: str) -> Any:
        if name not in self._built:
            if name in self._building:
                raise BundleError(
                    f"The configuration of '{self.folder.name}' goes in a circle at '@{name}'."
                )
            self._building.append(name)
            self._built[name] = self._value_of(self._raw(name), name)
            self._building.pop()
        return self._built[name]

    def _value_of(self, value: Any, name: str) -> Any:
        if isinstance(value, str):
            if value.startswith("$"):
                return Expression(value).value(self._build)
            return self._build(value[1:]) if REFERENCE.fullmatch(value) else value
        if not isinstance(value, (dict, list)):
            return value
        if isinstance(value, dict) and "_target_" in value:
            return self._instance(value, name)
        parts = {key: self._build(f"{name}::{key}") for key, _ in items(value)}
        kept = {key: part for key, part in parts.items() if part is not _NOTHING}
        return kept if isinstance(value, dict) else list(kept.values())

    def _instance(self, value: dict[str, Any], name: str) -> Any:
        if "_disabled_" in value and _says_disabled(self._build(f"{name}::_disabled_")):
            return _NOTHING
        found = permitted_class(value["_target_"])
        if found is None:  # `refuse_code` came first
            raise UntrustedBundleError(self.folder.name, [f"'{value['_target_']}'"])
        given = {k: self._build(f"{name}::{k}") for k in value if k not in _NOT_ARGUMENTS}
        return found(**{k: part for k, part in given.items() if part is not _NOTHING})


def _dictionaries(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for _, inner in items(value):
        yield from _dictionaries(inner)


def _wishes_of_target(value: dict[str, Any]) -> Iterator[str]:
    if "_target_" not in value:
        return
    target = value["_target_"]
    found = permitted_class(target)
    if found is None:
        yield f"'{target}'"
        return
    if value.get("_mode_", "default") != "default":
        yield f"'{target}' in the mode '{value['_mode_']}'"
    given = {k: v for k, v in value.items() if k not in _NOT_ARGUMENTS}
    for argument in fetched(found, given):
        yield f"weights from elsewhere, '{target}' with {argument}"


def _says_disabled(value: Any) -> bool:
    return value.strip().lower() == "true" if isinstance(value, str) else bool(value)


@contextmanager
def _scripts_of(folder: Path) -> Iterator[None]:
    """Let a trusted bundle import its own scripts, and no other bundle's of the same name."""
    for name in [name for name, module in sys.modules.items() if _is_of_a_bundle(module)]:
        del sys.modules[name]
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.dont_write_bytecode = written


def _is_of_a_bundle(module: Any) -> bool:
    file = getattr(module, "__file__", None)
    top = module.__name__.count(".") + (Path(file).name == "__init__.py") if file else 0
    homes = Path(file).parents if file else ()
    return top < len(homes) and (homes[top] / "configs" / "metadata.json").is_file()


def _in_words(name: str) -> str:
    return "network" if name in NETWORKS else name


def _root_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
