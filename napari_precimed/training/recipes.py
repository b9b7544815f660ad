"""Which recipe trains and evaluates which model, and a training run from the data to the bundle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from napari_precimed.errors import BundleError, InputError
from napari_precimed.models.bundle import build_network, load_network
from napari_precimed.models.catalogue import ZOO, ModelEntry, find, read_entry
from napari_precimed.models.inference import choose_engine
from napari_precimed.training import (
    article_cnn,
    brain_flair,
    glioma_grade,
    lung_nodule,
    lung_nodule_malignancy,
    tumour_slice,
)
from napari_precimed.training.cases import holds_cases
from napari_precimed.training.fit import FitOptions, fit
from napari_precimed.training.journal import Journal, open_tensorboard
from napari_precimed.training.publish import seen_patients, write_bundle
from napari_precimed.training.ranks import Ranks, joined
from napari_precimed.training.recipe import Recipe
from napari_precimed.training.request import (
    TrainRequest,
    bundle_name,
    open_run,
    options_for,
    read_divided,
    run_of,
)
from napari_precimed.training.split import INIT_PART, Split
from napari_precimed.training.teacher import Unlabelled
from napari_precimed.training.volumes import Volumes

RECIPES: dict[str, Recipe] = {
    "lung-nodule": lung_nodule,
    "lung-nodule-malignancy": lung_nodule_malignancy,
    "brain-flair-lesion": brain_flair,
    "tumour-slice": tumour_slice,
    "article-cnn": article_cnn,
    "glioma-grade": glioma_grade,  # type: ignore[dict-item]  # fitted at once, by its `solve`
    "unet": Volumes(),
}
"""Name -> recipe. `unet` plans a network for scans of one's own; see `recipe.Recipe`."""

Say = Callable[[str], None]


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
    bundle = bundle_name(name, recipe, request)
    engine = choose_engine(request.device)
    with joined(engine.device.type) as ranks:
        data = ranks.together(lambda: read_divided(recipe, request))
        options = options_for(recipe, request, data).on(engine.device.type, engine.precision)
        run = run_of(name, bundle, request, data, options)
        fresh = ranks.from_leader(lambda: open_run(request, run))
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
        if hasattr(self.recipe, "solve"):
            return self.ranks.from_leader(lambda: self._solve(data, entry, split))
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
            return data, template(self.name)
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

    def _solve(self, data: Any, entry: ModelEntry, split: Split) -> Path:
        """For a model that is fitted at once, not step by step."""
        network = build_network(entry.folder, trusted=entry.built_in)
        settings = {"recipe": self.name, **self.recipe.solve(network, data, self.say)}  # type: ignore[attr-defined]
        folder = self.request.out / self.bundle
        return write_bundle(entry, folder, network, split, settings)

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


def template(name: str) -> ModelEntry:
    """The bundle whose configs a training by this recipe takes over."""
    folder = getattr(RECIPES[name], "TEMPLATE", None)
    return find(name) if folder is None else replace(read_entry(folder), built_in=True)


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
