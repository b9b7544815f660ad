"""The recipe of the article's CNN, to the letter, for comparison with `tumour-slice`.

Input 256 x 256 x 3; 32 kernels of 3 x 3, ReLU, max-pooling by 2; 64 kernels of 3 x 3, ReLU,
max-pooling by 2; a dense layer of 128, ReLU; a dense layer of 1. Adam on binary cross-entropy, no
remedy against the small data set. The sigmoid at its end is left to the loss and to the
calibration, which take logits. Its weights are not shipped: 63 MB, and see ``docs/small-data.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from napari_precimed.models.catalogue import ModelEntry
from napari_precimed.models.inference import Engine
from napari_precimed.training import tumour_slice
from napari_precimed.training.fit import Batch, FitOptions
from napari_precimed.training.lgg import Glioma, Gliomas
from napari_precimed.training.slices import SliceSampler, stack_of

TEMPLATE = Path(__file__).parent / "templates" / "article-cnn"
"""The bundle without weights that a training fills."""
PARAMETERS = 31_509_697
OPTIONS = FitOptions(
    steps=600,
    batch_size=16,
    learning_rate=1e-3,  # Adam's own default
    weight_decay=0.0,  # without it, AdamW is Adam
    warmup_steps=1,
    ema_decay=0.0,
    validate_every=100,
    patience=6,
)

read = tumour_slice.read
start = tumour_slice.start
n_cases = tumour_slice.n_cases
loss_of = tumour_slice.label_loss
validation = tumour_slice.validation


def sampler(data: Gliomas, options: FitOptions) -> Callable[[int], Batch]:
    """Step -> batch of slices as they are, from the training patients."""
    stacks = [stack_of(case) for case in data.part("train")]
    return SliceSampler(stacks, options.batch_size, options.seed, augment=False)


def settings_of(network: torch.nn.Module, data: Gliomas) -> dict[str, Any]:
    """Calibration, threshold and abstain band, from the validation patients."""
    return tumour_slice.settings_of(network, data)


def evaluate(entry: ModelEntry, cases: Sequence[Glioma], engine: Engine) -> dict[str, Any]:
    """The same figures as for `tumour-slice`."""
    return tumour_slice.evaluate(entry, cases, engine)
