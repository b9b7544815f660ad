"""Which recipe trains and evaluates which model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from napari_precimed.errors import InputError
from napari_precimed.models.bundle import build_network, load_network
from napari_precimed.models.catalogue import ModelEntry, find, read_entry
from napari_precimed.models.inference import choose_engine
from napari_precimed.training import (
    article_cnn,
    glioma_grade,
    lung_nodule,
    lung_nodule_malignancy,
    tumour_slice,
)
from napari_precimed.training.fit import FitOptions, fit
from napari_precimed.training.publish import INIT_PART, seen_patients, write_bundle

RECIPES: dict[str, ModuleType] = {
    "lung-nodule": lung_nodule,
    "lung-nodule-malignancy": lung_nodule_malignancy,
    "tumour-slice": tumour_slice,
    "article-cnn": article_cnn,
    "glioma-grade": glioma_grade,
}
"""Each module has OPTIONS, read, start, sampler, loss_of, validation, settings_of and evaluate.

It may have n_cases, where a case is not a patient's, and TEMPLATE, where no bundle is shipped.
Where nothing is fitted by steps, solve takes the place of all from OPTIONS to settings_of but read.
"""

Say = Callable[[str], None]


@dataclass(frozen=True)
class TrainRequest:
    """What the user asked of a training run."""

    data: Path
    out: Path
    epochs: int | None = None
    init: str | None = None
    resume: bool = False
    device: str = "auto"


def train(name: str, request: TrainRequest, say: Say) -> Path:
    """Train by a built-in model's recipe and write a bundle.

    Parameters
    ----------
    name : str
        A built-in model.
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
    recipe = _recipe(name)
    entry = template(name)
    engine = choose_engine(request.device)
    data = recipe.read(request.data)
    split = data.split()
    say(", ".join(f"{len(names)} patients {part}" for part, names in split.items()))
    if hasattr(recipe, "solve"):
        network = build_network(entry.folder, trusted=entry.built_in)
        settings = recipe.solve(network, data, say)
        return write_bundle(entry, request.out / name, network, split, {"recipe": name, **settings})
    options: FitOptions = recipe.OPTIONS.on(engine.device.type)
    if request.epochs is not None:
        options = options.for_epochs(request.epochs, _n_cases(recipe, data))
    torch.manual_seed(options.seed)
    network = build_network(entry.folder, trusted=entry.built_in)
    if request.init is None:
        recipe.start(network)
    else:
        split[INIT_PART] = sorted(seen_patients(find(request.init)))
        _take_weights(network, request.init, say)
    fit(
        network,
        recipe.sampler(data, options),
        recipe.loss_of,
        recipe.validation(data),
        options,
        request.out / "fit",
        resume=request.resume,
        progress=say,
    )
    settings = recipe.settings_of(network, data)
    return write_bundle(entry, request.out / name, network, split, {"recipe": name, **settings})


def evaluate(name: str, data: Path, device: str, say: Say) -> dict[str, Any]:
    """Measure a model on the patients in `data` that its training and validation never saw.

    Returns
    -------
    dict
        "model", "data", "n", "metrics", "subgroups", "run", as the design gives it.
    """
    entry = find(name)
    recipe = _recipe(str(entry.settings.get("recipe", entry.name)))
    engine = choose_engine(device)
    read = recipe.read(data)
    cases = read.without(seen_patients(entry))
    if len(cases) < len(read):
        say(f"{len(read) - len(cases)} of {len(read)} cases left out: training saw their patients")
    figures: dict[str, Any] = recipe.evaluate(entry, cases, engine)
    return {"model": f"{entry.name} {entry.version}", "data": str(data), **figures}


def _recipe(name: str) -> ModuleType:
    if name not in RECIPES:
        raise InputError(f"There is no recipe for '{name}'. Recipes: {', '.join(RECIPES)}.")
    return RECIPES[name]


def template(name: str) -> ModelEntry:
    """The bundle whose configs a training by this recipe takes over."""
    folder = getattr(RECIPES[name], "TEMPLATE", None)
    return find(name) if folder is None else replace(read_entry(folder), built_in=True)


def _n_cases(recipe: ModuleType, data: Any) -> int:
    """How many cases one pass over the training patients draws."""
    return int(recipe.n_cases(data)) if hasattr(recipe, "n_cases") else len(data.part("train"))


def _take_weights(network: torch.nn.Module, name: str, say: Say) -> None:
    """Start from another bundle: every weight of the same name and shape is taken over."""
    source = load_network(find(name)).state_dict()
    own = network.state_dict()
    fitting = {k: v for k, v in source.items() if k in own and own[k].shape == v.shape}
    if not fitting:
        raise InputError(f"No weight of '{name}' fits this network; leave --init out.")
    network.load_state_dict({**own, **fitting})
    say(f"{len(fitting)} of {len(own)} weight tensors taken over from '{name}'")
