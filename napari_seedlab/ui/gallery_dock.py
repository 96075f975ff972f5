"""The Gallery dock: all seeds as pictures, the clusters beside them, a bin for each class."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QEvent, QObject, QPoint, QSize, Qt, QTimer
from qtpy.QtWidgets import (
    QComboBox,
    QDockWidget,
    QHBoxLayout,
    QLabel,
    QMainWindow,
    QMenu,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_seedlab.core import LabelState
from napari_seedlab.session.clusters import N_RANGE
from napari_seedlab.ui import gallery_order
from napari_seedlab.ui.bins import BinColumn
from napari_seedlab.ui.cluster_list import ClusterList, ClusterRows
from napari_seedlab.ui.cut_slider import CutSlider
from napari_seedlab.ui.gallery_cells import facts_of
from napari_seedlab.ui.gallery_grid import GalleryGrid
from napari_seedlab.ui.seed_text import overwritten

if TYPE_CHECKING:
    from qtpy.QtGui import QShowEvent

    from napari_seedlab.core import JobStatus
    from napari_seedlab.session.clusters import Cluster
    from napari_seedlab.ui.app import SeedlabUi

Ids = npt.NDArray[np.int64]
SIDE_PX = 148  # of the clusters
SHARE, LOW_PX, LOW_EDGE_PX = 0.4, 900, 60  # of the window's height; a low window, and its pictures
ROOM_MS = 150  # after the last change of the window's size
ARROW_PX = 56  # of a box beside its text
ALL = ("all", 0)
EMPTY = "Split a scan into seeds: they appear here."
NONE_LEFT = "No seed is left here."


class GalleryDock(QWidget):
    """See, sort and label many seeds at once."""

    def __init__(self, ui: SeedlabUi) -> None:
        super().__init__()
        self._ui = ui
        self._show: tuple[str, int] = ALL
        self._picked: Ids = np.zeros(0, np.int64)
        self._by = "cluster"
        self._ranked: dict[int, float] = {}  # order of a review, or likeness to a seed
        self._is_review = self._is_stale = False
        self._spark_scale: tuple[Any, float, float] = (None, 0.0, 1.0)
        self.grid = GalleryGrid(ui.thumbs, ui.theme, self)
        self.grid.spark = self._spark
        self._usual_edge, self._room_of = self.grid.cells.edge, 0  # height of the window that it has room in
        self._room = QTimer(self)
        self._room.setSingleShot(True)
        self._room.setInterval(ROOM_MS)
        self._room.timeout.connect(ui.slot(self.find_room))
        self.bins = BinColumn(ui.theme, self)
        self.rows = ClusterRows(self._members, ui.theme)
        self.slider = CutSlider(N_RANGE, ui.theme, self)
        self._make_side()
        self._make_bar()
        self._make_actions()
        middle = QVBoxLayout()
        middle.setSpacing(4)
        middle.addLayout(self._bar)
        middle.addWidget(self.grid, 1)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(8, 4, 8, 6)
        layout.setSpacing(8)
        layout.addLayout(self._side)
        layout.addLayout(middle, 1)
        right = QVBoxLayout()
        right.setSpacing(4)
        right.addWidget(self.count)
        right.addWidget(self.bins, 1)
        layout.addLayout(right)
        self.setMinimumHeight(150)
        self._connect()
        self.rebuild()

    def _connect(self) -> None:
        slot = self._ui.slot
        self.grid.selected.connect(slot(self._selected_here))
        self.grid.menu_wanted.connect(slot(self._open_menu))
        self.bins.chosen.connect(slot(self._chose_bin))
        self.rows.pressed.connect(slot(self._pressed_cluster))
        self.slider.moved.connect(slot(self._cut))
        self.slider.let_go.connect(slot(self._keep_cut))
        self._ui.session_bound.connect(slot(self.rebuild))

    # -- making -------------------------------------------------------------------------------
    def _make_side(self) -> None:
        self._side = QVBoxLayout()
        self._side.setSpacing(3)
        self.n_clusters = QLabel("Clusters", self)
        self.propose = self._button("→", "The number of clusters that fits best", self._propose)
        head = QHBoxLayout()
        head.addWidget(self.n_clusters, 1)
        head.addWidget(self.propose)
        self._side.addLayout(head)
        self._side.addWidget(self.slider)
        rows = ClusterList(self.rows, self)
        rows.setFixedWidth(SIDE_PX)
        self._side.addWidget(rows, 1)

    def _make_bar(self) -> None:
        self.sort, self.show_box = QComboBox(self), QComboBox(self)
        for by, text in gallery_order.SORTS.items():
            self.sort.addItem(text, by)
        self.sort.setToolTip("What the seeds are sorted by, the most telling first")
        self.show_box.setToolTip("Which seeds are shown")
        for box in (self.sort, self.show_box):
            box.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # keys go on to answer
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(4)
            box.setMinimumWidth(112)
            box.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        longest = max(self.fontMetrics().horizontalAdvance(text) for text in gallery_order.SORTS.values())
        self.sort.setMinimumWidth(longest + ARROW_PX)
        self.again = QToolButton(self)
        self.again.setText("↻")
        self.again.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.again.setToolTip("Sort again: an answer does not move what you look at")
        self.all = QToolButton(self)
        self.all.setText("✕")
        self.all.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.all.setToolTip("Show all seeds again")
        self.all.clicked.connect(self._ui.slot(self.show_all))
        self.count = QLabel(self)
        self.count.setEnabled(False)
        self.count.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._bar = QHBoxLayout()
        self._bar.setSpacing(4)
        for widget in (self.sort, self.again, self.show_box, self.all):
            self._bar.addWidget(widget)
        self._bar.addStretch(1)
        self.sort.activated.connect(self._ui.slot(self._sort_chosen))
        self.show_box.activated.connect(self._ui.slot(self._show_chosen))
        self.again.clicked.connect(self._ui.slot(self.reorder))

    def _make_actions(self) -> None:
        """What can be done with the cluster that is shown, below the clusters."""
        self.label_all = QPushButton("Label all", self)
        self.label_all.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.label_all.setToolTip("Label every seed of this cluster that has no answer yet, at once")
        self.label_all.setMenu(QMenu(self.label_all))
        self.review = self._button(
            "Review exceptions", "Those nearest another class first; a digit corrects one", self._review
        )
        self.back = self._button("Back to clusters", "The whole cluster, by number again", self._end_review)
        for button in (self.label_all, self.review, self.back):
            button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            button.setVisible(False)
            self._side.addWidget(button)

    def _button(self, text: str, tip: str, call: Any) -> QPushButton:
        button = QPushButton(text, self)
        button.setToolTip(tip)
        button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        button.clicked.connect(self._ui.slot(call))
        return button

    def sizeHint(self) -> QSize:
        """Two rows of pictures and their bar."""
        return QSize(900, 265)

    def find_room(self) -> None:
        """Take a share of the window's height, at first and whenever the window has another height."""
        outer: QWidget | None = self
        while outer is not None and not isinstance(outer, QDockWidget):
            outer = outer.parentWidget()
        window = None if outer is None else outer.window()
        if outer is None or not isinstance(window, QMainWindow) or window.height() == self._room_of:
            return
        if not self._room_of:
            window.installEventFilter(self)
        self._room_of, is_low = window.height(), window.height() < LOW_PX
        # beside napari's layer list, not below: together they would keep the window from becoming low
        window.setCorner(Qt.Corner.BottomLeftCorner, Qt.DockWidgetArea.LeftDockWidgetArea)
        self.grid.set_edge(LOW_EDGE_PX if is_low else self._usual_edge, self.grid.cells.is_wide)
        sizes = [round(window.height() * SHARE)]
        QTimer.singleShot(0, partial(window.resizeDocks, [outer], sizes, Qt.Orientation.Vertical))

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Notice that the window has another size."""
        if event is not None and event.type() == QEvent.Type.Resize and self.isVisible():
            self._room.start()
        return False

    # -- from the session ---------------------------------------------------------------------
    def rebuild(self) -> None:
        """Begin anew with a project or with other classes."""
        session = self._ui.session
        classes = () if session is None else session.scheme.active
        self.bins.rebuild(classes)
        self.show_box.clear()
        self.show_box.addItem("All seeds", ALL)
        self.show_box.addItem("No label yet", ("open", 0))
        for c in classes:
            self.show_box.addItem(f"Labelled {c.name}", ("labelled", c.id))
        for c in classes:
            self.show_box.addItem(f"Predicted {c.name}", ("predicted", c.id))
        menu = self.label_all.menu()
        menu.clear()
        for c in classes:
            menu.addAction(f"{c.key}  {c.name}", self._ui.slot(partial(self._label_cluster, c.id)))
        self._picked, self._is_review = np.zeros(0, np.int64), False
        self._show, self._by = ALL, "cluster"
        self.reorder()

    def reorder(self) -> None:
        """Filter and sort anew."""
        if not self.isVisible():
            self._is_stale = True
            return
        session = self._ui.session
        if session is None:
            self.grid.show_seeds(np.zeros(0, np.int64), facts_of(None, np.zeros(0, np.int64)))
            self._tell()
            return
        seeds = gallery_order.seeds_in(session, self._show, self._picked)
        if self._is_review or self._by == "similarity":
            values = gallery_order.from_ranks(seeds, self._ranked)
        else:
            found = gallery_order.sort_values(session, self._by, seeds)
            values = seeds.astype(np.float64) if found is None else found
        seeds = gallery_order.in_order(seeds, values)
        self.grid.empty = NONE_LEFT if self._show != ALL else EMPTY
        self.grid.show_seeds(seeds, facts_of(session, seeds))
        self.grid.mark(session.current_seed, session.selection)
        self._is_stale = False
        self._tell()

    def refresh(self) -> None:
        """Draw labels, predictions and counts anew; no seed moves."""
        if not self.isVisible():
            self._is_stale = True
            return
        session, seeds = self._ui.session, self.grid.seeds
        if session is not None and self._show[0] == "open":
            left = seeds[np.isin(seeds, gallery_order.seeds_in(session, self._show, self._picked))]
            if len(left) < len(seeds):
                self.grid.show_seeds(left, facts_of(session, left))
                self._tell()
                return
        self.grid.set_facts(facts_of(session, seeds))
        self._tell()

    def mark(self, current: int | None, selection: frozenset[int]) -> None:
        """Ring the seed on the card, and show what is selected."""
        if self.isVisible():
            self.grid.mark(current, selection)
            self._say_count()

    def selected(self, seeds: frozenset[int], origin: str) -> None:
        """Show the seeds that were selected elsewhere, where these are several."""
        if origin in ("gallery", "answer") or len(seeds) < 2:
            return
        self._picked, self._is_review = np.fromiter(seeds, np.int64, len(seeds)), False
        self._show = ("picked", 0)
        self.reorder()

    def show_job(self, status: JobStatus) -> None:
        """Say how far the thumbnails are."""
        if status.id.startswith("thumbs-") and self.isVisible():
            done, total = status.progress.done, status.progress.total
            drawing = total and not status.state.is_final
            self.count.setText(f"Drawing: {done / total:.0%}") if drawing else self._say_count()

    def showEvent(self, event: QShowEvent | None) -> None:
        """Catch up with what happened while hidden."""
        super().showEvent(event)
        session = self._ui.session
        if session is not None:
            pool = session.pool
            session.desk.do(lambda _: session.thumbnails.ask(pool))
        if self._is_stale or not len(self.grid.seeds):
            self.reorder()

    # -- what is said -------------------------------------------------------------------------
    def _tell(self) -> None:
        session = self._ui.session
        table = None if session is None else session.thumbnails.tables.get(session.pool)
        self.grid.set_edge(self.grid.cells.edge, table is None or table.is_volume)
        clusters = () if session is None else session.clusters.summaries(session.pool)
        number = self._show[1] if self._show[0] == "cluster" else -1
        self.rows.show_clusters(clusters, None if session is None else session.scheme, number)
        self._tell_slider(len(clusters))
        self._tell_bins()
        self._say_count()
        self._tell_actions(clusters[number] if 0 <= number < len(clusters) else None)
        by = "exceptions" if self._is_review else self._by
        self.sort.setCurrentIndex(list(gallery_order.SORTS).index(by))
        self._name_filter()

    def _name_filter(self) -> None:
        """Let the box say what is shown; a cluster or selection is listed while it is."""
        box, words = self.show_box, {"cluster": f"Cluster {self._show[1] + 1}", "picked": "Selection"}
        for i in reversed(range(box.count())):
            if box.itemData(i)[0] in words:
                box.removeItem(i)
        if self._show[0] in words:
            box.insertItem(0, words[self._show[0]], self._show)
        found = [tuple(box.itemData(i)) for i in range(box.count())]
        box.setCurrentIndex(found.index(self._show) if self._show in found else 0)

    def _tell_slider(self, n: int) -> None:
        session = self._ui.session
        tree = None if session is None else session.clusters.trees.get(session.pool)
        proposed = 0 if session is None else session.clusters.proposed.get(session.pool, 0)
        heights = np.zeros(0, np.float32) if tree is None else tree.heights
        self.slider.show_tree(max(n, 1), proposed, heights)
        self.slider.setEnabled(n > 0)
        self.n_clusters.setText(f"{n} clusters" if n else "Clusters")
        self.propose.setVisible(bool(proposed) and n != proposed)
        self.propose.setText(f"→ {proposed}")

    def _tell_bins(self) -> None:
        session = self._ui.session
        if session is None:
            return
        counts: dict[Any, int] = dict(session.counts())
        counts["unsure"] = sum(x.state is LabelState.UNSURE for x in session.labels.values())
        said = session.predictions
        guessed = np.zeros(0, np.int64)
        if said is not None:
            answered = [s for s, x in session.labels.items() if x.state is not LabelState.NONE]
            guessed = said.best[~np.isin(said.seeds, answered)].astype(np.int64)
        self.bins.tell(counts, guessed)

    def _say_count(self) -> None:
        n, chosen = len(self.grid.seeds), len(self.grid.chosen_seeds())
        seeds = "1 seed" if n == 1 else f"{n:,} seeds" if n else ""
        self.count.setText(f"{chosen:,} selected" if chosen else seeds)
        like = self._by == "similarity" and self._ranked and not self._is_review
        tail = f", most like {min(self._ranked, key=lambda s: self._ranked[s])} first" if like else ""
        self.count.setToolTip(f"{n:,} seeds{tail}; {chosen:,} of them selected")

    def _tell_actions(self, cluster: Cluster | None) -> None:
        n_open = 0 if cluster is None else cluster.n - cluster.n_labelled
        self.label_all.setVisible(cluster is not None and not self._is_review and n_open > 0)
        self.label_all.setText(f"Label {n_open:,} as…")
        self.review.setVisible(cluster is not None and not self._is_review)
        self.back.setVisible(self._is_review)
        self.all.setVisible(self._show != ALL or self._by == "similarity")

    def _spark(self, seed: int) -> npt.NDArray[np.float32] | None:
        """The spectrum of a seed, scaled to what all seeds of its pool span."""
        session = self._ui.session
        values = None if session is None else session.thumbnails.spectrum(seed)
        if values is None or session is None:
            return None
        found = session.thumbnails.find(seed)
        if found is not None and self._spark_scale[0] is not found[0]:
            low, high = (float(v) for v in np.nanpercentile(found[0].spectrum, (0.5, 99.5)))
            self._spark_scale = (found[0], low, high)
        _, low, high = self._spark_scale
        return np.asarray((values - low) / max(high - low, 1e-9), np.float32)

    # -- from the user ------------------------------------------------------------------------
    @property
    def hovered_seed(self) -> int | None:
        """The seed under the pointer."""
        return self.grid.hovered_seed if self.isVisible() else None

    @property
    def has_keys(self) -> bool:
        """Whether the keyboard is here."""
        return bool(self.isVisible() and self.grid.hasFocus())

    def show_all(self) -> None:
        """Show every seed of the pool."""
        self._show, self._is_review = ALL, False
        self._by = "cluster" if self._by == "similarity" else self._by
        self.reorder()

    def _end_review(self) -> None:
        self._is_review = False
        self.reorder()

    def _selected_here(self, seeds: Ids, current: int | None) -> None:
        if len(seeds) == 1:
            self._ui.pick(int(seeds[0]), "gallery")
        else:
            self._ui.select(frozenset(seeds.tolist()), "gallery")

    def _sort_chosen(self, index: int) -> None:
        by, session = str(self.sort.itemData(index)), self._ui.session
        if session is None:
            return
        if by == "exceptions" and self._show[0] == "cluster":
            self._review()
            return
        if by == "similarity":
            seed = self.grid.current_seed if self.grid.current_seed is not None else session.current_seed
            self.more_like(seed)
            return
        if by in gallery_order.MISSING and gallery_order.sort_values(session, by, self.grid.seeds) is None:
            self._ui.say(gallery_order.MISSING[by], "warning")
        else:
            self._by, self._is_review = by, False
        self.reorder()

    def _show_chosen(self, index: int) -> None:
        self._show, self._is_review = tuple(self.show_box.itemData(index)), False
        self.reorder()

    def _pressed_cluster(self, number: int) -> None:
        self._show = ALL if self._show == ("cluster", number) else ("cluster", number)
        self._is_review = False
        self.reorder()

    def more_like(self, seed: int | None) -> None:
        """Sort by likeness to a seed."""
        session = self._ui.session
        if session is None or seed is None:
            self._ui.say("Choose a seed first, then those most like it come.", "warning")
            self._tell()
            return
        work = partial(session.clusters.likeness, seed)
        self._ui.background.submit("gallery", work, self._found_alike)

    def _found_alike(self, found: tuple[Ids, npt.NDArray[np.float32]]) -> None:
        self._ranked = dict(zip(found[0].tolist(), found[1].tolist(), strict=True))
        self._by, self._show, self._is_review = "similarity", ALL, False
        self.reorder()
        self.grid.verticalScrollBar().setValue(0)

    def _review(self) -> None:
        session = self._ui.session
        if session is not None and self._show[0] == "cluster":
            work = partial(session.clusters.exceptions, self._show[1])
            self._ui.background.submit("gallery", work, self._found_exceptions)

    def _found_exceptions(self, found: tuple[Ids, npt.NDArray[np.float32]]) -> None:
        self._ranked = {s: float(i) for i, s in enumerate(found[0].tolist())}
        self._is_review = True
        self.reorder()
        self.grid.verticalScrollBar().setValue(0)
        self.grid.setFocus()
        self.grid.choose_row(0)

    def _members(self, number: int) -> Ids:
        session = self._ui.session
        return np.zeros(0, np.int64) if session is None else session.clusters.members(number, session.pool)

    def _label_cluster(self, class_id: int) -> None:
        session = self._ui.session
        if session is None or self._show[0] != "cluster":
            return
        done = session.clusters.label(self._show[1], class_id)
        name = session.scheme.by_id(class_id).name
        self._ui.say(f"{len(done):,} seeds labelled {name}; Ctrl+Z takes all back.", "success")
        self._review()

    def _cut(self, n: int) -> None:
        session = self._ui.session
        if session is not None and session.layout is not None:
            if session.pool in session.clusters.trees:
                session.clusters.cut(n)
            self.n_clusters.setText(f"{n} clusters")

    def _keep_cut(self) -> None:
        session = self._ui.session
        if session is None or session.layout is None:
            return
        if session.pool in session.clusters.trees:
            session.clusters.keep()
        else:
            session.clusters.cut(self.slider.value)  # by a job

    def _propose(self) -> None:
        if self._ui.session is not None:
            self._ui.session.clusters.propose()
            self._ui.session.clusters.keep()

    def clusters_changed(self) -> None:
        """Other clusters: what was shown of one is no more."""
        if self._show[0] == "cluster":
            self._show, self._is_review = ALL, False
        self.reorder()

    # -- answers ------------------------------------------------------------------------------
    def answer(self, said: int | str | None) -> None:
        """Answer about the selected seeds; where it is one, go on to the next in the gallery."""
        self._answer(said, self._asked())

    def accept(self) -> None:
        """Answer as predicted about the selected seeds."""
        session, seeds = self._ui.session, self._asked()
        if session is None or not len(seeds):
            return
        n = session.labelling.accept_all(seeds.tolist())
        self._after(seeds, f"{n:,} predictions accepted; Ctrl+Z takes all back.")

    def _asked(self) -> Ids:
        chosen, current = self.grid.chosen_seeds(), self.grid.current_seed
        if len(chosen) or current is None:
            return chosen
        return np.asarray([current], np.int64)

    def _chose_bin(self, said: int | str | None, seeds: Ids | None) -> None:
        session = self._ui.session
        if seeds is None:
            chosen = () if session is None else sorted(session.selection)
            seeds = np.asarray(chosen, np.int64) if chosen else self._asked()
        if not len(seeds):
            self._ui.say("Select seeds first, or drag some here.", "warning")
            return
        self._answer(said, seeds)

    def _answer(self, said: int | str | None, seeds: Ids) -> None:
        session = self._ui.session
        if session is None or not len(seeds):
            return
        changed = overwritten(session, said, seeds.tolist())
        session.answer(said, seeds.tolist())
        what = (
            "cleared" if said is None else said if isinstance(said, str) else session.scheme.by_id(said).name
        )
        line = f"{len(seeds):,} seeds: {what}".replace("_", " ")
        back = f"{changed}; Ctrl+Z takes it back." if changed else "Ctrl+Z takes all back."
        self._after(seeds, f"{line}; {back}")

    def _after(self, seeds: Ids, line: str) -> None:
        """Go on after an answer."""
        session, row = self._ui.session, self.grid.current
        if session is None:
            return
        if len(seeds) > 1:
            session.select((), "answer")
            self._ui.say(line, "success")
            return
        if self.has_keys and 0 <= row < len(self.grid.seeds):
            self.grid.choose_row(min(row + 1, len(self.grid.seeds) - 1))

    def _open_menu(self, seed: int, place: QPoint) -> None:
        menu, session = QMenu(self), self._ui.session
        if session is None:
            return
        menu.addAction("More like this", self._ui.slot(partial(self.more_like, seed)))
        menu.addAction("Show in the viewer", self._ui.slot(self._ui.jump))
        group = None if session.layout is None else session.layout.row.get(seed)
        if group is not None and session.layout is not None:
            number = int(session.layout.cluster[group])
            menu.addAction(
                f"Show its cluster ({number + 1})", self._ui.slot(partial(self._pressed_cluster, number))
            )
        menu.addSeparator()
        for c in session.scheme.active:
            menu.addAction(f"{c.name}  ({c.key})", self._ui.slot(partial(self._chose_bin, c.id, None)))
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(place)
