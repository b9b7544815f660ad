"""Files named on the command line: those that must be there, and those that must not be lost."""

from __future__ import annotations

from pathlib import Path

from napari_precimed.errors import InputError, OutputError


def must_exist(path: Path | None, option: str) -> None:
    """Raise `InputError` if a file that was named is not there."""
    if path is not None and not path.is_file():
        raise InputError(f"There is no file '{path}' ({option}); check the path.")


def refuse_to_replace(output: Path, *inputs: Path | None) -> None:
    """Refuse an output that would take the place of an input."""
    for each in inputs:
        if each is not None and each.exists() and output.exists() and output.samefile(each):
            raise OutputError(f"'{output}' is an input of this command; name another output.")
