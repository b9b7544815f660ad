"""Small MONAI bundles in the style of the public model zoo, with random weights."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_precimed.models.bundle import build_network

DEVICE = "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')"
"""As the zoo writes it."""

KEY = "@image_key"


def unet(inputs: int = 1, outputs: int = 2) -> dict[str, Any]:
    return {
        "_target_": "UNet",
        "spatial_dims": 3,
        "in_channels": inputs,
        "out_channels": outputs,
        "channels": [4, 8],
        "strides": [2],
        "num_res_units": 1,
        "norm": "batch",
    }


def organ_config(**changes: Any) -> dict[str, Any]:
    """In the manner of the zoo's CT organ models: resampled, softmax, inverted, argmax, saved."""
    config = {
        "imports": ["$import glob", "$import os"],
        "bundle_root": ".",
        "image_key": "image",
        "image": "",
        "output_dir": "$@bundle_root + '/eval'",
        "output_dtype": "$numpy.float32",
        "device": DEVICE,
        "datalist": "$list(sorted(glob.glob(@bundle_root + '/*.nii.gz')))",
        "network_def": unet(),
        "network": "$@network_def.to(@device)",
        "preprocessing": compose(
            {"_target_": "LoadImaged", "keys": KEY},
            {"_target_": "EnsureChannelFirstd", "keys": KEY},
            {"_target_": "Orientationd", "keys": KEY, "axcodes": "RAS"},
            {"_target_": "Spacingd", "keys": KEY, "pixdim": [1.5, 1.5, 2.0], "mode": "bilinear"},
            {
                "_target_": "ScaleIntensityRanged",
                "keys": KEY,
                "a_min": -57,
                "a_max": 164,
                "b_min": 0,
                "b_max": 1,
                "clip": True,
            },
            {"_target_": "EnsureTyped", "keys": KEY},
        ),
        "dataset": {
            "_target_": "Dataset",
            "data": [{"image": "@image"}],
            "transform": "@preprocessing",
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1},
        "inferer": sliding(),
        "postprocessing": compose(
            {"_target_": "Activationsd", "keys": "pred", "softmax": True},
            inverted(),
            {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
            {
                "_target_": "SaveImaged",
                "keys": "pred",
                "output_dir": "@output_dir",
                "output_dtype": "@output_dtype",
                "resample": False,
            },
        ),
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
            "amp": True,
        },
        "initialize": ["$setattr(torch.backends.cudnn, 'benchmark', True)"],
        "run": ["$@evaluator.run()"],
    }
    return {**deepcopy(config), **changes}


def compose(*transforms: Any) -> dict[str, Any]:
    return {"_target_": "Compose", "transforms": list(transforms)}


def sliding(**changes: Any) -> dict[str, Any]:
    return {
        "_target_": "SlidingWindowInferer",
        "roi_size": [16, 16, 16],
        "sw_batch_size": 2,
        "overlap": 0.5,
        **changes,
    }


def inverted(*, nearest: bool = False) -> dict[str, Any]:
    return {
        "_target_": "Invertd",
        "keys": "pred",
        "transform": "@preprocessing",
        "orig_keys": KEY,
        "nearest_interp": nearest,
        "to_tensor": True,
    }


def metadata(
    outputs: dict[int, str] | None = None,
    inputs: dict[int, str] | None = None,
    modality: str = "CT",
    ours: dict[str, Any] | None = None,
) -> dict[str, Any]:
    outputs = outputs or {0: "background", 1: "spleen"}
    inputs = inputs or {0: "image"}
    image = {"type": "image", "format": "hounsfield", "modality": modality}
    values = {
        "version": "0.5.0",
        "monai_version": "1.4.0",
        "task": "Segmentation of a toy",
        "network_data_format": {
            "inputs": {"image": {**image, "num_channels": len(inputs), "channel_def": inputs}},
            "outputs": {
                "pred": {
                    "type": "image",
                    "format": "segmentation",
                    "num_channels": len(outputs),
                    "channel_def": outputs,
                }
            },
        },
    }
    return {**values, "precimed": ours} if ours else values


def write_bundle(
    folder: Path, config: dict[str, Any], meta: dict[str, Any], *, bias: list[float] | None = None
) -> Path:
    """A bundle with random weights; `bias` makes some of its outputs likelier than others."""
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs" / "metadata.json").write_text(json.dumps(meta))
    (folder / "configs" / "inference.json").write_text(json.dumps(config))
    torch.manual_seed(5)
    network = build_network(folder, trusted=False)
    state = network.state_dict()
    if bias is not None:
        name = [key for key in state if key.endswith("bias")][-1]
        state[name] = torch.tensor(bias)
    torch.save(state, folder / "models" / "model.pt")
    return folder


def make_even(folder: Path, probability: np.ndarray) -> None:
    """Shift the last output so that half of what it said of a scan becomes likelier than not."""
    file = folder / "models" / "model.pt"
    state = torch.load(file, weights_only=True)
    name = [key for key in state if key.endswith("bias")][-1]
    middle = float(np.median(probability))
    state[name][-1] -= float(np.log(middle / (1 - middle)))
    torch.save(state, file)
