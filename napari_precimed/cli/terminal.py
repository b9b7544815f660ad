"""What the commands print, and how they end: one line on stderr and an exit code, no traceback."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from napari_precimed.errors import InputError, PrecimedError

if TYPE_CHECKING:
    from napari_precimed.core.lesion import LesionSet

WRONG_INPUT, FAILED = 2, 3
_INTERRUPTED = 130
"""What typer returns after Ctrl-C."""
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]
"""A mistyped command line; typer does not export click's name for it."""

_err = Console(stderr=True, soft_wrap=True, highlight=False)


def exit_on_error(command: Callable[[], int | None]) -> NoReturn:
    """Run a command; a user's mistake ends in one line, never in a traceback."""
    try:
        code = command()
        if code == _INTERRUPTED:
            raise KeyboardInterrupt
    except _UsageError as error:
        _fail_usage(error)
    except InputError as error:
        _fail(str(error), WRONG_INPUT)
    except PrecimedError as error:
        _fail(str(error), FAILED)
    except (KeyboardInterrupt, typer.Abort):
        _fail("Stopped by the user; no result was written.", FAILED)
    except Exception as error:  # the last resort: still one line, the traceback on request
        if os.environ.get("PRECIMED_TRACEBACK"):
            traceback.print_exc()
        _fail(
            f"The work failed: {type(error).__name__}: {' '.join(str(error).split())}. "
            "PRECIMED_TRACEBACK=1 shows where.",
            FAILED,
        )
    sys.exit(code or 0)


def _fail_usage(error: Any) -> NoReturn:
    """Say what is wrong with the command line in one line; its usage is a --help away."""
    message = " ".join(error.format_message().split())
    if message:  # it is empty where the help was printed instead
        command = error.ctx.command_path if error.ctx else "precimed"
        _fail(f"{message.rstrip('.')}. See: {command} --help", WRONG_INPUT)
    sys.exit(WRONG_INPUT)


def _fail(message: str, code: int) -> NoReturn:
    _err.print(f"precimed: {message}", markup=False)
    sys.exit(code)


def say(line: str) -> None:
    """One line of progress, on stderr."""
    _err.print(line, markup=False)


class bar:  # noqa: N801 - reads as a verb: `with bar() as progress`
    """A progress bar per stage on stderr."""

    def __init__(self, quiet: bool = False) -> None:
        self._progress = Progress(
            TextColumn("{task.description:10}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total}"),
            TimeRemainingColumn(),
            console=_err,
            disable=quiet or not _err.is_terminal,
        )
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Callable[[str, int, int | None], None]:
        self._progress.start()
        return self._report

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def _report(self, stage: str, done: int, total: int | None) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=total)
        self._progress.update(self._tasks[stage], completed=done, total=total)


def print_json(value: Any) -> None:
    """The one JSON object of --json, on stdout."""
    typer.echo(json.dumps(value, ensure_ascii=False, allow_nan=False))


def print_lesions(lesions: LesionSet, **more: Any) -> None:
    """Print lesions and the runs that they come from as one JSON object, with more beside them."""
    from napari_precimed.export.table import plain

    print_json(
        {**more, "lesions": plain(lesions.lesions), "runs": [r.to_dict() for r in lesions.runs]}
    )


def print_subgroups(rows: list[dict[str, Any]]) -> None:
    """A metric group by group; a group that is too small says so instead of a figure."""
    if rows:
        typer.echo("By subgroup:")
    for row in rows:
        label = f"{row['metric']}, {row['group']}"
        if "note" in row:
            typer.echo(f"  {label:48} {row['note']}  n={row['n']}, patients={row['patients']}")
            continue
        value, low, high = (decimals(v) for v in (row["value"], *row["ci95"]))
        typer.echo(
            f"  {label:48} {value}  [{low}, {high}]  n={row['n']}, patients={row['patients']}"
        )


def decimals(value: float | None) -> str:
    """A figure for a person to read."""
    return "unknown" if value is None else f"{value:.3f}"


def silence_followers() -> None:
    """Of several processes that torchrun started, only the first speaks."""
    if int(os.environ.get("RANK", "0")) > 0 and "MASTER_ADDR" in os.environ:
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123 - until the end


def entry_json(entry: Any) -> dict[str, Any]:
    """A model of the catalogue, as --json lists it."""
    return {
        "name": entry.name,
        "version": entry.version,
        "task": entry.task,
        "modality": entry.modality,
        "description": entry.description,
        "license": entry.license,
        "built_in": entry.built_in,
        "folder": str(entry.folder),
    }


def case_json(case: Any, files: dict[str, Path]) -> dict[str, Any]:
    """What `analyse` found and where it is, as --json prints it."""
    from napari_precimed.export.table import plain, run_json

    lesions = case.lesions_of(case.volumes[0]) if case.volumes else None
    return {
        "patient": case.patient.id,
        "files": {name: str(path) for name, path in files.items()},
        "lesions": plain(lesions.lesions) if lesions else [],
        "variants": dict(case.variants.ledger) if case.variants else None,
        "run": run_json(case),
    }


def print_summary(case: Any, files: dict[str, Path]) -> None:
    """The same for a person: the first lesions, the ledger, the report's path."""
    typer.echo(f"Patient {case.patient.id or 'without an id'}")
    for lesions in case.lesion_sets:
        typer.echo(f"{len(lesions)} lesions")
        for warning in dict.fromkeys(w for run in lesions.runs for w in run.warnings):
            typer.echo(f"  Note: {warning}")
        for lesion in lesions.lesions[:10]:
            typer.echo(f"  {_lesion_line(lesion)}")
        if len(lesions) > 10:
            typer.echo(f"  … {len(lesions) - 10} more in lesions.csv")
    if case.variants is not None:
        ledger = ", ".join(f"{k} {v}" for k, v in case.variants.ledger.items() if type(v) is int)
        typer.echo(f"Variants of sample {case.variants.sample_id}: {ledger}")
    typer.echo(f"The report is {files['report.html'].resolve()}")


def _lesion_line(lesion: Any) -> str:
    axes = "one voxel"
    if lesion.long_axis_mm is not None and lesion.short_axis_mm is not None:
        axes = f"{lesion.long_axis_mm:.1f} × {lesion.short_axis_mm:.1f} mm"
    chances = ", ".join(f"{k} {v:.2f}" for k, v in (lesion.probabilities or {}).items())
    return f"{lesion.label}: {lesion.finding}, {lesion.volume_mm3:.0f} mm³, {axes}; {chances}"
