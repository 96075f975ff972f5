"""The Map dock: the scatter, what it is coloured by, its legend."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QLinearGradient, QPainter, QPaintEvent
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_seedlab.core import JobState
from napari_seedlab.ui.colouring import MODES, NONE_RGB, SeedColours, modes_of
from napari_seedlab.ui.empty_states import on_map
from napari_seedlab.ui.job_row import duration, kind_of
from napari_seedlab.ui.labelling_mode import TOGGLE_KEY
from napari_seedlab.ui.map_canvas import MapCanvas
from napari_seedlab.ui.seed_mime import drag_seeds
from napari_seedlab.ui.seed_text import describe

if TYPE_CHECKING:
    from napari_seedlab.core import JobStatus
    from napari_seedlab.ui.app import SeedlabUi
    from napari_seedlab.ui.theme import Theme

DOT, GAP, ROW = 9, 12, 18  # px of the legend
RAMP_PX, LEAST_RAMP_PX, WORD_GAP = 90, 24, 6
MOST_ROWS, CUT = 2, "…"  # more would take the room of the docks above; what stands for the others
LAYOUTS = {  # what a map may be laid out by, and what to know of it
    "umap": ("UMAP", "Neighbours stay neighbours; the usual map"),
    "tsne": ("t-SNE", "Pulls groups apart; of more than 5,000 seeds it lays out 5,000 and places the others"),
    "pca": ("PCA", "The two directions in which seeds differ most; at once"),
}
JOBS = {f"map{method}" for method in (*LAYOUTS, "place")}


class Legend(QWidget):
    """Coloured dots with names, in two rows at most; the tooltip has all names."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.entries: tuple[tuple[str, tuple[int, int, int]], ...] = ()
        self._ramp = np.zeros((0, 3), np.uint8)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def tell(self, colours: SeedColours) -> None:
        """Name these colours."""
        ramp = colours.palette[1 : 1 if not colours.is_ramp else None]
        if colours.legend != self.entries or not np.array_equal(ramp, self._ramp):
            self.entries, self._ramp = colours.legend, ramp
            self.setToolTip("<p>" + ", ".join(escape(name) for name, _ in self.entries) + "</p>")
            self.updateGeometry()
            self.update()

    def sizeHint(self) -> QSize:
        """High enough for its rows."""
        return QSize(200, ROW * (1 + max((row for row, _ in self._places(self.shown())), default=0)))

    def minimumSizeHint(self) -> QSize:
        """As :meth:`sizeHint`, at any width."""
        return QSize(60, self.sizeHint().height())

    def shown(self) -> tuple[tuple[str, tuple[int, int, int]], ...]:
        """The first entries, as many as there is room for."""
        for n in range(len(self.entries), 0, -1):
            tail = ((CUT, NONE_RGB),) if n < len(self.entries) else ()
            if self._places(some := (*self.entries[:n], *tail))[-1][0] < MOST_ROWS:
                return some
        return self.entries[:1]

    def _places(self, entries: tuple[tuple[str, tuple[int, int, int]], ...]) -> list[tuple[int, int]]:
        """(row, left pixel) of each of these entries."""
        if len(self._ramp):
            return [(0, 0)]
        places, row, left = [], 0, 0
        width = max(self.width(), 200)
        for name, _ in entries:
            needed = DOT + 5 + self.fontMetrics().horizontalAdvance(name) + GAP
            if left and left + needed > width:
                row, left = row + 1, 0
            places.append((row, left))
            left += needed
        return places

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the entries, or the ramp between two of them."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if len(self._ramp):
            self._draw_ramp(painter, self._ramp)
            painter.end()
            return
        shown = self.shown()
        for (name, rgb), (row, left) in zip(shown, self._places(shown), strict=True):
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(*rgb))
            painter.drawEllipse(QRectF(left, row * ROW + (ROW - DOT) / 2, DOT, DOT))
            painter.setPen(self._theme.color("dim"))
            box = QRectF(left + DOT + 5, row * ROW, 400, ROW)
            painter.drawText(box, Qt.AlignmentFlag.AlignVCenter, name)
        painter.end()

    def _ramp_place(self, low: str, high: str) -> tuple[int, int]:
        """Left pixel and width of the ramp, which is as short as the words at its ends ask for."""
        of_low, of_high = (self.fontMetrics().horizontalAdvance(word) for word in (low, high))
        room = self.width() - of_low - of_high - 2 * WORD_GAP
        return of_low + WORD_GAP, max(LEAST_RAMP_PX, min(RAMP_PX, room))

    def _draw_ramp(self, painter: QPainter, ramp: npt.NDArray[np.uint8]) -> None:
        low, high = (name for name, _ in self.entries)
        left, width = self._ramp_place(low, high)
        bar = QRectF(left, (ROW - DOT) / 2, width, DOT)
        gradient = QLinearGradient(bar.topLeft(), bar.topRight())
        for i, color in enumerate(ramp.tolist()):
            gradient.setColorAt(i / (len(ramp) - 1), QColor(*color))
        painter.fillRect(bar, gradient)
        painter.setPen(self._theme.color("dim"))
        middle = Qt.AlignmentFlag.AlignVCenter
        painter.drawText(QRectF(0, 0, left, ROW), middle, low)
        painter.drawText(QRectF(bar.right() + WORD_GAP, 0, 300, ROW), middle, high)


class MapDock(QWidget):
    """Seeds that look alike lie close together; click one, or draw around many."""

    def __init__(self, ui: SeedlabUi) -> None:
        super().__init__()
        self._ui = ui
        self._job = self._progress = ""
        self.canvas = MapCanvas(ui.theme, self)
        self.canvas.describe, self.canvas.thumbs = self._describe, ui.thumbs
        ui.thumbs.ready.connect(self.canvas.update)
        self.mode, self.method = QComboBox(self), QComboBox(self)
        for box in (self.mode, self.method):
            box.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # keys go on to answer
        self.mode.setToolTip("What the outlines in the viewer and the points of the map are coloured by")
        self._modes: tuple[str, ...] = ()
        self._offer_modes(MODES)
        self.mode.setCurrentIndex(MODES.index(ui.colour_by) if ui.colour_by in MODES else 0)
        for i, (method, (name, tip)) in enumerate(LAYOUTS.items()):
            self.method.addItem(name, method)
            self.method.setItemData(i, tip, Qt.ItemDataRole.ToolTipRole)
        self.method.setToolTip("How the map is laid out. New seeds are placed without moving the others;\n"
                               "choose here to lay all of them out anew.")  # fmt: skip
        self.legend = Legend(ui.theme, self)
        self._make_hint()
        top = QHBoxLayout()
        top.setSpacing(4)
        top.addWidget(QLabel("Colour by", self))
        top.addWidget(self.mode, 1)
        top.addWidget(self.method)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 4, 8, 6)
        layout.setSpacing(4)
        layout.addLayout(top)
        layout.addWidget(self.canvas, 1)
        layout.addWidget(self.legend)
        self.setMinimumWidth(220)
        ui.session_bound.connect(ui.slot(self._show_project))
        self.say_empty()
        self.mode.activated.connect(ui.slot(self._mode_chosen))
        self.method.activated.connect(ui.slot(self._method_chosen))
        self.canvas.let_go.connect(ui.slot(self._show_newest))
        self.canvas.clicked.connect(ui.slot(self._clicked))
        self.canvas.lassoed.connect(ui.slot(self._lassoed))
        self.canvas.dragged.connect(ui.slot(self._carry))

    def _make_hint(self) -> None:
        self._hint = QLabel(self.canvas)  # over the points, which stay
        self._hint.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._hint.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._hint.setEnabled(False)
        self._stop = QPushButton("Cancel", self.canvas)
        self._stop.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._stop.clicked.connect(self._ui.slot(self._cancel))
        row = QHBoxLayout()
        row.addWidget(self._hint, 1)
        row.addWidget(self._stop)
        over = QVBoxLayout(self.canvas)
        over.setContentsMargins(8, 4, 8, 4)
        over.addLayout(row)
        over.addStretch(1)
        self._say_hint("")

    def sizeHint(self) -> QSize:
        """Narrow enough to stand beside the viewer."""
        return QSize(320, 300)

    @property
    def hovered_seed(self) -> int | None:
        """The seed under the pointer."""
        return self.canvas.hovered_seed

    # -- from the session ---------------------------------------------------------------------
    def show_layout(self) -> None:
        """Draw the session's map."""
        layout = None if self._ui.session is None else self._ui.session.layout
        seeds = np.zeros(0, np.int64) if layout is None else layout.seeds
        self.canvas.set_layout(seeds, np.zeros((0, 2)) if layout is None else layout.xy)
        if layout is not None and layout.method in LAYOUTS:
            self.method.setCurrentIndex(list(LAYOUTS).index(layout.method))
        self.method.setEnabled(layout is not None)
        self._say_hint(self._progress)  # a better map may be on its way already
        self.say_empty()
        self._ask_for_pictures()

    def _show_project(self) -> None:
        """Draw the map of another project, in colours of its own."""
        self._job = self._progress = ""
        self.show_layout()
        self._ui.recolour_soon()

    def say_empty(self) -> None:
        """Let a map without seeds say what comes, or what to do."""
        if not len(self.canvas.seeds) and (text := on_map(self._ui.session)) != self.canvas.empty:
            self.canvas.empty = text
            self.canvas.update()

    def _ask_for_pictures(self) -> None:
        """Let thumbnails be drawn where a project has none, as one of an earlier version."""
        session = self._ui.session
        if session is not None and session.layout is not None and session.follow_up:
            pool = session.pool
            if pool not in session.thumbnails.tables:
                session.desk.do(lambda _: session.thumbnails.ask(pool))

    def show_job(self, status: JobStatus) -> None:
        """Say how far a new layout is, where it takes a while, and offer to stop it."""
        self.say_empty()
        if kind_of(status) not in JOBS:
            return
        if status.state.is_final:
            if status.id == self._job:
                self._job = self._progress = ""
                self._say_hint("")
            return
        self._job = status.id
        self._stop.setEnabled(status.state is not JobState.CANCELLING)
        left = "" if status.seconds_left is None else f" · {duration(status.seconds_left)} left"
        self._progress = f"New map: {status.progress.message or 'waiting'}{left}"
        self._say_hint(self._progress)

    def _say_hint(self, text: str) -> None:
        said = "A new map is ready: move the pointer away" if self.canvas.is_waiting else text
        if said != self._hint.text():
            self._hint.setText(said)
        self._hint.setVisible(bool(said))
        self._stop.setVisible(bool(self._job) and not self.canvas.is_waiting)

    def recolour(self, colours: SeedColours) -> None:
        """Colour the points."""
        codes = colours.codes_of(self.canvas.seeds)
        self.canvas.set_colours(colours.palette[codes], codes > 0)
        self.legend.tell(colours)
        self._offer_modes(modes_of(self._ui.session))
        if colours.mode in self._modes:
            self.mode.setCurrentIndex(self._modes.index(colours.mode))

    def _offer_modes(self, modes: tuple[str, ...]) -> None:
        if modes != self._modes:
            self._modes = modes
            self.mode.clear()
            self.mode.addItems([m.capitalize() for m in modes])

    def mark(self, current: int | None, selection: frozenset[int]) -> None:
        """Ring the current and the selected seeds."""
        self.canvas.mark(current, selection)

    def _show_newest(self) -> None:
        self._say_hint(self._progress)
        self._ui.recolour_soon()

    # -- from the user ------------------------------------------------------------------------
    def _mode_chosen(self, index: int) -> None:
        self._ui.set_colour_by(self._modes[index])

    def _method_chosen(self, index: int) -> None:
        session = self._ui.session
        if session is not None and session.layout is not None:
            session.make_map(str(self.method.itemData(index)))

    def _cancel(self) -> None:
        if self._ui.session is not None and self._job:
            self._ui.session.cancel(self._job)

    def _clicked(self, seed: int | None, more: bool) -> None:
        if more and seed is not None and self._ui.session is not None:
            self._choose(self._ui.session.selection ^ {seed})
        else:
            self._ui.pick(seed, "map")

    def _lassoed(self, seeds: npt.NDArray[np.int64], how: str) -> None:
        session = self._ui.session
        if session is None:
            return
        drawn = frozenset(seeds.tolist())
        if not drawn:
            kept = f": {len(session.selection)} stay selected" if session.selection else ""
            self._ui.say(f"No seed inside the lasso{kept}.")
            self._ui.caught_nothing()
            return
        chosen = {"add": session.selection | drawn, "remove": session.selection - drawn}.get(how, drawn)
        self._choose(chosen)
        if len(chosen) > 1:
            first = "press a digit" if self._ui.mode.is_on else f"press {TOGGLE_KEY}, then a digit"
            self._ui.say(f"{len(chosen)} selected: {first}; G shows them in the gallery.")

    def _carry(self, first: int) -> None:
        """Let the pointer carry the selected seeds to a class of the gallery, which opens for it."""
        shown = self.canvas.seeds
        seeds = shown[np.isin(shown, list(self._ui.chosen()))]
        gallery: Any = self._ui.docks.get("gallery")
        if gallery is not None and not gallery.isVisible():
            self._ui.raise_dock("gallery")
            gallery.find_room()
        images = [image for seed in (first, *seeds[:2].tolist()) if (image := self._ui.thumbs.get(seed))]
        drag_seeds(self.canvas, seeds, images, self._ui.theme)

    def _choose(self, seeds: frozenset[int]) -> None:
        """Select seeds; a single one comes on the card, which a digit would answer about."""
        if len(seeds) == 1:
            self._ui.pick(next(iter(seeds)), "map")
        else:
            self._ui.select(seeds, "map")

    def _describe(self, seed: int) -> str:
        return describe(self._ui.session, seed)
