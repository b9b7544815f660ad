"""`precimed train` and `evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_precimed.cli.arguments import Data, Device, Json, Trust
from napari_precimed.cli.bundles import trust_models
from napari_precimed.cli.terminal import decimals, print_json, print_subgroups, say
from napari_precimed.cli.trust import check_drawable, draw


def train(
    name: Annotated[
        str, typer.Argument(help="Built-in model whose recipe to follow, or `unet` for your scans.")
    ],
    data: Annotated[
        Path,
        typer.Option(help="Data set; or images/ + labels/, MSD dataset.json, nnU-Net raw folder."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the trained bundle.")],
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the data.")] = None,
    init: Annotated[str | None, typer.Option(help="Start from the weights of this bundle.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on where a stopped run left off.")] = False,
    device: Device = "auto",
    model_name: Annotated[
        str | None, typer.Option("--name", help="Name of the model; by default the data's folder.")
    ] = None,
    split: Annotated[Path | None, typer.Option(help="JSON file: who is in which part.")] = None,
    patience: Annotated[
        int | None, typer.Option(min=1, help="Validations without a better one before it stops.")
    ] = None,
    early_stopping: Annotated[
        bool,
        typer.Option("--early-stopping/--no-early-stopping", help="Stop when no better."),
    ] = True,
    semi_supervised: Annotated[
        Path | None, typer.Option(help="Scans without labels to learn from as well.")
    ] = None,
    install: Annotated[
        bool, typer.Option(help="Copy a model with a name of its own to where the window lists it.")
    ] = True,
) -> None:
    """Train a model of your own."""
    from napari_precimed.pipeline import check_output_folder
    from napari_precimed.training.publish import install_bundle
    from napari_precimed.training.recipes import TrainRequest
    from napari_precimed.training.recipes import train as train_model

    check_output_folder(out)
    request = TrainRequest(
        data, out, epochs, init, resume, device, model_name, split, patience, early_stopping,
        semi_supervised,
    )  # fmt: skip
    bundle = train_model(name, request, say)
    typer.echo(f"The trained bundle is {bundle}")
    place = install_bundle(bundle) if install else None
    if place is not None:
        typer.echo(f"The window and `precimed models` list it as {bundle.name} ({place})")
    else:
        typer.echo(f"To list it in the window: PRECIMED_MODELS={out.resolve()}")


def evaluate(
    name: Annotated[str, typer.Argument(help="Model, or the folder of a bundle.")],
    data: Data,
    trust: Trust = False,
    device: Device = "auto",
    reliability: Annotated[
        Path | None, typer.Option(help="PNG to draw of how often the probabilities come true.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure a model on patients that its training never saw."""
    from napari_precimed.models.catalogue import find
    from napari_precimed.training.recipes import evaluate as evaluate_model

    trust_models(trust, name)
    if reliability is not None:
        check_drawable(find(name), reliability)
    figures = evaluate_model(name, data, device, say)
    if reliability is not None:
        draw(figures, reliability)
    if as_json:
        print_json(figures)
        return
    typer.echo(f"{figures['model']} on {figures['n']['patients']} patients it never saw:")
    for metric, figure in figures["metrics"].items():
        value, low, high = (decimals(v) for v in (figure["value"], *figure["ci95"]))
        typer.echo(f"  {metric:32} {value}  [{low}, {high}]  n={figure['n']}")
    print_subgroups(figures["subgroups"])
