"""The default install finds a wheel of every direct dependency on every platform we name."""

from __future__ import annotations

import configparser
import json
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

pytestmark = [pytest.mark.network, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
PLATFORMS = {
    "windows": ["win_amd64"],
    "macos": ["macosx_14_0_arm64"],
    "linux": ["manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"],
}
# Reads the index's metadata; downloads no wheel and installs nothing.
PIP = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--report", "-"]
PIP += ["--no-deps", "--ignore-installed", "--only-binary=:all:", "--target", "unused"]


def resolve(names: list[str], platform: str, python: str) -> subprocess.CompletedProcess[str]:
    """Ask pip which wheel of each of `names`, not of their own needs, it would take there."""
    tags = [part for tag in PLATFORMS[platform] for part in ("--platform", tag)]
    command = [*PIP, *tags, "--python-version", python, *names]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module")
def direct() -> list[str]:
    """Return the direct dependencies of the default install; skip where no index answers."""
    probe = resolve(["platformdirs"], "linux", "3.11")
    if probe.returncode:
        pytest.skip(f"the package index does not answer: {probe.stderr.strip()[-200:]}")
    config = configparser.ConfigParser(interpolation=None)
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config["options"]["install_requires"].split("\n")[1:]


# Each platform with another Python: together they cover both, in a third of the time of all nine.
@pytest.mark.parametrize(
    ("platform", "python"), [("windows", "3.11"), ("linux", "3.12"), ("macos", "3.13")]
)
def test_every_direct_dependency_has_a_wheel(direct: list[str], platform: str, python: str) -> None:
    done = resolve(direct, platform, python)
    assert done.returncode == 0, done.stderr[-2000:]
    taken = json.loads(done.stdout)["install"]
    assert all(item["download_info"]["url"].endswith(".whl") for item in taken)
    wanted = {canonicalize_name(Requirement(line).name) for line in direct}
    assert {canonicalize_name(item["metadata"]["name"]) for item in taken} == wanted


def test_a_package_without_a_windows_wheel_is_seen(direct: list[str]) -> None:
    assert resolve(["pysam"], "windows", "3.11").returncode != 0
