"""The wheel, installed where the source tree has never been seen."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
OURS = ("napari_precimed", "genomics")
SOURCES = ("setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "CHANGELOG.md", "LICENSE")
SOURCES += ("constraints.txt", "napari.yaml", *OURS, "tests")
ASK_NPE2 = """
import json
from npe2 import PluginManager
manager = PluginManager()
manager.discover()
manifest = manager.get_manifest("napari-precimed")
commands = [command.id for command in manifest.contributions.commands]
print(json.dumps({"name": manifest.name, "commands": commands}))
"""
ASK_WHERE = "import napari_precimed, genomics; print(napari_precimed.__file__, genomics.__file__)"


@pytest.fixture(scope="module")
def dists(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Build the sdist, and the wheel from the sdist alone; return (sdist, wheel)."""
    source = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        origin = ROOT / name
        if origin.is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(origin, source / name, ignore=ignore)
        else:
            shutil.copy(origin, source / name, follow_symlinks=False)
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def installed(dists: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of executables of a new environment that holds the wheel.

    Its other libraries are links to those of the running environment, ours left out, so that
    nothing but the wheel can bring ``napari_precimed``.
    """
    base = tmp_path_factory.mktemp("fresh")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", base / "env"], check=True)
    libraries = base / "libraries"
    libraries.mkdir()
    for site in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(site).iterdir():
            if not entry.name.startswith((*OURS, "__editable__")):
                try:
                    (libraries / entry.name).symlink_to(entry)
                except OSError as error:
                    pytest.skip(f"this account may not make symbolic links: {error}")
    paths = {"base": str(base / "env"), "platbase": str(base / "env")}
    site = Path(sysconfig.get_path("purelib", "venv", vars=paths))
    (site / "libraries.pth").write_text(f"{libraries}\n", encoding="utf-8")
    scripts = Path(sysconfig.get_path("scripts", "venv", vars=paths))
    pip = [sys.executable, "-m", "pip", "--python", str(scripts / "python"), "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(dists[1])], check=True)
    return scripts


def run(scripts: Path, *command: str, cwd: Path) -> str:
    """Run an executable of the new environment far from the source; return what it printed."""
    home = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    line = [str(scripts / command[0]), *command[1:]]
    done = subprocess.run(line, capture_output=True, text=True, cwd=cwd, env=home)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_the_wheel_holds_manifest_models_and_licence(dists: tuple[Path, Path]) -> None:
    names = set(zipfile.ZipFile(dists[1]).namelist())
    assert "napari_precimed/napari.yaml" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    zoos = [ROOT / "napari_precimed" / "models" / "zoo", ROOT / "genomics" / "zoo"]
    files = [path for zoo in zoos for path in zoo.rglob("*") if path.is_file()]
    shipped = {path.relative_to(ROOT).as_posix() for path in files if path.suffix != ".pyc"}
    assert shipped <= names


def test_every_model_in_the_wheel_has_weights_and_a_card(dists: tuple[Path, Path]) -> None:
    names = set(zipfile.ZipFile(dists[1]).namelist())
    for zoo, wanted in (
        ("napari_precimed/models/zoo", ("models/model.pt", "docs/README.md")),
        ("genomics/zoo", ("model.pt", "README.md")),
    ):
        models = {name.split("/")[zoo.count("/") + 1] for name in names if name.startswith(zoo)}
        assert models
        assert {f"{zoo}/{model}/{part}" for model in models for part in wanted} <= names


def test_the_wheel_holds_every_module_and_nothing_else(dists: tuple[Path, Path]) -> None:
    names = set(zipfile.ZipFile(dists[1]).namelist())
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == set(OURS)
    modules = [path for package in OURS for path in (ROOT / package).rglob("*.py")]
    assert {path.relative_to(ROOT).as_posix() for path in modules} <= names
    assert not [name for name in names if "test" in name.split("/")[-1].split("_")]


def test_the_sdist_holds_the_manifest_at_its_root_and_the_models(dists: tuple[Path, Path]) -> None:
    with tarfile.open(dists[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"napari.yaml", "napari_precimed/napari.yaml", "setup.cfg", "LICENSE"} <= names
    assert any(name.startswith("napari_precimed/models/zoo/") for name in names)
    assert any(name.startswith("genomics/zoo/") for name in names)


def test_the_metadata_is_complete(dists: tuple[Path, Path]) -> None:
    archive = zipfile.ZipFile(dists[1])
    (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    text = archive.read(metadata).decode()
    for line in (
        "Name: napari-precimed",
        "Classifier: Framework :: napari",
        "Requires-Python: >=3.11",
        "Description-Content-Type: text/markdown",
    ):
        assert f"\n{line}\n" in text
    assert "BSD-3-Clause" in text


def test_both_packages_come_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    found = run(installed, "python", "-c", ASK_WHERE, cwd=tmp_path).split()
    environment = installed.parent.resolve()
    assert all(environment in Path(path).resolve().parents for path in found), found


def test_napari_discovers_the_plugin(installed: Path, tmp_path: Path) -> None:
    answer = json.loads(run(installed, "python", "-c", ASK_NPE2, cwd=tmp_path))
    assert answer["name"] == "napari-precimed"
    assert answer["commands"]
    assert all(command.startswith("napari-precimed.") for command in answer["commands"])


def test_npe2_validates_the_manifest_and_its_targets(installed: Path, tmp_path: Path) -> None:
    run(installed, "python", "-m", "npe2", "validate", "--imports", "napari-precimed", cwd=tmp_path)


def test_both_command_lines_answer(installed: Path, tmp_path: Path) -> None:
    for command in ("demo", "analyse", "segment", "classify", "models", "train", "evaluate"):
        assert command in run(installed, "precimed", "--help", cwd=tmp_path)
    for command in ("score", "train", "evaluate"):
        assert command in run(installed, "python", "-m", "genomics", "--help", cwd=tmp_path)


def test_the_installed_wheel_lists_its_models(installed: Path, tmp_path: Path) -> None:
    models = run(installed, "precimed", "models", "--json", cwd=tmp_path)
    assert {"lung-nodule", "lung-nodule-malignancy"} <= set(models.split('"'))
