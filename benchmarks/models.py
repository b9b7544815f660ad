"""Every figure of the README's table of models, each on patients or genes its training never saw.

Run: python benchmarks/models.py [folder of the shared data]
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
COMMANDS = {
    "lung-nodule": ("napari_precimed", "imaging"),
    "lung-nodule-malignancy": ("napari_precimed", "imaging"),
    "tumour-slice": ("napari_precimed", "imaging"),
    "glioma-grade": ("napari_precimed", "imaging"),
    "missense-lstm": ("genomics", "genomics"),
}


def evaluate(module: str, model: str, data: Path) -> dict:
    command = [sys.executable, "-m", module, "evaluate", model, "--data", str(data), "--json"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def main() -> None:
    shared = Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED
    print("| model | metric | value | 95 % interval | cases | patients or genes |")
    print("|---|---|---|---|---|---|")
    for model, (module, folder) in COMMANDS.items():
        figures = evaluate(module, model, shared / folder)
        groups = figures["n"].get("patients", figures["n"].get("genes"))
        for name, figure in figures["metrics"].items():
            low, high = figure["ci95"]
            print(
                f"| `{model}` | {name} | {figure['value']:.3f} | {low:.3f} to {high:.3f} "
                f"| {figure['n']} | {figure.get('patients', groups)} |"
            )


if __name__ == "__main__":
    main()
