"""Make docs/images/*.png from the real window: ``python docs/screenshots.py``.

Needs a display (or ``xvfb-run``). Runs the built-in models on the synthetic patient.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
SIZE_PX = (1280, 800)
sys.path.insert(0, str(ROOT))


def main() -> None:
    """Take every picture, in a database and a settings file that are thrown away."""
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["PRECIMED_DATABASE"] = f"sqlite:///{scratch}/cases.sqlite"
        os.environ["NAPARI_CONFIG"] = f"{scratch}/settings.yaml"
        IMAGES.mkdir(parents=True, exist_ok=True)
        take_pictures(Path(scratch))


def take_pictures(scratch: Path) -> None:
    """Open the window, work through the synthetic patient, and keep what is on the screen."""
    import napari
    from npe2 import PluginManager, PluginManifest
    from qtpy.QtCore import Qt
    from qtpy.QtWidgets import QDockWidget

    from genomics.synthetic import write_synthetic_case
    from napari_precimed.ui.desk import LESIONS, PATIENT, PLUGIN, SEGMENT, open_desk

    plugins = PluginManager.instance()
    plugins.discover()
    if PLUGIN not in {manifest.name for manifest in plugins.iter_manifests()}:
        plugins.register(PluginManifest.from_file(ROOT / "napari_precimed" / "napari.yaml"))
    viewer = napari.Viewer(title="napari-precimed")
    viewer.window.resize(*SIZE_PX)
    open_desk(viewer)
    panels = {
        name: viewer.window.add_plugin_dock_widget(PLUGIN, name)[1]
        for name in (PATIENT, SEGMENT, LESIONS)
    }

    def keep(name: str) -> None:
        live(1.0)
        viewer.window.screenshot(str(IMAGES / f"{name}.png"), flash=False)

    def raise_tab(name: str) -> None:
        live(0.5)  # a tab can be raised only after the docks have been laid out
        for dock in panels[name].window().findChildren(QDockWidget):
            if dock.isAncestorOf(panels[name]):
                dock.raise_()

    viewer.open_sample(PLUGIN, "phantom_ct")
    raise_tab(SEGMENT)
    viewer.reset_view()  # the docks have their sizes only now
    segment, lesions, patient = panels[SEGMENT], panels[LESIONS], panels[PATIENT]
    segment.run.click()
    wait(lambda: segment.progress.bar.maximum() > 0 or not segment.progress.running)
    keep("segmenting")
    wait(lambda: not segment.progress.running)
    lesions.table.sortByColumn(1, Qt.DescendingOrder)
    lesions.table.selectRow(0)
    viewer.scene.camera.zoom *= 1.6
    keep("lesions")
    lesions.trust.explain.click()
    wait(lambda: not lesions.progress.running)
    keep("explained")
    viewer.layers.remove(next(layer for layer in viewer.layers if "saliency" in layer.name))
    files = write_synthetic_case(scratch, "PHANTOM-01")
    patient.variants.reference.choose(files.fasta)
    patient.variants.genes.choose(files.gff3)
    raise_tab(PATIENT)
    patient.variants.load_vcf(files.vcf)
    wait(lambda: not patient.variants.progress.running)
    table = patient.variants.table
    rows = range(table.model().rowCount())
    table.selectRow(next(row for row in rows if table.record_at(row).score is not None))
    keep("window")
    viewer.theme = "light"
    keep("window-light")
    viewer.close()


def live(seconds: float) -> None:
    """Let the window work for a while."""
    end = time.monotonic() + seconds
    wait(lambda: time.monotonic() > end)


def wait(true: Callable[[], bool]) -> None:
    """Let the window work until something is true."""
    from qtpy.QtWidgets import QApplication

    while not true():
        QApplication.processEvents()
        time.sleep(0.01)


if __name__ == "__main__":
    main()
