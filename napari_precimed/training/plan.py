"""A bundle made to measure for a researcher's scans: spacing, grey values, crop and network.

It is written as a plain MONAI bundle, so that whatever runs MONAI bundles runs it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from napari_precimed.training.cases import ScanCase, check_labels

_VOXELS = 2**17  # of a crop: what a laptop learns from in seconds
_CHANNELS = (24, 48, 96, 160)
_FLAT = 2.0  # slices this much thicker than a pixel are wide stay unmerged at first
_AIR_HU = -500.0  # an image that goes below is taken for a CT where nothing says what it is


@dataclass(frozen=True)
class Plan:
    """What the training scans ask of a bundle.

    Attributes
    ----------
    spacing_mm : tuple of float
        (z, y, x): the median of the scans.
    patch : tuple of int
        (z, y, x) voxels.
    strides : tuple of tuple of int
        Of the network, per level.
    intensity : mapping
        The MONAI transform that brings grey values to about unit spread.
    modality : str
        "CT", "MR", … or "unknown".
    n_channels : int
    label_names : mapping of int to str
        Label -> name, from 1.
    """

    spacing_mm: tuple[float, float, float]
    patch: tuple[int, int, int]
    strides: tuple[tuple[int, int, int], ...]
    intensity: Mapping[str, Any]
    modality: str
    n_channels: int
    label_names: Mapping[int, str]


def plan_for(
    cases: Sequence[ScanCase], label_names: Mapping[int, str], modality: str | None
) -> Plan:
    """Look at every scan that is trained or validated on, and plan.

    Raises
    ------
    ReadError, GeometryError
        If a scan cannot be read, or its labels lie on another grid.
    DatasetError
        If nothing is labelled, or the labels' values leave a gap.
    """
    spacings, shapes, values, grey = [], [], {}, []
    lowest = 0.0
    for k, case in enumerate(cases):
        scan = case.read()
        spacings.append(scan.volume.geometry.spacing_mm)
        shapes.append(scan.volume.array.shape)
        values[case.name] = np.unique(scan.truth).tolist()
        marked = scan.channels[0][scan.truth > 0]
        grey.append(np.random.default_rng(k).permutation(marked)[:5000])
        lowest = min(lowest, float(scan.channels[0].min()))
    count = check_labels(values, label_names)
    names = {k: label_names.get(k, "lesion" if count == 1 else f"label {k}") for k in
             range(1, count + 1)}  # fmt: skip
    kind = modality or ("CT" if lowest < _AIR_HU else None)
    spacing = tuple(round(float(v), 4) for v in np.median(spacings, axis=0))
    extent = np.median(np.asarray(shapes) * np.asarray(spacings), axis=0) / spacing
    strides = _strides(spacing)
    return Plan(
        spacing_mm=spacing,  # type: ignore[arg-type]
        patch=_patch(spacing, extent.tolist(), strides),
        strides=strides,
        intensity=_intensity(kind, np.concatenate(grey)),
        modality=kind or "unknown",
        n_channels=len(cases[0].images),
        label_names=names,
    )


def _strides(spacing_mm: Sequence[float]) -> tuple[tuple[int, int, int], ...]:
    """Three halvings, the first in the first block; thick slices are merged last."""
    z, *plane = spacing_mm
    strides = []
    for _ in range(len(_CHANNELS) - 1):
        step = 1 if z > _FLAT * min(plane) else 2
        strides.append((step, 2, 2))
        z, plane = z * step, [p * 2 for p in plane]
    return tuple(strides)


def _patch(
    spacing_mm: Sequence[float], extent: Sequence[float], strides: Sequence[Sequence[int]]
) -> tuple[int, int, int]:
    """About a cube in mm of `_VOXELS` voxels, no larger than a scan, whole at each level."""
    spacing = np.asarray(spacing_mm)
    side_mm = (_VOXELS * spacing.prod()) ** (1 / 3)
    unit = np.prod(strides, axis=0)
    size = np.minimum(side_mm / spacing, extent)
    z, y, x = (int(n) for n in np.maximum(unit * 2, np.round(size / unit) * unit))
    return z, y, x


def _intensity(modality: str | None, marked: np.ndarray) -> dict[str, Any]:
    """CT: cut to what is found in labels, then centred; anything else: centred scan by scan."""
    if modality != "CT":
        return {"_target_": "NormalizeIntensityd", "nonzero": True, "channel_wise": True}
    low, high = (float(v) for v in np.percentile(marked, [0.5, 99.5]))
    mean, spread = float(marked.mean()), max(float(marked.std()), 1.0)
    low, high = min(low, mean - spread), max(high, mean + spread)
    return {
        "_target_": "ScaleIntensityRanged",
        "a_min": round(low, 2),
        "a_max": round(high, 2),
        "b_min": round((low - mean) / spread, 4),
        "b_max": round((high - mean) / spread, 4),
        "clip": True,
    }


def write_template(plan: Plan, folder: Path, title: str) -> None:
    """Write the configs of a bundle without weights."""
    (folder / "configs").mkdir(parents=True, exist_ok=True)
    for name, values in (("inference", inference(plan)), ("metadata", metadata(plan, title))):
        file = folder / "configs" / f"{name}.json"
        file.write_text(json.dumps(values, indent=4, ensure_ascii=False) + "\n", encoding="utf-8")


def inference(plan: Plan) -> dict[str, Any]:
    """``configs/inference.json``: a whole MONAI inference workflow."""
    listed = [
        {"_target_": "LoadImaged", "keys": "image"},
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
        {"_target_": "Orientationd", "keys": "image", "axcodes": "SPL"},
        {"_target_": "Spacingd", "keys": "image", "pixdim": list(plan.spacing_mm),
         "mode": "bilinear"},
        {**plan.intensity, "keys": "image"},
        {"_target_": "EnsureTyped", "keys": "image"},
    ]  # fmt: skip
    back = [
        {"_target_": "Activationsd", "keys": "pred", "softmax": True},
        {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing",
         "orig_keys": "image", "nearest_interp": False, "to_tensor": True},
        {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
        {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir",
         "output_postfix": "labels", "output_dtype": "$torch.uint8", "resample": False,
         "separate_folder": False},
    ]  # fmt: skip
    return {
        "imports": ["$import torch"],
        "bundle_root": ".",
        "image": "",
        "output_dir": "$@bundle_root + '/eval'",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "network_def": {
            "_target_": "monai.networks.nets.UNet",
            "spatial_dims": 3,
            "in_channels": plan.n_channels,
            "out_channels": len(plan.label_names) + 1,
            "channels": list(_CHANNELS),
            "strides": [list(stride) for stride in plan.strides],
            "num_res_units": 2,
            "norm": "instance",
        },
        "network": "$@network_def.to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": listed},
        "dataset": {
            "_target_": "Dataset",
            "data": [{"image": "@image"}],
            "transform": "@preprocessing",
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1},
        "inferer": {
            "_target_": "SlidingWindowInferer",
            "roi_size": list(plan.patch),
            "sw_batch_size": 4,
            "overlap": 0.5,
            "mode": "gaussian",
            "padding_mode": "replicate",
        },
        "postprocessing": {"_target_": "Compose", "transforms": back},
        "handlers": [
            {
                "_target_": "CheckpointLoader",
                "load_path": "$@bundle_root + '/models/model.pt'",
                "load_dict": {"model": "@network"},
            }
        ],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
            "amp": False,
        },
        "run": ["$@evaluator.run()"],
    }


def metadata(plan: Plan, title: str) -> dict[str, Any]:
    """``configs/metadata.json`` by MONAI's schema, and our own words under "precimed"."""
    finding = plan.label_names[1] if len(plan.label_names) == 1 else "structure"
    shape = list(plan.patch)
    image = {"type": "image", "format": "magnitude", "modality": plan.modality,
             "num_channels": plan.n_channels, "spatial_shape": shape, "dtype": "float32",
             "value_range": [], "is_patch_data": True,
             "channel_def": {str(k): f"channel {k}" if plan.n_channels > 1 else "image"
                             for k in range(plan.n_channels)}}  # fmt: skip
    pred = {"type": "segmentation", "format": "segmentation",
            "num_channels": len(plan.label_names) + 1, "spatial_shape": shape,
            "dtype": "float32", "value_range": [], "is_patch_data": True,
            "channel_def": {"0": "background",
                            **{str(k): name for k, name in plan.label_names.items()}},
            }  # fmt: skip
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/"
        "0.8.1/meta_schema_20240725.json",
        "version": "0.1.0",
        "changelog": {"0.1.0": "trained"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch").split("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": {},
        "name": title,
        "task": f"Segmentation of {', '.join(plan.label_names.values())}",
        "description": f"Outlines {', '.join(plan.label_names.values())}; trained by its user.",
        "authors": "its user",
        "copyright": "its user",
        "intended_use": "Research. Not a medical device.",
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": pred}},
        "precimed": {
            "title": title,
            "task": "segmentation",
            "finding": finding,
            "license": "unstated",
            "recipe": "unet",
            "instances": len(plan.label_names) == 1,  # number the pieces of one kind of thing
        },
    }
