"""What the window's tests share: a display, the plugin as napari sees it, a private database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from napari import Viewer
from npe2 import PluginManager, PluginManifest
from pytestqt.qtbot import QtBot
from virtual_display import ensure_display

import napari_precimed

NO_DISPLAY = ensure_display()
MANIFEST = Path(napari_precimed.__file__).parent / "napari.yaml"


@pytest.fixture(autouse=True)
def private_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A case database of the test's own."""
    url = f"sqlite:///{tmp_path / 'cases.sqlite'}"
    monkeypatch.setenv("PRECIMED_DATABASE", url)
    return url


@pytest.fixture(autouse=True)
def _display(request: pytest.FixtureRequest) -> None:
    """Skip what needs a window where there is nothing to show it on."""
    if NO_DISPLAY and request.node.get_closest_marker("gui"):
        pytest.skip(NO_DISPLAY)


@pytest.fixture
def plugin(npe2pm: PluginManager) -> PluginManifest:
    """The plugin, registered with napari as after an installation."""
    manifest = PluginManifest.from_file(MANIFEST)
    npe2pm.register(manifest)
    return manifest


@pytest.fixture
def viewer(plugin: PluginManifest, make_napari_viewer: Callable[..., Viewer]) -> Viewer:
    """A real window with the plugin."""
    return make_napari_viewer()


@pytest.fixture
def wait(qtbot: QtBot) -> Callable[..., None]:
    """Let the window live until something is true."""

    def until(true: Callable[[], bool], seconds: float = 60) -> None:
        qtbot.waitUntil(true, timeout=int(seconds * 1000))

    return until
