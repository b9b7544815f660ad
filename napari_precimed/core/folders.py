"""Several files that belong together, put into a folder all at once or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from napari_precimed.core.files import output_error
from napari_precimed.errors import OutputError


@contextmanager
def draft_of(folder: Path) -> Iterator[Path]:
    """A draft folder inside `folder`, on the same disk; gone afterwards, as are unused folders."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    draft = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder))
        yield draft
    except OutputError as error:
        # The user knows the folder, not the draft in it.
        raise OutputError(str(error).replace(str(draft), str(folder))) from error
    except OSError as error:
        raise output_error(folder, error) from error
    finally:
        if draft is not None:
            shutil.rmtree(draft, ignore_errors=True)
        for each in missing:
            with suppress(OSError):  # one that holds something stays
                each.rmdir()


def publish(draft: Path, folder: Path, earlier: Sequence[Path]) -> dict[str, Path]:
    """Move the finished files into a folder, in place of those of an earlier run.

    Parameters
    ----------
    draft : Path
        Made by `draft_of(folder)`; every file in it is moved.
    folder : Path
    earlier : sequence of Path
        Files in `folder` that must not stay beside the new ones.

    Returns
    -------
    dict of str to Path
        File name -> where it is now.

    Raises
    ------
    OutputError
        If one of them cannot be moved; the folder is then as it was before.
    """
    finished = sorted(draft.iterdir())
    # Beside the draft, not in it: what cannot be moved back must not go with the draft.
    aside = Path(tempfile.mkdtemp(prefix=".earlier-", dir=folder))
    moved: list[tuple[Path, Path]] = []
    try:
        for each in earlier:
            moved.append((each, _move(each, aside)))
        for each in finished:
            moved.append((each, _move(each, folder)))
    except BaseException:
        for before, now in reversed(moved):
            with suppress(OSError):
                now.replace(before)
        with suppress(OSError):
            aside.rmdir()
        raise
    shutil.rmtree(aside, ignore_errors=True)
    return {each.name: folder / each.name for each in finished}


def _move(file: Path, folder: Path) -> Path:
    """Rename a file into a folder on the same disk; its new path."""
    try:
        return file.replace(folder / file.name)
    except OSError as error:
        raise output_error(folder / file.name, error) from error
