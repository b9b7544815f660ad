"""Who may ask the service, what its log says, and whether it keeps to its own description."""

from __future__ import annotations

import os
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import schemathesis
import trustme
from hypothesis import HealthCheck, given, settings
from running_service import Service, patient_vcf, running

from genomics.__main__ import app, run
from genomics.synthetic import SyntheticCase, write_synthetic_case


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> SyntheticCase:
    return write_synthetic_case(tmp_path_factory.mktemp("case"), "P1")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, case: SyntheticCase) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    options = ("--token-file", folder / "token", "--references", case.fasta.parent)
    with running(*options, log=folder / "log") as service:
        yield service


def test_without_the_token_nothing_is_told(service: Service) -> None:
    for headers in (
        {},
        {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {service.token[:-1]}"},
        {"Authorization": f"Basic {service.token}"},
        {"Authorization": service.token},
    ):
        for path in ("/", "/openapi.json", "/docs", "/jobs/x", "/nothing"):
            answer = httpx.get(service.url + path, headers=headers, trust_env=False)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
    assert service.http.get("/").status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_another_name_is_refused_even_with_the_token(service: Service, host: str) -> None:
    answer = service.http.get("/", headers={"Host": host})
    assert answer.status_code == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:80", "[::1]:80"])
def test_its_own_names_are_known(service: Service, host: str) -> None:
    assert service.http.get("/", headers={"Host": host}).status_code == 200


def test_web_pages_are_refused_and_no_cors_header_is_sent(service: Service) -> None:
    asked = {"Origin": "http://127.0.0.1:9", "Access-Control-Request-Method": "GET"}
    for answer in (
        service.http.get("/", headers=asked),
        service.http.request("OPTIONS", "/", headers=asked),
        service.http.get("/"),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert answer.status_code == (200 if "Origin" not in answer.request.headers else 403)
        assert answer.headers["cache-control"] == "no-store"


def test_the_token_file_is_its_users_and_the_token_is_in_no_other_place(
    service: Service, tmp_path: Path
) -> None:
    path = Path(service.line["token_file"])
    assert "token" not in service.line
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert service.token not in " ".join(map(str, service.process.args))
    with running(log=tmp_path / "log") as other:
        assert len(other.token) >= 43
        assert other.token != service.token


def test_it_listens_on_loopback_only(service: Service) -> None:
    port = httpx.URL(service.url).port
    others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None)}
    for address in others - {"127.0.0.1", "127.0.1.1", "::1"}:
        with pytest.raises(OSError):  # noqa: PT011 - refused, unreachable: any will do
            socket.create_connection((address, port), timeout=2).close()


def test_the_log_tells_nothing_of_a_patient(
    service: Service, case: SyntheticCase, tmp_path: Path
) -> None:
    path = patient_vcf(case, tmp_path, 77)
    job = service.order(name="Doe-Jane.vcf", sample="PATIENT-077", reference="genome.fa",
                        genes="genes.gff3")  # fmt: skip
    service.http.put(f"/jobs/{job['id']}/vcf", content=path.read_bytes())
    assert service.wait(job)["state"] == "done"
    service.result(job)
    bad = service.order(name="Doe-John.vcf", sample="Nobody-99", reference="genome.fa",
                        genes="genes.gff3")  # fmt: skip
    service.http.put(f"/jobs/{bad['id']}/vcf", content=path.read_bytes())
    assert "Nobody-99" in service.wait(bad)["message"]
    service.http.get("/jobs/Doe-Jane?sample=PATIENT-077")
    service.http.get("/PATIENT-077")
    log = service.log.read_text()
    assert "PUT /jobs/{job_id}/vcf 200" in log
    assert "GET /jobs/{job_id}/result/{output} 200" in log
    for secret in ("Doe", "PATIENT", "Nobody", job["id"], bad["id"], service.token):
        assert secret not in log


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--host", "0.0.0.0"), "give --ssl-certfile"),
        (("--host", "192.0.2.1", "--allow-host", "x"), "give --ssl-certfile"),
        (("--ssl-certfile", "c.pem"), "go together"),
        (("--ssl-certfile", "c.pem", "--ssl-keyfile", "k.pem"), "no such file"),
        (("--references", "/no/such"), "no such folder"),
        (("--token-file", "/no/such/token"), "cannot be written"),
    ],
)
def test_what_would_be_unsafe_or_cannot_be_is_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], options: tuple[str, ...], says: str
) -> None:
    assert run(lambda: app(["serve", *options], standalone_mode=False)) == 2
    output = capsys.readouterr()
    assert says in output.err
    assert len(output.err.splitlines()) == 1
    assert "token" not in output.out


def test_a_port_that_is_taken_is_refused(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    port = str(httpx.URL(service.url).port)
    assert run(lambda: app(["serve", "--port", port], standalone_mode=False)) == 2
    assert f"127.0.0.1:{port}: cannot be listened on" in capsys.readouterr().err


def test_it_speaks_tls_with_a_certificate_of_its_own(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    chain, key, ca = (tmp_path / name for name in ("chain.pem", "key.pem", "ca.pem"))
    chain.write_bytes(b"".join(part.bytes() for part in certificate.cert_chain_pems))
    certificate.private_key_pem.write_to_path(str(key))
    authority.cert_pem.write_to_path(str(ca))
    options = ("--ssl-certfile", chain, "--ssl-keyfile", key)
    with running(*options, log=tmp_path / "log") as service:
        assert service.url.startswith("https://")
        known = ssl.create_default_context(cafile=str(ca))
        trusted = httpx.get(service.url, headers=service.headers, verify=known, trust_env=False)
        assert trusted.status_code == 200
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(service.url, headers=service.headers, trust_env=False)


def test_it_keeps_to_its_openapi_description(service: Service) -> None:
    """Schemathesis asks what the description allows, and what it forbids, of every path."""
    schema = schemathesis.openapi.from_url(f"{service.url}/openapi.json", headers=service.headers)
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) == 7
    for operation in operations:
        for mode in schemathesis.GenerationMode:
            if mode is schemathesis.GenerationMode.POSITIVE or operation.body:
                _ask_at_random(operation, mode, service.headers)


def _ask_at_random(operation, mode: schemathesis.GenerationMode, headers: dict[str, str]) -> None:
    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=15,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def ask(case) -> None:
        case.call_and_validate(headers=headers)

    ask()


def test_the_service_itself_loads_no_torch() -> None:
    """Only its workers do: it must answer at once, and stay small."""
    code = "import sys, genomics.service.server; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_description_names_every_path(service: Service) -> None:
    description = service.http.get("/openapi.json").json()
    assert set(description["paths"]) == {
        "/",
        "/jobs",
        "/jobs/{job_id}",
        "/jobs/{job_id}/cancel",
        "/jobs/{job_id}/vcf",
        "/jobs/{job_id}/result/{output}",
    }
    for operations in description["paths"].values():
        for operation in operations.values():
            assert operation["security"] == [{"HTTPBearer": []}]
