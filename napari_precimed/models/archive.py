"""A bundle in a zip archive -> the same bundle in a folder of the user's cache; no torch import.

An archive is somebody else's: nothing in it may reach outside its own folder, pose as a link, or
grow without measure.
"""

from __future__ import annotations

import shutil
import stat
import tempfile
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path, PurePosixPath

import platformdirs

from napari_precimed.core.run import sha256_of
from napari_precimed.errors import BundleError

METADATA = PurePosixPath("configs/metadata.json")

MOST_FILES = 10_000
MOST_BYTES = 32 * 2**30
MOST_GROWTH = 200
"""How many times its packed size an archive may grow; weights hardly pack at all."""

_GROWTH_IS_FINE_BELOW = 2**20
_DIGITS = 16
_COPY = 2**20
_ENCRYPTED = 0x1


def is_archive(path: Path) -> bool:
    """Whether it is a zip file by its name."""
    return path.suffix.lower() == ".zip" and path.is_file()


def unpacked(archive: Path) -> Path:
    """The bundle in an archive, unpacked once per content into the user's cache folder.

    Parameters
    ----------
    archive : Path
        A zip file whose bundle lies at its top, or in the one folder at its top.

    Returns
    -------
    Path
        The bundle's folder, under a folder named by the SHA-256 of the archive.

    Raises
    ------
    BundleError
        If it is no zip file, is damaged, holds no bundle, or holds what no bundle needs: paths
        that lead outside, links, passwords, an absurd size.
    """
    status = archive.stat()
    return _unpacked(archive, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=64)
def _unpacked(archive: Path, _mtime_ns: int, _size: int) -> Path:
    cache = Path(platformdirs.user_cache_dir("napari-precimed", appauthor=False)) / "bundles"
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _checked(opened, archive)
            top = _top(members, archive)
            place = cache / sha256_of(archive)[:_DIGITS]
            folder = place / (top or archive.stem)
            if not folder.is_dir():
                _extract(opened, members, place, None if top else archive.stem, archive)
            return folder
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise BundleError(
            f"'{archive}' is no zip file, or is damaged ({error}); copy or download it again."
        ) from error
    except OSError as error:
        raise BundleError(f"'{archive}' cannot be unpacked into '{cache}': {error}.") from error


def _checked(opened: zipfile.ZipFile, archive: Path) -> list[zipfile.ZipInfo]:
    members = opened.infolist()
    total = sum(member.file_size for member in members)
    packed = archive.stat().st_size
    if len(members) > MOST_FILES or total > MOST_BYTES:
        raise BundleError(
            f"'{archive}' holds {len(members)} files of {total / 2**30:.1f} GiB; a bundle of more "
            f"than {MOST_FILES} files or {MOST_BYTES // 2**30} GiB is not unpacked."
        )
    if total > _GROWTH_IS_FINE_BELOW and total > MOST_GROWTH * packed:
        raise BundleError(
            f"'{archive}' would grow {total / packed:.0f} times when unpacked, which no bundle "
            "does; it is not unpacked."
        )
    names: set[str] = set()
    for member in members:
        if why := _objection(member, names):
            raise BundleError(
                f"'{archive}' is not unpacked: {why} '{member.filename}', which no bundle needs."
            )
        names.add(member.filename)
    return [member for member in members if not member.is_dir()]


def _objection(member: zipfile.ZipInfo, seen: set[str]) -> str | None:
    name = member.orig_filename
    parts = PurePosixPath(name).parts
    kind = stat.S_IFMT(member.external_attr >> 16)
    if "\0" in name or "\\" in name or ":" in name or name.startswith("/") or ".." in parts:
        return "it holds a path that leads outside,"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "it holds a link or device,"
    if member.flag_bits & _ENCRYPTED:
        return "it holds an encrypted file,"
    return "it holds twice the file" if member.filename in seen else None


def _top(members: list[zipfile.ZipInfo], archive: Path) -> str | None:
    """The folder in which the bundle lies, None where it lies at the archive's top."""
    found = [
        PurePosixPath(member.filename)
        for member in members
        if PurePosixPath(member.filename).parts[-2:] == METADATA.parts
    ]
    tops = {
        path.parts[0] if len(path.parts) == 3 else None for path in found if len(path.parts) < 4
    }
    if len(tops) != 1:
        holds = "several bundles" if tops else f"no bundle: {METADATA} is not in it"
        raise BundleError(f"'{archive}' holds {holds}; name an archive of one MONAI bundle.")
    return tops.pop()


def _extract(
    opened: zipfile.ZipFile,
    members: list[zipfile.ZipInfo],
    place: Path,
    inner: str | None,
    archive: Path,
) -> None:
    """Unpack beside `place` and rename, so that a bundle there is whole."""
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    try:
        root = draft / inner if inner else draft
        for member in members:
            target = root.joinpath(*PurePosixPath(member.filename).parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            with opened.open(member) as source, target.open("xb") as sink:
                shutil.copyfileobj(source, sink, _COPY)
            if target.stat().st_size != member.file_size:
                raise BundleError(
                    f"'{archive}' is damaged: '{member.filename}' has {target.stat().st_size} "
                    f"bytes instead of {member.file_size}; copy or download it again."
                )
        try:
            draft.rename(place)
        except OSError:
            if not place.is_dir():  # else another process was first, with the same content
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
