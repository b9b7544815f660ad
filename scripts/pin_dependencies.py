"""Write constraints.txt: the exact version of everything the two commands install.

Run inside an environment installed from setup.cfg with every extra (``make pins``). What that
environment holds is pinned as it is. What only another platform or Python asks for (colorama on
Windows, say) cannot be installed here, so pip is asked which version it would take there.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import distributions
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

TARGET = Path(__file__).resolve().parents[1] / "constraints.txt"
OURS = "napari-precimed"
EXTRAS = ("all", "test", "codecs", "docs")
PYTHONS = ("3.11", "3.12", "3.13")
SYSTEMS = {
    "linux": {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"},
    "macos": {
        "sys_platform": "darwin",
        "platform_system": "Darwin",
        "os_name": "posix",
        "platform_machine": "arm64",
    },
    "windows": {
        "sys_platform": "win32",
        "platform_system": "Windows",
        "os_name": "nt",
        "platform_machine": "AMD64",
    },
}
WHEEL_TAGS = {
    "linux": "manylinux_2_28_x86_64",
    "macos": "macosx_14_0_arm64",
    "windows": "win_amd64",
}
# A PyTorch built for CUDA brings these on Linux and pins them itself; a CPU build has none.
CUDA_ONLY = ("nvidia-", "cuda-", "triton")
HEADER = """\
# The exact versions that `make demo` and `make test` install. Written by `make pins`; do not edit.
# A line binds only what setup.cfg asks for, so lines for other platforms cost nothing.
"""


def environments() -> Iterable[tuple[str, str, dict[str, str]]]:
    """Yield (system, Python, marker environment) of every platform we support."""
    for system, markers in SYSTEMS.items():
        for python in PYTHONS:
            versions = {"python_version": python, "python_full_version": f"{python}.0"}
            yield system, python, {**default_environment(), **markers, **versions}


def wanted(
    requirements: Iterable[str], extras: Iterable[str], markers: Mapping[str, str]
) -> Iterable[tuple[str, frozenset[str]]]:
    """Yield the (canonical name, extras) that `requirements` ask for on a platform."""
    for line in requirements:
        requirement = Requirement(line)
        if requirement.marker is None or any(
            requirement.marker.evaluate({**markers, "extra": extra}) for extra in ("", *extras)
        ):
            yield canonicalize_name(requirement.name), frozenset(requirement.extras)


def ask_pip(name: str, system: str, python: str) -> tuple[str, list[str]]:
    """Return the version pip would take of `name` on a platform, and what that version requires."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--report", "-"]
    command += ["--no-deps", "--ignore-installed", "--only-binary=:all:", "--target", "unused"]
    command += ["--platform", WHEEL_TAGS[system], "--python-version", python, name]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    metadata = json.loads(answer.stdout)["install"][0]["metadata"]
    return metadata["version"], metadata.get("requires_dist", [])


def pins() -> dict[str, str]:
    """Return {canonical name: version} of this environment, and of what other platforms add."""
    installed = {canonicalize_name(dist.name): dist for dist in distributions()}
    pinned = {name: Version(dist.version).public for name, dist in installed.items()}
    requires = {name: dist.requires or [] for name, dist in installed.items()}
    for system, python, markers in environments():
        waiting = [(OURS, frozenset(EXTRAS))]
        seen: set[tuple[str, frozenset[str]]] = set()
        while waiting:
            name, extras = wish = waiting.pop()
            if wish in seen or name.startswith(CUDA_ONLY):
                continue
            seen.add(wish)
            if name not in pinned:
                pinned[name], requires[name] = ask_pip(name, system, python)
            waiting += wanted(requires[name], extras, markers)
    del pinned[OURS]
    return pinned


if __name__ == "__main__":
    lines = [f"{name}=={version}\n" for name, version in sorted(pins().items())]
    TARGET.write_text(HEADER + "".join(lines), encoding="utf-8")
    print(f"{TARGET.name}: {len(lines)} exact versions")
