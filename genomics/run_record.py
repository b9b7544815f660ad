"""The run record: by what, on what and with what a report was made."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from genomics.catalogue import ModelFolder
from genomics.metrics import BOOTSTRAPS
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


def evaluation_record(
    model: ModelFolder, resampled: str, began: float, source: Path | None = None
) -> dict[str, Any]:
    """Return what the reader of an evaluation must know to make it again, as plain JSON values.

    Parameters
    ----------
    model : ModelFolder
    resampled : str
        What the bootstrap draws.
    began : float
        ``time.perf_counter()`` when it began.
    source : Path, optional
        The table that it was measured on, where it is one file.
    """
    data = {} if source is None else {"data_sha256": _sha256(source)}
    return {
        "weights_sha256": model.weights_sha256(),
        **data,
        "bootstraps": BOOTSTRAPS,
        "resampled": resampled,
        "versions": library_versions(),
        "device": "cpu",
        "seconds": round(time.perf_counter() - began, 1),
    }


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
