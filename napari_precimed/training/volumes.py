"""The recipe for a researcher's own scans: a 3D U-Net on crops, by class, with augmentation.

`unet` plans a new bundle from the scans. By the name of a built-in segmentation model, that model's
network and preprocessing are taken instead, so that its weights can be a start (``--init``).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.inferers import SlidingWindowInferer
from monai.losses import DiceCELoss
from numpy.typing import NDArray

from napari_precimed.errors import DatasetError
from napari_precimed.models.catalogue import ModelEntry, find, read_entry
from napari_precimed.models.inference import Engine, choose_engine, on_engine
from napari_precimed.training import volume_scores
from napari_precimed.training.cases import CaseSet, check_labels, read_cases, read_unlabelled
from napari_precimed.training.crops import CropSampler
from napari_precimed.training.fit import FitOptions
from napari_precimed.training.plan import plan_for, write_template
from napari_precimed.training.prepared import ReadyScan, make_ready
from napari_precimed.training.preprocessing import Preprocessing
from napari_precimed.training.scores import dice
from napari_precimed.training.split import Split
from napari_precimed.training.teacher import Batch, disagreement

_RARE_LOGIT = -3.0
_SIDES = ("left", "right")
_OPTIONS = FitOptions(steps=4000, batch_size=4, learning_rate=1e-3, patience=10)


@dataclass(frozen=True)
class ReadyData:
    """Scans that are ready, and the bundle that they are ready for.

    Attributes
    ----------
    cases : CaseSet
        Divided.
    ready : mapping of str to sequence of ReadyScan
        "train" and "validation".
    entry : ModelEntry
        The bundle to start from.
    patch : tuple of int
        (z, y, x) of the network's window.
    folder : Path
        Where scans are made ready.
    """

    cases: CaseSet
    ready: dict[str, list[ReadyScan]]
    entry: ModelEntry
    patch: tuple[int, int, int]
    folder: Path

    def __len__(self) -> int:
        return len(self.cases)

    def part(self, name: str) -> Sequence[ReadyScan]:
        """The scans of "train" or "validation"."""
        return self.ready[name]

    def split(self) -> Split:
        """Part -> the ids of its patients."""
        return self.cases.split()

    def without(self, patients: set[str]) -> CaseSet:
        """The scans of all other patients."""
        return self.cases.without(patients)

    @property
    def mirror(self) -> tuple[int, ...]:
        """Axes along which crops may be mirrored: not x where a label has a side."""
        sided = any(side in name.lower() for name in self.entry.labels.values() for side in _SIDES)
        return (0, 1) if sided else (0, 1, 2)


@dataclass(frozen=True)
class Volumes:
    """Trains on whole scans; see `napari_precimed.training.recipe.Recipe`.

    Parameters
    ----------
    base : str or None
        The built-in model whose network and preprocessing to take; None plans new ones.
    """

    base: str | None = None
    OPTIONS: FitOptions = _OPTIONS
    crops_per_case: int = 8

    def read(self, path: Path) -> CaseSet:
        """The scans at a path, not yet divided."""
        return read_cases(path)

    def prepare(
        self, data: CaseSet, folder: Path, name: str, say: Callable[[str], None]
    ) -> tuple[ReadyData, ModelEntry]:
        """Plan the bundle, unless it was planned before, and make the scans ready."""
        template = folder / "template" / name
        parts = {part: data.part(part) for part in ("train", "validation")}
        if not (template / "configs" / "metadata.json").is_file():
            say(f"looking at {sum(map(len, parts.values()))} scans")
            self._write_template(data, template, name)
        entry = read_entry(template)
        preprocessing = Preprocessing.of(template)
        every = [*parts["train"], *parts["validation"]]
        ready = make_ready(every, preprocessing, folder / "scans", say)
        n_train = len(parts["train"])
        divided = {"train": ready[:n_train], "validation": ready[n_train:]}
        z, y, x = json.loads((template / "configs" / "inference.json").read_text("utf-8"))[
            "inferer"
        ]["roi_size"]
        return ReadyData(data, divided, entry, (z, y, x), folder / "scans"), entry

    def _write_template(self, data: CaseSet, template: Path, name: str) -> None:
        cases = [*data.part("train"), *data.part("validation")]
        if self.base is None:
            write_template(plan_for(cases, data.label_names, data.modality), template, name)
            return
        entry = find(self.base)
        values = {}
        for case in cases:
            values[case.name] = np.unique(case.read().truth).tolist()
        if check_labels(values, data.label_names) > 1 or data.n_channels > 1:
            raise DatasetError(
                f"'{self.base}' sees one channel and outlines one kind of thing; these scans have "
                f"{data.n_channels} channels, and labels up to "
                f"{max(max(v) for v in values.values())}. Train `unet`."
            )
        Preprocessing.of(entry.folder)  # refuses what cannot be trained on
        shutil.copytree(entry.folder / "configs", template / "configs", dirs_exist_ok=True)
        _rename(template / "configs" / "metadata.json", name)

    def start(self, network: torch.nn.Module) -> None:
        """Let an untrained network start from "background", which is true of most voxels."""
        last = [m for m in network.modules() if isinstance(m, torch.nn.Conv3d)][-1]
        if last.bias is not None:
            with torch.no_grad():
                last.bias.fill_(_RARE_LOGIT)
                if len(last.bias) > 1:
                    last.bias[0] = 0.0

    def sampler(self, data: ReadyData, options: FitOptions) -> CropSampler:
        """Step -> batch, from the training patients."""
        return CropSampler(
            data.part("train"), data.patch, options.batch_size, options.seed, mirror=data.mirror
        )

    def unlabelled(
        self, path: Path, data: ReadyData, options: FitOptions, say: Callable[[str], None]
    ) -> CropSampler:
        """Step -> batch without labels, from scans of patients who are not held out."""
        cases = read_unlabelled(path, data.cases.n_channels)
        held_out = {p for part in ("validation", "test") for p in data.split()[part]}
        used = [case for case in cases.cases if case.patient not in held_out]
        if len(used) < len(cases):
            say(f"{len(cases) - len(used)} unlabelled scans left out: their patients are held out")
        if not used:
            raise DatasetError(f"All patients in {path} are held out for validation or test.")
        if cases.n_channels != data.cases.n_channels:
            raise DatasetError(
                f"The scans in {path} have {cases.n_channels} channels, the labelled ones "
                f"{data.cases.n_channels}; they must be alike."
            )
        ready = make_ready(used, Preprocessing.of(data.entry.folder), data.folder, say)
        return CropSampler(
            ready, data.patch, options.batch_size, options.seed + 1, mirror=data.mirror,
            with_labels=False,
        )  # fmt: skip

    def consistency(
        self, network: torch.nn.Module, teacher: torch.nn.Module, batch: Batch
    ) -> torch.Tensor:
        """How far the network disagrees with its average on scans without labels."""
        return disagreement(network, teacher, batch["image"])

    def loss_of(self, network: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """Dice plus cross-entropy."""
        logits = network(batch["image"].contiguous(memory_format=torch.channels_last_3d)).float()
        return _loss(logits.shape[1])(logits, batch["labels"])

    def validation(self, data: ReadyData) -> Callable[[torch.nn.Module], float]:
        """Network -> mean Dice over the labels of each validation scan, then over scans."""

        def score(network: torch.nn.Module) -> float:
            engine = choose_engine(next(network.parameters()).device.type)
            dices = [
                value
                for scan in data.part("validation")
                for value in _dices(predict_ready(network, scan, data.patch, engine), scan)
            ]
            return float(np.mean(dices)) if dices else 0.0

        return score

    def settings_of(self, network: torch.nn.Module, data: ReadyData) -> dict[str, Any]:
        """Its own name; a built-in model's tuning to its own lesions is not taken over."""
        loose = {"least_confidence": 0.5, "least_mm3": 0.0, "threshold": 0.5}
        kept = {k: v for k, v in loose.items() if k in data.entry.settings}
        return {"recipe": "unet", **kept}

    def picture(self, network: torch.nn.Module, data: ReadyData) -> NDArray[np.uint8]:
        """The fullest slice of a validation scan, truth in green, prediction in red."""
        scan = data.part("validation")[0]
        if scan.labels is None:
            raise DatasetError(f"The validation scan '{scan.name}' has no labels; add them.")
        found = predict_ready(network, scan, data.patch, choose_engine("cpu"))
        k = int((scan.labels > 0).sum(axis=(1, 2)).argmax())
        grey = np.asarray(scan.image[0, k], np.float32)
        low, high = np.percentile(grey, [1, 99])
        picture = np.clip((grey - low) / max(high - low, 1e-6) * 255, 0, 255).astype(np.uint8)
        coloured = np.stack([picture] * 3, -1)
        coloured[scan.labels[k] > 0, 1] = 255
        coloured[found[k] > 0, 0] = 255
        return coloured

    def evaluate(self, entry: ModelEntry, cases: CaseSet, engine: Engine) -> dict[str, Any]:
        """Dice, surfaces and lesions, label by label, on the scans' own grids."""
        return volume_scores.evaluate(entry, cases, engine)


def predict_ready(
    network: torch.nn.Module, scan: ReadyScan, patch: tuple[int, int, int], engine: Engine
) -> NDArray[np.uint8]:
    """Labels of a scan that is ready, shape (z, y, x), on the network's grid."""
    inferer = SlidingWindowInferer(
        patch, sw_batch_size=4, overlap=0.25, mode="gaussian", padding_mode="replicate"
    )
    image = torch.from_numpy(np.asarray(scan.image, np.float32))[None].to(engine.device)
    with engine.running():
        logits = inferer(image, on_engine(network, engine))[0].float()  # type: ignore[index,union-attr]
    found = logits[0] > 0 if len(logits) == 1 else logits.argmax(0)
    return found.cpu().numpy().astype(np.uint8)


def _dices(found: NDArray[np.uint8], scan: ReadyScan) -> list[float]:
    """Dice of each label that is in the scan; of a scan without any, whether nothing was found."""
    truth = np.asarray(scan.labels)
    present = [int(v) for v in np.unique(truth) if v]
    if not present:
        return [float(not found.any())]
    return [dice(found == value, truth == value) for value in present]


def _loss(n_outputs: int) -> DiceCELoss:
    one = n_outputs == 1
    return DiceCELoss(
        include_background=one, sigmoid=one, softmax=not one, to_onehot_y=not one,
        smooth_nr=1.0, smooth_dr=1.0,
    )  # fmt: skip


def _rename(file: Path, title: str) -> None:
    values = json.loads(file.read_text(encoding="utf-8"))
    values["name"] = values["precimed"]["title"] = title
    values["description"] = f"{values['description'].rstrip('.')}; trained on by its user."
    values["precimed"]["license"] = "unstated"
    file.write_text(json.dumps(values, indent=4, ensure_ascii=False) + "\n", encoding="utf-8")
