"""The Train dock: odd seeds without labels, the network, its loss curve, the models; honest figures."""

from __future__ import annotations

from html import escape
from math import log
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QTabBar,
    QVBoxLayout,
    QWidget,
)

from napari_seedlab.core import NotReady
from napari_seedlab.session.anomaly import METHODS
from napari_seedlab.session.encoding import KINDS as ENCODERS
from napari_seedlab.ui.ask_about import AskAbout
from napari_seedlab.ui.choice_box import ChoiceBox
from napari_seedlab.ui.debug_aids import DebugAids
from napari_seedlab.ui.dock_frame import DockFrame
from napari_seedlab.ui.encoder_table import EncoderTable
from napari_seedlab.ui.figures_page import FiguresPage
from napari_seedlab.ui.job_row import JobRow, kind_of
from napari_seedlab.ui.method_words import WORDS
from napari_seedlab.ui.net_row import NetRow
from napari_seedlab.ui.odd_row import OddRow
from napari_seedlab.ui.plot import Line, LinePlot
from napari_seedlab.ui.replay_row import ReplayRow
from napari_seedlab.ui.status import StatusCard
from napari_seedlab.ui.wide_button import wide_button

if TYPE_CHECKING:
    from napari_seedlab.core import JobStatus, ModelCard
    from napari_seedlab.ui.app import SeedlabUi

HASH_LENGTH = 8  # a shorter tail of a model's id is a number
KIND_WORDS = {
    "head": "live model",
    "net": "network",
    **{method: words[0].lower() for method, words in WORDS.items()},
}


class TrainDock(DockFrame):
    """Background work on the models; labelling goes on meanwhile."""

    def __init__(self, ui: SeedlabUi) -> None:
        super().__init__(ui, height=420)
        self._make_pages()
        body, layout = self.models_page, self._models_rows
        self._scored: object = None  # the scores that the list of models names
        self._losses: dict[str, list[tuple[float, float, float]]] = {}
        self.odd = wide_button(
            "Find odd ones", "Score every seed without a single label; a heatmap shows where",
            ui.slot(self._find_odd), body,
        )  # fmt: skip
        tip = "Train on the labels so far, in the background; labelling goes on meanwhile"
        self.net = wide_button("Train network", tip, ui.slot(self._train), body)
        row = QHBoxLayout()
        row.addWidget(self.odd)
        row.addWidget(self.net)
        layout.addLayout(row)
        self.odd_row = OddRow(ui, body)
        layout.addWidget(self.odd_row)
        self.net_row = NetRow(ui, body)
        layout.addWidget(self.net_row)
        self.ask_about = AskAbout(ui, body)
        layout.addWidget(self.ask_about)
        self.blocked = StatusCard(ui.theme, n_most=4)
        self.job = JobRow(
            {"net", "predict", "batch", "overfit", *METHODS}, ui.slot(self._cancel), self.blocked, body
        )
        layout.addWidget(self.job)
        self.plot = LinePlot(
            "steps",
            "loss",
            "How the error (loss) of the network falls, beside the error of guessing.",
            ui.theme,
            body,
        )
        layout.addWidget(self.plot)
        self.aids = DebugAids(ui, lambda: self.net_row.settings, body)
        layout.addWidget(self.aids)
        layout.addLayout(self._make_models(body))
        self.quality = QLabel(body)
        self.quality.setWordWrap(True)
        self.quality.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        layout.addWidget(self.quality)
        self.replay = ReplayRow(ui, body)
        layout.addWidget(self.replay)
        layout.addStretch(1)
        ui.session_bound.connect(ui.slot(self.rebuild))
        self.rebuild()

    def _make_pages(self) -> None:
        """The pages, of which the shown one alone takes room."""
        self.tabs = QTabBar(self.body)
        self.tabs.setExpanding(True)
        self.tabs.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.tabs.addTab("Models")
        self.tabs.addTab("Figures")
        self.tabs.addTab("Encoders")
        self.models_page = QWidget(self.body)
        self._models_rows = QVBoxLayout(self.models_page)
        self._models_rows.setContentsMargins(0, 0, 0, 0)
        self._models_rows.setSpacing(self.rows.spacing())
        self.figures = FiguresPage(self._ui, self.body)
        self.encoders = EncoderTable(self._ui, self.body)
        for widget in (self.tabs, self.models_page, self.figures, self.encoders):
            self.rows.addWidget(widget)
        self.tabs.currentChanged.connect(self._ui.slot(self._show_page))
        self._show_page()

    def _show_page(self) -> None:
        self.models_page.setVisible(self.tabs.currentIndex() == 0)
        self.figures.setVisible(self.tabs.currentIndex() == 1)
        self.encoders.setVisible(self.tabs.currentIndex() == 2)
        self.scroll.verticalScrollBar().setValue(0)

    def show_figures(self, pool: str = "") -> None:
        """New figures came."""
        self.figures.show_figures()

    def show_encoders(self, pool: str = "") -> None:
        """The encoders in use, or what is known of them, changed."""
        self.encoders.refresh()

    def _make_models(self, body: QWidget) -> QGridLayout:
        self.models = ChoiceBox(body)
        self.models.activated.connect(self._ui.slot(self._activate))
        grid = QGridLayout()
        grid.addWidget(QLabel("Models", body), 0, 0)
        grid.addWidget(self.models, 0, 1)
        grid.setColumnStretch(1, 1)
        return grid

    # -- from the session ---------------------------------------------------------------------
    def rebuild(self) -> None:
        """Show another project."""
        self._losses.clear()
        self.plot.show_lines(())
        self.plot.hide()  # no room for what is not there
        self.job.forget()
        self.replay.rebuild()
        self.aids.rebuild()
        self.encoders.rebuild()
        self.figures.show_figures()  # none are being counted for it
        self.show_models()
        self.refresh()

    def tell_blocked(self) -> None:
        """Let the buttons follow the labels, and the rows once the dock is seen."""
        session = self._ui.session
        self.net.setEnabled(session is not None and not session.blocked_because)
        self.write_seen(self.refresh)

    def refresh(self) -> None:
        """Say what blocks training."""
        session = self._ui.session
        blocked = "Open a project in the Project dock." if session is None else session.blocked_because
        ready = (session is not None and not session.read_only) and (
            any(session.regions(s) is not None for s in session.scans)
            or (session.pool == "hsi" and bool(session.scans))  # pixels need no split
        )
        self.odd.setEnabled(ready)
        self.net.setEnabled(session is not None and not blocked)
        self.odd_row.refresh()
        self.ask_about.refresh()
        self.replay.refresh()
        self.net_row.refresh()
        self.aids.refresh()
        self.figures.refresh()
        self.encoders.refresh()
        if session is not None and session.opinions.shown is not self._scored:
            self._scored = session.opinions.shown
            self.show_models()
        if blocked:
            self.blocked.say(f"To train: {blocked[:1].lower()}{blocked[1:]}", "warning")
        else:
            self.blocked.say("Ready to train.", "success")

    def judge(self) -> None:
        """Let the labels judge the scores anew, where they changed."""
        self.odd_row.judge()

    def show_job(self, status: JobStatus) -> None:
        """Show progress, and the loss where the job tells one."""
        self.job.show_job(status)
        self.replay.show_job(status)
        if kind_of(status) == "replay" and status.state.is_final and self.replay.said.text():
            QTimer.singleShot(0, self._ui.slot(self._show_replay))
        self.aids.show_job(status)
        self.encoders.show_job(status)
        figures = status.progress.figures
        if "loss" in figures and kind_of(status) in ("net", *METHODS):
            chance = figures.get("chance_loss", self._chance())
            points = self._losses.setdefault(status.id, [])
            if not points or points[-1][0] != status.progress.done:
                points.append((float(status.progress.done), float(figures["loss"]), float(chance)))
            self._draw_loss(status.id)
        if kind_of(status) == "figures" and status.state.is_final:
            self.figures.show_figures()
        if status.error:
            self.status.say(status.error, "error")

    def _show_replay(self) -> None:
        """Scroll to what the replay said, once it has taken its room."""
        self.scroll.ensureWidgetVisible(self.replay.said)

    def _chance(self) -> float:
        session = self._ui.session
        return log(max(len(session.scheme), 2)) if session is not None else log(2)

    def _draw_loss(self, job_id: str) -> None:
        table = np.asarray(self._losses[job_id])
        line = Line("loss", self._ui.theme.accent, table[:, 0], table[:, 1])
        is_net = job_id.startswith("net")
        self.plot.show()
        self.plot.show_lines((line,), ("guessing", float(table[-1, 2])) if is_net else None)

    def show_models(self) -> None:
        """List the models of the project, the newest first, the active one chosen."""
        session = self._ui.session
        models = () if session is None else session.models
        cards = [card for card in models if card.kind not in ENCODERS]
        listed = [(card.id, self._name(card), card.id) for card in reversed(cards)]
        self.models.offer(listed or [("", "none yet", "")])
        self.models.choose(next((card.id for card in cards if card.active), ""))
        self.models.setEnabled(bool(cards))
        tip = "Whose predictions, or scores of oddness, are shown; ✓ marks those that are"
        self.models.setToolTip(f"{tip}<br>{escape(self.models.currentText())}")
        self._say_quality()
        self.net_row.refresh()
        self.aids.refresh()

    def _say_quality(self) -> None:
        session = self._ui.session
        report: dict[str, Any] = {} if session is None else session.head_report.get(session.pool, {})
        value = report.get("cv_balanced_accuracy")
        n = int(report.get("n_labels", 0))
        text = (
            ""
            if value is None
            else f"Live model: balanced accuracy {float(value):.0%} over {n} labels (provisional)."
        )
        self.quality.setText(text)
        self.quality.setVisible(bool(text))

    def _name(self, card: ModelCard) -> str:
        session, score = self._ui.session, card.metrics.get("balanced_accuracy")
        is_baseline = card.config.get("kind") == "screening"
        parts = ["baseline CNN" if is_baseline else KIND_WORDS.get(card.kind, card.kind)]
        if isinstance(score, int | float):
            parts.append(f"{float(score):.0%}")
        scored = {} if session is None else session.opinions.shown
        is_used = card.active or any(card.id == found.model_id for found in scored.values())
        parts[0] += self._number(card)
        return f"{'✓ ' if is_used else ''}{' · '.join(parts)}"

    def _number(self, card: ModelCard) -> str:
        """Its own number, else its place among the models of its kind; none for the only one."""
        own = card.id.rpartition("-")[2]
        if own.isdigit() and len(own) < HASH_LENGTH:
            return f" {own}"
        models = () if self._ui.session is None else self._ui.session.models
        alike = [other.id for other in models if other.kind == card.kind]
        return f" {alike.index(card.id) + 1}" if len(alike) > 1 and card.id in alike else ""

    # -- from the user ------------------------------------------------------------------------
    def _find_odd(self) -> None:
        if self._ui.session is not None:
            self._ui.session.find_odd(method=self.odd_row.chosen)

    def _train(self) -> None:
        if self._ui.session is not None:
            self._ui.session.train("net", self.net_row.settings)

    def _activate(self, index: int) -> None:
        model = self.models.itemData(index)
        if self._ui.session is not None and model:
            try:
                self._ui.session.activate(str(model))
            except NotReady:
                self.show_models()  # what is used stays chosen
                raise

    def _cancel(self, job_id: str) -> None:
        if self._ui.session is not None:
            self._ui.session.cancel(job_id)
