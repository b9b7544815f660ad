"""The viewer's end of the variant service, against real ones: its own, a remote one, a bad one."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import trustme
from running_service import Service, run_without_timings, running

from genomics.report import VariantReport
from genomics.score import score_vcf
from genomics.synthetic import SyntheticCase, write_synthetic_case
from napari_precimed.errors import (
    CancelledError,
    InputError,
    SidecarError,
    SidecarUnavailableError,
)
from napari_precimed.sidecar import Remote, child
from napari_precimed.sidecar.child import LocalSidecar
from napari_precimed.sidecar.client import Order

Progress = Callable[[str, int, int | None], None]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> SyntheticCase:
    return write_synthetic_case(tmp_path_factory.mktemp("case"), "P1")


@pytest.fixture(scope="module")
def own() -> Iterator[LocalSidecar]:
    sidecar = LocalSidecar()
    yield sidecar
    sidecar.stop()


def silent(stage: str, done: int, total: int | None) -> None:
    pass


def never() -> bool:
    return False


def order_of(case: SyntheticCase) -> Order:
    return Order(case.vcf, "P1", case.fasta, case.gff3)


def without_timings(report: VariantReport) -> tuple:
    run = run_without_timings(report)
    return report.sample_id, report.ledger, run, [s.variant for s in report.scored]


def test_a_service_that_died_before_or_after_a_job_is_replaced_unnoticed(
    own: LocalSidecar, case: SyntheticCase
) -> None:
    expected = without_timings(score_vcf(case.vcf, reference=case.fasta, genes=case.gff3))
    assert without_timings(own.score(order_of(case), silent, never)) == expected
    first = own.pid
    assert without_timings(own.score(order_of(case), silent, never)) == expected
    assert own.pid == first  # it stays for the next
    psutil.Process(first).kill()
    assert without_timings(own.score(order_of(case), silent, never)) == expected
    assert own.pid != first


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot stop a process so")
def test_a_service_that_hangs_before_a_job_is_replaced(
    own: LocalSidecar, case: SyntheticCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_precimed.sidecar.client._ANSWER_S", 2.0)
    monkeypatch.setattr(child, "_STOP_S", 1.0)
    own.score(order_of(case), silent, never)
    first = own.pid
    os.kill(first, signal.SIGSTOP)
    assert own.score(order_of(case), silent, never).sample_id == "P1"
    assert own.pid != first
    assert not psutil.pid_exists(first)


def test_what_the_input_lacks_is_the_users_to_mend(
    own: LocalSidecar, case: SyntheticCase, tmp_path: Path
) -> None:
    broken = tmp_path / "text.vcf"
    broken.write_text("hello\n")
    with pytest.raises(InputError, match=r"text\.vcf.*not a VCF"):
        own.score(Order(broken), silent, never)
    with pytest.raises(InputError, match="no such file"):
        own.score(Order(tmp_path / "missing.vcf"), silent, never)
    with pytest.raises(InputError, match=r"missing\.fa"):
        own.score(Order(case.vcf, None, tmp_path / "missing.fa", case.gff3), silent, never)


def test_nothing_of_a_job_stays_in_the_service(own: LocalSidecar, case: SyntheticCase) -> None:
    import httpx

    own.score(order_of(case), silent, never)
    address = own._address
    headers = {"Authorization": f"Bearer {address['token']}"}
    about = httpx.get(address["url"], headers=headers, trust_env=False).json()
    assert set(about["jobs"].values()) == {0}


def test_proxy_variables_do_not_lead_loopback_elsewhere(
    own: LocalSidecar, case: SyntheticCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would be told every address that is asked for, and could answer in its place."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.settimeout(0.1)
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            for each in (name, name.lower()):
                monkeypatch.setenv(each, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        assert own.score(order_of(case), silent, never).sample_id == "P1"
        with pytest.raises(TimeoutError):
            proxy.accept()


def test_where_no_service_can_start_it_says_so(
    case: SyntheticCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "_COMMAND", ("-m", "genomics", "serve", "--host", "192.0.2.1"))
    with pytest.raises(SidecarUnavailableError, match="cannot be started: genomics: --host"):
        LocalSidecar().score(order_of(case), silent, never)
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(SidecarUnavailableError, match="cannot be started"):
        LocalSidecar().score(order_of(case), silent, never)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, Path]:
    authority = trustme.CA()
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return authority, path


@pytest.fixture(scope="module")
def remote_service(
    tmp_path_factory: pytest.TempPathFactory,
    authority: tuple[trustme.CA, Path],
    case: SyntheticCase,
) -> Iterator[Service]:
    """A service as on a server: TLS, a token file, references of its own, no files by path."""
    folder = tmp_path_factory.mktemp("remote")
    certificate = authority[0].issue_cert("127.0.0.1")
    chain, key = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(b"".join(part.bytes() for part in certificate.cert_chain_pems))
    certificate.private_key_pem.write_to_path(str(key))
    options = ("--ssl-certfile", chain, "--ssl-keyfile", key, "--token-file", folder / "token",
               "--references", case.fasta.parent, "--upload-mib", 1)  # fmt: skip
    with running(*options, log=folder / "log") as service:
        yield service


def score_at(remote: Remote, order: Order, progress: Progress = silent) -> VariantReport:
    with remote.connect() as client:
        return client.score(order, progress, never)


def test_a_remote_service_gets_the_vcf_over_tls_and_the_references_by_name(
    remote_service: Service, authority: tuple[trustme.CA, Path], case: SyntheticCase, tmp_path: Path
) -> None:
    remote = Remote(remote_service.url, Path(remote_service.line["token_file"]), authority[1])
    stages: list[str] = []
    here = Order(case.vcf, "P1", tmp_path / case.fasta.name, tmp_path / case.gff3.name)
    report = score_at(remote, here, lambda stage, *_: stages.append(stage))
    expected = score_vcf(case.vcf, reference=case.fasta, genes=case.gff3)
    assert without_timings(report) == without_timings(expected)
    assert stages[0] == "sending the VCF"
    assert set(remote_service.http.get("/").json()["jobs"].values()) == {0}
    with pytest.raises(InputError, match=r"other\.fa: not on the service's machine; it has"):
        score_at(remote, Order(case.vcf, "P1", tmp_path / "other.fa", case.gff3))
    large = tmp_path / "large.vcf"
    large.write_bytes(bytes(2**20 + 1))
    with pytest.raises(InputError, match="larger than the variant service"):
        score_at(remote, Order(large))


def test_a_remote_service_that_cannot_be_trusted_gets_nothing(
    remote_service: Service, authority: tuple[trustme.CA, Path], case: SyntheticCase, tmp_path: Path
) -> None:
    token = Path(remote_service.line["token_file"])
    with pytest.raises(SidecarError, match=r"certificate that is not trusted.*name the file"):
        score_at(Remote(remote_service.url, token), order_of(case))
    by_name = remote_service.url.replace("127.0.0.1", "localhost")
    with pytest.raises(SidecarError, match="certificate that is not trusted"):
        score_at(Remote(by_name, token, authority[1]), order_of(case))
    old = tmp_path / "old-token"
    old.write_text("a" * 43)
    with pytest.raises(SidecarError, match="does not know the token"):
        score_at(Remote(remote_service.url, old, authority[1]), order_of(case))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://server.example:80", "in the clear"),
        ("ftp://127.0.0.1", "no address"),
        ("127.0.0.1:8000", "no address"),
        ("https://", "no address"),
        ("https://user:secret@server.example", "its file instead"),
        ("https://server.example:port", "no address"),
    ],
)
def test_an_address_that_is_not_safe_is_refused_before_a_byte_is_sent(
    tmp_path: Path, url: str, says: str
) -> None:
    token = tmp_path / "token"
    token.write_text("abc\n")
    with pytest.raises(InputError, match=says) as refused:
        Remote(url, token).connect()
    assert "secret" not in str(refused.value)


def test_token_and_authority_must_be_readable(tmp_path: Path) -> None:
    token, text = tmp_path / "token", tmp_path / "text.pem"
    with pytest.raises(InputError, match="cannot be read"):
        Remote("https://server.example", token).connect()
    token.write_text("two words")
    with pytest.raises(InputError, match="does not hold one token"):
        Remote("https://server.example", token).connect()
    token.write_text("abc")
    text.write_text("no certificate")
    with pytest.raises(InputError, match="not a certificate"):
        Remote("https://server.example", token, text).connect()


def test_a_server_that_is_gone_is_said_within_seconds(tmp_path: Path, case: SyntheticCase) -> None:
    token = tmp_path / "token"
    token.write_text("abc")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    began = time.monotonic()
    with pytest.raises(SidecarError, match="does not answer"):
        score_at(Remote(f"http://127.0.0.1:{port}", token), order_of(case))
    assert time.monotonic() - began < 10


def test_another_program_at_the_address_is_noticed(tmp_path: Path, case: SyntheticCase) -> None:
    token = tmp_path / "token"
    token.write_text("abc")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_answer_as_another, args=(listener,), daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(SidecarError, match="another program; check the address"):
            score_at(Remote(url, token), order_of(case))


def _answer_as_another(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
        )


def test_a_full_service_is_waited_for_and_the_wait_can_be_cancelled(
    tmp_path: Path, case: SyntheticCase
) -> None:
    options = ("--child", "--jobs", 1, "--token-file", tmp_path / "token")
    with running(*options, log=tmp_path / "log") as service:
        held = service.order()
        remote = Remote(service.url, tmp_path / "token")
        began = time.monotonic()
        with remote.connect() as client, pytest.raises(CancelledError):
            client.score(order_of(case), silent, lambda: time.monotonic() - began > 1)
        assert time.monotonic() - began < 3
        release = threading.Timer(1, lambda: service.http.delete(f"/jobs/{held['id']}"))
        release.start()
        assert score_at(remote, order_of(case)).sample_id == "P1"
        release.join()


def test_verification_is_never_off(authority: tuple[trustme.CA, Path], tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("abc")
    for ca in (None, authority[1]):
        context = Remote("https://server.example", token, ca)._context()
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
