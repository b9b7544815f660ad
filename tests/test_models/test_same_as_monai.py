"""`python -m monai.bundle run` on a bundle gives the same labels, voxel for voxel."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import nibabel
import numpy as np
import pytest
from toy_bundles import compose, inverted, make_even, metadata, organ_config, unet, write_bundle

from napari_precimed.io import read_volume
from napari_precimed.io.itk import write_volume
from napari_precimed.io.phantom import phantom_ct
from napari_precimed.models.catalogue import ModelEntry, find, models
from napari_precimed.models.segment import segment

needs_monai_run = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("fire", "ignite")),
    reason="`monai.bundle run` needs fire and pytorch-ignite",
)


@pytest.fixture
def oblique(tmp_path: Path) -> Path:
    """A tilted scan of uneven spacing, stored left to right and head to feet."""
    rng = np.random.default_rng(1)
    rough = rng.normal(size=(18, 16, 9))
    image = np.kron(rough, np.ones((2, 2, 1))).astype(np.float32) * 200
    turn, _ = np.linalg.qr([[0.9, -0.3, 0.1], [0.28, 0.93, 0.2], [-0.15, -0.15, 0.97]])
    affine = np.eye(4)
    affine[:3, :3] = turn * np.sign(np.diag(turn)) @ np.diag([-0.9, 1.1, -3.3])
    affine[:3, 3] = 30, 22, -40
    path = tmp_path / "oblique.nii.gz"
    nibabel.save(nibabel.Nifti1Image(image, affine), path)
    return path


def run_by_monai(bundle: Path, image: Path, out: Path) -> np.ndarray:
    """The labels that MONAI itself writes, shape (x, y, z) as stored."""
    subprocess.run(
        [sys.executable, "-m", "monai.bundle", "run", "--config_file",
         str(bundle / "configs" / "inference.json"), "--bundle_root", str(bundle),
         "--image", str(image), "--output_dir", str(out), "--device", "$torch.device('cpu')"],
        check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    written = next(out.rglob("*.nii.gz"))
    return np.asarray(nibabel.load(written).dataobj).squeeze()


def as_stored(labels: np.ndarray, path: Path) -> np.ndarray:
    source = read_volume(path).source
    return source.axis_order.undo(labels).transpose(2, 1, 0)


@needs_monai_run
@pytest.mark.parametrize("instances", [False, True])
def test_a_resampling_bundle_on_an_oblique_scan(
    tmp_path: Path, oblique: Path, instances: bool
) -> None:
    config, meta = organ_config(), metadata()
    if instances:
        config["network_def"] = unet(outputs=1)
        save = config["postprocessing"]["transforms"][-1]
        config["postprocessing"] = compose(
            {"_target_": "Activationsd", "keys": "pred", "sigmoid": True},
            inverted(),
            {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5},
            {"_target_": "RemoveSmallObjectsd", "keys": "pred", "min_size": 4},
            save,
        )
        meta = metadata({0: "lesion"}, ours={"instances": True})
    bundle = write_bundle(tmp_path / "toy", config, meta)
    scan = read_volume(oblique)
    make_even(bundle, segment(scan, str(bundle), device="cpu").probability)
    theirs = run_by_monai(bundle, oblique, tmp_path / "out")
    ours = as_stored(segment(scan, str(bundle), device="cpu").labels, oblique)
    assert 0.2 < (theirs > 0).mean() < 0.8
    assert np.array_equal(ours > 0, theirs > 0) if instances else np.array_equal(ours, theirs)


def pure_bundles() -> list[ModelEntry]:
    return [each for each in models() if each.built_in and each.task == "segmentation"
            and each.runs_itself]  # fmt: skip


@needs_monai_run
@pytest.mark.parametrize("entry", pure_bundles(), ids=lambda entry: entry.name)
def test_our_own_bundles_that_are_run_by_their_own_pipeline(
    tmp_path: Path, oblique: Path, entry: ModelEntry
) -> None:
    theirs = run_by_monai(entry.folder, oblique, tmp_path / "out")
    ours = segment(read_volume(oblique), entry.name, device="cpu").labels
    assert np.array_equal(as_stored(ours, oblique) > 0, theirs > 0)


@needs_monai_run
@pytest.mark.slow
def test_lung_nodule_which_needs_code_of_ours(tmp_path: Path) -> None:
    chest = phantom_ct()
    low, shape = (34, 40, 60), (28, 240, 240)
    box = tuple(slice(a, a + n) for a, n in zip(low, shape, strict=True))
    part = replace(
        chest, array=chest.array[box], geometry=chest.geometry.cropped(low, shape), source=None
    )
    path = tmp_path / "chest.nii.gz"
    write_volume(path, part)
    entry = find("lung-nodule")
    theirs = run_by_monai(entry.folder, path, tmp_path / "out")
    ours = as_stored(segment(read_volume(path), entry.name, device="cpu").labels, path)
    assert ours.max() > 0
    assert np.array_equal(ours, theirs)
