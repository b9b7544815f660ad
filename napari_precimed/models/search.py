"""Look for lesions all over a scan: where, with which network, and what counts as one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from monai.inferers import Inferer
from monai.utils import convert_to_dst_type
from numpy.typing import NDArray

from napari_precimed.core.geometry import Geometry
from napari_precimed.core.volume import Volume
from napari_precimed.errors import InputError
from napari_precimed.models.inference import Engine, Progress, choose_engine, slide
from napari_precimed.models.labelling import CandidateRules, label_lesions, outline_candidates
from napari_precimed.models.lungs import lung_mask
from napari_precimed.models.outline import Outlines
from napari_precimed.models.preprocess import HU_RANGE

_MARGIN = 24  # voxels around the region searched, so that its edge is seen in context


@dataclass(frozen=True, eq=False)
class Search:
    """One run of one model on one scan: a probability at each voxel, then lesions.

    A bundle of two networks, "finder" and "outliner", looks for candidates with the first and
    outlines each by both.

    Attributes
    ----------
    array : ndarray of float32, shape (z, y, x)
        Grey values, HU on a CT.
    region : ndarray of bool, shape (z, y, x), or None
        Where a lesion must reach.
    voxel_mm3 : float
    settings : mapping
        Of the bundle, under "precimed" in its metadata.
    network : torch.nn.Module
    engine : Engine
    progress, cancelled : callable, optional
    """

    array: NDArray[np.float32]
    region: NDArray[np.bool_] | None
    voxel_mm3: float
    settings: Mapping[str, Any]
    network: torch.nn.Module
    engine: Engine
    progress: Progress | None = None
    cancelled: Callable[[], bool] | None = None

    def probability(self) -> NDArray[np.float32]:
        """On the volume's grid; only the region's surroundings are computed."""
        found = np.zeros(self.array.shape, np.float32)
        if self._nowhere:
            return found
        box = self._box
        z, y, x = self.settings["tile"]
        finder = self.network["finder"] if self._two_stages else self.network  # type: ignore[index]
        found[box] = slide(
            finder,
            self._image,
            self.engine,
            tile=(z, y, x),
            overlap=float(self.settings.get("overlap", 0.5)),
            wanted=None if self.region is None else self.region[box],
            progress=self.progress,
            cancelled=self.cancelled,
        )
        return found

    def lesions(self, probability: NDArray[np.float32]) -> tuple[NDArray[np.int32], dict]:
        """Numbered lesions on the volume's grid, and the confidence of each."""
        settings, voxel_mm3 = self.settings, self.voxel_mm3
        if self._nowhere:
            return np.zeros(probability.shape, np.int32), {}
        if not self._two_stages:
            return label_lesions(
                probability,
                self.region,
                voxel_mm3,
                threshold=float(settings.get("threshold", 0.5)),
                least_confidence=float(settings.get("least_confidence", 0.5)),
                least_mm3=float(settings.get("least_mm3", 0.0)),
            )
        box, region = self._box, self.region
        found, confidence = outline_candidates(
            self._image,
            probability[box],
            None if region is None else region[box],
            outlines_of(settings, self.network, self.engine),
            voxel_mm3,
            CandidateRules(**settings["candidates"]),
            progress=self.progress,
            cancelled=self.cancelled,
        )
        labels = np.zeros(probability.shape, np.int32)
        labels[box] = found
        return labels, confidence

    @property
    def _nowhere(self) -> bool:
        return self.region is not None and not self.region.any()

    @property
    def _two_stages(self) -> bool:
        return isinstance(self.network, torch.nn.ModuleDict)

    @cached_property
    def _box(self) -> tuple[slice, ...]:
        return _bounding_box(self.region, self.array.shape)

    @cached_property
    def _image(self) -> NDArray[np.float32]:
        return np.clip(self.array[self._box], *HU_RANGE).astype(np.float32)


def outlines_of(settings: Mapping[str, Any], network: torch.nn.Module, engine: Engine) -> Outlines:
    """The networks of a two-stage bundle, with the settings that it was validated with."""
    return Outlines.of(
        network,
        engine,
        threshold=float(settings["threshold"]),
        finder_share=float(settings["finder_share"]),
    )


def search_region(
    settings: Mapping[str, Any], volume: Volume
) -> tuple[NDArray[np.bool_] | None, list[str]]:
    """Where a bundle looks for lesions in a scan, None for everywhere; and what to warn of.

    Raises
    ------
    InputError
        If it searches the lungs, and a scan of unknown modality shows none.
    """
    if settings.get("region") != "lungs":
        return None, []
    region = lung_mask(volume.array, volume.geometry.spacing_mm)
    if region.any():
        return region, []
    if volume.modality is None:
        raise InputError(
            "No lungs were found in this scan, and its file does not say that it is a CT; the "
            "model needs a chest CT in Hounsfield units."
        )
    return region, ["No lungs were found in this scan, so no part of it was searched."]


class LesionInferer(Inferer):
    """The same search as a step of a MONAI workflow: a CT in, numbered lesions out.

    Parameters
    ----------
    settings : mapping
        The bundle's, "@_meta_::precimed" in its config.
    device : str
    """

    def __init__(self, settings: Mapping[str, Any], device: str = "auto") -> None:
        super().__init__()
        self.settings = settings
        self.device = device

    def __call__(  # type: ignore[override]
        self, inputs: torch.Tensor, network: torch.nn.Module, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Labels of shape (1, 1, z, y, x) from a `MetaTensor` of that shape, axes S, P, L."""
        affine = np.array(inputs.affine, np.float64).reshape(-1, 4, 4)[0]  # type: ignore[attr-defined]
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        array = np.asarray(inputs.detach().cpu(), np.float32)[0, 0]
        volume = Volume(array, Geometry.from_parts(array.shape, spacing.tolist()), modality="CT")
        region, _ = search_region(self.settings, volume)
        voxel_mm3 = float(abs(np.linalg.det(affine[:3, :3])))
        search = Search(
            array, region, voxel_mm3, self.settings, network, choose_engine(self.device)
        )
        labels, _ = search.lesions(search.probability())
        found = torch.from_numpy(labels[None, None].astype(np.float32))
        return convert_to_dst_type(found, inputs)[0]  # or MONAI could not bring it back


def _bounding_box(region: NDArray[np.bool_] | None, shape: tuple[int, ...]) -> tuple[slice, ...]:
    if region is None:
        return tuple(slice(0, n) for n in shape)
    box = []
    for axis in range(3):
        used = np.flatnonzero(region.any(axis=tuple(a for a in range(3) if a != axis)))
        box.append(slice(max(0, used[0] - _MARGIN), min(shape[axis], used[-1] + 1 + _MARGIN)))
    return tuple(box)
