"""What a training run tells while it goes: lines with the time left, and TensorBoard's files."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

Say = Callable[[str], None]
_EVERY_S = 20.0  # between two lines of progress where no validation brings one


def open_tensorboard(folder: Path, step: int, say: Say) -> Any | None:
    """A writer of TensorBoard's event files, or None, said once, where it is not installed.

    Parameters
    ----------
    folder : Path
        Receives the files; ``tensorboard --logdir`` shows them.
    step : int
        What an earlier, killed run wrote of later steps is marked as void.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        say("TensorBoard is not installed, so it gets no logs; pip install tensorboard.")
        return None
    return SummaryWriter(str(folder), purge_step=step + 1 if step else None, flush_secs=20)


class Journal:
    """Lines of progress, and the curves for TensorBoard.

    Parameters
    ----------
    say : callable or None
        Receives each line.
    steps : int
        Of the whole run.
    board : SummaryWriter or None
        As `open_tensorboard` gives it.
    """

    def __init__(self, say: Say | None, steps: int, board: Any | None = None) -> None:
        self._say, self._steps, self._board = say, steps, board
        self._began = self._last = time.monotonic()
        self._first: int | None = None

    def after_step(self, step: int, loss: float, learning_rate: float) -> None:
        """Note one step; `step` counts from 1."""
        if self._first is None:
            self._first = step - 1
        if self._board:
            self._board.add_scalar("loss", loss, step)
            self._board.add_scalar("learning_rate", learning_rate, step)
        if time.monotonic() - self._last >= _EVERY_S:
            self._tell(step, f"loss {loss:.4f}")

    def after_validation(
        self, step: int, loss: float, score: float, best: tuple[float, int]
    ) -> None:
        """Note one validation: the mean loss since the last, the score, the best and its step."""
        if self._board:
            self._board.add_scalar("validation", score, step)
            self._board.flush()
        self._tell(
            step, f"loss {loss:.4f}  validation {score:.4f} (best {best[0]:.4f} at {best[1]})"
        )

    def picture(self, name: str, image: NDArray, step: int) -> None:
        """Show a picture, shape (y, x, 3), uint8."""
        if self._board:
            self._board.add_image(name, image, step, dataformats="HWC")

    def close(self) -> None:
        """Finish the files."""
        if self._board:
            self._board.close()

    def _tell(self, step: int, what: str) -> None:
        self._last = time.monotonic()
        if self._say:
            pace = (self._last - self._began) / max(1, step - (self._first or 0))
            left = pace * (self._steps - step)
            self._say(f"step {step}/{self._steps}  {what}  {pace:.2f} s/step, {_time(left)} left")


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
