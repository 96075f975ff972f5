"""The labelled seeds that are most like the one that is looked at."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent
from qtpy.QtWidgets import QAbstractButton, QSizePolicy, QWidget

from napari_seedlab.ui.section import Section, align
from napari_seedlab.ui.theme import DARK, Theme

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_seedlab.core import SeedClass
    from napari_seedlab.session.about import Neighbour
    from napari_seedlab.session.session import Session

N_NEAREST = 4
ROW_PX = 24


class SeedButton(QAbstractButton):
    """One labelled seed: its class and colour, and how far it is."""

    def __init__(self, theme: Theme = DARK, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.seed: int | None = None
        self.seed_class: SeedClass | None = None
        self._distance = ""
        align(self)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def tell(self, seed: int, seed_class: SeedClass, distance: float) -> None:
        """Show another seed."""
        self.seed, self.seed_class, self._distance = seed, seed_class, f"{distance:.2f}"
        self.setText(f"Seed {seed} · {seed_class.name} · distance {self._distance}")
        self.setAccessibleName(self.text())
        self.setToolTip(f"Look at seed {seed}")
        self.update()

    def sizeHint(self) -> QSize:
        """One row."""
        return QSize(300, ROW_PX)

    def minimumSizeHint(self) -> QSize:
        """One row at any width."""
        return QSize(150, ROW_PX)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the row."""
        if self.seed_class is None:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = QRectF(self.contentsRect()).adjusted(0.5, 0.5, -0.5, -0.5)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._theme.color("line" if self.underMouse() or self.isDown() else "panel"))
        painter.drawRoundedRect(box, 4, 4)
        painter.setBrush(QColor(self.seed_class.color))
        painter.drawEllipse(QRectF(box.left() + 9, box.center().y() - 4.5, 9, 9))
        middle = Qt.AlignmentFlag.AlignVCenter
        painter.setPen(self._theme.color("text"))
        left = box.adjusted(27, 0, -box.width() * 0.55, 0)
        name = painter.fontMetrics().elidedText(
            self.seed_class.name, Qt.TextElideMode.ElideRight, int(left.width())
        )
        painter.drawText(left, int(Qt.AlignmentFlag.AlignLeft | middle), name)
        painter.setPen(self._theme.color("dim"))
        seed = box.adjusted(box.width() * 0.45 + 6, 0, -60, 0)
        painter.drawText(seed, int(Qt.AlignmentFlag.AlignLeft | middle), f"seed {self.seed}")
        painter.drawText(box.adjusted(0, 0, -9, 0), int(Qt.AlignmentFlag.AlignRight | middle), self._distance)
        painter.end()


class NearestSection(Section):
    """Up to four labelled seeds; a click looks at one.

    Parameters
    ----------
    look_at : callable
        Told the seed that was clicked.
    """

    def __init__(
        self, look_at: Callable[[int], object], theme: Theme = DARK, parent: QWidget | None = None
    ) -> None:
        super().__init__("Nearest labelled seeds", theme, parent)
        self._look_at = look_at
        self.buttons = tuple(SeedButton(theme, self) for _ in range(N_NEAREST))
        for button in self.buttons:
            button.clicked.connect(partial(self._clicked, button))
            self.content.addWidget(button)
        self.forget()

    def forget(self) -> None:
        """Show nothing until others come."""
        for button in self.buttons:
            button.seed = button.seed_class = None
            button.update()
        self.wait()

    def show_nearest(self, session: Session | None, found: tuple[Neighbour, ...]) -> None:
        """Show other neighbours, nearest first."""
        known = {} if session is None else {c.id: c for c in session.scheme}
        shown = [n for n in found if n.class_id in known][:N_NEAREST]
        for i, button in enumerate(self.buttons):
            if i < len(shown):
                button.tell(shown[i].seed, known[shown[i].class_id], shown[i].distance)
            button.setVisible(i < len(shown))
        if shown:
            self.fill("distance")
        else:
            self.lack("None yet: label a few seeds, and those most like this one stand here.")

    def _clicked(self, button: SeedButton, _checked: bool = False) -> None:
        if button.seed is not None:
            self._look_at(button.seed)
