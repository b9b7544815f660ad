"""Every figure of the README's table of models, each on patients or genes its training never saw.

Run: python benchmarks/models.py [folder of the shared data] [--only MODEL ...]

After the table come scans that are unlike the training data, one by one: a whole chest CT with one
tumour, a FLAIR scan of multiple sclerosis and one of a high-grade glioma.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from scipy import ndimage

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
COMMANDS = {
    "lung-nodule": ("napari_precimed", "imaging"),
    "lung-nodule-malignancy": ("napari_precimed", "imaging"),
    "brain-flair-lesion": ("napari_precimed", "imaging"),
    "tumour-slice": ("napari_precimed", "imaging"),
    "glioma-grade": ("napari_precimed", "imaging"),
    "missense-lstm": ("genomics", "genomics"),
}
VOLUMES = Path("imaging") / "volumes"
MS = VOLUMES / "brain_flair_ms"
BRATS = VOLUMES / "brats2015" / "brats_2013_pat0005_1"
UNLIKE = {
    "multiple sclerosis, 1 mm": (
        MS / "FLAIR_N4_noneck_reduced_winsor_regtoFLAIR_brain_N4_regtoMNI.nii.gz",
        MS / "GOLD_STANDARD_N4_noneck_reduced_winsor_regtoFLAIR_regtoMNI.nii.gz",
    ),
    "high-grade glioma (BraTS 2015), 1 mm": (
        BRATS / "Flair_subtrMeanDivStd.nii.gz",
        BRATS / "OTMultiClass.nii.gz",
    ),
}
CHEST = (
    VOLUMES / "chest_ct_ibsi" / "nifti" / "image" / "phantom.nii.gz",
    VOLUMES / "chest_ct_ibsi" / "nifti" / "mask" / "mask.nii.gz",
)


def evaluate(module: str, model: str, data: Path) -> dict:
    command = [sys.executable, "-m", module, "evaluate", model, "--data", str(data), "--json"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def segment(model: str, image: Path) -> np.ndarray:
    """Labels (z, y, x) in the file's own order, by the command line."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "labels.nii.gz"
        command = [sys.executable, "-m", "napari_precimed", "segment", str(image)]
        command += ["--model", model, "-o", str(out)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return read(out)


def read(file: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(file)))


def print_table(shared: Path, names: list[str]) -> None:
    print("| model | metric | value | 95 % interval | cases | patients or genes |")
    print("|---|---|---|---|---|---|")
    for model in names:
        module, folder = COMMANDS[model]
        figures = evaluate(module, model, shared / folder)
        groups = figures["n"].get("patients", figures["n"].get("genes"))
        for name, figure in figures["metrics"].items():
            low, high = figure["ci95"]
            value = "unknown" if figure["value"] is None else f"{figure['value']:.3f}"
            interval = "" if low is None else f"{low:.3f} to {high:.3f}"
            print(
                f"| `{model}` | {name} | {value} | {interval} "
                f"| {figure['n']} | {figure.get('patients', groups)} |",
                flush=True,
            )


def print_unlike(shared: Path) -> None:
    for name, (image, mask) in UNLIKE.items():
        found, truth = segment("brain-flair-lesion", shared / image) > 0, read(shared / mask) > 0
        dice = 2 * (found & truth).sum() / (found.sum() + truth.sum())
        print(f"brain-flair-lesion on {name} (1 patient): Dice {dice:.3f}", flush=True)


def print_whole_ct(shared: Path) -> None:
    image, mask = CHEST
    found, tumour = segment("lung-nodule", shared / image), read(shared / mask) > 0
    listed = set(np.unique(found)) - {0}
    true = set(np.unique(found[tumour])) - {0}
    near = set(np.unique(found[ndimage.binary_dilation(tumour, iterations=3)])) - {0} - true
    print(
        f"lung-nodule on a whole chest CT (1 patient, one 9 cm tumour): {len(listed)} listed, "
        f"{len(true)} on the tumour, {len(near)} within 3 voxels of it, "
        f"{len(listed - true)} false positives (those nearby included)",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shared", nargs="?", type=Path, default=SHARED)
    parser.add_argument("--only", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    options = parser.parse_args()
    print_table(options.shared, options.only)
    if "brain-flair-lesion" in options.only:
        print_unlike(options.shared)
    if "lung-nodule" in options.only:
        print_whole_ct(options.shared)


if __name__ == "__main__":
    main()
