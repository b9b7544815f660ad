"""All panels at once, as they fit a small screen: patient and segmenting in tabs, lesions below."""

from __future__ import annotations

from napari import Viewer
from qtpy.QtCore import Qt

PLUGIN = "napari-precimed"
PATIENT, SEGMENT, LESIONS = "Patient and variants", "Segment", "Lesions"
_HEIGHTS_PX, _WIDTH_PX = [440, 290], 440
"""Wide enough for a lesion's class and how sure its outline is."""


def open_desk(viewer: Viewer) -> None:
    """Open the three panels beside the picture; those that are open stay where they are."""
    viewer.window.add_plugin_dock_widget(PLUGIN, SEGMENT)
    patient, _ = viewer.window.add_plugin_dock_widget(PLUGIN, PATIENT, tabify=True)
    lesions, _ = viewer.window.add_plugin_dock_widget(PLUGIN, LESIONS)
    patient.raise_()
    patient.window().resizeDocks([patient, lesions], _HEIGHTS_PX, Qt.Vertical)
    lesions.window().resizeDocks([lesions], [_WIDTH_PX], Qt.Horizontal)
