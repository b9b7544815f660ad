"""Measures for how long the window does not answer."""

from __future__ import annotations

import time

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication


class Heartbeat:
    """A timer on the GUI thread; a late beat means that nothing else was answered either."""

    def __init__(self) -> None:
        self.pauses: list[tuple[float, float]] = []
        self._last = time.perf_counter()
        self._timer = QTimer()
        self._timer.setInterval(5)
        self._timer.timeout.connect(self._beat)
        self._timer.start()

    def stop(self) -> None:
        self._timer.stop()

    def longest_s(self, before: float | None = None) -> float:
        """The longest pause, seconds; only of those that ended before this `perf_counter`."""
        ended = [pause for pause, end in self.pauses if before is None or end < before]
        return max(ended, default=0.0)

    def _beat(self) -> None:
        now = time.perf_counter()
        self.pauses.append((now - self._last, now))
        self._last = now


def longest_pause_when_idle(seconds: float = 2.0) -> float:
    """What the machine alone costs: the longest pause of a window that has nothing to do."""
    heart, until = Heartbeat(), time.perf_counter() + seconds
    while time.perf_counter() < until:
        QApplication.processEvents()
        time.sleep(0.001)
    heart.stop()
    return heart.longest_s()
