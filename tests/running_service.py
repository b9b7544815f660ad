"""A real service in a process of its own, as a program would start it, and made-up patients."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from genomics.report import VariantReport
from genomics.synthetic import SyntheticCase

ENDED = ("done", "failed", "cancelled")


class Service:
    """A running service and a client of it."""

    def __init__(self, *options: object, log: Path, env: dict[str, str] | None = None) -> None:
        self.log = log
        command = [sys.executable, "-m", "genomics", "serve", *map(str, options)]
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**os.environ, **(env or {})},
            )
        self.line = json.loads(self.process.stdout.readline())
        self.url = self.line["url"]
        self.token = self.line.get("token") or Path(self.line["token_file"]).read_text().strip()
        self.headers = {"Authorization": f"Bearer {self.token}"}
        self.http = httpx.Client(
            base_url=self.url, headers=self.headers, trust_env=False, timeout=60, verify=False
        )

    def order(self, **body: Any) -> dict[str, Any]:
        answer = self.http.post("/jobs", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def status(self, job: dict[str, Any]) -> dict[str, Any]:
        return self.http.get(f"/jobs/{job['id']}").json()

    def wait(
        self, job: dict[str, Any], until: Callable[[dict], bool] | None = None, seconds: float = 120
    ) -> dict[str, Any]:
        """Ask until the job has ended, or until something is true of it."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            now = self.status(job)
            if (until or (lambda each: each["state"] in ENDED))(now):
                return now
            assert not (until and now["state"] in ENDED), now
            time.sleep(0.05)
        raise AssertionError(f"the job did not come so far: {now}")

    def result(self, job: dict[str, Any], output: str = "json") -> httpx.Response:
        return self.http.get(f"/jobs/{job['id']}/result/{output}")

    def workers(self) -> list[psutil.Process]:
        """The worker processes; multiprocessing's own tracker is not one."""
        children = psutil.Process(self.process.pid).children()
        return [each for each in children if "--multiprocessing-fork" in each.cmdline()]

    def family(self) -> list[psutil.Process]:
        service = psutil.Process(self.process.pid)
        return [service, *service.children(recursive=True)]

    def stop(self) -> int:
        self.process.stdin.close()
        if "--child" not in self.process.args:
            self.process.terminate()
        return self.process.wait(30)


@contextmanager
def running(*options: object, log: Path, env: dict[str, str] | None = None) -> Iterator[Service]:
    service = Service(*options, log=log, env=env)
    try:
        yield service
    finally:
        service.http.close()
        if service.process.poll() is None:
            service.stop()
        service.process.stdout.close()


def gone(processes: list[psutil.Process], seconds: float = 15) -> bool:
    """Whether the processes end in time."""
    return not psutil.wait_procs(processes, timeout=seconds)[1]


def patient_vcf(case: SyntheticCase, folder: Path, number: int) -> Path:
    """A patient of their own: a part of the made-up variants, under their own sample id."""
    draw = random.Random(number)
    lines = case.vcf.read_text().splitlines()
    body = [line for line in lines if not line.startswith("#")]
    columns = next(line for line in lines if line.startswith("#CHROM")).split("\t")
    kept = sorted(draw.sample(range(len(body)), draw.randint(5, len(body) - 5)))
    head = [line for line in lines if line.startswith("##")]
    names = "\t".join([*columns[:-1], f"PATIENT-{number:03d}"])
    path = folder / f"patient-{number:03d}.vcf"
    path.write_text("\n".join([*head, names, *(body[k] for k in kept)]) + "\n")
    return path


def run_without_timings(report: VariantReport) -> dict[str, Any]:
    """What the run record says of a report, but for how long it took and where files lay."""
    run = {k: v for k, v in report.run.items() if k not in ("seconds", "options")}
    preflight = {k: v for k, v in run["preflight"].items() if k != "seconds"}
    return run | {"preflight": preflight}


def long_vcf(case: SyntheticCase, path: Path) -> Path:
    """Every single-base change of the made-up genome: work for many seconds."""
    head = [line for line in case.vcf.read_text().splitlines() if line.startswith("#")]
    title, *rows = case.fasta.read_text().splitlines()
    body = [
        f"{title[1:]}\t{position}\t.\t{ref}\t{alt}\t60\tPASS\t.\tGT\t0/1"
        for position, ref in enumerate("".join(rows), start=1)
        for alt in "ACGT"
        if alt != ref
    ]
    path.write_text("\n".join([*head, *body]) + "\n")
    return path
