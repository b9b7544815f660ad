"""The run record: by what, on what and with what a report was made."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

from genomics.catalogue import ModelFolder
from genomics.preflight import Preflight
from genomics.provider import ConsequenceProvider
from genomics.stream import ScoredPart, ScoreOptions

_LIBRARIES = ("napari-precimed", "torch", "numpy", "biopython", "pyfaidx")


def run_record(
    options: ScoreOptions,
    model: ModelFolder,
    provider: ConsequenceProvider,
    found: Preflight,
    scored: ScoredPart,
) -> dict[str, Any]:
    """Return what a report's reader must know to make it again, as plain JSON values."""
    run = {
        "model": model.name,
        "weights_sha256": model.weights_sha256(),
        "input": options.vcf.name,
        "input_sha256": _sha256(options.vcf),
        "build": provider.build,
        "consequences_from": provider.description,
        "device": "cpu",
        "precision": "float32",
        "versions": library_versions(),
        "preflight": found.to_dict(),
        "records_read": scored.records,
    }
    if scored.deviations is not None:
        run["deviations"] = asdict(scored.deviations)
    run["options"] = {
        "sample": options.sample,
        "reference": None if options.reference is None else str(options.reference),
        "genes": None if options.genes is None else str(options.genes),
    }
    run["seconds"] = {each: round(value, 3) for each, value in scored.seconds.items()}
    return run


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def library_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that a score rests on."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            # Run from a source tree that was never installed.
            continue
    return found
