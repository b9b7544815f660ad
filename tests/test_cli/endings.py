"""What is looked at after a command has ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it said."""

    code: object
    out: str
    err: str

    @property
    def said(self) -> str:
        """The one line on stderr; everything else is a defect."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert self.out == ""
        return lines[0]


Command = Callable[..., Ended]
"""Given the command line's words."""
Mount = Callable[[str], Path]
"""Given the options of mount."""


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every file of a folder with its bytes, every folder with None."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }
