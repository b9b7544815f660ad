"""Who may import whom, as the design says it: read from the source, and once from a real import.

An import counts wherever it stands: at the top, inside a function, under ``TYPE_CHECKING``,
relative, or through ``importlib.import_module("...")`` with the name written out.
"""

from __future__ import annotations

import ast
import configparser
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
OURS, SIDECAR = "napari_precimed", "genomics"

# The façade (napari_precimed/__init__.py) and `python -m napari_precimed` may open any room.
LEVELS = {
    **dict.fromkeys(("_version", "errors"), 0),
    "core": 1,
    **dict.fromkeys(("models", "io", "export"), 2),
    **dict.fromkeys(("pipeline", "explained_score", "sidecar", "store", "training"), 3),
    **dict.fromkeys(("ui", "cli"), 4),
    **dict.fromkeys(("", "__main__"), 5),
}
SIDECAR_LEVEL = 2
NAMES_OF_THE_FACADE = {"__version__"}

VIEWER = {"napari", "qtpy", "magicgui", "vispy", "superqt", "PySide6", "PyQt5", "PyQt6"}
LEARNING = {"torch", "monai"}
LEARNING_ROOMS = {f"{OURS}.models", f"{OURS}.training"} | {
    f"{SIDECAR}.{name}"
    for name in (
        *("encode", "lstm", "score", "shards", "training", "model_folder"),
        *("missense", "nucleotide", "gene_function", "explain"),
    )
}
CORE_MAY_IMPORT = {"numpy", "scipy", "skimage"}


class Import(NamedTuple):
    """One imported module: its dotted name, and the line that asks for it."""

    name: str
    line: int


def imports(source: str, module: str, is_package: bool = False) -> Iterator[Import]:
    """Yield every import of `source`, relative ones resolved against the dotted name `module`."""
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            for alias in node.names:
                yield Import(f"{base}.{alias.name}", node.lineno)
        elif isinstance(node, ast.Call) and _called(node.func) in ("import_module", "__import__"):
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield Import(first.value, node.lineno)


def _called(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def room(module: str) -> str:
    """Return the room a dotted name lies in: ``napari_precimed.io.itk`` is in ``io``."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def breaches(source: str, module: str, is_package: bool = False) -> list[str]:
    """Return what `module` imports against the rules, one line each."""
    found = []
    for name, line in imports(source, module, is_package):
        reason = _level_breach(module, name) or _library_breach(module, name)
        if reason:
            found.append(f"{module}:{line} imports {name}: {reason}")
    return found


def _level_breach(module: str, name: str) -> str | None:
    owner, target = module.split(".")[0], name.split(".")[0]
    if owner == SIDECAR:
        return "genomics imports nothing of napari_precimed" if target == OURS else None
    own = LEVELS[room(module)]
    if target == SIDECAR:
        return None if own > SIDECAR_LEVEL else f"level {own} must not import the sidecar"
    if target != OURS or room(name) in NAMES_OF_THE_FACADE or room(name) == room(module):
        return None
    if room(name) not in LEVELS:
        return f"{room(name)!r} has no level in the design"
    theirs = LEVELS[room(name)]
    return None if theirs < own else f"level {own} must not import level {theirs}"


def _library_breach(module: str, name: str) -> str | None:
    library = name.split(".")[0]
    if library in VIEWER and not _lies_in(module, {f"{OURS}.ui"}):
        return "only ui/ may import the viewer"
    if library in LEARNING and not _lies_in(module, LEARNING_ROOMS):
        return "this module must not import PyTorch or MONAI"
    third_party = library not in sys.stdlib_module_names and library != OURS
    if _lies_in(module, {f"{OURS}.core"}) and third_party and library not in CORE_MAY_IMPORT:
        return f"core imports only {sorted(CORE_MAY_IMPORT)}"
    return None


def _lies_in(module: str, rooms: set[str]) -> bool:
    return any(module == place or module.startswith(f"{place}.") for place in rooms)


def modules() -> dict[str, Path]:
    """Return {dotted name: file} of both packages."""
    files = {}
    for package in (OURS, SIDECAR):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


MODULES = modules()


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_its_place_allows(module: str) -> None:
    path = MODULES[module]
    found = breaches(path.read_text(encoding="utf-8"), module, path.name == "__init__.py")
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("napari_precimed.core.volume", "import napari_precimed.io.itk"),
        ("napari_precimed.core.volume", "import pandas"),
        ("napari_precimed.io.itk", "from napari_precimed.models import segment"),
        ("napari_precimed.io.itk", "from ..models.catalogue import find"),
        ("napari_precimed.io", "from .. import export"),
        ("napari_precimed.export.table", "from genomics.report import VariantReport"),
        ("napari_precimed.store", "import napari_precimed.pipeline"),
        ("napari_precimed.pipeline", "from napari_precimed import ui"),
        ("napari_precimed.cli", "def view():\n    import napari_precimed.ui.session"),
        ("napari_precimed.cli", "import importlib\nimportlib.import_module('napari')"),
        ("napari_precimed.cli", "def view():\n    import napari"),
        ("napari_precimed.ui.worker", "import torch.cuda"),
        ("napari_precimed.errors", "from napari_precimed.core import volume"),
        ("napari_precimed.core.run", "import napari_precimed"),
        ("napari_precimed.core.run", "from napari_precimed.elsewhere import thing"),
        ("genomics.vcf", "from napari_precimed.errors import InputError"),
        ("genomics.vcf", "def read():\n    import torch"),
        ("genomics.training_data", "import torch"),
    ],
)
def test_the_check_sees_a_breach(module: str, source: str) -> None:
    is_package = module.endswith(".io")
    assert len(breaches(source, module, is_package)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("napari_precimed.ui.layers", "import napari\nfrom qtpy.QtCore import Qt"),
        ("napari_precimed.ui.layers", "from .session import Session\nfrom genomics import report"),
        ("napari_precimed.models.segment", "import torch\nfrom monai.inferers import Inferer"),
        (
            "napari_precimed.pipeline",
            "def analyse():\n    from napari_precimed.models import segment",
        ),
        (
            "napari_precimed.core.run",
            "from napari_precimed import __version__\nimport scipy.ndimage",
        ),
        ("genomics.lstm", "import torch"),
    ],
)
def test_the_check_lets_the_design_pass(module: str, source: str) -> None:
    assert breaches(source, module) == []


def declared(*extras: str) -> set[str]:
    """Return the canonical names of what setup.cfg installs, with the extras named."""
    config = configparser.ConfigParser(interpolation=None)
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = config["options"]["install_requires"].splitlines()
    for extra in extras:
        lines += config["options.extras_require"][extra].splitlines()
    return {canonicalize_name(Requirement(line).name) for line in lines if line}


def undeclared(paths: list[Path], allowed: set[str], local: set[str]) -> set[str]:
    """Return the libraries imported in `paths` that no distribution of `allowed` brings."""
    homes = packages_distributions()
    names = {
        name.split(".")[0]
        for path in paths
        for name, _ in imports(path.read_text(encoding="utf-8"), ".".join(path.parts[-2:])[:-3])
    }
    return {
        name
        for name in names - local - set(sys.stdlib_module_names)
        # A library of an extra that is not installed is known by its own name only.
        if not allowed & {canonicalize_name(home) for home in homes.get(name, (name,))}
    }


def test_every_library_the_packages_import_is_declared() -> None:
    shared = MODULES[f"{SIDECAR}.shards"]
    others = [path for path in MODULES.values() if path != shared]
    assert undeclared(others, declared(), {OURS, SIDECAR}) == set()
    # Loaded only where a cluster is named.
    assert undeclared([shared], declared("cluster"), {OURS, SIDECAR}) == set()


def test_every_library_the_tests_import_is_declared() -> None:
    paths = sorted((ROOT / "tests").rglob("*.py"))
    local = {OURS, SIDECAR} | {path.stem for path in paths}
    assert undeclared(paths, declared("test"), local) == set()


def test_a_bare_import_loads_neither_torch_nor_napari() -> None:
    heavy = sorted(LEARNING | VIEWER)
    code = (
        f"import sys, {OURS}, {SIDECAR}, {OURS}.models.catalogue, {OURS}.cli, {SIDECAR}.__main__\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stdout + done.stderr
