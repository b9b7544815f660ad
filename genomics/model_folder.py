"""Writing a trained model's folder: all of it, or nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from genomics.catalogue import CONFIG, WEIGHTS
from genomics.errors import OutputError


def expect_new_folder(out: Path) -> None:
    """Refuse a folder that holds something already, before the work begins.

    Raises
    ------
    OutputError
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out}: exists and is not an empty folder; name a new one")


def write_model_folder(
    out: Path,
    config: Mapping[str, Any],
    weights: Mapping[str, torch.Tensor],
    complete: Callable[[Path], None] | None = None,
) -> None:
    """Write ``config.json`` and the state dict beside ``out``, then rename.

    Parameters
    ----------
    out : Path
    config : mapping
        Of JSON values.
    weights : mapping
        A state dict, written as it is.
    complete : callable, optional
        Writes what else belongs there, into the folder that it is given.

    Raises
    ------
    OutputError
        It cannot be written there; nothing is left of it.
    """
    partial = out.with_name(out.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        text = json.dumps(config, indent=1, sort_keys=True)
        (partial / CONFIG).write_text(text + "\n", encoding="utf-8")
        torch.save(dict(weights), partial / WEIGHTS)
        if complete:
            complete(partial)
        if out.exists():
            out.rmdir()
        partial.rename(out)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise OutputError(f"{out}: cannot write the model there: {error}") from error


def halved(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return weights in half precision; a tensor that several networks share stays one."""
    halves = {value.data_ptr(): value.half() for value in state.values()}
    return {key: halves[value.data_ptr()] for key, value in state.items()}
