"""The command line: parses, calls, prints, exits.

Exit codes: 0 done; 2 the input or the options are wrong, with one line that says what and how to
mend it; 3 the work failed. Results go to stdout, progress to stderr.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_precimed.cli.arguments import Channels, Data, Device, Image, Json, Series, Trust
from napari_precimed.cli.bundles import classify_whole, read_channels, trust_models
from napari_precimed.cli.terminal import (
    bar,
    case_json,
    decimals,
    entry_json,
    exit_on_error,
    print_json,
    print_subgroups,
    print_summary,
    say,
    silence_followers,
)
from napari_precimed.cli.trust import check_drawable, draw, explain, refuse_to_replace, write_doubt
from napari_precimed.errors import InputError

if TYPE_CHECKING:
    from napari_precimed.core.patient import Case
    from napari_precimed.models.catalogue import ModelEntry

app = typer.Typer(
    name="precimed",
    help="A patient's scan and genome on one screen. Research use; not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.command("explain")(explain)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where the report goes.")] = Path("demo-report"),
    viewer: Annotated[bool, typer.Option(help="Open napari where there is a screen.")] = True,
) -> None:
    """Run the main job on a built-in synthetic patient."""
    from genomics.synthetic import write_synthetic_case
    from napari_precimed.core.patient import Case
    from napari_precimed.io import read_volume
    from napari_precimed.io.phantom import PHANTOM_PATH_PREFIX
    from napari_precimed.pipeline import AnalyseOptions, analyse, check_output_folder, write_results

    check_output_folder(out)
    volume = read_volume(f"{PHANTOM_PATH_PREFIX}ct")
    with _gone_on_failure(out / "genome") as folder, bar() as progress:
        genome = write_synthetic_case(folder, str(volume.patient_id))
        options = AnalyseOptions(vcf=genome.vcf, reference=genome.fasta, genes=genome.gff3)
        case = analyse(Case.of(volume), options, progress=progress)
        files = write_results(case, out)
    print_summary(case, files)
    if viewer:
        _open_viewer(case, out / "case.sqlite")


@app.command("analyse")
def analyse_command(
    image: Image,
    out: Annotated[Path, typer.Option(help="Folder for all results.")],
    vcf: Annotated[Path | None, typer.Option(help="The patient's variants.")] = None,
    sample: Annotated[
        str | None, typer.Option(help="The VCF's sample; says that it is this patient.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Models to run; may be given more than once.")
    ] = None,
    reference: Annotated[Path | None, typer.Option(help="FASTA, for a bare VCF.")] = None,
    genes: Annotated[Path | None, typer.Option(help="GFF3, for a bare VCF.")] = None,
    patient: Annotated[
        str | None, typer.Option(help="Patient id, where the scan's file has none.")
    ] = None,
    series: Series = None,
    channel: Channels = None,
    trust: Trust = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Find lesions, score variants, write labels, tables and report."""
    from napari_precimed.core.patient import Case
    from napari_precimed.io import read_volume
    from napari_precimed.pipeline import (
        RESULT_FILES,
        AnalyseOptions,
        analyse,
        check_output_folder,
        write_results,
    )

    segment_model, classify_model = _chosen_models(model)
    trust_models(trust, segment_model, classify_model)
    _check_genome(vcf, sample, reference, genes)
    for name in RESULT_FILES:
        refuse_to_replace(out / name, image, vcf, reference, genes)
    check_output_folder(out)
    volume = read_volume(image, series=series)
    options = AnalyseOptions(
        segment_model, classify_model, device, vcf, sample, reference, genes, read_channels(channel)
    )
    with bar(quiet=as_json) as progress:
        case = analyse(Case.of(volume, patient), options, progress=progress)
    files = write_results(case, out)
    if as_json:
        print_json(case_json(case, files))
    else:
        print_summary(case, files)


@app.command()
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
    from napari_precimed.export.table import plain
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
        print_json({"labels": str(output), "lesions": plain(lesions.lesions),
                     "runs": [run.to_dict() for run in lesions.runs], **more})  # fmt: skip
    else:
        typer.echo(f"{len(lesions)} lesions in {output}")


@app.command()
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
    from napari_precimed.export.table import plain
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
        print_json({"labels": str(output), "lesions": plain(lesions.lesions),
                     "runs": [run.to_dict() for run in lesions.runs]})  # fmt: skip
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


@app.command()
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
    from napari_precimed.export.table import plain
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
    _must_exist(labels, "LABELS")
    volume = read_volume(image, series=series)
    check_models(volume, AnalyseOptions(None, model, device))
    outlined = measure(read_labels(labels, volume), volume, finding=entry.finding)
    with bar(quiet=as_json) as progress:
        lesions = classify_lesions(volume, outlined, model, device=device, progress=progress)
    if as_json:
        print_json({"lesions": plain(lesions.lesions),
                     "runs": [run.to_dict() for run in lesions.runs]})  # fmt: skip
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


@app.command()
def models(as_json: Json = False) -> None:
    """List the models."""
    from napari_precimed.models import catalogue

    entries = catalogue.models()
    if as_json:
        print_json({"models": [entry_json(entry) for entry in entries]})
        return
    for entry in entries:
        where = "" if entry.built_in else f"  ({entry.folder})"
        typer.echo(f"{entry.name} {entry.version}  {entry.task}, {entry.modality}{where}")
        typer.echo(f"    {entry.description}")


@app.command()
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


@app.command()
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


def main() -> None:
    """Entry point of `precimed`."""
    # A scheduler's stop ends as Ctrl-C does: half-written output is removed on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    silence_followers()
    exit_on_error(lambda: app(prog_name="precimed", standalone_mode=False))


def _must_exist(path: Path | None, option: str) -> None:
    if path is not None and not path.is_file():
        raise InputError(f"There is no file '{path}' ({option}); check the path.")


def _check_genome(
    vcf: Path | None, sample: str | None, reference: Path | None, genes: Path | None
) -> None:
    for path, option in ((vcf, "--vcf"), (reference, "--reference"), (genes, "--genes")):
        _must_exist(path, option)
    if vcf is None and (sample, reference, genes) != (None, None, None):
        raise InputError("--sample, --reference and --genes belong to a VCF; name it with --vcf.")


@contextmanager
def _gone_on_failure(folder: Path) -> Iterator[Path]:
    """Remove `folder`, and what had to be made above it, if the work fails."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        yield folder
    except BaseException:
        for each in missing[-1:]:
            shutil.rmtree(each, ignore_errors=True)
        raise


def _chosen_models(names: list[str] | None) -> tuple[str | None, str | None]:
    """The segmentation and the classification model among those named; by default, one of each."""
    from napari_precimed.models.catalogue import find
    from napari_precimed.pipeline import AnalyseOptions

    default = AnalyseOptions()
    if not names:
        return default.segment_model, default.classify_model
    by_task: dict[str, str] = {}
    for name in names:
        task = find(name).task
        if task in by_task:
            raise InputError(
                f"'{by_task[task]}' and '{name}' are both {task} models; give one of each task."
            )
        by_task[task] = name
    if "segmentation" not in by_task:
        raise InputError(
            f"'{names[0]}' needs outlined lesions; add a segmentation model with --model, or use "
            "`precimed classify` on your own labels."
        )
    segmentation, classification = by_task["segmentation"], by_task.get("classification")
    if classification and find(classification).finding != find(segmentation).finding:
        raise InputError(
            f"'{classification}' classifies {find(classification).finding}, '{segmentation}' finds "
            f"{find(segmentation).finding}; choose two that go together."
        )
    return segmentation, classification


def _open_viewer(case: Case, database: Path) -> None:
    """Open napari on a case, in a process of its own, where there is a screen."""
    from napari_precimed.store import CaseStore

    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        typer.echo("There is no screen here, so the viewer stays closed.")
        return
    url = f"sqlite:///{database.resolve()}"
    with closing(CaseStore(url)) as store:
        store.save(case)
    with database.with_name("viewer.log").open("wb") as log:
        subprocess.Popen(  # with streams of its own, or a pipe around this command never ends
            [sys.executable, "-m", "napari_precimed.ui", "--case", case.id],
            env={**os.environ, "PRECIMED_DATABASE": url},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    typer.echo(f"The viewer opens on the patient; what it says goes to {log.name}")
