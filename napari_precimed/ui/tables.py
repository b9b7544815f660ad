"""A sortable table of records for Qt's views: columns are declared, cells are computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QSortFilterProxyModel, Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

SORT_ROLE = Qt.UserRole
_NOWHERE = QModelIndex()
_WIDEST_PX = 220
_ROWS_MEASURED = 50  # of which the widths of columns are taken: a genome has many rows


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes
    ----------
    title, explanation : str
        The header, and its tooltip.
    text : callable
        Record -> what the cell says.
    value : callable
        Record -> what the column is sorted by; None (unknown) always comes last.
    colour : callable, optional
        Record -> the colour chip before the text, or None.
    numeric : bool
        Aligned right.
    tip : callable, optional
        Record -> the cell's tooltip; the text itself if omitted.
    """

    title: str
    explanation: str
    text: Callable[[Any], str]
    value: Callable[[Any], Any]
    colour: Callable[[Any], QColor | None] | None = None
    numeric: bool = False
    tip: Callable[[Any], str] | None = None


class RecordModel(QAbstractTableModel):
    """Records as rows."""

    def __init__(self, columns: Sequence[Column], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.columns = tuple(columns)
        self.records: tuple[Any, ...] = ()

    def show(self, records: Sequence[Any]) -> None:
        """Replace all rows."""
        self.beginResetModel()
        self.records = tuple(records)
        self.endResetModel()

    def rowCount(self, parent: QModelIndex = _NOWHERE) -> int:  # noqa: N802
        """Qt's name for the number of records."""
        return 0 if parent.isValid() else len(self.records)

    def columnCount(self, parent: QModelIndex = _NOWHERE) -> int:  # noqa: N802
        """Qt's name for the number of columns."""
        return 0 if parent.isValid() else len(self.columns)

    def headerData(  # noqa: N802
        self, section: int, orientation: Qt.Orientation, role: int = Qt.DisplayRole
    ) -> Any:
        """Titles, with their explanation as tooltip."""
        if orientation != Qt.Horizontal:
            return None
        column = self.columns[section]
        if role == Qt.DisplayRole:
            return column.title
        return column.explanation if role == Qt.ToolTipRole else None

    def data(self, index: QModelIndex, role: int = Qt.DisplayRole) -> Any:
        """One cell."""
        record, column = self.records[index.row()], self.columns[index.column()]
        if role == Qt.ToolTipRole:
            return (column.tip or column.text)(record)
        if role == Qt.DisplayRole:
            return column.text(record)
        if role == SORT_ROLE:
            return column.value(record)
        if role == Qt.DecorationRole and column.colour is not None:
            return column.colour(record)
        if role == Qt.TextAlignmentRole and column.numeric:
            return int(Qt.AlignRight | Qt.AlignVCenter)
        return None


class _KnownFirst(QSortFilterProxyModel):
    """Sorts by value; what is unknown is last, whichever way one sorts."""

    def lessThan(self, left: QModelIndex, right: QModelIndex) -> bool:  # noqa: N802
        """Qt's hook: whether `left` stands before `right` when ascending."""
        one, other = left.data(SORT_ROLE), right.data(SORT_ROLE)
        if one is None or other is None:
            ascending = self.sortOrder() == Qt.AscendingOrder
            return (other is None and one is not None) == ascending and one is not other
        return bool(one < other)


class RecordTable(QTableView):
    """A table whose rows are records; `chosen` gives the one the user clicked or moved to."""

    chosen = Signal(object)

    def __init__(self, columns: Sequence[Column], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.model_of_records = RecordModel(columns, self)
        self._sorted = _KnownFirst(self)
        self._sorted.setSourceModel(self.model_of_records)
        self._sorted.setSortRole(SORT_ROLE)
        self.setModel(self._sorted)
        self.setSelectionBehavior(QAbstractItemView.SelectRows)
        self.setSelectionMode(QAbstractItemView.SingleSelection)
        self.setEditTriggers(QAbstractItemView.NoEditTriggers)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollPerPixel)
        self.setTabKeyNavigation(False)  # Tab leaves the table; arrows walk in it
        self.setWordWrap(False)
        self.horizontalHeader().setDefaultAlignment(Qt.AlignLeft | Qt.AlignVCenter)
        self.horizontalHeader().setResizeContentsPrecision(_ROWS_MEASURED)
        self.horizontalHeader().setMinimumSectionSize(28)
        self.verticalHeader().hide()
        self.verticalHeader().setSectionResizeMode(QHeaderView.Fixed)
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 8)
        self.setSortingEnabled(True)
        self.horizontalHeader().setSortIndicator(-1, Qt.AscendingOrder)  # the given order
        self.clicked.connect(self._choose)
        self.selectionModel().currentRowChanged.connect(lambda now, _: self._choose(now))

    def show_records(self, records: Sequence[Any]) -> None:
        """Replace all rows and fit the columns to what they say."""
        self.model_of_records.show(records)
        self.resizeColumnsToContents()
        header = self.horizontalHeader()
        for column in range(header.count()):
            header.resizeSection(column, min(header.sectionSize(column), _WIDEST_PX))

    def current(self) -> Any:
        """The record that the user clicked or moved to last; None after other rows came."""
        index = self.currentIndex()
        return self.record_at(index.row()) if index.isValid() else None

    def record_at(self, row: int) -> Any:
        """The record in this row as sorted now."""
        source = self._sorted.mapToSource(self._sorted.index(row, 0))
        return self.model_of_records.records[source.row()]

    def select(self, record: Any) -> None:
        """Select the row of this record, and bring it into view."""
        row = self.model_of_records.records.index(record)
        self.setCurrentIndex(self._sorted.mapFromSource(self.model_of_records.index(row, 0)))

    def _choose(self, index: QModelIndex) -> None:
        if index.isValid():
            self.chosen.emit(self.record_at(index.row()))
