"""What the user asked of a training run, and what a resumed run is held to."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from napari_precimed.core.files import atomic_path
from napari_precimed.errors import DatasetError, InputError
from napari_precimed.models.catalogue import ZOO
from napari_precimed.training.fit import FitOptions
from napari_precimed.training.recipe import Recipe
from napari_precimed.training.split import divide, read_split, write_split

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class TrainRequest:
    """What the user asked of a training run.

    Attributes
    ----------
    data, out : Path
    epochs : int or None
        None takes the recipe's number of steps.
    init : str or None
        A bundle to start from.
    resume : bool
    device : str
    name : str or None
        Of the bundle; None takes the recipe's, or the data folder's for scans of one's own.
    split : Path or None
        A file that says who is in which part.
    patience : int or None
        Validations without a better one before training stops; None takes the recipe's.
    early_stopping : bool
    semi_supervised : Path or None
        Scans without labels.
    """

    data: Path
    out: Path
    epochs: int | None = None
    init: str | None = None
    resume: bool = False
    device: str = "auto"
    name: str | None = None
    split: Path | None = None
    patience: int | None = None
    early_stopping: bool = True
    semi_supervised: Path | None = None


def bundle_name(name: str, recipe: Recipe, request: TrainRequest) -> str:
    """What the bundle is called: as asked, or as its recipe, or as the folder of one's own data."""
    wanted = request.name
    if wanted is None:
        if not hasattr(recipe, "prepare"):
            return name
        path = request.data.resolve()
        folder = path.parent if path.is_file() else path
        wanted = re.sub(r"[^\w.-]+", "-", folder.name).strip("-.") or "model"
    if not _PLAIN_NAME.fullmatch(wanted):
        raise InputError(
            f"'{wanted}' cannot name a model; use letters, digits, '.', '-' and '_' (--name)."
        )
    if wanted in ("fit", *(folder.name for folder in ZOO.iterdir())):
        raise InputError(f"The name '{wanted}' is taken; choose another with --name.")
    return wanted


def read_divided(recipe: Recipe, request: TrainRequest) -> Any:
    """The data, divided as a file says, or by themselves."""
    data = recipe.read(request.data)
    kept = request.out / "split.json"
    file = request.split or (kept if request.resume and kept.is_file() else None)
    if file is not None:
        split = read_split(file)
        if not hasattr(data, "divided"):
            raise InputError("This recipe divides its patients itself; leave --split out.")
        return data.divided(split)
    if hasattr(data, "kinds"):
        return data.divided(divide(data.kinds()))
    return data


def options_for(recipe: Recipe, request: TrainRequest, data: Any) -> FitOptions:
    """The recipe's options, as the user changed them."""
    options: FitOptions = getattr(recipe, "OPTIONS", FitOptions())
    if request.epochs is not None:
        count = getattr(recipe, "n_cases", lambda each: len(each.part("train")))
        draws = count(data) * getattr(recipe, "crops_per_case", 1)
        options = options.for_epochs(request.epochs, draws)
    if not request.early_stopping:
        return replace(options, patience=None)
    return options if request.patience is None else replace(options, patience=request.patience)


def run_of(
    name: str, bundle: str, request: TrainRequest, data: Any, options: FitOptions
) -> dict[str, Any]:
    """What a run is, as far as it must be the same when it is resumed."""
    return {
        "recipe": name,
        "bundle": bundle,
        "data": _fingerprint(data),
        "split": data.split(),
        "init": request.init,
        "unlabelled": str(request.semi_supervised) if request.semi_supervised else None,
        "options": _lasting(options),
    }


def _lasting(options: FitOptions) -> dict[str, Any]:
    """What must stay the same when a run goes on; the device may change."""
    kept = asdict(options)
    for name in ("device", "precision", "save_every_s", "patience"):
        del kept[name]
    return kept


def _fingerprint(data: Any) -> str:
    """Tells data that changed from data that did not, as far as the data let it."""
    own = getattr(data, "fingerprint", None)
    return own() if own else f"{len(data)} cases"


def open_run(request: TrainRequest, run: dict[str, Any]) -> bool:
    """Check, or write down, what this run is; whether it begins anew.

    Raises
    ------
    DatasetError
        If `resume` is set and the run that was stopped was another, or there is none.
    """
    folder = request.out / "fit"
    file = folder / "run.json"
    if request.resume:
        if not file.is_file():
            raise DatasetError(f"There is nothing to resume at '{folder}'; start without --resume.")
        before = json.loads(file.read_text(encoding="utf-8"))
        for key, value in run.items():
            if before.get(key) != value:
                raise DatasetError(_changed(key, before.get(key), value))
        return not (folder / "last.pt").is_file()
    for each in ("template", "tensorboard"):
        shutil.rmtree(folder / each, ignore_errors=True)
    (folder / "last.pt").unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    write_split(request.out / "split.json", run["split"])
    with atomic_path(file) as part:
        part.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    return True


def _changed(key: str, before: Any, now: Any) -> str:
    mend = "give the same as before, or start anew without --resume"
    if key in ("data", "split"):
        return f"The {key} changed since the run was stopped; {mend}."
    if isinstance(before, dict):
        key = next(k for k in before if before[k] != now.get(k))
        before, now = before[key], now[key]
    return f"The stopped run had {key} = {before}, this one has {now}; {mend}."
