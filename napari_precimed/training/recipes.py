"""Which recipe trains and evaluates which model, and a training run from the data to the bundle."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from napari_precimed.core.files import atomic_path
from napari_precimed.errors import BundleError, DatasetError, InputError
from napari_precimed.models.bundle import build_network, load_network
from napari_precimed.models.catalogue import ZOO, ModelEntry, find
from napari_precimed.models.inference import choose_engine
from napari_precimed.training import lung_nodule, lung_nodule_malignancy
from napari_precimed.training.cases import holds_cases
from napari_precimed.training.fit import FitOptions, fit
from napari_precimed.training.journal import Journal, open_tensorboard
from napari_precimed.training.publish import seen_patients, write_bundle
from napari_precimed.training.ranks import Ranks, joined
from napari_precimed.training.recipe import Recipe
from napari_precimed.training.split import INIT_PART, Split, divide, read_split, write_split
from napari_precimed.training.teacher import Unlabelled
from napari_precimed.training.volumes import Volumes

RECIPES: dict[str, Recipe] = {
    "lung-nodule": lung_nodule,
    "lung-nodule-malignancy": lung_nodule_malignancy,
    "unet": Volumes(),
}
"""Name -> recipe. `unet` plans a network for scans of one's own; see `recipe.Recipe`."""

Say = Callable[[str], None]
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


def train(name: str, request: TrainRequest, say: Say) -> Path:
    """Train by a recipe and write a bundle.

    Parameters
    ----------
    name : str
        A recipe; or, for scans of one's own, a built-in segmentation model whose network and
        preprocessing to take.
    request : TrainRequest
    say : callable
        Receives progress, line by line.

    Returns
    -------
    Path
        The bundle's folder, ``out/<name>``.

    Raises
    ------
    InputError
        If there is no such recipe, or the data do not fit it.
    """
    recipe = _recipe_for(name, request.data)
    bundle = _bundle_name(name, recipe, request)
    engine = choose_engine(request.device)
    with joined(engine.device.type) as ranks:
        data = ranks.together(lambda: _read(recipe, request))
        options = _options(recipe, request, data).on(engine.device.type, engine.precision)
        run = {
            "recipe": name,
            "bundle": bundle,
            "data": _fingerprint(data),
            "split": data.split(),
            "init": request.init,
            "unlabelled": str(request.semi_supervised) if request.semi_supervised else None,
            "options": _lasting(options),
        }
        fresh = ranks.from_leader(lambda: _open_run(request, run))
        return _Training(name, recipe, bundle, request, ranks, say).go(data, options, fresh)


@dataclass(frozen=True)
class _Training:
    """A run whose data are read and whose folder is open."""

    name: str
    recipe: Recipe
    bundle: str
    request: TrainRequest
    ranks: Ranks
    say: Say

    def go(self, data: Any, options: FitOptions, fresh: bool) -> Path:
        split: Split = data.split()
        self.say(", ".join(f"{len(names)} patients {part}" for part, names in split.items()))
        data, entry = self._prepared(data)
        torch.manual_seed(options.seed)
        network = build_network(entry.folder, trusted=entry.folder.parent == ZOO or entry.built_in)
        if self.request.init is None:
            self.recipe.start(network)
        else:
            split = {**split, INIT_PART: _seen_by(self.request.init, self.say)}
            _take_weights(network, self.request.init, self.say)
        self._fit(network, data, options, fresh)
        return self.ranks.from_leader(lambda: self._publish(network, data, entry, split))

    def _prepared(self, data: Any) -> tuple[Any, ModelEntry]:
        """The data made ready, by the leading process first: the others find them done."""
        prepare = getattr(self.recipe, "prepare", None)
        if prepare is None:
            return data, find(self.name)
        folder = self.request.out / "fit"
        self.ranks.from_leader(lambda: prepare(data, folder, self.bundle, self.say) and None)
        return self.ranks.together(lambda: prepare(data, folder, self.bundle, lambda line: None))

    def _fit(self, network: torch.nn.Module, data: Any, options: FitOptions, fresh: bool) -> None:
        folder = self.request.out / "fit"
        samplers = self.ranks.together(
            lambda: (self.recipe.sampler(data, options), self._unlabelled(data, options))
        )
        board = None
        if self.ranks.leads:
            history = [] if fresh else _history(folder)
            board = open_tensorboard(
                folder / "tensorboard", int(history[-1]["step"]) if history else 0, self.say
            )
        journal = Journal(self.say if self.ranks.leads else None, options.steps, board)
        state = fit(
            network,
            samplers[0],
            self.recipe.loss_of,
            self.recipe.validation(data),
            options,
            folder,
            resume=not fresh,
            unlabelled=samplers[1],
            ranks=self.ranks,
            journal=journal,
        )
        picture = getattr(self.recipe, "picture", None)
        if picture and board:
            journal.picture("validation", picture(network, data), state.step)
        journal.close()

    def _unlabelled(self, data: Any, options: FitOptions) -> Unlabelled | None:
        path = self.request.semi_supervised
        if path is None:
            return None
        make = getattr(self.recipe, "unlabelled", None)
        if make is None:
            raise InputError(
                f"The recipe of '{self.name}' cannot learn without labels; leave "
                "--semi-supervised out."
            )
        self.say(f"learning from the scans in {path} too, without labels")
        return Unlabelled(make(path, data, options, self.say), self.recipe.consistency)  # type: ignore[attr-defined]

    def _publish(
        self, network: torch.nn.Module, data: Any, entry: ModelEntry, split: Split
    ) -> Path:
        settings = {"recipe": self.name, **self.recipe.settings_of(network, data)}
        folder = self.request.out / self.bundle
        write_bundle(entry, folder, network, split, settings)
        shutil.rmtree(self.request.out / "fit" / "scans", ignore_errors=True)
        return folder


def evaluate(name: str, data: Path, device: str, say: Say) -> dict[str, Any]:
    """Measure a model on the patients in `data` that its training and validation never saw.

    Returns
    -------
    dict
        "model", "data", "n", "metrics", "subgroups", "run", as the design gives it.
    """
    entry = find(name)
    recipe: Recipe
    if holds_cases(data) and entry.task == "segmentation":
        recipe = RECIPES["unet"]
    else:
        recipe = _recipe(str(entry.settings.get("recipe", entry.name)))
    engine = choose_engine(device)
    read = recipe.read(data)
    cases = read.without(seen_patients(entry))
    if len(cases) < len(read):
        say(f"{len(read) - len(cases)} of {len(read)} cases left out: training saw their patients")
    figures: dict[str, Any] = recipe.evaluate(entry, cases, engine)
    return {"model": f"{entry.name} {entry.version}", "data": str(data), **figures}


def _recipe(name: str) -> Recipe:
    if name not in RECIPES:
        raise InputError(f"There is no recipe for '{name}'. Recipes: {', '.join(RECIPES)}.")
    return RECIPES[name]


def _recipe_for(name: str, data: Path) -> Recipe:
    """The recipe of that name; for scans of one's own, the one that follows the named model."""
    recipe = _recipe(name)
    if not holds_cases(data) or isinstance(recipe, Volumes):
        return recipe
    entry = find(name)
    if entry.task != "segmentation":
        raise InputError(
            f"'{name}' is a {entry.task} model, and '{data}' holds scans with labels; name a "
            "segmentation model, or `unet`."
        )
    return Volumes(base=name)


def _bundle_name(name: str, recipe: Recipe, request: TrainRequest) -> str:
    """What the bundle is called: as asked, or as its recipe, or as the folder of one's own data."""
    wanted = request.name
    if wanted is None:
        if not isinstance(recipe, Volumes):
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


def _read(recipe: Recipe, request: TrainRequest) -> Any:
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


def _options(recipe: Recipe, request: TrainRequest, data: Any) -> FitOptions:
    options = recipe.OPTIONS
    if request.epochs is not None:
        draws = len(data.part("train")) * getattr(recipe, "crops_per_case", 1)
        options = options.for_epochs(request.epochs, draws)
    if not request.early_stopping:
        return replace(options, patience=None)
    return options if request.patience is None else replace(options, patience=request.patience)


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


def _open_run(request: TrainRequest, run: dict[str, Any]) -> bool:
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


def _history(folder: Path) -> list[dict[str, float]]:
    try:
        return list(json.loads((folder / "history.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return []


def _seen_by(name: str, say: Say) -> list[str]:
    """Whom the bundle to start from has seen; said, where it does not tell."""
    try:
        return sorted(seen_patients(find(name)))
    except BundleError:
        say(
            f"'{name}' does not say whom its training saw; if they are among yours, say so: --split"
        )
        return []


def _take_weights(network: torch.nn.Module, name: str, say: Say) -> None:
    """Start from another bundle: every weight of the same name and shape is taken over."""
    source = load_network(find(name)).state_dict()
    own = network.state_dict()
    fitting = {k: v for k, v in source.items() if k in own and own[k].shape == v.shape}
    if not fitting:
        raise InputError(f"No weight of '{name}' fits this network; leave --init out.")
    network.load_state_dict({**own, **fitting})
    say(f"{len(fitting)} of {len(own)} weight tensors taken over from '{name}'")
