"""A screen to draw on: napari's canvas needs OpenGL, which Qt's offscreen platform lacks.

On Linux an Xvfb of our own is started where there is no display, and where Qt is told to draw
offscreen, so that no window opens on anybody's desktop; elsewhere the real display is used.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys


def ensure_display() -> str | None:
    """Have a display before the first window opens.

    Returns
    -------
    str or None
        Why there is none, or None where there is one.
    """
    offscreen = os.environ.get("QT_QPA_PLATFORM") == "offscreen"
    if sys.platform != "linux":
        if offscreen:
            del os.environ["QT_QPA_PLATFORM"]
        return None
    if os.environ.get("DISPLAY") and not offscreen:
        return None
    if shutil.which("Xvfb") is None:
        if os.environ.get("DISPLAY"):
            os.environ["QT_QPA_PLATFORM"] = "xcb"
            return None
        return "no display and no Xvfb: install it (Debian, Ubuntu: apt-get install xvfb)"
    reading, writing = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1280x800x24", "-nolisten", "tcp"],
        pass_fds=[writing],
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    atexit.register(server.kill)
    with os.fdopen(reading) as answer:
        number = answer.readline().strip()
    if not number:
        return "Xvfb did not start"
    os.environ.update(DISPLAY=f":{number}", QT_QPA_PLATFORM="xcb")
    return None
