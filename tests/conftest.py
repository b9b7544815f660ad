"""What every test may ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

_ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of shared data: PRECIMED_DATA, then ../shared/data."""
    candidates = [os.environ.get("PRECIMED_DATA"), _ROOT.parent / "shared" / "data"]
    for candidate in candidates:
        if candidate and (Path(candidate) / "imaging").is_dir():
            return Path(candidate)
    pytest.skip("needs the shared data: set PRECIMED_DATA to its folder")
