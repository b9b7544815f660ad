"""The manifest: valid, complete, and light to load."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from npe2 import PluginManifest

import napari_precimed

MANIFEST = Path(napari_precimed.__file__).parent / "napari.yaml"
COMMANDS = PluginManifest.from_file(MANIFEST).contributions.commands or []

OPEN_FIRST_PANEL = """
import sys
from npe2 import PluginManager, PluginManifest
manifest = PluginManifest.from_file({manifest!r})
heavy = {{"torch", "monai", "SimpleITK", "matplotlib", "pandas"}} & set(sys.modules)
assert not heavy, f"the manifest loads {{heavy}}"
import napari
PluginManager.instance().register(manifest)
before = set(sys.modules)
viewer = napari.Viewer(show=False)
for panel in ("Segment", "Lesions", "Patient and variants"):
    viewer.window.add_plugin_dock_widget("napari-precimed", panel)
ours = {{"torch", "monai"}} & (set(sys.modules) - before)
assert not ours, f"the panels load {{ours}}"
viewer.close()
"""


def test_npe2_finds_the_manifest_valid() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "npe2", "validate", str(MANIFEST)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.id)
def test_every_target_can_be_imported(command) -> None:
    assert command.id.startswith("napari-precimed.")
    assert callable(command.python_name and _target(command.python_name))


def test_every_contribution_names_a_command() -> None:
    contributions = PluginManifest.from_file(MANIFEST).contributions
    known = {command.id for command in COMMANDS}
    used = [
        *(contributions.readers or ()),
        *(contributions.writers or ()),
        *(contributions.widgets or ()),
        *(contributions.sample_data or ()),
        *(item for items in contributions.menus.values() for item in items),
    ]
    assert {one.command for one in used} == known


@pytest.mark.gui
def test_opening_the_panels_loads_no_torch(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OPEN_FIRST_PANEL.format(manifest=str(MANIFEST))],
        capture_output=True,
        text=True,
        env={**os.environ, "NAPARI_CONFIG": str(tmp_path / "settings.yaml")},
        cwd=MANIFEST.parents[1],
    )
    assert done.returncode == 0, done.stderr[-2000:]


def _target(python_name: str) -> object:
    module, name = python_name.split(":")
    return getattr(__import__(module, fromlist=[name]), name)
