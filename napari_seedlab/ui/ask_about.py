"""The rows of the Train dock that choose which seeds are asked about first, and whether labels spread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_seedlab.core import SeedlabError
from napari_seedlab.ui.choice_box import ChoiceBox

if TYPE_CHECKING:
    from napari_seedlab.ui.app import SeedlabUi

CHOICES = {  # strategies of :mod:`napari_seedlab.learn.queries`
    "default": ("A bit of each", "Typical seeds first; then unsure, odd, unlike and random ones"),
    "margin_kmeans": ("Most uncertain first", "Seeds that the model finds hard to tell"),
    "k_center": ("Most different first", "Seeds that are unlike any labelled one"),
    "anomaly": ("Most anomalous first", "The oddest seeds by the shown scores"),
    "disagreement": ("Methods disagree first", "Seeds that one method finds odd and another does not"),
}


SPREAD_TIP = (
    "Seeds much like labelled ones teach the live model as if they were labelled (label spreading). "
    "It helps while there are few labels of each class; the labels themselves stay as they are."
)


class AskAbout(QWidget):
    """What the queue is ordered by; a choice draws a new batch at once. Below, whether labels spread.

    Parameters
    ----------
    ui : SeedlabUi
    parent : QWidget
    """

    def __init__(self, ui: SeedlabUi, parent: QWidget) -> None:
        super().__init__(parent)
        self._ui = ui
        entries = [(strategy, *words) for strategy, words in CHOICES.items()]
        self.strategy = ChoiceBox(self, "Which seeds are asked about first", entries)
        self.strategy.activated.connect(ui.slot(self._choose))
        self.spread = QCheckBox("Let labels spread to look-alikes", self)
        self.spread.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.spread.setToolTip(SPREAD_TIP)
        self.spread.clicked.connect(ui.slot(self._let_spread))
        row = QHBoxLayout()
        row.addWidget(QLabel("Ask about", self))
        row.addWidget(self.strategy, 1)
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(3)
        rows.addLayout(row)
        rows.addWidget(self.spread)

    def refresh(self) -> None:
        """Show what the shown kind of scan is asked by."""
        session = self._ui.session
        has_seeds = session is not None and any(session.regions(s) is not None for s in session.scans)
        self.strategy.setEnabled(has_seeds)
        wish = "default" if session is None else session.labelling.wishes.get(session.pool, "default")
        self.strategy.choose(wish)
        self.spread.setEnabled(session is not None and not session.read_only)
        self.spread.setChecked(session is not None and session.pool in session.labelling.spreads)

    def _let_spread(self, on: bool) -> None:
        if self._ui.session is not None:
            self._ui.session.labelling.spread_labels(on)

    def _choose(self) -> None:
        session = self._ui.session
        if session is None:
            return
        try:
            session.labelling.ask_by(str(self.strategy.value))
        except SeedlabError:
            self.refresh()
            raise
