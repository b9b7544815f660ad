"""The viewer's end of the variant service (``python -m genomics serve``).

`score_variants` is the one door: it has the shape of `pipeline.score_variants`, and does the work
in a service, this application's own or a remote one. The service may die at any moment:

- Before a job, or while it is handed over: the next service takes it, and nobody notices.
- During a job: a `SidecarError` says so. The job is not sent again by itself, since it may be what
  killed the service; the next one starts a new service.
- After a job: nothing is lost.

Where a service cannot be started at all (a machine that allows no loopback sockets, say) a
`SidecarUnavailableError` is raised. The window then computes in its plain child process, over pipes
(`ui.process`), and says so: it protects the window as well, and lacks only what a service adds.

A remote service that fails is an error and nothing else: the user chose where to compute.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from napari_precimed.sidecar.address import Remote

if TYPE_CHECKING:
    from genomics.report import VariantReport

__all__ = ["Remote", "score_variants"]

Progress = Callable[[str, int, int | None], None]


def score_variants(
    vcf: Path,
    *,
    sample: str | None = None,
    reference: Path | None = None,
    genes: Path | None = None,
    remote: Remote | None = None,
    progress: Progress,
    cancelled: Callable[[], bool],
) -> VariantReport:
    """Score a VCF in the variant service; for a worker thread, never the GUI's.

    Parameters
    ----------
    vcf : Path
    sample : str or None
    reference, genes : Path or None
        Of this machine. A remote service looks for files of the same names on its own.
    remote : Remote or None
        None uses this application's own service, and starts it where it does not run.
    progress : callable
        Called as ``progress(stage, done, total)``.
    cancelled : callable

    Raises
    ------
    InputError
        The VCF, sample, reference or genes cannot be used, or the address of the service cannot.
    SidecarError
        The service died, failed or cannot be reached.
    SidecarUnavailableError
        This application's own service cannot be started.
    CancelledError
    """
    from napari_precimed.sidecar.child import local
    from napari_precimed.sidecar.client import Order

    order = Order(vcf, sample, reference, genes)
    if remote is None:
        return local.score(order, progress, cancelled)
    with remote.connect() as client:
        return client.score(order, progress, cancelled)
