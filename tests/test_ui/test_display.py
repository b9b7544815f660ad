"""The tests' own display, where Qt was told to draw offscreen on a machine that has a screen."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ASK = """
import os
from virtual_display import ensure_display
problem = ensure_display()
print(problem, os.environ.get("DISPLAY"), os.environ.get("QT_QPA_PLATFORM"))
"""


def ensured(platform: str | None, **environment: str) -> list[str]:
    """Problem, display and platform after `ensure_display` in a process with display :7777."""
    own = {key: value for key, value in os.environ.items() if key != "QT_QPA_PLATFORM"}
    own |= {
        "DISPLAY": ":7777",
        **({"QT_QPA_PLATFORM": platform} if platform else {}),
        **environment,
    }
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        capture_output=True,
        text=True,
        env=own,
        cwd=Path(__file__).parent,
        check=True,
    )
    return done.stdout.split()


@pytest.mark.skipif(sys.platform != "linux", reason="Xvfb is for Linux")
def test_offscreen_is_never_what_the_windows_are_drawn_with() -> None:
    problem, display, platform = ensured("offscreen", PATH="")
    assert (problem, display, platform) == ("None", ":7777", "xcb")
    if shutil.which("Xvfb"):
        problem, display, platform = ensured("offscreen")
        assert (problem, platform) == ("None", "xcb")
        assert display != ":7777"


@pytest.mark.skipif(sys.platform != "linux", reason="Xvfb is for Linux")
def test_a_display_and_platform_that_the_user_chose_stay() -> None:
    assert ensured("xcb") == ["None", ":7777", "xcb"]
    assert ensured(None) == ["None", ":7777", "None"]
