"""What was run, in words: one block per run record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from napari_precimed.core.patient import Case
from napari_precimed.export import wording as say
from napari_precimed.export.content import Block
from napari_precimed.export.table import plain

_NAMED_FACTS = frozenset(
    {"task", "model", "weights_sha256", "device", "precision", "started", "options", "versions"}
    | {"timings_s", "seconds", "warnings"}
)


def run_blocks(case: Case) -> Iterator[Block]:
    """One block per computation."""
    records = [run.to_dict() for lesions in case.lesion_sets for run in lesions.runs]
    of_variants = plain(getattr(case.variants, "run", None))
    if of_variants:
        records.append({"task": "score variants", **of_variants})
    earlier: dict[str, Any] | None = None
    for record in records:
        versions = record.get("versions") or {}
        yield _run_block(record, "as above" if versions == earlier else _pairs(versions))
        earlier = versions


def _run_block(run: Mapping[str, Any], versions: str) -> Block:
    """A run record in words; whatever else it holds is printed as it is."""
    known = {
        "Weights SHA-256": run.get("weights_sha256"),
        "Device": ", ".join(filter(None, (run.get("device"), run.get("precision")))),
        "Started": run.get("started"),
        "Took": say.seconds(run.get("timings_s") or run.get("seconds") or {}),
        "Options": _pairs(run.get("options") or {}),
        "Versions": versions,
    }
    rest = {
        key.replace("_", " ").capitalize().replace("sha256", "SHA-256"): (
            _pairs(value) if isinstance(value, dict) else value
        )
        for key, value in run.items()
        if key not in _NAMED_FACTS
    }
    title = str(run.get("task") or "run").capitalize()
    if run.get("model"):
        title += f": {run['model']}"
    facts = {
        name: value for name, value in {**known, **rest}.items() if value not in (None, "", [])
    }
    return Block(title, tuple((name, say.shortened(text, 600)) for name, text in facts.items()))


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {'none' if v is None else v}" for name, v in values.items())
