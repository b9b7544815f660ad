"""Writing a trained model's folder: all of it, or nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

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


def write_model_folder(out: Path, config: dict[str, Any], network: nn.Module) -> None:
    """Write ``config.json`` and the state dict beside ``out``, then rename.

    Raises
    ------
    OutputError
        It cannot be written there.
    """
    partial = out.with_name(out.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        text = json.dumps(config, indent=1, sort_keys=True)
        (partial / CONFIG).write_text(text + "\n", encoding="utf-8")
        torch.save(network.state_dict(), partial / WEIGHTS)
        if out.exists():
            out.rmdir()
        partial.rename(out)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise OutputError(f"{out}: cannot write the model there: {error}") from error
