"""Which bundles from elsewhere may run code: those whose content the user has said yes to.

Trust is in the content, not in the name or the place: a bundle that was changed is asked about
again. No torch import.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import platformdirs

from napari_precimed.core.files import atomic_path
from napari_precimed.core.run import sha256_of
from napari_precimed.models.catalogue import ModelEntry

_DOCS = "docs"
_this_run: set[str] = set()


def content_sha256(folder: Path) -> str:
    """SHA-256 over the names and contents of a bundle's files, its documentation left out."""
    files = sorted(
        (path.relative_to(folder).as_posix(), path)
        for path in folder.rglob("*")
        if path.is_file() and path.relative_to(folder).parts[0] != _DOCS
    )
    whole = hashlib.sha256()
    for name, path in files:
        whole.update(f"{name}\0{sha256_of(path)}\n".encode())
    return whole.hexdigest()


def is_trusted(entry: ModelEntry) -> bool:
    """Whether a bundle came with this package, or the user trusts its content."""
    if entry.built_in:
        return True
    known = _this_run | _remembered()
    return bool(known) and content_sha256(entry.folder) in known


def trust_for_this_run(entry: ModelEntry) -> None:
    """Trust a bundle until the process ends, as `--trust` does."""
    if not entry.built_in:
        _this_run.add(content_sha256(entry.folder))


def remember(entry: ModelEntry) -> None:
    """Trust a bundle's content from now on."""
    file = _file()
    file.parent.mkdir(parents=True, exist_ok=True)
    known = {**_read(), content_sha256(entry.folder): entry.name}
    with atomic_path(file) as draft:
        draft.write_text(json.dumps(known, indent=1), encoding="utf-8")


def _remembered() -> set[str]:
    return set(_read())


def _read() -> dict[str, str]:
    try:
        known = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _file() -> Path:
    folder = platformdirs.user_config_dir("napari-precimed", appauthor=False)
    return Path(folder) / "trusted-bundles.json"
