"""A line plot that paints itself: two axes, a few lines, a dashed reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QFont, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_seedlab.ui.map_canvas import wrapped_in_the_middle
from napari_seedlab.ui.pace import Pace
from napari_seedlab.ui.theme import DARK, Theme

if TYPE_CHECKING:
    from collections.abc import Sequence

Values = npt.NDArray[np.float64]
LEFT, BOTTOM, TOP, RIGHT = 54, 34, 8, 10  # px around the plot
N_TICKS = 4


@dataclass(frozen=True)
class Line:
    """One line: name, colour ``#rrggbb``, x and y (n,); with `radii` (n,) in px, dots that nothing joins."""

    name: str
    color: str
    x: Values
    y: Values
    radii: Values | None = None


def ticks(low: float, high: float, n: int = N_TICKS) -> list[float]:
    """About `n` round numbers (1, 2 or 5 times a power of ten apart) within `low` to `high`."""
    if not high > low:
        return [low]
    rough = (high - low) / n
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
    first = np.ceil(low / step) * step
    return [float(v) for v in np.arange(first, high + step * 1e-6, step)]


def _x_limits(x: Values) -> tuple[float, float]:
    """Ends of the x axis; a single value stands between 0 and its double."""
    low, high = float(x.min()), float(x.max())
    return (low, high) if high > low else (min(0.0, low), max(2 * low, low + 1))


class LinePlot(QWidget):
    """Lines over one x axis.

    Parameters
    ----------
    x_name, y_name : str
        What the axes show, with the unit.
    empty : str
        Said while there is nothing to draw.
    y_range : (float, float), optional
        Ends of the y axis; found by itself, from 0, where left out.
    """

    def __init__(
        self,
        x_name: str,
        y_name: str,
        empty: str,
        theme: Theme = DARK,
        parent: QWidget | None = None,
        y_range: tuple[float, float] | None = None,
    ) -> None:
        super().__init__(parent)
        self._x_name, self._y_name, self._empty, self._theme = x_name, y_name, empty, theme
        self.from_zero = True  # else the y axis begins at the least value, with room above for the names
        self.lines: tuple[Line, ...] = ()
        self.reference: tuple[str, float] | None = None
        self.mark: float | None = None
        self.y_range = y_range
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMinimumHeight(150)
        self._pace = Pace(self.update, self)

    def sizeHint(self) -> QSize:
        """A low, wide picture."""
        return QSize(300, 160)

    def show_lines(
        self,
        lines: Sequence[Line],
        reference: tuple[str, float] | None = None,
        mark: float | None = None,
    ) -> None:
        """Draw these lines, a dashed one at the height of `reference` (name, value), another at x `mark`."""
        self.lines, self.reference = tuple(line for line in lines if len(line.x)), reference
        self.mark = mark
        self._pace.ask()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the plot."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._theme.color("panel"))
        painter.drawRoundedRect(QRectF(self.rect()), 4, 4)
        if not self.lines:
            painter.setPen(self._theme.color("dim"))
            painter.drawText(
                QRectF(self.rect()).adjusted(16, 4, -16, -4), self._empty, wrapped_in_the_middle()
            )
        else:
            self._draw(painter)
        painter.end()

    def _limits(self) -> tuple[float, float, float, float]:
        x = np.concatenate([line.x for line in self.lines])
        y = np.concatenate([line.y[np.isfinite(line.y)] for line in self.lines])
        if self.reference is not None:
            y = np.append(y, self.reference[1])
        y = y if len(y) else np.zeros(1)
        if self.y_range is not None:
            return *_x_limits(x), *self.y_range
        y0, y1 = float(y.min()), float(y.max())
        if not self.from_zero:
            room = max(y1 - y0, 0.02)
            return *_x_limits(x), y0 - 0.05 * room, y1 + 0.35 * room
        y0 = min(y0, 0.0)
        return *_x_limits(x), y0, (y1 if y1 > y0 else y0 + 1) * 1.06

    def _draw(self, painter: QPainter) -> None:
        small = QFont(self.font())
        small.setPointSizeF(max(small.pointSizeF() - 1.5, 6))
        painter.setFont(small)
        box = QRectF(self.rect()).adjusted(LEFT, TOP, -RIGHT, -BOTTOM)
        limits = self._limits()
        self._draw_axes(painter, box, limits)
        if self.reference is not None:
            name, height = self.reference
            y = self._point(box, limits, limits[0], height).y()
            painter.setPen(QPen(self._theme.color("dim"), 1, Qt.PenStyle.DashLine))
            painter.drawLine(QPointF(box.left(), y), QPointF(box.right(), y))
            label = QRectF(box.left(), y - 16, box.width() - 4, 15)
            painter.drawText(label, int(Qt.AlignmentFlag.AlignRight), name)
        if self.mark is not None and limits[0] <= self.mark <= limits[1]:
            x = self._point(box, limits, self.mark, limits[2]).x()
            painter.setPen(QPen(self._theme.color("text"), 1, Qt.PenStyle.DashLine))
            painter.drawLine(QPointF(x, box.top()), QPointF(x, box.bottom()))
        for line in self.lines:
            self._draw_line(painter, box, limits, line)
        named = [line for line in self.lines if line.name] if len(self.lines) > 1 else []
        for i, line in enumerate(named):
            painter.setPen(QColor(line.color))
            top = box.top() if self.y_range is None else box.bottom() - 18
            painter.drawText(QRectF(box.left() + 6 + 90 * i, top, 88, 16), 0, line.name)

    def _draw_line(
        self, painter: QPainter, box: QRectF, limits: tuple[float, float, float, float], line: Line
    ) -> None:
        painter.setPen(QPen(QColor(line.color), 1.8))
        ok = np.isfinite(line.y)
        points = [
            self._point(box, limits, *v) for v in zip(line.x[ok].tolist(), line.y[ok].tolist(), strict=True)
        ]
        if line.radii is None:
            painter.drawPolyline(QPolygonF(points))
            return
        painter.setBrush(QColor(line.color))
        for point, radius in zip(points, line.radii[ok].tolist(), strict=True):
            painter.drawEllipse(point, radius, radius)
        painter.setBrush(Qt.BrushStyle.NoBrush)

    def _draw_axes(self, painter: QPainter, box: QRectF, limits: tuple[float, float, float, float]) -> None:
        x0, x1, y0, y1 = limits
        right = int(Qt.AlignmentFlag.AlignRight) | int(Qt.AlignmentFlag.AlignVCenter)
        centre = int(Qt.AlignmentFlag.AlignHCenter)
        for value in ticks(y0, y1):
            at = self._point(box, limits, x0, value)
            painter.setPen(QPen(self._theme.color("line"), 1))
            painter.drawLine(at, QPointF(box.right(), at.y()))
            painter.setPen(self._theme.color("dim"))
            painter.drawText(QRectF(0, at.y() - 8, LEFT - 6, 16), right, f"{value:.4g}")
        for value in ticks(x0, x1):
            at = self._point(box, limits, value, y0)
            painter.drawText(QRectF(at.x() - 30, box.bottom() + 2, 60, 15), centre, f"{value:.5g}")
        painter.drawText(QRectF(box.left(), box.bottom() + 17, box.width(), 16), centre, f"{self._x_name}")
        painter.save()
        painter.translate(11, box.center().y())
        painter.rotate(-90)
        painter.drawText(QRectF(-60, -9, 120, 16), centre, self._y_name)
        painter.restore()

    def _point(self, box: QRectF, limits: tuple[float, float, float, float], x: float, y: float) -> QPointF:
        x0, x1, y0, y1 = limits
        return QPointF(
            box.left() + (x - x0) / (x1 - x0) * box.width(),
            box.bottom() - (y - y0) / (y1 - y0) * box.height(),
        )
