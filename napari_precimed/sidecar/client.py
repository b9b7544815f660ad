"""Speaks HTTP with a variant service: order, upload, follow, cancel, fetch, delete."""

from __future__ import annotations

import contextlib
import gc
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import httpx

from napari_precimed.errors import CancelledError, InputError, SidecarError

if TYPE_CHECKING:
    from genomics.report import VariantReport

_ENDED = ("done", "failed", "cancelled")
_POLL_S = 0.1
_CONNECT_S, _ANSWER_S = 5.0, 20.0
_CHUNK_BYTES = 256 * 1024
_PLENTY_OF_TRIES = 150
_LINES_PER_LOOK = 2000

Progress = Callable[[str, int, int | None], None]
Cancelled = Callable[[], bool]


class UnreachableError(SidecarError):
    """The service did not answer.

    Attributes
    ----------
    accepted : bool
        Whether it had taken the job before.
    """

    def __init__(self, message: str, accepted: bool) -> None:
        super().__init__(message)
        self.accepted = accepted


@dataclass(frozen=True)
class Order:
    """What to score, in files of this machine."""

    vcf: Path
    sample: str | None = None
    reference: Path | None = None
    genes: Path | None = None


class SidecarClient:
    """A connection to one service.

    Parameters
    ----------
    url, token : str
    verify : ssl.SSLContext or None
        How to verify certificates; None for a service on loopback without TLS, which is then also
        never looked for behind a proxy.
    label : str
        How messages name the service.
    """

    def __init__(
        self, url: str, token: str, *, verify: ssl.SSLContext | None = None, label: str
    ) -> None:
        self._label = label
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"},
            verify=verify if verify is not None else True,
            trust_env=url.startswith("https"),
            timeout=httpx.Timeout(_ANSWER_S, connect=_CONNECT_S),
        )
        self._accepted = False

    def __enter__(self) -> SidecarClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def score(self, order: Order, progress: Progress, cancelled: Cancelled) -> VariantReport:
        """Have a VCF scored, and leave nothing of it there.

        Raises
        ------
        InputError
            What was ordered cannot be used.
        UnreachableError
            The service does not answer.
        SidecarError
            It failed.
        CancelledError
        """
        self._accepted = False
        job = self._place(order, cancelled)
        path = f"/jobs/{job['id']}"
        try:
            if job["state"] == "awaiting_upload":
                self._upload(path, order.vcf, progress, cancelled)
            self._follow(path, progress, cancelled)
            return self._fetch(path, cancelled)
        finally:
            # The job's data must not stay there; where this fails, they expire.
            with contextlib.suppress(SidecarError):
                self._ask("DELETE", path)

    def _place(self, order: Order, cancelled: Cancelled) -> dict[str, Any]:
        """Order the job, by path where the service reads files of this machine."""
        if not order.vcf.is_file():
            raise InputError(f"'{order.vcf}': no such file; choose the VCF again.")
        about = self._ask("GET", "/").json()
        self._expect_ours(about)
        local = about["local_files"]
        if not local and order.vcf.stat().st_size > about["upload_bytes"]:
            raise InputError(
                f"'{order.vcf}' is larger than {self._label.lower()} takes "
                f"({about['upload_bytes']:,} bytes); compress or split it, or compute on this "
                "machine."
            )
        body = {
            "vcf": str(order.vcf.absolute()) if local else None,
            "name": order.vcf.name,
            "sample": order.sample,
            "reference": _named(order.reference, local),
            "genes": _named(order.genes, local),
            "outputs": ["jsonl"],
        }
        for _ in range(_PLENTY_OF_TRIES):
            answer = self._ask("POST", "/jobs", json=body, expected=(201, 429))
            if answer.status_code == 201:
                self._accepted = True
                return dict(answer.json())
            _sleep(float(answer.headers.get("retry-after", 2)), cancelled)
        raise SidecarError(f"{self._label} is busy with other jobs; try again later.")

    def _expect_ours(self, about: Any) -> None:
        from genomics.service import API_VERSION

        if not isinstance(about, dict) or about.get("service") != "precimed-genomics":
            raise SidecarError(f"{self._label} is another program; check the address.")
        if about["api"] != API_VERSION:
            raise SidecarError(
                f"{self._label} speaks version {about['api']}, this window {API_VERSION}; install "
                "the same version of napari-precimed on both machines."
            )

    def _upload(self, path: str, vcf: Path, progress: Progress, cancelled: Cancelled) -> None:
        total = vcf.stat().st_size

        def chunks() -> Iterator[bytes]:
            sent = 0
            with vcf.open("rb") as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    if cancelled():
                        raise CancelledError("Cancelled.")
                    yield chunk
                    sent += len(chunk)
                    progress("sending the VCF", sent, total)

        try:
            self._ask("PUT", f"{path}/vcf", content=chunks())
        except OSError as error:
            raise InputError(f"'{vcf}' cannot be read: {error.strerror or error}.") from error

    def _follow(self, path: str, progress: Progress, cancelled: Cancelled) -> None:
        """Wait for the job's end; return if it is done."""
        asked = False
        while True:
            job = self._ask("GET", path).json()
            if job["state"] in _ENDED:
                break
            progress("variants", job["done"], job["total"])
            if cancelled() and not asked:
                asked = True
                self._ask("POST", f"{path}/cancel")
            time.sleep(_POLL_S)
        if job["state"] == "cancelled":
            raise CancelledError("Cancelled.")
        if job["state"] == "failed":
            raise (InputError if job["expected"] else SidecarError)(job["message"])

    def _fetch(self, path: str, cancelled: Cancelled) -> VariantReport:
        from genomics.errors import ReportFormatError
        from genomics.report_lines import read_report_lines

        def lines(answer: httpx.Response) -> Iterator[str]:
            for number, line in enumerate(answer.iter_lines()):
                if number % _LINES_PER_LOOK == 0 and cancelled():
                    raise CancelledError("Cancelled.")
                yield line

        try:
            with self._http.stream("GET", f"{path}/result/jsonl") as answer:
                if answer.status_code != 200:
                    answer.read()
                    raise self._refused(answer)
                with _collector_paused():
                    return read_report_lines(lines(answer))
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        except ReportFormatError as error:
            raise SidecarError(f"{self._label} sent no usable result: {error}.") from error

    def _ask(
        self, method: str, path: str, expected: tuple[int, ...] = (200, 201, 204), **more: Any
    ) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **more)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        if answer.status_code not in expected:
            raise self._refused(answer)
        return answer

    def _unreachable(self, error: httpx.TransportError) -> SidecarError:
        text = str(error) or type(error).__name__
        if "CERTIFICATE_VERIFY_FAILED" in text:
            return SidecarError(
                f"{self._label} has a certificate that is not trusted ({text}); name the file of "
                "the authority that signed it in the settings."
            )
        return UnreachableError(
            f"{self._label} does not answer ({text}); check that it runs and try again.",
            self._accepted,
        )

    def _refused(self, answer: httpx.Response) -> Exception:
        try:
            detail = answer.json()["detail"]
        except (ValueError, KeyError, TypeError):
            detail = f"status {answer.status_code}"
        detail = str(detail).rstrip(".")
        if answer.status_code == 401:
            return SidecarError(
                f"{self._label} does not know the token; it has a new one at each start: copy it "
                "again."
            )
        # A 404 to an order is about a file that it names; to anything else, about the job.
        if answer.status_code in (400, 413, 422) or answer.request.url.path.endswith("/jobs"):
            return InputError(f"{self._label} refuses the job: {detail}.")
        return SidecarError(f"{self._label} refuses: {detail}.")


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    """Let Python not look for garbage among a large report's new objects again and again.

    It holds the interpreter lock meanwhile, and a window with it: for 2.7 s with 42,000 variants,
    where reading them line by line holds it for 0.1 s at a time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _named(path: Path | None, local: bool) -> str | None:
    if path is None:
        return None
    return str(path.absolute()) if local else path.name


def _sleep(seconds: float, cancelled: Cancelled) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if cancelled():
            raise CancelledError("Cancelled.")
        time.sleep(_POLL_S)
