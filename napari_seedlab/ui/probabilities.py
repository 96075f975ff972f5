"""How probable each class is for one seed, as bars in the class colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QFont, QPainter, QPaintEvent
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_seedlab.ui.section import Section, align
from napari_seedlab.ui.theme import DARK, Theme

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_seedlab.core import SeedClass
    from napari_seedlab.session.session import Session

ROW_PX, BAR_PX = 20, 8
NAME_SHARE, PERCENT_PX = 0.28, 44


class ProbabilityBars(QWidget):
    """One row per class: name, bar, per cent; the most probable one in bold."""

    def __init__(self, theme: Theme = DARK, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.rows: tuple[tuple[SeedClass, float], ...] = ()
        align(self)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_rows(self, classes: Sequence[SeedClass], p: Mapping[int, float]) -> None:
        """Show the classes in their order; `p` is 0-1 by class id, and need not name every class."""
        rows = tuple((c, p[c.id]) for c in classes if c.id in p)
        if rows == self.rows:
            return
        if len(rows) != len(self.rows):
            self.updateGeometry()
        self.rows = rows
        self.setAccessibleName(", ".join(f"{c.name} {v:.0%}" for c, v in rows))
        self.update()

    def sizeHint(self) -> QSize:
        """A row per class."""
        return QSize(300, ROW_PX * len(self.rows))

    def minimumSizeHint(self) -> QSize:
        """The rows may shrink in width."""
        return QSize(150, ROW_PX * len(self.rows))

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the rows."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        top = max((v for _, v in self.rows), default=0.0)
        room = QRectF(self.contentsRect())
        for i, (seed_class, value) in enumerate(self.rows):
            box = QRectF(room.left(), i * ROW_PX, room.width(), ROW_PX)
            self._paint_row(painter, box, seed_class, value, value == top)
        painter.end()

    def _paint_row(
        self, painter: QPainter, box: QRectF, seed_class: SeedClass, value: float, is_top: bool
    ) -> None:
        middle = Qt.AlignmentFlag.AlignVCenter
        font = QFont(self.font())
        font.setBold(is_top)
        painter.setFont(font)
        painter.setPen(self._theme.color("text" if is_top else "dim"))
        name = QRectF(box.left(), box.top(), box.width() * NAME_SHARE, box.height())
        text = painter.fontMetrics().elidedText(
            seed_class.name, Qt.TextElideMode.ElideRight, int(name.width())
        )
        painter.drawText(name, int(Qt.AlignmentFlag.AlignLeft | middle), text)
        painter.drawText(box, int(Qt.AlignmentFlag.AlignRight | middle), f"{value:.0%}")
        track = QRectF(
            name.right() + 8,
            box.center().y() - BAR_PX / 2,
            box.width() - name.width() - 8 - PERCENT_PX,
            BAR_PX,
        )
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._theme.color("panel"))
        painter.drawRoundedRect(track, BAR_PX / 2, BAR_PX / 2)
        painter.setBrush(QColor(seed_class.color))
        track.setWidth(max(track.width() * min(max(value, 0.0), 1.0), BAR_PX))
        painter.drawRoundedRect(track, BAR_PX / 2, BAR_PX / 2)


class PredictionSection(Section):
    """What the model says a seed is."""

    def __init__(self, theme: Theme = DARK, parent: QWidget | None = None) -> None:
        super().__init__("Prediction", theme, parent)
        self.bars = ProbabilityBars(theme, self)
        self.content.addWidget(self.bars)

    def show_seed(self, session: Session | None, seed: int | None) -> None:
        """Show another seed, or the same one after the model learned."""
        found = None if session is None else session.predictions
        p = {} if found is None or seed is None else found.of(seed)
        if session is None or found is None or not p:
            self.lack("No prediction yet: it comes after the first answers.")
            return
        self.bars.show_rows(session.scheme.active, p)
        is_live = found.model_id.startswith("head-")
        self.fill("live model" if is_live else found.model_id)
        self.setToolTip(f"By {found.model_id}")
