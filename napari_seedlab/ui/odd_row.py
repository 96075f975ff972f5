"""The rows of the Train dock about oddness: method, threshold, what labels say."""

from __future__ import annotations

from functools import partial
from html import escape
from operator import is_
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QGridLayout, QLabel, QPushButton, QSizePolicy, QSlider, QWidget

from napari_seedlab.session.anomaly import METHODS_OF
from napari_seedlab.session.verdicts import verdicts
from napari_seedlab.ui.choice_box import ChoiceBox
from napari_seedlab.ui.method_words import WORDS
from napari_seedlab.ui.section import wrapped
from napari_seedlab.ui.verdict_lines import verdict_text, verdict_tip

if TYPE_CHECKING:
    from qtpy.QtGui import QPaintEvent

    from napari_seedlab.session.results import AnomalyScores
    from napari_seedlab.session.verdicts import Verdict
    from napari_seedlab.ui.app import SeedlabUi

STEPS = 1000


class OddRow(QWidget):
    """Method, a threshold with the number of seeds that it flags, and what the labels say of the scores.

    A method that has scores shows them when it is chosen. The labels judge in the reading thread, and only
    while somebody sees the row.

    Parameters
    ----------
    ui : SeedlabUi
    parent : QWidget
    """

    def __init__(self, ui: SeedlabUi, parent: QWidget) -> None:
        super().__init__(parent)
        self._ui = ui
        self._shown: AnomalyScores | None = None
        self.method = ChoiceBox(self, "How oddness is scored; a method that was run shows its scores at once")
        self.method.activated.connect(ui.slot(self._show_chosen))
        self.verdict = wrapped(self)
        self._judged_for: tuple[object, ...] = ()
        self._judged_pool = ""
        self._is_due = False
        self.threshold = QSlider(Qt.Orientation.Horizontal, self)
        self.threshold.setRange(0, STEPS)
        self.threshold.setToolTip("Seeds above this score are flagged; 1 is the score of the median seed")
        self.threshold.valueChanged.connect(ui.slot(self._tell))
        self.flagged = QPushButton(self)
        self.flagged.setToolTip("Select the flagged seeds in the viewer and on the map")
        self.flagged.clicked.connect(ui.slot(self._select))
        self.flagged.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.addWidget(QLabel("Oddness by", self), 0, 0)
        grid.addWidget(self.method, 0, 1, 1, 2)
        self.above = QLabel("Flag above", self)
        self.above.setMinimumWidth(self.above.fontMetrics().horizontalAdvance("Above 99.99"))
        grid.addWidget(self.above, 1, 0)
        grid.addWidget(self.threshold, 1, 1)
        grid.addWidget(self.flagged, 1, 2)
        grid.addWidget(self.verdict, 2, 0, 1, 3)
        grid.setColumnStretch(1, 3)
        grid.setColumnStretch(2, 3)
        self.refresh()

    @property
    def chosen(self) -> str:
        """The method, as :func:`~napari_seedlab.session.anomaly.anomaly_step` takes it."""
        return str(self.method.value or "")

    def refresh(self) -> None:
        """Offer the methods of the shown kind of scan, and the scores where there are some."""
        session = self._ui.session
        pool = "ct" if session is None else session.pool
        self.method.offer((method, *WORDS[method]) for method in METHODS_OF[pool])
        found = None if session is None else session.anomaly
        if found is not self._shown:
            self._shown = found
            chosen = "" if session is None else session.opinions.chosen(pool)
            self.method.choose(chosen)
            if found is not None and len(found.score):
                self.threshold.setValue(round(0.9 * STEPS))
        self._tell()
        self.judge()

    # -- what the labels say ------------------------------------------------------------------
    def judge(self) -> None:
        """Ask what the labels say, where they or the scores changed."""
        session = self._ui.session
        if session is None or not session.opinions.of(session.pool):
            self._judged_for, self._judged_pool = (), ""
            self._ui.background.drop("verdicts")
            self._say(())
            return
        pool, about = session.pool, (session, session.labels, session.facts, session.opinions.shown)
        if pool == self._judged_pool and all(map(is_, about, self._judged_for)):
            return
        self._is_due = self.visibleRegion().isEmpty()
        if not self._is_due:
            self._judged_for, self._judged_pool = about, pool
            self._ui.background.submit("verdicts", partial(self._verdicts, about), self._say)

    def _verdicts(self, about: tuple[object, ...]) -> tuple[Verdict, ...] | None:
        session = self._ui.session
        if session is None or about is not self._judged_for:  # newer labels are on their way
            return None
        return verdicts(session, session.pool)

    def _say(self, found: tuple[Verdict, ...] | None) -> None:
        if found is not None:
            text = verdict_text(found)
            is_plain = len(found) == 1 or "<table" not in text
            self.verdict.setText(
                f'<span style="color:{self._ui.theme.dim}">{text}</span>' if is_plain else text
            )
            self.verdict.setToolTip(f"<p>{escape(verdict_tip(found))}</p>")
            self.verdict.setVisible(bool(text))

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Notice that the row is on the screen."""
        super().paintEvent(event)
        if self._is_due:
            self._is_due = False
            QTimer.singleShot(0, self._ui.slot(self.judge))

    # -- scores and threshold -----------------------------------------------------------------
    def _show_chosen(self) -> None:
        session = self._ui.session
        if session is not None:
            session.opinions.show(self.chosen, session.pool)

    def score_at(self, step: int) -> float:
        """Score at a place of the slider, which runs over the seeds from the most usual to the oddest."""
        assert self._shown is not None
        return float(np.quantile(self._shown.score, step / STEPS))

    def flagged_seeds(self) -> frozenset[int]:
        """Seeds with a score above the threshold."""
        if self._shown is None or not len(self._shown.score):
            return frozenset()
        above = self._shown.score > self.score_at(self.threshold.value())
        return frozenset(self._shown.seeds[above].tolist())

    def _tell(self) -> None:
        has = self._shown is not None and len(self._shown.score) > 0
        self.threshold.setEnabled(has)
        self.flagged.setEnabled(has and bool(self.flagged_seeds()))
        if not has:
            self.above.setText("Flag above")
            self.flagged.setText("no scores")
            return
        self.above.setText(f"Above {self.score_at(self.threshold.value()):.2f}")
        self.flagged.setText(f"{len(self.flagged_seeds()):,} flagged")

    def _select(self) -> None:
        self._ui.select(self.flagged_seeds(), "train")
