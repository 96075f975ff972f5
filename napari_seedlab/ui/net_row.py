"""The rows of the Train dock about the network: which one is trained, how it does beside what is simpler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_seedlab.ui.choice_box import ChoiceBox
from napari_seedlab.ui.section import wrapped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_seedlab.core import ModelCard
    from napari_seedlab.ui.app import SeedlabUi

KINDS = {
    "seed": ("Seed network", "Small and quick: three blocks, global pooling; minutes"),
    "screening": (
        "Baseline CNN",
        "The well-understood start, by Dürr & Sick 2016: six convolutions and dense layers, any channels, "
        "for pictures and cubes; its small twin for volumes",
    ),
}
NAMES = {
    "majority": "guessing", "knn": "look-alikes", "head": "live model", "balanced_accuracy": "network",
}  # fmt: skip


class NetRow(QWidget):
    """Choice of the network, and one line of balanced accuracies once one was trained.

    Parameters
    ----------
    ui : SeedlabUi
    parent : QWidget
    """

    def __init__(self, ui: SeedlabUi, parent: QWidget) -> None:
        super().__init__(parent)
        self._ui = ui
        entries = [(kind, *words) for kind, words in KINDS.items()]
        self.kind = ChoiceBox(self, "Which network is trained and looked into", entries)
        row = QHBoxLayout()
        row.addWidget(QLabel("Network", self))
        row.addWidget(self.kind, 1)
        self.figures = wrapped(self)
        self.figures.setToolTip(
            "<p>Balanced accuracy on labels that were not learnt from, the same folds for all: the most "
            "frequent class, the five nearest labels, the live model, the network. It is used only where it "
            "is ahead of the live model by more than the error of their difference.</p>"
        )
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(3)
        rows.addLayout(row)
        rows.addWidget(self.figures)
        self.refresh()

    @property
    def settings(self) -> dict[str, Any]:
        """What a training is asked for with."""
        kind = str(self.kind.value)
        return {} if kind == "seed" else {"kind": kind}

    def refresh(self) -> None:
        """Show how the newest network of the shown kind of scan did."""
        session = self._ui.session
        card = None if session is None else newest_net(session.models, session.pool)
        text = "" if card is None else figures_text(card.metrics)
        self.figures.setText(text)
        self.figures.setVisible(bool(text))


def newest_net(models: tuple[ModelCard, ...], pool: str) -> ModelCard | None:
    """The newest network of a pool."""
    nets = [card for card in models if card.kind == "net" and card.config.get("pool") == pool]
    return nets[-1] if nets else None


def figures_text(metrics: Mapping[str, Any]) -> str:
    """Rich text: balanced accuracies, the plainest first, and whether the network is used.

    >>> figures_text({"majority": 0.25, "balanced_accuracy": 0.9})
    'guessing 25 · network 90 %'
    """
    known = {name: metrics.get(key) for key, name in NAMES.items()}
    shown = {name: float(v) for name, v in known.items() if isinstance(v, int | float)}
    if "network" not in shown:
        return ""
    text = " · ".join(f"{name} {100 * value:.0f}" for name, value in shown.items()) + " %"
    difference, error = metrics.get("difference"), metrics.get("standard_error")
    if (
        "live model" not in shown
        or not isinstance(difference, int | float)
        or not isinstance(error, int | float)
    ):
        return text
    verdict = (
        "used: ahead of the live model"
        if metrics.get("activate")
        else "not used: not clearly ahead of the live model"
    )
    return f"{text}<br>{verdict} ({100 * difference:+.0f} ± {100 * error:.0f} points)"
