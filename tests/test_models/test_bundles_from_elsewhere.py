"""Bundles in the style of the public zoo: they load, and run by their own pipeline."""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from toy_bundles import compose, inverted, metadata, organ_config, sliding, unet, write_bundle

from napari_precimed.core.geometry import AxisOrder, Geometry
from napari_precimed.core.volume import Source, Volume
from napari_precimed.errors import (
    BundleError,
    CancelledError,
    GeometryError,
    InputError,
)
from napari_precimed.models.bundle import load_network
from napari_precimed.models.catalogue import find, models
from napari_precimed.models.elsewhere import classify_scan
from napari_precimed.models.metatensor import to_canonical, to_metatensor
from napari_precimed.models.regions import names_by_mask, regions_of
from napari_precimed.models.segment import segment

BRATS = {0: "Tumor core", 1: "Whole tumor", 2: "Enhancing tumor"}
SCANS = {0: "T1c", 1: "T1", 2: "T2", 3: "FLAIR"}
BRATS_LABELS = (
    "$lambda x: torch.where(x[[2]] > 0, 4, torch.where(x[[0]] > 0, 1, "
    "torch.where(x[[1]] > 0, 2, 0)))"
)


def scan(seed: int = 0, modality: str | None = "CT", shape=(9, 18, 20)) -> Volume:
    rng = np.random.default_rng(seed)
    geometry = Geometry.from_parts(shape, (3.0, 1.1, 0.9), (-10, 20, 5))
    return Volume(rng.normal(0, 200, shape).astype(np.float32), geometry, modality)


def brats_config(**changes) -> dict:
    return organ_config(
        network_def={
            "_target_": "SegResNet",
            "blocks_down": [1, 1],
            "blocks_up": [1],
            "init_filters": 8,
            "in_channels": 4,
            "out_channels": 3,
        },
        preprocessing=compose(
            {"_target_": "LoadImaged", "keys": "image"},
            {
                "_target_": "NormalizeIntensityd",
                "keys": "image",
                "nonzero": True,
                "channel_wise": True,
            },
        ),
        postprocessing=compose(
            {"_target_": "Activationsd", "keys": "pred", "sigmoid": True},
            inverted(),
            {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5},
            {"_target_": "Lambdad", "keys": "pred", "func": BRATS_LABELS},
            {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir"},
        ),
        **changes,
    )


def test_a_ct_organ_bundle_gives_its_classes_by_name_on_the_scans_grid(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "spleen", organ_config(), metadata())
    volume, told = scan(), []
    found = segment(volume, str(folder), device="cpu", progress=lambda *step: told.append(step))
    assert found.labels.shape == volume.geometry.shape
    assert found.labels.dtype == np.int32
    assert set(found.findings.values()) <= {"spleen"}
    assert 0 < (found.labels == 1).mean() < 1
    assert np.array_equal(found.labels == 1, found.probability > 0.5)
    assert told[-1][1] == told[-1][2] == len(told)
    assert found.run.weights_sha256
    assert found.run.precision == "float32"


def test_a_run_can_be_cancelled_between_passes(tmp_path: Path) -> None:
    config = organ_config(inferer=sliding(roi_size=[8, 8, 8], sw_batch_size=1))
    folder = write_bundle(tmp_path / "spleen", config, metadata())
    passes = []
    with pytest.raises(CancelledError):
        segment(
            scan(),
            str(folder),
            device="cpu",
            progress=lambda *step: passes.append(step),
            cancelled=lambda: len(passes) >= 1,
        )
    assert len(passes) == 1


@pytest.mark.parametrize("suffix", ["yaml", "yml"])
def test_a_configuration_in_yaml_gives_the_same(tmp_path: Path, suffix: str) -> None:
    folder = write_bundle(tmp_path / "spleen", organ_config(), metadata())
    before = segment(scan(), str(folder), device="cpu").labels
    written = folder / "configs" / "inference.json"
    (folder / "configs" / f"inference.{suffix}").write_text(
        yaml.safe_dump(json.loads(written.read_text()))
    )
    written.unlink()
    assert np.array_equal(segment(scan(), str(folder), device="cpu").labels, before)


def test_a_bundle_may_have_its_network_under_network_alone(tmp_path: Path) -> None:
    config = organ_config(network="$@net.to(@device)", net=unet())
    del config["network_def"]
    folder = write_bundle(tmp_path / "spleen", config, metadata())
    assert load_network(find(str(folder)))(torch.zeros(1, 1, 8, 8, 8)).shape == (1, 2, 8, 8, 8)


def test_whole_body_style_with_chosen_resolution_and_labels_before_inversion(
    tmp_path: Path,
) -> None:
    config = organ_config(
        displayable_configs={"highres": False, "sw_overlap": 0.25, "sw_batch_size": 1},
        pixdim="$[1.5, 1.5, 1.5] if @displayable_configs#highres else [3.0, 3.0, 3.0]",
        network_def=unet(outputs=5),
        inferer=sliding(
            sw_batch_size="@displayable_configs#sw_batch_size",
            overlap="@displayable_configs#sw_overlap",
            mode="gaussian",
            padding_mode="replicate",
            device="$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        ),
        postprocessing=compose(
            {"_target_": "Activationsd", "keys": "pred", "softmax": True},
            {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
            inverted(nearest=True),
        ),
    )
    config["preprocessing"]["transforms"][3]["pixdim"] = "@pixdim"
    names = {0: "background", 1: "spleen", 2: "kidney", 3: "liver", 4: "aorta"}
    folder = write_bundle(tmp_path / "body", config, metadata(names))
    found = segment(scan(), str(folder), device="cpu")
    assert set(np.unique(found.labels)) <= set(range(5))
    assert all(found.findings[value] == names[value] for value in found.findings)
    assert found.probability.shape == found.labels.shape


def test_labels_that_were_to_be_interpolated_keep_to_their_classes(tmp_path: Path) -> None:
    """Prostate style: argmax, largest component, then a linear inversion of the labels."""
    config = organ_config(
        network_def=unet(outputs=3),
        postprocessing=compose(
            {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
            {
                "_target_": "KeepLargestConnectedComponentd",
                "keys": "pred",
                "applied_labels": [1, 2],
            },
            inverted(nearest=False),
        ),
    )
    names = {0: "background", 1: "central gland", 2: "peripheral zone"}
    folder = write_bundle(
        tmp_path / "prostate", config, metadata(names, modality="MR"), bias=[0.3, -9.0, 0.3]
    )
    found = segment(scan(modality="MR"), str(folder), device="cpu")
    assert set(np.unique(found.labels)) == {0, 2}  # never 1, which lies between
    assert found.findings == {2: "peripheral zone"}


def test_four_scans_are_assigned_to_channels_by_name(tmp_path: Path) -> None:
    folder = write_bundle(
        tmp_path / "brats", brats_config(), metadata(BRATS, SCANS, "MR"), bias=[0.2, 0.4, 0.0]
    )
    t1c, t1, t2, flair = (scan(k, "MR", (8, 16, 16)) for k in range(4))
    given = {"t1": t1, "T2": t2, "FLAIR": flair}
    found = segment(t1c, str(folder), channels=given, device="cpu")
    swapped = segment(t1c, str(folder), channels={**given, "t1": t2, "T2": t1}, device="cpu")
    assert not np.array_equal(found.labels, swapped.labels)
    assert set(np.unique(found.labels)) <= {0, 1, 2, 4}
    named = {1: "Tumor core", 2: "Whole tumor", 4: "Enhancing tumor"}
    assert found.findings.items() <= named.items()
    assert list(found.run.options["channels"]) == list(SCANS.values())


def test_scans_that_do_not_fit_the_channels_are_refused(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "brats", brats_config(), metadata(BRATS, SCANS, "MR"))
    first = scan(0, "MR", (8, 16, 16))
    others = {name: scan(k, "MR", (8, 16, 16)) for k, name in SCANS.items() if k}
    with pytest.raises(InputError, match=r"takes 4 scans: T1c, T1, T2, FLAIR.*T1, T2, FLAIR"):
        segment(first, str(folder), device="cpu")
    with pytest.raises(InputError, match="no channel 'PD'; its channels are T1c"):
        segment(first, str(folder), channels={**others, "PD": first}, device="cpu")
    thick = scan(3, "MR", (8, 16, 16))
    shifted = replace(thick, geometry=Geometry.from_parts((8, 16, 16), (5.0, 1.1, 0.9)))
    with pytest.raises(GeometryError, match=r"'FLAIR' is not on the grid of the first: spacing"):
        segment(first, str(folder), channels={**others, "FLAIR": shifted}, device="cpu")
    stranger = replace(thick, patient_id="P-2")
    known = replace(first, patient_id="P-1")
    with pytest.raises(InputError, match="patient 'P-2'"):
        segment(known, str(folder), channels={**others, "FLAIR": stranger}, device="cpu")
    with pytest.raises(InputError, match="takes one scan"):
        segment(scan(), "lung-nodule", channels={"T2": first})


def test_overlapping_regions_without_a_merging_transform_carry_the_smallest() -> None:
    whole = np.zeros((1, 1, 8), bool)
    core, enhancing = whole.copy(), whole.copy()
    whole[..., 1:8], core[..., 2:6], enhancing[..., 3:4] = True, True, True
    found = regions_of(np.stack([core, whole, enhancing]).astype(float), BRATS)
    assert found.labels.ravel().tolist() == [0, 2, 1, 3, 1, 1, 2, 2]
    assert found.names == {1: "Tumor core", 2: "Whole tumor", 3: "Enhancing tumor"}
    assert found.whole_voxels == {"Tumor core": 4, "Whole tumor": 7, "Enhancing tumor": 1}
    assert found.notes


def test_labels_made_from_masks_are_named_by_the_smallest_mask_that_covers_them() -> None:
    masks = np.array([[0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 0, 1]], bool)
    labels = np.array([0, 2, 1, 4], np.int32)
    assert names_by_mask(labels, masks, BRATS) == {
        1: "Tumor core",
        2: "Whole tumor",
        4: "Enhancing tumor",
    }


def test_one_hot_classes_are_the_classes() -> None:
    one_hot = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], float)
    found = regions_of(one_hot, {0: "background", 1: "a", 2: "b"})
    assert found.labels.tolist() == [0, 1, 2]
    assert found.names == {1: "a", 2: "b"}


def lesion_config() -> dict:
    return organ_config(
        network_def=unet(outputs=1),
        postprocessing=compose(
            {"_target_": "Activationsd", "keys": "pred", "sigmoid": True},
            inverted(),
            {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5},
            {"_target_": "RemoveSmallObjectsd", "keys": "pred", "min_size": 2},
        ),
    )


def test_a_bundle_of_instances_numbers_its_pieces(tmp_path: Path) -> None:
    one = {0: "lesion"}
    pieces = write_bundle(tmp_path / "a", lesion_config(), metadata(one, ours={"instances": True}))
    classes = write_bundle(tmp_path / "b", lesion_config(), metadata(one))
    numbered = segment(scan(), str(pieces), device="cpu")
    plain = segment(scan(), str(classes), device="cpu")
    assert np.array_equal(numbered.labels > 0, plain.labels > 0)
    assert plain.findings == {1: "lesion"}
    assert set(numbered.findings.values()) == {"lesion"}
    assert sorted(numbered.confidence) == list(range(1, numbered.labels.max() + 1))
    assert all(0.5 <= sure <= 1 for sure in numbered.confidence.values())


def test_a_bundle_without_postprocessing_is_decided_and_says_so(tmp_path: Path) -> None:
    config = organ_config()
    del config["postprocessing"], config["inferer"]
    config["preprocessing"]["transforms"][3] = {
        "_target_": "DivisiblePadd", "keys": "@image_key", "k": 2,
    }  # fmt: skip
    folder = write_bundle(tmp_path / "bare", config, metadata())
    found = segment(scan(), str(folder), device="cpu")
    assert found.labels.shape == scan().geometry.shape
    assert "likeliest class" in " ".join(found.run.warnings)


def test_a_mammogram_style_bundle_classifies_one_slice_in_three_equal_channels(
    tmp_path: Path,
) -> None:
    config = organ_config(
        network_def={
            "_target_": "DenseNet", "spatial_dims": 2, "in_channels": 3, "out_channels": 4,
            "init_features": 8, "growth_rate": 4, "block_config": [1, 1],
        },
        preprocessing=compose(
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "EnsureChannelFirstd", "keys": "image"},
            {"_target_": "ScaleIntensityd", "keys": "image", "minv": 0.0, "maxv": 1.0},
            {"_target_": "Resized", "keys": "image", "spatial_size": [32, 32]},
        ),
        inferer={"_target_": "SimpleInferer"},
        postprocessing=compose(
            {"_target_": "Activationsd", "keys": "pred", "sigmoid": True},
            {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5},
        ),
    )  # fmt: skip
    meta = metadata(dict(enumerate("ABCD")), modality="Mammogram")
    meta["task"] = "Breast Density Classification"
    inputs = meta["network_data_format"]["inputs"]["image"]
    inputs |= {"num_channels": 3, "spatial_shape": [229, 229]}
    meta["network_data_format"]["outputs"]["pred"]["format"] = "labels"
    entry = find(str(write_bundle(tmp_path / "density", config, meta)))
    assert (entry.task, entry.modality, entry.copies) == ("classification", "MG", 3)
    chances, run = classify_scan(scan(modality="MG", shape=(1, 40, 30)), entry, device="cpu")
    assert list(chances) == ["A", "B", "C", "D"]
    assert all(0 < chance < 1 for chance in chances.values())
    assert run.model == "density 0.5.0"
    with pytest.raises(InputError, match="single slices"):
        classify_scan(scan(modality="MG"), entry, device="cpu")


def test_a_network_of_torchvision_says_what_it_lacks(tmp_path: Path) -> None:
    pytest.importorskip("monai")
    folder = write_bundle(tmp_path / "density", organ_config(), metadata())
    network = {"_target_": "TorchVisionFCModel", "model_name": "inception_v3", "num_classes": 4,
               "aux_logits": False, "in_channels": 2048, "use_conv": False, "pool": ""}  # fmt: skip
    (folder / "configs" / "inference.json").write_text(
        json.dumps(organ_config(network_def=network))
    )
    with pytest.raises(BundleError, match=r"network of 'density'.*(torchvision|fit)"):
        load_network(find(str(folder)))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
@pytest.mark.parametrize("flipped", [(False, False, False), (True, False, True)])
def test_a_volume_becomes_the_array_its_file_holds_and_comes_back(order, flipped) -> None:
    axes = AxisOrder(order, flipped)
    volume = replace(scan(), source=Source("scan.nii", "NIfTI", axes))
    image = to_metatensor([volume])
    stored = axes.undo(volume.array)
    assert np.array_equal(image[0].numpy().transpose(2, 1, 0), stored)
    assert np.array_equal(to_canonical(image[0].numpy(), volume), volume.array)
    index = np.array([2, 5, 3])  # (x, y, z) as stored
    canonical = axes.apply_to_index(index[::-1], stored.shape)
    ras = image.affine.numpy() @ [*index, 1]
    assert np.allclose(ras[:3] * [-1, -1, 1], volume.geometry.index_to_world(canonical))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *_, **__: str(folder))
    return folder


@pytest.mark.parametrize("top", ["", "spleen_v1/"])
def test_a_zip_archive_is_a_bundle(tmp_path: Path, cache: Path, monkeypatch, top: str) -> None:
    folder = write_bundle(tmp_path / "made", organ_config(), metadata())
    places = tmp_path / "places"
    places.mkdir()
    archive = places / "spleen.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for path in folder.rglob("*"):
            if path.is_file():
                opened.write(path, f"{top}{path.relative_to(folder).as_posix()}")
    entry = find(str(archive))
    assert entry.name == (top.rstrip("/") or "spleen")
    assert cache in entry.folder.parents
    assert find(str(archive)).folder == entry.folder
    assert load_network(entry)
    monkeypatch.setenv("PRECIMED_MODELS", str(places))
    assert entry.name in {each.name for each in models()}
    assert find("spleen").folder == entry.folder
    assert [each.name for each in (cache / "bundles").iterdir()] == [entry.folder.parent.name]
    shutil.rmtree(cache)


def archive_of(path: Path, *members: tuple[str, str, int]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, text, mode in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            opened.writestr(info, text)
    return path


META = ("configs/metadata.json", '{"version": "1"}', 0o100644)


@pytest.mark.parametrize(
    ("member", "why"),
    [
        (("../evil.py", "x", 0o100644), "leads outside"),
        (("/etc/evil", "x", 0o100644), "leads outside"),
        (("a\\..\\..\\evil", "x", 0o100644), "leads outside"),
        (("C:/evil", "x", 0o100644), "leads outside"),
        (("models/model.pt", "/etc/passwd", 0o120777), "link or device"),
        (("models/zeros", "0" * 5_000_000, 0o100644), "would grow"),
        (META, "twice the file"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_that_no_bundle_needs_is_refused(tmp_path, cache, member, why) -> None:
    archive = archive_of(tmp_path / "bad.zip", META, member)
    with pytest.raises(BundleError, match=why):
        find(str(archive))
    assert not list(cache.rglob("*.json"))
    assert not (tmp_path / "evil.py").exists()


def test_a_damaged_archive_and_one_without_a_bundle_are_refused(tmp_path, cache) -> None:
    with pytest.raises(BundleError, match="no bundle"):
        find(str(archive_of(tmp_path / "other.zip", ("readme.txt", "x", 0o100644))))
    whole = archive_of(tmp_path / "whole.zip", META).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BundleError, match="damaged"):
        find(str(tmp_path / "cut.zip"))
