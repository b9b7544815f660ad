"""A write is whole or it is not there."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest

from napari_precimed.core.files import atomic_path
from napari_precimed.errors import OutputError


def _write_half(target: Path, then: BaseException) -> None:
    with atomic_path(target) as partial:
        partial.write_text("half")
        raise then


def test_a_finished_write_replaces_the_old_file_and_leaves_nothing_beside(tmp_path: Path) -> None:
    target = tmp_path / "labels.nii.gz"
    target.write_text("old")
    with atomic_path(target) as partial:
        assert partial.name.endswith("labels.nii.gz")
        partial.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["labels.nii.gz"]


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "table.csv"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        _write_half(target, KeyboardInterrupt())
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]


def test_a_missing_folder_is_named_with_the_mend(tmp_path: Path) -> None:
    target = tmp_path / "absent" / "table.csv"
    with pytest.raises(OutputError, match=r"absent.*table\.csv.*create it"), atomic_path(target):
        pytest.fail("the body must not run")


def test_a_full_disk_is_named_with_the_mend(tmp_path: Path) -> None:
    target = tmp_path / "table.csv"
    with pytest.raises(OutputError, match=r"table\.csv.*disk is full"):
        _write_half(target, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert list(tmp_path.iterdir()) == []


def test_an_error_about_another_file_is_not_blamed_on_this_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="scan"), atomic_path(tmp_path / "out.csv"):
        (tmp_path / "scan").read_bytes()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def tiny_disk(tmp_path: Path):
    """A real file system of 64 KiB."""
    mount = tmp_path / "tiny"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(mount)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=10)
    except FileNotFoundError:
        pytest.skip("needs the mount command")
    if done.returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    yield mount
    subprocess.run(["umount", str(mount)], check=True, timeout=10)


def test_a_really_full_disk_leaves_no_file(tiny_disk: Path) -> None:
    target = tiny_disk / "report.pdf"
    with pytest.raises(OutputError, match="disk is full"), atomic_path(target) as partial:
        partial.write_bytes(b"x" * 200_000)
    assert list(tiny_disk.iterdir()) == []
