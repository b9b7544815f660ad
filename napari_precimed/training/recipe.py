"""What a recipe is: how one kind of model is trained and measured.

A recipe is a module, or an object, with the members of `Recipe`. What it may have besides:

``crops_per_case`` : int
    How many draws from one case make a pass over the data; 1 without it.
``n_cases(data)`` : int
    How many draws make a pass over the data, where a case is not a patient's.
``TEMPLATE`` : Path
    The bundle to start from, where no built-in model has the recipe's name.
``solve(network, data, say) -> dict``
    Fits the network at once and gives the settings; then only `read` and `evaluate` are needed
    besides.
``prepare(data, folder, name, say) -> (data, entry)``
    Make the data ready under `folder` for a bundle called `name`, and say from which bundle to
    start; without it, that is the built-in model of the recipe's name. Must do nothing where it has
    been done before. `say` receives lines of progress.
``unlabelled(path, data, options, say) -> callable``
    Step -> a batch without labels, for ``--semi-supervised``.
``consistency(network, teacher, batch) -> torch.Tensor``
    How far the two disagree on such a batch. Both or neither of these two.
``picture(network, data) -> ndarray``
    Shape (y, x, 3), uint8: shown in TensorBoard when the training ends.

The data may have, besides the members of `Dataset`, ``divided(split)``, the same data divided as a
file says; ``kinds()``, patient -> kind, where they do not divide themselves; and ``fingerprint()``,
a text that changes when they do, by which ``--resume`` knows them again.
"""

from __future__ import annotations

from collections.abc import Callable, Sized
from pathlib import Path
from typing import Any, Protocol

import torch

from napari_precimed.models.catalogue import ModelEntry
from napari_precimed.models.inference import Engine
from napari_precimed.training.fit import FitOptions
from napari_precimed.training.split import Split
from napari_precimed.training.teacher import Batch


class Dataset(Protocol):
    """What a recipe reads: cases of patients, divided by patient."""

    def __len__(self) -> int:
        """Cases."""
        ...

    def part(self, name: str) -> Any:
        """The cases of "train", "validation" or "test"; sized."""
        ...

    def split(self) -> Split:
        """Part -> the ids of its patients."""
        ...

    def without(self, patients: set[str]) -> Sized:
        """The cases of all other patients; raises `DatasetError` if none is left."""
        ...


class Recipe(Protocol):
    """How one kind of model is trained and measured."""

    @property
    def OPTIONS(self) -> FitOptions:  # noqa: N802 - a constant of a module
        """How to fit."""
        ...

    @property
    def read(self) -> Callable[[Path], Any]:
        """Path -> `Dataset`."""
        ...

    @property
    def start(self) -> Callable[[torch.nn.Module], None]:
        """Prepare an untrained network."""
        ...

    @property
    def sampler(self) -> Callable[[Any, FitOptions], Callable[[int], Batch]]:
        """(data, options) -> step -> batch, from the training patients; of the step alone."""
        ...

    @property
    def loss_of(self) -> Callable[[torch.nn.Module, Batch], torch.Tensor]:
        """(network, batch) -> scalar loss, a mean over the batch.

        Called under autocast in the engine's precision; bring logits to float32 before a loss.
        """
        ...

    @property
    def validation(self) -> Callable[[Any], Callable[[torch.nn.Module], float]]:
        """Data -> network -> score on the validation patients, higher is better."""
        ...

    @property
    def settings_of(self) -> Callable[[torch.nn.Module, Any], dict[str, Any]]:
        """(network, data) -> what goes under "precimed" in the bundle's metadata."""
        ...

    @property
    def evaluate(self) -> Callable[[ModelEntry, Any, Engine], dict[str, Any]]:
        """(entry, unseen cases, engine) -> "n", "metrics", "subgroups", "run"."""
        ...
