"""Which protein windows a model has seen, as hashes small enough to ship beside its weights.

Genes are told apart by symbol, and one protein can stand in a table under two of them (EPRS and
EPRS1). A split by gene then puts one window in training and in the test. Keeping the windows
themselves would publish the training data; 64-bit hashes say only whether a window is among them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from genomics.errors import ModelError

SEEN_WINDOWS = "seen_windows.npy"

Hashes = npt.NDArray[np.uint64]


def hash_windows(windows: Iterable[str]) -> Hashes:
    """Return the first 64 bits of each window's BLAKE2b, shape (n,).

    Among 70,000 windows, another one meets one of their hashes with a chance of 4e-15.
    """
    digests = (hashlib.blake2b(each.encode(), digest_size=8).digest() for each in windows)
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def write_seen_windows(folder: Path, windows: Iterable[str]) -> None:
    """Write the sorted, distinct hashes of ``windows`` into a model's folder.

    Raises
    ------
    OSError
        The file cannot be written there.
    """
    partial = folder / f"{SEEN_WINDOWS}.partial"
    try:
        with partial.open("wb") as stream:
            np.save(stream, np.unique(hash_windows(windows)).astype("<u8"), allow_pickle=False)
        partial.replace(folder / SEEN_WINDOWS)
    finally:
        partial.unlink(missing_ok=True)


def were_seen(folder: Path, windows: Iterable[str]) -> npt.NDArray[np.bool_]:
    """Return for each window whether training or validation has seen it, shape (n,).

    Raises
    ------
    ModelError
        The model's folder has no list of them, or a damaged one.
    """
    path = folder / SEEN_WINDOWS
    try:
        seen = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ModelError(
            f"{path}: no readable list of the windows that training has seen ({error}); "
            "train or install the model again"
        ) from error
    if seen.dtype != np.dtype("<u8") or seen.ndim != 1:
        raise ModelError(
            f"{path}: holds {seen.dtype} of shape {seen.shape}, expected a list of 64-bit hashes; "
            "train or install the model again"
        )
    return np.isin(hash_windows(windows), seen)
