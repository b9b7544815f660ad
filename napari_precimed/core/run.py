"""What was run: the record that every result carries."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from napari_precimed._version import __version__

_RECORDED = ("torch", "monai", "numpy", "scipy", "scikit-image", "SimpleITK", "pydicom")


@dataclass(frozen=True)
class RunRecord:
    """One computation: which model, on what, with which options, when and how long.

    Attributes
    ----------
    task : str
        "segment", "measure", "classify", "score variants", ...
    model : str or None
        Name and version of the model, None where none was used.
    weights_sha256 : str or None
    options : mapping
        Everything that could have been chosen otherwise; plain JSON values.
    device, precision : str or None
        For example "cpu" and "bfloat16".
    versions : mapping of str to str
        Library versions.
    timings_s : mapping of str to float
        Seconds per stage.
    warnings : tuple of str
        What changes how the result should be read.
    started : str
        ISO 8601, UTC.
    """

    task: str
    model: str | None = None
    weights_sha256: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    device: str | None = None
    precision: str | None = None
    versions: Mapping[str, str] = field(default_factory=lambda: library_versions())
    timings_s: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` gives an equal record back."""
        values = asdict(self)
        values["warnings"] = list(self.warnings)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunRecord:
        """The inverse of `to_dict`."""
        return cls(**{**values, "warnings": tuple(values.get("warnings", ()))})


def library_versions() -> dict[str, str]:
    """Installed versions of what a result depends on, without importing any of it."""
    found = {"napari-precimed": __version__, "python": platform.python_version()}
    for name in _RECORDED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
