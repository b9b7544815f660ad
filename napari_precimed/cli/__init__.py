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

from napari_precimed.cli.arguments import Channels, Device, Image, Json, Series, Trust
from napari_precimed.cli.bundles import read_channels, trust_models
from napari_precimed.cli.learning import evaluate, train
from napari_precimed.cli.lesions import classify, prompt, segment
from napari_precimed.cli.paths import must_exist, refuse_to_replace
from napari_precimed.cli.terminal import (
    bar,
    case_json,
    entry_json,
    exit_on_error,
    print_json,
    print_summary,
    silence_followers,
)
from napari_precimed.cli.trust import explain
from napari_precimed.errors import InputError

if TYPE_CHECKING:
    from napari_precimed.core.patient import Case

app = typer.Typer(
    name="precimed",
    help="A patient's scan and genome on one screen. Research use; not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


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


app.command()(segment)
app.command()(prompt)
app.command()(classify)


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


app.command()(train)
app.command()(evaluate)
app.command()(explain)


def main() -> None:
    """Entry point of `precimed`."""
    # A scheduler's stop ends as Ctrl-C does: half-written output is removed on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    silence_followers()
    exit_on_error(lambda: app(prog_name="precimed", standalone_mode=False))


def _check_genome(
    vcf: Path | None, sample: str | None, reference: Path | None, genes: Path | None
) -> None:
    for path, option in ((vcf, "--vcf"), (reference, "--reference"), (genes, "--genes")):
        must_exist(path, option)
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
