"""The row of the Train dock that chooses how oddness is scored, and from where on a seed is flagged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QGridLayout, QLabel, QPushButton, QSizePolicy, QSlider, QWidget

from napari_seedlab.session.anomaly import METHODS_OF

if TYPE_CHECKING:
    from napari_seedlab.session.results import AnomalyScores
    from napari_seedlab.ui.app import SeedlabUi

WORDS = {
    "fcdd": ("Pasted defects", "FCDD: learns normal seeds beside copies with made-up defects"),
    "vae": ("Autoencoder", "What an autoencoder of normal seeds cannot rebuild: a second opinion"),
    "distance": ("Feature distance", "How far a place is from all that normal seeds show: a second opinion"),
    "spectra": ("Spectra around", "Each spectrum against the usual ones around it"),
    "rx": ("Spectra overall", "Reed-Xiaoli: each spectrum against those of the whole scan"),
    "local_rx": ("Spectra near", "Local Reed-Xiaoli: each spectrum against those near by, not next to it"),
}
STEPS = 1000


class OddRow(QWidget):
    """Method, and a threshold with the number of seeds that it flags.

    Parameters
    ----------
    ui : SeedlabUi
    parent : QWidget
    """

    def __init__(self, ui: SeedlabUi, parent: QWidget) -> None:
        super().__init__(parent)
        self._ui = ui
        self._shown: AnomalyScores | None = None
        self.method = QComboBox(self)
        self.method.setToolTip("How oddness is scored")
        self.threshold = QSlider(Qt.Orientation.Horizontal, self)
        self.threshold.setRange(0, STEPS)
        self.threshold.setToolTip("Seeds above this score are flagged; 1 is the score of the median seed")
        self.threshold.valueChanged.connect(ui.slot(self._tell))
        self.flagged = QPushButton(self)
        self.flagged.setToolTip("Select the flagged seeds in the viewer and on the map")
        self.flagged.clicked.connect(ui.slot(self._select))
        for widget in (self.method, self.flagged):
            widget.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.addWidget(QLabel("Oddness by", self), 0, 0)
        grid.addWidget(self.method, 0, 1, 1, 2)
        self.above = QLabel("Flag above", self)
        self.above.setMinimumWidth(self.above.fontMetrics().horizontalAdvance("Above 99.99"))
        grid.addWidget(self.above, 1, 0)
        grid.addWidget(self.threshold, 1, 1)
        grid.addWidget(self.flagged, 1, 2)
        grid.setColumnStretch(1, 3)
        grid.setColumnStretch(2, 3)
        self.refresh()

    @property
    def chosen(self) -> str:
        """The method, as :func:`~napari_seedlab.session.anomaly.anomaly_step` takes it."""
        return str(self.method.currentData() or "")

    def refresh(self) -> None:
        """Offer the methods of the shown kind of scan, and the scores where there are some."""
        session = self._ui.session
        pool = "ct" if session is None else session.pool
        fitting = list(METHODS_OF[pool])
        if [self.method.itemData(i) for i in range(self.method.count())] != fitting:
            self.method.clear()
            for method in fitting:
                self.method.addItem(WORDS[method][0], method)
                self.method.setItemData(
                    self.method.count() - 1, WORDS[method][1], Qt.ItemDataRole.ToolTipRole
                )
        found = None if session is None else session.anomaly
        if found is not self._shown:
            self._shown = found
            if found is not None and len(found.score):
                self.threshold.setValue(round(0.9 * STEPS))
        self._tell()

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
            self.flagged.setText("no scores yet")
            return
        self.above.setText(f"Above {self.score_at(self.threshold.value()):.2f}")
        self.flagged.setText(f"{len(self.flagged_seeds()):,} flagged")

    def _select(self) -> None:
        self._ui.select(self.flagged_seeds(), "train")
