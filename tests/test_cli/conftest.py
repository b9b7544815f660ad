"""The two commands run in this process, a scan small enough to segment, and a full disk."""

from __future__ import annotations

import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from endings import Command, Ended, Mount

from genomics import __main__ as genomics_cli
from genomics.synthetic import SyntheticCase, write_synthetic_case
from napari_precimed import cli
from napari_precimed.core.volume import Volume
from napari_precimed.io.itk import write_volume
from napari_precimed.io.phantom import phantom_ct, phantom_truth


@pytest.fixture
def run_main(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Ended]]:
    """Run a real entry point; the file descriptors are read, which C++ libraries write to too."""

    def run(main: Callable[[], None], *arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["command", *(str(each) for each in arguments)])
        capfd.readouterr()
        with warnings.catch_warnings(record=True) as warned:
            _warn_as_python_does()
            with pytest.raises(SystemExit) as stop:
                main()
        out, err = capfd.readouterr()
        return Ended(stop.value.code, out, err + "".join(f"{one.message}\n" for one in warned))

    at_sigterm = signal.getsignal(signal.SIGTERM)
    yield run
    signal.signal(signal.SIGTERM, at_sigterm)


def _warn_as_python_does() -> None:
    """Show a user's warnings: pytest would have taken them off stderr."""
    warnings.resetwarnings()
    for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", kind)


@pytest.fixture
def precimed(run_main: Callable[..., Ended]) -> Command:
    return lambda *arguments: run_main(cli.main, *arguments)


@pytest.fixture
def genomics(run_main: Callable[..., Ended]) -> Command:
    return lambda *arguments: run_main(genomics_cli.main, *arguments)


@pytest.fixture
def no_computing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail the test if a network sees a tile: what was wrong had to be found before."""

    def slide(*_: object, **__: object) -> None:
        pytest.fail("the computing began")

    monkeypatch.setattr("napari_precimed.models.search.slide", slide)


@pytest.fixture(scope="session")
def small_volume() -> Volume:
    """The part of the phantom around its greatest nodule: (32, 128, 128) voxels."""
    whole = phantom_ct()
    nodule = max(phantom_truth(), key=lambda lesion: lesion.volume_mm3)
    centre = np.rint(whole.geometry.world_to_index(np.array(nodule.centre_mm))).astype(int)
    start = np.clip(centre - (16, 64, 64), 0, np.array(whole.array.shape) - (32, 128, 128))
    box = tuple(slice(s, s + n) for s, n in zip(start, (32, 128, 128), strict=True))
    geometry = whole.geometry.cropped(start, (32, 128, 128))
    return Volume(array=np.ascontiguousarray(whole.array[box]), geometry=geometry)


@pytest.fixture(scope="session")
def small_ct(small_volume: Volume, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`small_volume` as NIfTI, which names neither patient nor modality."""
    path = tmp_path_factory.mktemp("scan") / "ct.nii.gz"
    write_volume(path, small_volume)
    return path


@pytest.fixture(scope="session")
def small_labels(small_volume: Volume, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Label 1 where the nodule of `small_volume` is solid, around its middle."""
    labels = np.zeros(small_volume.array.shape, np.uint8)
    middle = (slice(10, 23), slice(52, 77), slice(52, 77))
    labels[middle] = small_volume.array[middle] > -300
    path = tmp_path_factory.mktemp("labels") / "labels.nii.gz"
    write_volume(path, small_volume.with_array(labels))
    return path


@pytest.fixture(scope="session")
def genome(tmp_path_factory: pytest.TempPathFactory) -> SyntheticCase:
    """The synthetic variants of sample P1, their genome and genes."""
    return write_synthetic_case(tmp_path_factory.mktemp("genome"), "P1")


@pytest.fixture
def mount_tmpfs(tmp_path: Path) -> Iterator[Mount]:
    """Mount a small disk of its own; skips where the system does not let this user."""
    mounted: list[Path] = []

    def mount(options: str) -> Path:
        place = tmp_path / f"disk{len(mounted)}"
        place.mkdir()
        if not sys.platform.startswith("linux"):
            pytest.skip("a small disk is made with Linux's tmpfs")
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def full_disk(mount_tmpfs: Mount) -> Path:
    """A disk of 1 MiB with 100 kB left."""
    place = mount_tmpfs("size=1m")
    (place / "ballast").write_bytes(bytes(2**20 - 100_000))
    return place


@pytest.fixture
def read_only_disk(mount_tmpfs: Mount) -> Path:
    return mount_tmpfs("ro,size=1m")
