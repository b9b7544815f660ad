"""Options for bundles from elsewhere: trust, channels, and models of whole scans."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from napari_precimed.cli.terminal import print_json
from napari_precimed.errors import InputError

if TYPE_CHECKING:
    from napari_precimed.core.volume import Volume


def trust_models(trust: bool, *names: str | None) -> None:
    """With --trust, let the named bundles run what they want, in this run."""
    from napari_precimed.models.catalogue import find
    from napari_precimed.models.trust import trust_for_this_run

    for name in names:
        if trust and name is not None:
            trust_for_this_run(find(name))


def read_channels(options: Sequence[str] | None) -> dict[str, Volume]:
    """NAME=PATH of each --channel -> the scan for each channel.

    Raises
    ------
    InputError
        If one is written otherwise, or names a channel twice.
    ReadError
    """
    from napari_precimed.io import read_volume

    scans: dict[str, Volume] = {}
    for text in options or ():
        name, equals, path = text.partition("=")
        if not (name.strip() and equals and path):
            raise InputError(f"'{text}' is no channel; write --channel NAME=PATH.")
        if name.strip() in scans:
            raise InputError(f"--channel {name.strip()} is given twice; name one scan for it.")
        scans[name.strip()] = read_volume(Path(path))
    return scans


def classify_whole(
    image: Path, labels: Path | None, model: str, series: str | None, device: str, as_json: bool
) -> None:
    """Classify a scan as a whole, and print the probability of each class."""
    from napari_precimed.io import read_volume
    from napari_precimed.models.catalogue import find
    from napari_precimed.models.elsewhere import classify_scan

    if labels is not None:
        raise InputError(
            f"'{model}' classifies whole scans, not lesions; leave out LABELS '{labels}'."
        )
    volume = read_volume(image, series=series)
    probabilities, run = classify_scan(volume, find(model), device=device)
    if as_json:
        print_json({"probabilities": probabilities, "runs": [run.to_dict()]})
        return
    for name, chance in probabilities.items():
        typer.echo(f"{name}: {chance:.2f}")
