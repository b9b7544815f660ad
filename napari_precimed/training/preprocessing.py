"""A bundle's own preprocessing, as its configuration lists it, on scans that our readers read.

Only the transforms named here are known, with plain arguments; the rest of a configuration is not
looked at, so that nothing in it can run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai import transforms
from monai.data import MetaTensor
from numpy.typing import NDArray

from napari_precimed.core.geometry import Geometry
from napari_precimed.errors import BundleError
from napari_precimed.training.cases import Scan

_SPATIAL = ("Orientationd", "Spacingd")
_INTENSITY = ("ScaleIntensityRanged", "NormalizeIntensityd")
_OURS_ALREADY = ("LoadImaged", "EnsureChannelFirstd", "EnsureTyped")
_RAS_OF_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_IMAGE, _LABELS, _PRED = "image", "labels", "pred"


class Preprocessing:
    """Scan -> what the network sees, and the way back.

    Parameters
    ----------
    listed : sequence of mapping
        MONAI transforms with their arguments, as ``preprocessing`` in a bundle lists them.
    name : str
        Of the bundle, for messages.

    Raises
    ------
    BundleError
        If the list holds a transform that is not known here.
    """

    def __init__(self, listed: Sequence[Mapping[str, Any]], name: str) -> None:
        self.listed = [dict(each) for each in listed if each["_target_"] not in _OURS_ALREADY]
        for each in self.listed:
            if each["_target_"] not in _SPATIAL + _INTENSITY:
                raise BundleError(
                    f"The preprocessing of '{name}' has '{each['_target_']}'; scans of your own "
                    f"can be trained on with {', '.join(_SPATIAL + _INTENSITY)}. Train `unet`."
                )

    @classmethod
    def of(cls, folder: Path) -> Preprocessing:
        """That of the bundle in a folder."""
        try:
            config = json.loads((folder / "configs" / "inference.json").read_text("utf-8"))
            return cls(config["preprocessing"]["transforms"], folder.name)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleError(
                f"'{folder.name}' has no readable preprocessing in its inference.json: {error}"
            ) from error

    @cached_property
    def _of_image(self) -> transforms.Compose:
        return transforms.Compose([_made(each, _IMAGE) for each in self.listed])

    @cached_property
    def _of_labels(self) -> transforms.Compose:
        moving = [each for each in self.listed if each["_target_"] in _SPATIAL]
        return transforms.Compose([_made(each, _LABELS, nearest=True) for each in moving])

    def image(self, scan: Scan) -> MetaTensor:
        """The network's input, shape (channel, z, y, x), float32."""
        image = _tensor(scan.channels, scan.volume.geometry)
        return self._of_image({_IMAGE: image})[_IMAGE]

    def labels(self, scan: Scan) -> NDArray[np.uint8]:
        """The labels on the input's grid, shape (z, y, x)."""
        labels = _tensor(scan.truth[None].astype(np.float32), scan.volume.geometry)
        return self._of_labels({_LABELS: labels})[_LABELS][0].numpy().astype(np.uint8)

    def undo(self, probability: torch.Tensor, image: MetaTensor) -> NDArray[np.float32]:
        """Probabilities (output, z, y, x) on the input's grid -> the same on the scan's grid."""
        back = transforms.Invertd(
            keys=_PRED,
            transform=self._of_image,
            orig_keys=_IMAGE,
            nearest_interp=False,
            to_tensor=True,
        )
        return back({_PRED: MetaTensor(probability, meta=image.meta), _IMAGE: image})[_PRED].numpy()


def _tensor(array: NDArray[np.float32], geometry: Geometry) -> MetaTensor:
    """MONAI's tensor on our grid: its worlds are RAS, ours LPS."""
    affine = torch.from_numpy(_RAS_OF_LPS @ geometry.affine)
    meta = {"original_affine": affine, "spatial_shape": np.asarray(geometry.shape), "space": "RAS"}
    return MetaTensor(torch.from_numpy(np.ascontiguousarray(array)), affine=affine, meta=meta)


def _made(listed: Mapping[str, Any], key: str, *, nearest: bool = False) -> Any:
    arguments = {k: v for k, v in listed.items() if k not in ("_target_", "keys")}
    if listed["_target_"] == "Orientationd":
        arguments.setdefault("labels", None)  # MONAI warns where its new default is not named
    if nearest and listed["_target_"] == "Spacingd":
        arguments["mode"] = "nearest"
    return getattr(transforms, listed["_target_"])(keys=key, **arguments)
