"""Which scan is which channel, for a model whose input has several; nothing to see for others."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtWidgets import QComboBox, QFormLayout, QWidget

from napari_precimed.core.volume import Volume
from napari_precimed.ui.layers import volume_name


class ChannelChoosers(QWidget):
    """One scan chooser per input channel; hidden where a model takes one scan."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._form = QFormLayout(self)
        self._form.setContentsMargins(0, 0, 0, 0)
        self._form.setFieldGrowthPolicy(QFormLayout.AllNonFixedFieldsGrow)
        self._volumes: tuple[Volume, ...] = ()
        self.boxes: dict[str, QComboBox] = {}
        self.hide()

    def ask_for(self, channels: Sequence[str]) -> None:
        """Show a chooser for each of these channels, if there are several."""
        names = tuple(channels) if len(channels) > 1 else ()
        if names == tuple(self.boxes):
            return
        while self._form.rowCount():
            self._form.removeRow(0)
        self.boxes = {name: _box(name) for name in names}
        for name, box in self.boxes.items():
            self._form.addRow(name, box)
        self._fill()
        self.setVisible(bool(names))

    def offer(self, volumes: Sequence[Volume]) -> None:
        """Let the user choose among these scans; what was chosen stays so where it is left."""
        self._volumes = tuple(volumes)
        self._fill()

    def chosen(self) -> dict[str, Volume]:
        """The scan of each channel; empty for a model of one."""
        return {name: box.currentData() for name, box in self.boxes.items() if box.count()}

    def _fill(self) -> None:
        for row, (name, box) in enumerate(self.boxes.items()):
            before = box.currentData()
            box.clear()
            for volume in self._volumes:
                box.addItem(volume_name(volume), volume)
            kept = next((k for k, v in enumerate(self._volumes) if v is before), None)
            box.setCurrentIndex(_likely(name, row, self._volumes) if kept is None else kept)


def _likely(name: str, row: int, volumes: Sequence[Volume]) -> int:
    """The scan whose description names the channel, else the one at its place."""
    for k, volume in enumerate(volumes):
        words = (volume.series_description or "").lower().replace("_", " ").split()
        if name.lower() in words:
            return k
    return min(row, len(volumes) - 1)


def _box(name: str) -> QComboBox:
    box = QComboBox()
    box.setAccessibleName(f"Scan for the channel {name}")
    box.setSizeAdjustPolicy(QComboBox.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(14)
    return box
