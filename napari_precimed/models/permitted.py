"""Which classes a bundle from elsewhere may name, and with which arguments.

Networks, deterministic transforms and inferers: what a prediction is made of. Not among them is
what reads or writes files, fetches weights, looks a class up by a name given as text, or calls
what it is given. Functions are never allowed, since a function does its work when it is named.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from inspect import Parameter, signature
from pydoc import locate
from typing import Any

import torch

_DOTTED = re.compile(r"[A-Za-z]\w*(?:\.[A-Za-z]\w*)+")
_NETWORK_HOMES = (
    "monai.networks.nets.",
    "monai.networks.blocks.",
    "monai.networks.layers.",
    "torch.nn.modules.",
)
_NO_NETWORKS = (
    "monai.networks.nets.transchex",  # fetches a language model
    "monai.networks.nets.cell_sam_wrapper",  # reads a checkpoint of its own
    "monai.networks.blocks.hyena",  # builds what a configuration of its own names
)
_SHORT_NAMES = (
    "monai.transforms",
    "monai.inferers",
    "monai.networks.nets",
    "monai.networks.blocks",
    "monai.networks.layers",
)
_FETCHES = re.compile(r"pretrained|weights|^checkpoint$|^url$|_url$")
"""Arguments by which a network takes weights from elsewhere; ours come from the bundle."""

_TRANSFORMS = set(
    """
    Activations AddCoordinateChannels AdjustContrast Affine AsChannelLast AsDiscrete BorderPad
    BoundingRect CastToType CenterScaleCrop CenterSpatialCrop ClipIntensityPercentiles ConcatItems
    ConvertToMultiChannelBasedOnBratsClasses CopyItems CropForeground DeleteItems
    DistanceTransformEDT DivisiblePad EnsureType FillHoles Flip ForegroundMask FromMetaTensor
    GaussianSharpen GaussianSmooth HistogramNormalize Identity Invert
    KeepLargestConnectedComponent LabelFilter LabelToContour LabelToMask Lambda MapLabelValue
    MaskIntensity MeanEnsemble MedianSmooth NormalizeIntensity Orientation RemoveRepeatedChannel
    RemoveSmallObjects RepeatChannel Resize ResizeWithPadOrCrop Rotate Rotate90
    SavitzkyGolaySmooth ScaleIntensity ScaleIntensityRange ScaleIntensityRangePercentiles
    SelectItems ShiftIntensity SobelGradients Spacing SpatialCrop SpatialPad SpatialResample
    SplitDim SqueezeDim StdShiftIntensity ThresholdIntensity ToMetaTensor ToTensor Transpose
    VoteEnsemble Zoom
    """.split()  # noqa: SIM905 - a list of 60 lines says no more
)
_INFERERS = frozenset(
    ("SimpleInferer", "SlidingWindowInferer", "SlidingWindowInfererAdapt", "SliceInferer")
)
_OURS = "napari_precimed.models.search.LesionInferer"
"""Our own search, which the bundles that users train from ours name too."""


def permitted_class(target: Any) -> type | None:
    """The class that a ``_target_`` names, None where it may not be named.

    A name without a module is one of MONAI's, as in MONAI itself.
    """
    if not isinstance(target, str):
        return None
    found = _short(target) if target.isidentifier() else _dotted(target)
    return found if isinstance(found, type) and _is_permitted(found) else None


def fetched(found: type, arguments: Mapping[str, Any]) -> list[str]:
    """The arguments by which a network would take weights from elsewhere, as "name=value".

    Parameters
    ----------
    found : type
    arguments : mapping of str to Any
        As the configuration gives them; a default counts where one is not given.
    """
    if not issubclass(found, torch.nn.Module):
        return []
    given = {
        name: parameter.default
        for name, parameter in signature(found).parameters.items()
        if parameter.default is not Parameter.empty
    }
    given.update(arguments)
    return [
        f"{name}={value!r}"
        for name, value in given.items()
        if _FETCHES.search(name) and value not in (None, False, "")
    ]


def is_part_of_torch(found: type) -> bool:
    """Whether it is one of torch's own layers."""
    return found.__module__.startswith("torch.nn.modules.")


def _is_permitted(found: type) -> bool:
    home = f"{found.__module__}."
    if issubclass(found, torch.nn.Module):
        return home.startswith(_NETWORK_HOMES) and not home.startswith(_NO_NETWORKS)
    if home.startswith("monai.transforms."):
        return found.__name__ == "Compose" or found.__name__.removesuffix("d") in _TRANSFORMS
    if f"{home}{found.__name__}" == _OURS:
        return True
    return home.startswith("monai.inferers.") and found.__name__ in _INFERERS


def _short(name: str) -> Any:
    for home in _SHORT_NAMES:
        found = getattr(importlib.import_module(home), name, None)
        if isinstance(found, type):
            return found
    return None


def _dotted(name: str) -> Any:
    # only names that can be allowed are looked up: looking one up imports its modules
    prefixes = (*_SHORT_NAMES, "torch.nn")
    known = name == _OURS or name.startswith(tuple(f"{p}." for p in prefixes))
    if not _DOTTED.fullmatch(name) or not known:
        return None
    try:
        return locate(name)
    except Exception:  # pydoc wraps whatever a module raises while it is imported
        return None
