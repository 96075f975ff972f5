"""The groups of the map as rows: press one to see it, drag it into a bin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QPoint, QRect, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QFont, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QApplication, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from napari_seedlab.ui.colouring import CLUSTERS
from napari_seedlab.ui.seed_mime import drag_seeds
from napari_seedlab.ui.theme import DARK, Theme

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import numpy.typing as npt
    from qtpy.QtGui import QMouseEvent

    from napari_seedlab.core import ClassScheme
    from napari_seedlab.session.clusters import Cluster

ROW_PX, DOT_PX, BAR_PX = 34, 10, 3
PLAIN, FAINT = 255, 130


def purity_text(cluster: Cluster, scheme: ClassScheme) -> str:
    """``normal 92 % of 12 labelled``, ``~ dead 71 % predicted``, or that nothing is known."""
    if cluster.purity is None:
        return "no label yet"
    name = scheme.by_id(cluster.class_id).name
    if cluster.is_predicted:
        return f"~ {name} {cluster.purity:.0%}"
    return f"{name} {cluster.purity:.0%} of {cluster.n_known}"


class ClusterRows(QWidget):
    """Rows that paint themselves: colour on the map, number, size, how pure."""

    pressed = Signal(int)  # the group; again to see all

    def __init__(
        self,
        members: Callable[[int], npt.NDArray[np.int64]],
        theme: Theme = DARK,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._members, self._theme = members, theme
        self.clusters: tuple[Cluster, ...] = ()
        self._scheme: ClassScheme | None = None
        self.shown = -1
        self._hover, self._press = -1, QPoint()
        self._is_down = False
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Clusters")
        self.setToolTip("Press a cluster to see its seeds; drag it into a bin to label all of them")

    def show_clusters(self, clusters: Sequence[Cluster], scheme: ClassScheme | None, shown: int) -> None:
        """Show these groups; `shown` is the one whose seeds stand in the gallery, or -1."""
        found = tuple(clusters) if scheme is not None else ()
        if (found, scheme, shown) != (self.clusters, self._scheme, self.shown):
            self.clusters, self._scheme, self.shown = found, scheme, shown
            self.setFixedHeight(max(len(found) * ROW_PX, 1))
            self.update()

    def row_box(self, row: int) -> QRect:
        """Where a group is drawn."""
        return QRect(0, row * ROW_PX, self.width(), ROW_PX - 2)

    def sizeHint(self) -> QSize:
        """As high as its rows."""
        return QSize(150, max(len(self.clusters) * ROW_PX, 1))

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the rows in sight."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        part = self.rect() if event is None else event.rect()
        last = min(len(self.clusters), part.bottom() // ROW_PX + 1)
        for row in range(max(0, part.top() // ROW_PX), last):
            self._paint_row(painter, QRectF(self.row_box(row)), self.clusters[row], row)
        painter.end()

    def _paint_row(self, painter: QPainter, box: QRectF, cluster: Cluster, row: int) -> None:
        assert self._scheme is not None
        is_shown = cluster.number == self.shown
        painter.setPen(QPen(self._theme.color("accent" if is_shown else "line"), 1.5 if is_shown else 1))
        painter.setBrush(self._theme.color("line" if is_shown or row == self._hover else "panel"))
        painter.drawRoundedRect(box.adjusted(1, 1, -1, -1), 4, 4)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(*CLUSTERS[cluster.number % len(CLUSTERS)]))
        painter.drawEllipse(QRectF(box.left() + 8, box.top() + 5, DOT_PX, DOT_PX))
        left, middle = box.left() + 8 + DOT_PX + 6, Qt.AlignmentFlag.AlignVCenter
        line = QRectF(left, box.top() + 2, box.right() - left - 7, 16)
        painter.setPen(self._theme.color("text"))
        painter.drawText(line, int(middle), f"Cluster {cluster.number + 1}")
        painter.drawText(line, int(middle | Qt.AlignmentFlag.AlignRight), f"{cluster.n:,}")
        small = QFont(self.font())
        small.setPointSizeF(max(small.pointSizeF() - 2, 6))
        painter.setFont(small)
        painter.setPen(self._theme.color("dim"))
        text = painter.fontMetrics().elidedText(
            purity_text(cluster, self._scheme), Qt.TextElideMode.ElideRight, int(line.width())
        )
        painter.drawText(line.translated(0, 12), int(middle), text)
        painter.setFont(self.font())
        if cluster.purity is not None:
            color = QColor(self._scheme.by_id(cluster.class_id).color)
            color.setAlpha(FAINT if cluster.is_predicted else PLAIN)
            foot = QRectF(
                box.left() + 3, box.bottom() - BAR_PX - 1, (box.width() - 6) * cluster.purity, BAR_PX
            )
            painter.fillRect(foot, color)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """A press, perhaps the begin of a drag."""
        self._press, self._is_down = event.pos(), event.button() == Qt.MouseButton.LeftButton

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Drag a whole group, else light the row up."""
        row = event.pos().y() // ROW_PX
        far = (event.pos() - self._press).manhattanLength() >= QApplication.startDragDistance()
        start = self._press.y() // ROW_PX
        if self._is_down and far and start < len(self.clusters):
            self._is_down = False
            self._drag(start)
        elif row != self._hover:
            self._hover = row
            self.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Show the group."""
        row, was_down = event.pos().y() // ROW_PX, self._is_down
        self._is_down = False
        if was_down and 0 <= row < len(self.clusters):
            self.pressed.emit(self.clusters[row].number)

    def leaveEvent(self, event: object) -> None:
        """No row is under the pointer."""
        self._hover = -1
        self.update()

    def _drag(self, row: int) -> None:
        seeds = self._members(self.clusters[row].number)
        drag_seeds(self, seeds, [], self._theme)


class ClusterList(QScrollArea):
    """The rows, which scroll."""

    def __init__(self, rows: ClusterRows, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFrameShape(QScrollArea.Shape.NoFrame)
        body = QWidget()
        column = QVBoxLayout(body)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(rows)
        column.addStretch(1)
        self.setWidget(body)
