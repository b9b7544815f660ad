"""The computing process: runs one core function after another for a window, away from its lock.

Importing torch and MONAI holds Python's interpreter lock for a second and more at a stretch
(measured: 1.4 s), and so do some loops; in a thread of the window's process that would freeze it.
Started as ``python -m napari_precimed.ui.computing``; speaks `wire` messages on stdin and stdout.

In: ``("call", number, "module:function", args, hooks)``, where hooks says whether the function
takes ``progress`` and ``cancelled``, and ``("cancel", number)``.
Out: ``("progress", number, stage, done, total)``, then one of ``("result", number, value)``,
``("cancelled", number)`` and ``("error", number, expected, message, traceback)``.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import queue
import sys
import threading
import traceback
from typing import Any, BinaryIO

from genomics.errors import CancelledError as GenomicsCancelledError
from genomics.errors import GenomicsError
from napari_precimed.errors import CancelledError, PrecimedError
from napari_precimed.ui import wire


def main() -> None:
    """Serve until the window closes its end."""
    requests, out = sys.stdin.buffer, _claim_stdout()
    with contextlib.suppress(AttributeError, OSError):
        os.nice(5)  # the window goes first where they share a core
    calls: queue.Queue[tuple] = queue.Queue()
    cancelled: set[int] = set()
    threading.Thread(target=_listen, args=(requests, calls, cancelled), daemon=True).start()
    while True:
        _, number, target, args, hooks = calls.get()
        wire.send(out, _run(out, number, target, args, hooks, cancelled))


def _claim_stdout() -> BinaryIO:
    """The real stdout for messages; what libraries print goes to stderr."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return out


def _listen(requests: BinaryIO, calls: queue.Queue[tuple], cancelled: set[int]) -> None:
    while True:
        try:
            message = wire.receive(requests)
        except (EOFError, OSError):
            os._exit(0)  # the window is gone: nobody waits for the result
        if message[0] == "cancel":
            cancelled.add(message[1])
        else:
            calls.put(message)


def _run(
    out: BinaryIO,
    number: int,
    target: str,
    args: tuple,
    hooks: bool,
    cancelled: set[int],
) -> tuple:
    def progress(stage: str, done: int, total: int | None) -> None:
        wire.send(out, ("progress", number, stage, done, total))

    given: dict[str, Any] = {}
    if hooks:
        given = {"progress": progress, "cancelled": lambda: number in cancelled}
    module, name = target.split(":")
    try:
        function = getattr(importlib.import_module(module), name)
        return ("result", number, function(*args, **given))
    except (CancelledError, GenomicsCancelledError):
        return ("cancelled", number)
    except Exception as error:
        expected = isinstance(error, (PrecimedError, GenomicsError))
        text = str(error) if expected else f"{type(error).__name__}: {error}"
        return ("error", number, expected, text, traceback.format_exc())


if __name__ == "__main__":
    main()
