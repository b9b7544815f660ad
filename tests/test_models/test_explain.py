"""Explanations: sums known by hand, sanity under random weights, and the right place in the world.

The sanity checks are those of Adebayo et al. 2018.
"""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from napari_precimed.core.geometry import Geometry
from napari_precimed.core.lesion import LesionSet
from napari_precimed.core.measure import measure
from napari_precimed.core.volume import Volume
from napari_precimed.errors import CancelledError, GeometryError, InputError
from napari_precimed.models import explain as explaining
from napari_precimed.models.attribution import grad_cam, integrated_gradients, occlude
from napari_precimed.models.bundle import load_network
from napari_precimed.models.catalogue import find
from napari_precimed.models.classify import averaged_logits
from napari_precimed.models.explain import METHODS, explain
from napari_precimed.models.patch import Patch, nodule_patch_of, onto_scan

MALIGNANCY = "lung-nodule-malignancy"


def quiet(done: int, total: int) -> None:
    """Progress that nobody watches."""


def product_of_two(x: torch.Tensor) -> torch.Tensor:
    """f(a, b, c) = a b + 3 c of the first three voxels."""
    flat = x.flatten(1)
    return flat[:, 0] * flat[:, 1] + 3 * flat[:, 2]


def test_integrated_gradients_share_a_product_equally_and_add_up():
    """Along the straight path from 0, a b gives a b / 2 to each factor, and 3 c gives 3 c to c."""
    image = torch.tensor([4.0, 5.0, -2.0, 7.0]).reshape(1, 1, 2, 2)
    values, error = integrated_gradients(product_of_two, image, torch.zeros_like(image), quiet)
    assert values.ravel().tolist() == pytest.approx([10, 10, -6, 0], abs=1e-4)
    assert error == pytest.approx(0, abs=1e-4)
    assert values.sum() == pytest.approx(4 * 5 - 3 * 2, abs=1e-4)


def test_completeness_error_is_what_too_few_steps_leave():
    def cube(x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, 0] ** 3

    image = torch.full((1, 1, 1, 1), 2.0)
    _, coarse = integrated_gradients(cube, image, torch.zeros_like(image), quiet, steps=1)
    assert coarse == pytest.approx(3 * 1**2 * 2 - 8)  # the slope at the midpoint, times the way
    _, fine = integrated_gradients(cube, image, torch.zeros_like(image), quiet, steps=64)
    assert abs(fine) < 0.01


def test_of_a_linear_model_occlusion_and_integrated_gradients_agree_entirely():
    rng = np.random.default_rng(0)
    weight = torch.from_numpy(rng.normal(size=(2, 8, 8, 8)).astype(np.float32))
    image = torch.from_numpy(rng.normal(size=(2, 8, 8, 8)).astype(np.float32))

    def linear(x: torch.Tensor) -> torch.Tensor:
        return (x * weight).flatten(1).sum(1)

    neutral = torch.zeros_like(image)
    values, _ = integrated_gradients(linear, image, neutral, quiet, steps=2)
    occluded = occlude(linear, image, neutral, (4, 4, 4), quiet)
    assert len(occluded.windows) == 27
    sums = [values[window].sum() for window in occluded.windows]
    assert sums == pytest.approx(occluded.falls.tolist(), abs=1e-3)
    assert occluded.agreement(values) == pytest.approx(1)
    assert occluded.agreement(-values) == pytest.approx(-1)
    assert occluded.agreement(np.zeros_like(values)) is None


def test_windows_without_anything_to_paint_out_are_left_alone():
    image = torch.zeros(1, 8, 8, 8)
    image[0, 3, 4, 5] = 5.0
    occluded = occlude(
        lambda x: x.flatten(1).sum(1), image, torch.zeros_like(image), (2, 2, 2), quiet
    )
    assert np.count_nonzero(occluded.held) == 8  # the windows that hold (3, 4, 5)
    assert np.array_equal(occluded.falls, 5.0 * occluded.held)
    assert np.unravel_index(occluded.map().argmax(), (8, 8, 8)) == (3, 4, 5)


def test_grad_cam_lights_up_where_the_feature_lies():
    layer = torch.nn.Conv3d(1, 1, 3, padding=1, bias=False)
    torch.nn.init.constant_(layer.weight, 1 / 27)
    network = torch.nn.Sequential(layer, torch.nn.ReLU())

    def logit(x: torch.Tensor) -> torch.Tensor:
        return network(x).flatten(1).mean(1)

    image = torch.zeros(1, 8, 8, 8)
    image[0, 2:5, 4:7, 1:4] = 1.0
    cam = grad_cam(network, logit, image)
    assert np.unravel_index(cam.argmax(), cam.shape) == (3, 5, 2)
    assert cam.min() == 0


@pytest.mark.parametrize("spacing_mm", [(1.25, 1.0, 1.0), (2.5, 0.7, 0.7), (0.6, 1.4, 1.4)])
def test_a_map_keeps_its_sum_and_its_centre_on_the_scans_grid(spacing_mm):
    values = np.zeros((24, 48, 48), np.float32)
    values[8:14, 20:30, 10:22] = 1.0
    geometry = Geometry.from_parts((60, 120, 120), spacing_mm)
    to_index = np.diag([*np.array([1.25, 1.0, 1.0]) / spacing_mm, 1.0])
    to_index[:3, 3] = (5.3, 11.2, 7.9)
    box, start = onto_scan(values, to_index, geometry)
    assert box.sum() == pytest.approx(values.sum(), rel=0.05)
    centre = np.average(np.argwhere(box > 0), axis=0, weights=box[box > 0]) + start
    expected = to_index[:3, :3] @ [10.5, 24.5, 15.5] + to_index[:3, 3]
    assert centre == pytest.approx(expected, abs=0.1)


def test_the_part_of_a_patch_outside_the_scan_is_left_out():
    to_index = np.eye(4)
    to_index[:3, 3] = (-3, 0, 8)
    box, start = onto_scan(np.ones((6, 4, 6), np.float32), to_index, Geometry.from_parts((9, 9, 9)))
    assert start == (0, 0, 8)
    assert box.sum() == 3 * 4 * 1


# --- a classifier whose deciding feature is known ---------------------------------------------


def chest_with_blob(blob_zyx: tuple[int, int, int] | None) -> tuple[Volume, LesionSet]:
    """An oblique CT with a lesion at (15, 60, 60), and perhaps a denser blob beside it.

    Beyond the patch, a wall: it holds the spread of grey alike in all slices, which the patch is
    normalised by.
    """
    angle = np.radians(12)
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    geometry = Geometry.from_parts(
        (30, 120, 120), (1.5, 0.8, 0.8), (-30.0, 12.0, -90.0), turn @ np.eye(3)[::-1]
    )
    z, y, x = np.indices(geometry.shape)

    def ball(centre, radius_mm):
        c = np.asarray(centre)
        squared = ((z - c[0]) * 1.5) ** 2 + ((y - c[1]) * 0.8) ** 2 + ((x - c[2]) * 0.8) ** 2
        return squared < radius_mm**2

    rng = np.random.default_rng(3)
    array = rng.normal(-850, 15, geometry.shape)
    lesion = ball((15, 60, 60), 6)
    array[:, :, :24] = 1000
    array[lesion] = 0
    if blob_zyx is not None:
        array[ball(blob_zyx, 3)] = 900
    labels = lesion.astype(np.int32) * 4
    volume = Volume(array.astype(np.int16), geometry, modality="CT")
    return volume, measure(labels, volume)


def brighter_than_any_lesion() -> dict[str, torch.Tensor]:
    """Weights written by hand: what is over 1.6 of the first channel, when smoothed, counts."""
    weight = torch.zeros(1, 2, 3, 3, 3)
    weight[0, 0] = 1000 / 27
    return {"0.weight": weight, "0.bias": torch.full((1,), -1600.0)}


@pytest.fixture(scope="module")
def bright_beside(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A complete bundle of another classifier: one output, its own names."""
    source = find(MALIGNANCY)
    folder = tmp_path_factory.mktemp("bundles") / "bright-beside"
    shutil.copytree(source.folder / "configs", folder / "configs")
    (folder / "models").mkdir()
    network = {
        "first": {
            "_target_": "torch.nn.Conv3d", "in_channels": 2, "out_channels": 1,
            "kernel_size": 3, "padding": 1,
        },
        "second": {"_target_": "torch.nn.ReLU"},
        "third": {"_target_": "torch.nn.AdaptiveAvgPool3d", "output_size": 1},
        "fourth": {"_target_": "torch.nn.Flatten"},
        "network_def": "$torch.nn.Sequential(@first, @second, @third, @fourth)",
    }  # fmt: skip
    (folder / "configs" / "inference.json").write_text(json.dumps(network))
    file = folder / "configs" / "metadata.json"
    metadata = json.loads(file.read_text())
    metadata["precimed"] = {"task": "classification", "negative_label": "plain"}
    metadata["network_data_format"]["outputs"]["pred"]["channel_def"] = {"0": "bright beside"}
    file.write_text(json.dumps(metadata))
    torch.save(brighter_than_any_lesion(), folder / "models" / "model.pt")
    return str(folder)


@pytest.mark.parametrize(
    ("method", "blob"),
    [*((method, (15, 60, 80)) for method in METHODS), (METHODS[0], (14, 42, 55))],
)
def test_the_map_lies_where_the_deciding_feature_lies(bright_beside, method, blob):
    volume, lesions = chest_with_blob(blob)
    found = explain(volume, lesions, 4, bright_beside, method)
    assert found.target == "bright beside"
    assert found.logit > found.neutral_logit
    assert found.geometry.matches(volume.geometry.cropped(found.start, found.map.shape))
    hottest = np.unravel_index(found.map.argmax(), found.map.shape)
    gap_mm = found.geometry.index_to_world(hottest) - volume.geometry.index_to_world(blob)
    within = 9 if method == "occlusion" else 4  # an occluding window is 8 to 12 mm wide
    assert np.linalg.norm(gap_mm) < within
    whole = found.on_grid(volume.geometry.shape)
    place = tuple(int(h + s) for h, s in zip(hottest, found.start, strict=True))
    assert whole[place] == found.map.max()
    assert whole.sum() == pytest.approx(found.map.sum(), rel=1e-4)


def test_the_opposite_class_has_the_opposite_map(bright_beside):
    volume, lesions = chest_with_blob((15, 60, 80))
    one = explain(volume, lesions, 4, bright_beside)
    other = explain(volume, lesions, 4, bright_beside, target="plain")
    assert np.allclose(one.map, -other.map, atol=1e-7)
    assert one.logit == pytest.approx(-other.logit)
    assert one.completeness_error == pytest.approx(0, abs=0.05)
    assert one.agreement > 0.5


def test_any_patch_can_be_explained_that_says_where_it_lies(bright_beside):
    """The patch of another classifier: the scan as it is, around the lesion, from its corner."""
    volume, lesions = chest_with_blob((15, 60, 80))
    corner = np.array([5, 40, 50])

    def as_it_is(scan: Volume, _lesions: LesionSet, _lesion) -> Patch:
        grey = scan.array[5:25, 40:80, 50:90].astype(np.float32) / 100
        image = np.stack([grey, np.zeros_like(grey)])
        to_index = np.eye(4)
        to_index[:3, 3] = corner
        return Patch(image, to_index, np.full_like(image, -8.5))

    found = explain(volume, lesions, 4, bright_beside, patch_of=as_it_is)
    assert found.start == tuple(corner)
    assert found.map.shape == (20, 40, 40)
    hottest = np.array(np.unravel_index(found.map.argmax(), found.map.shape)) + corner
    assert np.abs(hottest - (15, 60, 80)).max() <= 4


# --- the shipped network -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def nodule_patch() -> Patch:
    volume, lesions = chest_with_blob((15, 60, 80))
    return nodule_patch_of(volume, lesions, lesions.lesion(4))


def the_map(network: torch.nn.Module, patch: Patch) -> np.ndarray:
    """Integrated gradients in a few steps, in cells of 4 x 8 x 8 voxels."""
    values, _ = integrated_gradients(
        lambda x: averaged_logits(network, x)[:, 0],
        torch.from_numpy(patch.image), torch.from_numpy(patch.neutral), quiet, steps=4,
    )  # fmt: skip
    return values.reshape(6, 4, 6, 8, 6, 8).sum((1, 3, 5))


def test_random_weights_change_the_map(nodule_patch):
    """Adebayo's cascade, the last layers, then all."""
    trained = load_network(find(MALIGNANCY))
    truth = the_map(trained, nodule_patch)
    assert spearmanr(truth, the_map(trained, nodule_patch), axis=None).statistic == 1
    torch.manual_seed(0)
    layers = [m for m in trained.modules() if isinstance(m, (torch.nn.Conv3d, torch.nn.Linear))]
    likeness = []
    for share in (0.1, 1.0):
        network = copy.deepcopy(trained)
        same = [m for m in network.modules() if isinstance(m, (torch.nn.Conv3d, torch.nn.Linear))]
        for layer in same[len(layers) - max(1, round(share * len(layers))) :]:
            layer.reset_parameters()
        likeness.append(abs(spearmanr(truth, the_map(network, nodule_patch), axis=None).statistic))
    assert likeness[-1] < 0.5
    assert max(likeness) < 0.9


def test_wrong_requests_name_what_there_is(bright_beside):
    volume, lesions = chest_with_blob(None)
    with pytest.raises(InputError, match="no lesion 9; there are: 4"):
        explain(volume, lesions, 9, bright_beside)
    with pytest.raises(InputError, match="no method 'shap'; choose one of integrated-gradients"):
        explain(volume, lesions, 4, bright_beside, "shap")
    with pytest.raises(InputError, match="no output 'texture'; choose one of bright beside, plain"):
        explain(volume, lesions, 4, bright_beside, target="texture")
    with pytest.raises(InputError, match="'lung-nodule' is a segmentation model"):
        explain(volume, lesions, 4, "lung-nodule")
    moved = replace(volume, geometry=volume.geometry.cropped((0, 0, 1), volume.geometry.shape))
    with pytest.raises(GeometryError, match="not on the grid of the scan"):
        explain(moved, lesions, 4, bright_beside)


def test_explaining_can_be_cancelled_and_tells_its_progress(bright_beside):
    volume, lesions = chest_with_blob(None)
    told: list[tuple[str, int, int | None]] = []
    with pytest.raises(CancelledError):
        explain(
            volume, lesions, 4, bright_beside,
            progress=lambda *step: told.append(step), cancelled=lambda: len(told) > 2,
        )  # fmt: skip
    assert [stage for stage, _, _ in told] == ["check"] * 3
    assert explaining.METHODS[0] == "integrated-gradients"
