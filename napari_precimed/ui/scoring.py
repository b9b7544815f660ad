"""Scoring variants for the window: in the variant service, or without one where none can run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from napari_precimed.errors import SidecarUnavailableError
from napari_precimed.pipeline import AnalyseOptions
from napari_precimed.ui.process import computing
from napari_precimed.ui.worker import Task

if TYPE_CHECKING:
    from genomics.report import VariantReport
    from napari_precimed.sidecar import Remote

log = logging.getLogger("napari_precimed")


class Scored(NamedTuple):
    """A report, and what the user should know of how it was made."""

    report: VariantReport
    notice: str | None


def scoring(options: AnalyseOptions, remote: Remote | None) -> Task:
    """A task that scores the variants of `options.vcf`; it succeeds with a `Scored`."""
    return Task("Scoring variants", _score, options, remote)


def _score(
    options: AnalyseOptions,
    remote: Remote | None,
    *,
    progress: Callable[[str, int, int | None], None],
    cancelled: Callable[[], bool],
) -> Scored:
    from napari_precimed.sidecar import score_variants

    if options.vcf is None:
        raise ValueError("no VCF to score")
    try:
        report = score_variants(
            options.vcf,
            sample=options.sample,
            reference=options.reference,
            genes=options.genes,
            remote=remote,
            progress=progress,
            cancelled=cancelled,
        )
        return Scored(report, None)
    except SidecarUnavailableError as error:
        log.warning("%s", error)
        reason = str(error).rstrip(".")
    report = computing.call(
        "napari_precimed.pipeline:score_variants",
        options,
        hooks=True,
        progress=progress,
        cancelled=cancelled,
    )
    return Scored(
        report, f"{reason}. The variants were scored in the computing process of this window."
    )
