"""Which models exist, read from their folders without loading torch.

A model is a folder of ``config.json`` (what it is, hyper-parameters, calibration, split),
``model.pt`` (a plain state dict), ``language_model.pt`` (the one it started from, if any),
``seen_windows.npy`` (hashes of the protein windows of training and validation, see
:mod:`genomics.seen_windows`) and, where it ships, ``README.md`` (its card).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genomics.errors import ModelError

ZOO = Path(__file__).parent / "zoo"
CONFIG, WEIGHTS, LANGUAGE_MODEL = "config.json", "model.pt", "language_model.pt"
MISSENSE_FORMAT = 2


@dataclass(frozen=True)
class ModelFolder:
    """A model on disk.

    Attributes
    ----------
    name : str
    path : Path
    config : dict
        What ``config.json`` says.
    """

    name: str
    path: Path
    config: dict[str, Any]

    @property
    def weights(self) -> Path:
        """The state dict."""
        return self.path / WEIGHTS

    def weights_sha256(self) -> str:
        """Return the SHA-256 of the weights file, as hexadecimal digits."""
        return hashlib.sha256(self.weights.read_bytes()).hexdigest()

    def genes_seen(self) -> set[str]:
        """Return every gene that training or validation has seen."""
        genes = self.config["split"]["genes"]
        return {*genes["train"], *genes["validation"]}


def built_in_models() -> list[str]:
    """Return the names of the models that ship with the package."""
    return sorted(path.parent.name for path in ZOO.glob(f"*/{CONFIG}"))


def open_model(name: str | Path) -> ModelFolder:
    """Open a built-in model by name, or a trained one by its folder.

    Raises
    ------
    ModelError
        There is no such model, or its folder is damaged.
    """
    folder = ZOO / name if str(name) in built_in_models() else Path(name)
    if not (folder / CONFIG).is_file():
        raise ModelError(
            f"{name}: no such model; the built-in ones are {', '.join(built_in_models())}, "
            f"a trained one is the folder that holds its {CONFIG}"
        )
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        model_name = config["name"]
    except (OSError, UnicodeError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{folder / CONFIG}: damaged ({error!r}); train or install again"
        ) from error
    if not (folder / WEIGHTS).is_file():
        raise ModelError(f"{folder}: {WEIGHTS} is missing; train or install the model again")
    return ModelFolder(model_name, folder, config)
