"""`precimed explain`, and what `segment --doubt` writes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_precimed.cli.arguments import Device, Image, Json, Labels, Series
from napari_precimed.cli.paths import must_exist, refuse_to_replace
from napari_precimed.cli.terminal import bar, print_json
from napari_precimed.errors import InputError, OutputError

if TYPE_CHECKING:
    from napari_precimed.core.lesion import LesionSet
    from napari_precimed.core.volume import Volume
    from napari_precimed.models.catalogue import ModelEntry
    from napari_precimed.models.explain import Explanation


def explain(
    image: Image,
    labels: Labels,
    model: Annotated[str, typer.Option(help="Classification model.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Saliency image to write.")],
    lesion: Annotated[
        int | None, typer.Option(help="Label of the lesion; may be left out where there is one.")
    ] = None,
    method: Annotated[
        str, typer.Option(help="integrated-gradients, grad-cam or occlusion.")
    ] = "integrated-gradients",
    target: Annotated[
        str | None, typer.Option(help="Output of the model; its first class if left out.")
    ] = None,
    series: Series = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Show what in the scan moved a classifier's answer on one lesion."""
    from napari_precimed.core.measure import measure
    from napari_precimed.io import read_volume
    from napari_precimed.io.itk import check_output, read_labels, write_volume
    from napari_precimed.models.catalogue import find
    from napari_precimed.models.explain import explain as explain_lesion

    find(model).check("classification", None)
    refuse_to_replace(output, image, labels)
    check_output(output)
    must_exist(labels, "LABELS")
    volume = read_volume(image, series=series)
    lesions = measure(read_labels(labels, volume), volume, finding=find(model).finding)
    label = _only(lesions) if lesion is None else lesion
    with bar(quiet=as_json) as progress:
        found = explain_lesion(
            volume, lesions, label, model, method, target, device, progress=progress
        )
    write_volume(output, volume.with_array(found.on_grid(volume.geometry.shape)))
    if as_json:
        print_json(_explanation_json(found, output))
    else:
        check = "unknown" if found.agreement is None else f"{found.agreement:.2f}"
        typer.echo(
            f"lesion {label}, '{found.target}' by {method}: logit {found.logit:.2f}, agreement "
            f"with occlusion {check}; the map is {output}"
        )


def write_doubt(
    path: Path, volume: Volume, lesions: LesionSet, model: str, device: str, progress: Any
) -> dict[str, Any]:
    """Write the doubt about lesions that `model` outlined; what --json says of it."""
    from napari_precimed.io.itk import write_volume
    from napari_precimed.models.doubt import doubt

    found = doubt(volume, lesions, model, "mirror", device, progress=progress)
    write_volume(path, volume.with_array(found.on_grid()))
    return {
        "doubt": str(path),
        "agreement": {str(label): share for label, share in found.agreement.items()},
        "run": found.run.to_dict(),
    }


def check_drawable(entry: ModelEntry, path: Path) -> None:
    """Refuse now a reliability diagram that could not be drawn after the evaluation."""
    from napari_precimed.core.files import check_writable

    if entry.task != "classification":
        raise InputError(
            f"'{entry.name}' is a {entry.task} model and gives no probability of a class; leave "
            "--reliability out."
        )
    if path.suffix.lower() != ".png":
        raise OutputError(f"'{path.name}' is to be a picture; end it in .png.")
    check_writable(path)


def draw(figures: dict[str, Any], path: Path) -> None:
    """Draw the reliability diagram of an evaluation."""
    from napari_precimed.training.calibration import draw_reliability

    if not figures.get("reliability"):
        raise InputError(f"The evaluation of {figures['model']} tells no reliability to draw.")
    draw_reliability(path, figures["reliability"], figures["model"])


def _only(lesions: LesionSet) -> int:
    if len(lesions) != 1:
        there = ", ".join(str(each.label) for each in lesions) or "none"
        raise InputError(f"The labels hold lesions {there}; choose one with --lesion.")
    return lesions.lesions[0].label


def _explanation_json(found: Explanation, output: Path) -> dict[str, Any]:
    return {
        "saliency": str(output),
        "lesion": found.label,
        "target": found.target,
        "method": found.method,
        "logit": found.logit,
        "neutral_logit": found.neutral_logit,
        "completeness_error": found.completeness_error,
        "agreement": found.agreement,
        "run": found.run.to_dict(),
    }
