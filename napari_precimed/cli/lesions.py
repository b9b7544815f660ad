"""`precimed segment`, `prompt` and `classify`: what a model says of one scan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_precimed.cli.arguments import Channels, Device, Image, Json, Series, Trust
from napari_precimed.cli.bundles import classify_whole, read_channels, trust_models
from napari_precimed.cli.paths import must_exist, refuse_to_replace
from napari_precimed.cli.terminal import bar, print_json, print_lesions, say
from napari_precimed.cli.trust import write_doubt
from napari_precimed.errors import InputError

if TYPE_CHECKING:
    from napari_precimed.models.catalogue import ModelEntry


def segment(
    image: Image,
    model: Annotated[str, typer.Option(help="Segmentation model.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Label image to write.")],
    doubt: Annotated[
        Path | None, typer.Option(help="Image to write of where the outlines are uncertain.")
    ] = None,
    series: Series = None,
    channel: Channels = None,
    trust: Trust = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Outline the lesions of one scan."""
    from napari_precimed.io import read_volume
    from napari_precimed.io.itk import check_output, write_labels
    from napari_precimed.models.catalogue import find
    from napari_precimed.pipeline import AnalyseOptions, find_lesions

    find(model).check("segmentation", None)
    trust_models(trust, model)
    for path in filter(None, (output, doubt)):
        refuse_to_replace(path, image)
        check_output(path)
    if doubt is not None and doubt.absolute() == output.absolute():
        raise InputError(f"'{doubt}' is named for labels and for doubt; name two files.")
    volume = read_volume(image, series=series)
    channels = read_channels(channel)
    with bar(quiet=as_json) as progress:
        options = AnalyseOptions(model, None, device, channels=channels)
        lesions = find_lesions(volume, options, progress=progress)
        doubted = write_doubt(doubt, volume, lesions, model, device, progress) if doubt else None
    write_labels(output, lesions.labels, volume)
    if as_json:
        more = {} if doubted is None else {"doubt": doubted}
        print_lesions(lesions, labels=str(output), **more)
    else:
        typer.echo(f"{len(lesions)} lesions in {output}")


def prompt(
    image: Image,
    model: Annotated[str, typer.Option(help="Segmentation model that takes points.")],
    point: Annotated[
        list[str], typer.Option(help="Z,Y,X inside a lesion, from 0, as stored in the file.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Label image to write.")],
    series: Series = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Outline the lesions that the given points lie in."""
    from napari_precimed.core.measure import measure
    from napari_precimed.io import read_volume
    from napari_precimed.io.itk import check_output, write_labels
    from napari_precimed.models.catalogue import find
    from napari_precimed.models.prompt import prompt as outline_at

    entry = find(model)
    entry.check("segmentation", None)
    stored = [_index(text) for text in point]
    refuse_to_replace(output, image)
    check_output(output)
    volume = read_volume(image, series=series)
    points = [volume.stored_to_canonical(index) for index in stored]
    with bar(quiet=as_json) as progress:
        found = outline_at(volume, points, model, device=device, progress=progress)
    lesions = measure(
        found.labels, volume, finding=entry.finding, confidence=found.confidence, runs=(found.run,)
    )
    write_labels(output, lesions.labels, volume)
    if as_json:
        print_lesions(lesions, labels=str(output))
        return
    for warning in found.run.warnings:
        say(warning)
    typer.echo(f"{len(lesions)} lesions in {output}")


def _index(text: str) -> tuple[int, int, int]:
    """Text as Z,Y,X -> three numbers."""
    try:
        z, y, x = (int(part) for part in text.split(","))
    except ValueError:
        raise InputError(
            f"'{text}' is no point; give three whole numbers, as --point 40,120,200 (Z,Y,X)."
        ) from None
    return z, y, x


def classify(
    image: Image,
    model: Annotated[str, typer.Option(help="Classification model.")],
    labels: Annotated[
        Path | None,
        typer.Argument(help="Label image on the scan's grid; none for a model of whole scans."),
    ] = None,
    series: Series = None,
    trust: Trust = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Say what each outlined lesion, each slice or the whole scan is likely to be."""
    from napari_precimed.core.measure import measure
    from napari_precimed.io import read_volume
    from napari_precimed.io.itk import read_labels
    from napari_precimed.models.catalogue import find
    from napari_precimed.models.classify import classify as classify_lesions
    from napari_precimed.pipeline import AnalyseOptions, check_models

    entry = find(model)
    entry.check("classification", None)
    trust_models(trust, model)
    if entry.classifies_slices:
        _classify_slices(image, labels, entry, series, device, as_json)
        return
    if entry.classifies_scans:
        classify_whole(image, labels, model, series, device, as_json)
        return
    if labels is None:
        raise InputError(f"'{model}' classifies outlined lesions; name their LABELS after IMAGE.")
    must_exist(labels, "LABELS")
    volume = read_volume(image, series=series)
    check_models(volume, AnalyseOptions(None, model, device))
    outlined = measure(read_labels(labels, volume), volume, finding=entry.finding)
    with bar(quiet=as_json) as progress:
        lesions = classify_lesions(volume, outlined, model, device=device, progress=progress)
    if as_json:
        print_lesions(lesions)
        return
    for lesion in lesions:
        chances = ", ".join(f"{k} {v:.2f}" for k, v in (lesion.probabilities or {}).items())
        typer.echo(
            f"lesion {lesion.label}: {lesion.volume_mm3:.0f} mm³, {chances or 'not classified'}"
        )


def _classify_slices(
    image: Path,
    labels: Path | None,
    entry: ModelEntry,
    series: str | None,
    device: str,
    as_json: bool,
) -> None:
    """Say of each axial slice what a slice model says of it."""
    from napari_precimed.io import read_volume
    from napari_precimed.models.slices import classify_slices

    if labels is not None:
        raise InputError(f"'{entry.name}' classifies whole slices; leave '{labels}' out.")
    volume = read_volume(image, series=series)
    with bar(quiet=as_json) as progress:
        findings, run = classify_slices(volume, str(entry.folder), device=device, progress=progress)
    if as_json:
        print_json({"slices": [vars(f) for f in findings], "runs": [run.to_dict()]})
        return
    for f in findings:
        typer.echo(f"slice {f.index}: {entry.labels[0]} {f.probability:.2f}, {f.call or 'unsure'}")
