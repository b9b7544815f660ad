"""A panel that scrolls where the screen is too small for it, instead of pushing others out."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget


def fill(panel: QWidget, inside: QWidget) -> None:
    """Put `inside` into `panel`, scrolling up and down as needed, never sideways."""
    area = QScrollArea(panel)
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarAlwaysOff)
    area.setWidget(inside)
    layout = QVBoxLayout(panel)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.addWidget(area)
    panel.setMinimumWidth(inside.minimumSizeHint().width())
