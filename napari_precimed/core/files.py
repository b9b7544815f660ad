"""Writing a file so that a failure leaves the old one, or none, and never half of a new one."""

from __future__ import annotations

import errno
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from napari_precimed.errors import OutputError

_MENDS = {
    errno.ENOSPC: "the disk is full; free some space, or choose a folder on another disk",
    errno.EDQUOT: "the disk quota is used up; free some space, or choose another folder",
    errno.EACCES: "no permission to write there; choose a folder that you may write",
    errno.EPERM: "no permission to write there; choose a folder that you may write",
    errno.EROFS: "the disk is read-only; choose a folder on another disk",
    errno.ENOENT: "the folder does not exist; create it first",
    errno.ENOTDIR: "part of the path is a file, not a folder; choose another folder",
    errno.EEXIST: "a file of that name is there; choose another folder",
    errno.EISDIR: "a folder of that name is there; choose another name",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}

_PROBE_BYTES = 2**20


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write beside `path`, and put the result in its place only when it is whole.

    Parameters
    ----------
    path : path-like
        The file to write. Its folder must exist.

    Yields
    ------
    Path
        An empty file in the same folder, whose name ends like `path`'s so that writers which go by
        the extension choose the same format. On success it is flushed to the disk and replaces
        `path`; on any exception it is removed and `path` is left as it was.

    Raises
    ------
    OutputError
        Where the system refuses; names the path, the reason and the mend.
    """
    target = Path(path)
    partial = target.with_name(f".{secrets.token_hex(4)}-{target.name}")
    try:
        partial.open("xb").close()
        yield partial
        with partial.open("rb+") as stream:
            os.fsync(stream.fileno())
        partial.replace(target)
    except OSError as error:
        if error.filename not in (None, str(partial), str(target)):
            raise  # about some other file that the caller was reading
        raise output_error(target, error) from error
    finally:
        with suppress(OSError):  # the error on its way out says more than this one would
            partial.unlink(missing_ok=True)
    _flush_folder(target.parent)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise `OutputError` now, if a file could not be written there later.

    A megabyte is written beside it and removed, since only that tells a full disk or quota.
    """
    target = Path(path)
    if target.is_dir():
        raise output_error(target, IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)))
    try:
        with tempfile.TemporaryFile(dir=target.parent) as probe:
            probe.write(bytes(_PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        raise output_error(target, error) from error


def output_error(path: str | os.PathLike[str], error: OSError) -> OutputError:
    """What the user reads when `path` could not be written."""
    why = _MENDS.get(error.errno or 0, error.strerror or str(error))
    return OutputError(f"Cannot write '{path}': {why}.")


def _flush_folder(folder: Path) -> None:
    """Make a rename durable, where the system has a way to (Windows has none, nor needs it)."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
