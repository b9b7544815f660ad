"""A trained network -> a complete bundle that the catalogue lists at once."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from napari_precimed.core.files import output_error
from napari_precimed.errors import BundleError
from napari_precimed.models.catalogue import ZOO, ModelEntry, user_models
from napari_precimed.training.split import INIT_PART, write_split

SPLIT_FILE = Path("configs") / "split.json"
_SEEN = ("train", "validation", INIT_PART)


def write_bundle(
    template: ModelEntry,
    folder: Path,
    network: torch.nn.Module,
    split: Mapping[str, Sequence[str]],
    settings: Mapping[str, Any],
) -> Path:
    """Write the bundle; an existing one of that name is replaced as a whole.

    Parameters
    ----------
    template : ModelEntry
        Whose configs to take over.
    folder : Path
        Where the bundle goes; its name becomes the model's.
    network : torch.nn.Module
    split : mapping
        "train", "validation", "test" -> patient ids, so that an evaluation can leave out what
        training saw.
    settings : mapping
        Replaces values under "precimed" in metadata.json.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        shutil.copytree(template.folder / "configs", draft / "configs")
        (draft / "models").mkdir()
        (draft / "docs").mkdir()
        file = draft / "configs" / "metadata.json"
        metadata = json.loads(file.read_text(encoding="utf-8"))
        metadata["precimed"] |= dict(settings)
        file.write_text(json.dumps(metadata, indent=4, ensure_ascii=False) + "\n", encoding="utf-8")
        _adopt_threshold(draft / "configs" / "inference.json", settings)
        write_split(draft / SPLIT_FILE, split)
        state = {key: _compact(value) for key, value in network.state_dict().items()}
        torch.save(state, draft / "models" / "model.pt")
        (draft / "docs" / "README.md").write_text(_card(template, split), encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        draft.chmod(0o755)
        draft.replace(folder)
    except OSError as error:
        raise output_error(folder, error) from error
    return folder


def install_bundle(bundle: Path) -> Path | None:
    """Copy a bundle to where the window and the catalogue find it; its new place.

    None where its name is that of a built-in model, which would hide it.
    """
    if (ZOO / bundle.name).exists():
        return None
    place = user_models() / bundle.name
    draft = place.with_name(f".{place.name}-new")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(bundle, draft)
        if place.exists():
            shutil.rmtree(place)
        return draft.replace(place)
    except OSError as error:
        raise output_error(place, error) from error


def seen_patients(entry: ModelEntry) -> set[str]:
    """The patients that training or validation of a bundle saw, those of its `--init` included.

    Raises
    ------
    BundleError
        If the bundle does not say: an evaluation could then count its training patients as unseen.
    """
    file = entry.folder / SPLIT_FILE
    try:
        split = json.loads(file.read_text(encoding="utf-8"))
        return {str(name) for part in _SEEN for name in split.get(part, ())}
    except (OSError, ValueError) as error:
        raise BundleError(
            f"'{entry.name}' does not say which patients its training saw ({file} cannot be "
            "read), so no patient can be called unseen. Restore the file; for a model that saw "
            "none of these patients, it may hold an empty list of each part."
        ) from error


def _adopt_threshold(config_file: Path, settings: Mapping[str, Any]) -> None:
    """The threshold stands in the MONAI workflow too, for those who run the bundle with MONAI."""
    config = json.loads(config_file.read_text(encoding="utf-8"))
    if "threshold" in config and "threshold" in settings:
        config["threshold"] = settings["threshold"]
        text = json.dumps(config, indent=4, ensure_ascii=False) + "\n"
        config_file.write_text(text, encoding="utf-8")


def _compact(value: torch.Tensor) -> torch.Tensor:
    """Half precision on disk: half the size, and a change far below that of the arithmetic."""
    return value.cpu().half() if value.is_floating_point() else value.cpu()


def _card(template: ModelEntry, split: Mapping[str, Sequence[str]]) -> str:
    sizes = ", ".join(f"{len(names)} {part}" for part, names in split.items())
    return (
        f"# A model trained by the recipe of `{template.name}`\n\n"
        f"Patients: {sizes}; who is in which part is in `{SPLIT_FILE.as_posix()}`. Its figures:\n"
        "`precimed evaluate`, which leaves out the patients that training and validation saw.\n\n"
        "Not a medical device.\n"
    )
