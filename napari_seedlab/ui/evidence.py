"""The labelled seeds that an asked one resembles most, as small pictures beside the reason."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QFont, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QAbstractButton, QHBoxLayout, QSizePolicy, QWidget

from napari_seedlab.ui.map_pictures import fitted
from napari_seedlab.ui.theme import DARK, Theme

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_seedlab.core import Evidence, SeedClass
    from napari_seedlab.session.session import Session
    from napari_seedlab.ui.map_pictures import Thumbs

N_SHOWN = 2
WIDTH_PX, STRIP_PX, FRAME_PX = 54, 13, 2.0


class EvidenceTile(QAbstractButton):
    """One labelled seed: its thumbnail in the colour of its class, whose name stands across it."""

    def __init__(self, thumbs: Thumbs, theme: Theme = DARK, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._thumbs, self._theme = thumbs, theme
        self.seed: int | None = None
        self.seed_class: SeedClass | None = None
        self._told: tuple[Evidence, SeedClass] | None = None
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Ignored)

    def tell(self, fact: Evidence, seed_class: SeedClass) -> None:
        """Show another seed; nothing is painted where it is the same."""
        if (fact, seed_class) == self._told:
            return
        self._told = (fact, seed_class)
        self.seed, self.seed_class = fact.seed, seed_class
        self.setText(f"Seed {fact.seed}, labelled {seed_class.name}, looks alike: {fact.distance:.2f} apart")
        self.setAccessibleName(self.text())
        self.setToolTip(f"<p>{self.text()} (0 the same, 1.4 two seeds drawn blindly). Click to see it.</p>")
        self.update()

    def sizeHint(self) -> QSize:
        """As high as there is room for."""
        return QSize(WIDTH_PX, 0)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the thumbnail and the name of the class."""
        if self.seed is None or self.seed_class is None:
            return
        painter = QPainter(self)
        box = QRectF(self.rect()).adjusted(1, 1, -1, -1)
        painter.fillRect(box, QColor(0, 0, 0))
        image = self._thumbs.get(self.seed)
        if image is not None:
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            painter.drawImage(fitted(image, box.adjusted(0, 0, 0, -STRIP_PX / 2)), image)
        strip = QRectF(box.left(), box.bottom() - STRIP_PX, box.width(), STRIP_PX)
        painter.fillRect(strip, QColor(0, 0, 0, 170))
        small = QFont(self.font())
        small.setPointSizeF(max(small.pointSizeF() - 3, 6))
        painter.setFont(small)
        painter.setPen(QColor(235, 237, 240))
        room = strip.adjusted(2, 0, -2, 0)
        elide = Qt.TextElideMode.ElideRight
        name = painter.fontMetrics().elidedText(self.seed_class.name, elide, int(room.width()))
        painter.drawText(room, int(Qt.AlignmentFlag.AlignCenter), name)
        painter.setPen(QPen(QColor(self.seed_class.color), FRAME_PX + self.underMouse()))
        painter.drawRect(box)
        painter.end()


class EvidenceRow(QWidget):
    """Up to two labelled seeds; a click looks at one. Takes no room of its own in height.

    Parameters
    ----------
    thumbs : Thumbs
        Where their pictures come from.
    look_at : callable
        Told the seed that was clicked.
    """

    def __init__(
        self,
        thumbs: Thumbs,
        look_at: Callable[[int], object],
        theme: Theme = DARK,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._look_at = look_at
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Ignored)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        self.tiles = tuple(EvidenceTile(thumbs, theme, self) for _ in range(N_SHOWN))
        for tile in self.tiles:
            tile.clicked.connect(partial(self._clicked, tile))
            row.addWidget(tile)
        self.show_evidence(None, ())

    def show_evidence(self, session: Session | None, facts: tuple[Evidence, ...]) -> None:
        """Show the nearest labelled seeds, nearest first; nothing where there are none."""
        known = {} if session is None else {c.id: c for c in session.scheme}
        shown = [fact for fact in facts if fact.class_id in known][:N_SHOWN]
        for tile, fact in zip(self.tiles, shown, strict=False):
            tile.tell(fact, known[fact.class_id])
        for i, tile in enumerate(self.tiles):
            tile.setVisible(i < len(shown))
        self.setVisible(bool(shown))

    def refresh(self) -> None:
        """Draw pictures that came."""
        for tile in self.tiles:
            tile.update()

    def _clicked(self, tile: EvidenceTile, _checked: bool = False) -> None:
        if tile.seed is not None:
            self._look_at(tile.seed)
