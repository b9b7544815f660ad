"""Arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Image = Annotated[Path, typer.Argument(help="NIfTI, NRRD or MetaImage file, or a DICOM folder.")]
Labels = Annotated[Path, typer.Argument(help="Label image on the scan's grid.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Series = Annotated[str | None, typer.Option(help="Series UID, where a folder holds several.")]
Data = Annotated[Path, typer.Option(help="Data set: its file, or a folder that holds it.")]
Trust = Annotated[bool, typer.Option("--trust", help="Let a bundle from elsewhere run code.")]
Channels = Annotated[
    list[str] | None,
    typer.Option(
        "--channel",
        metavar="NAME=PATH",
        help="The scan for an input channel of the model; IMAGE is the one that is left.",
    ),
]
