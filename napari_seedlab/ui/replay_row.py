"""The part of the Train dock that replays the labels so far: what asking this way saved."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from napari_seedlab.session.replay import sentence
from napari_seedlab.ui.job_row import JobRow, kind_of
from napari_seedlab.ui.plot import Line, LinePlot
from napari_seedlab.ui.section import Section, wrapped
from napari_seedlab.ui.wide_button import wide_button

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_seedlab.core import JobStatus
    from napari_seedlab.ui.app import SeedlabUi

PLOT_PX = 130


class ReplayRow(Section):
    """A button, its progress, one sentence and a small plot.

    Parameters
    ----------
    ui : SeedlabUi
    parent : QWidget
    """

    def __init__(self, ui: SeedlabUi, parent: QWidget) -> None:
        super().__init__("Was asking worth it?", ui.theme, parent)
        self._ui = ui
        self.button = wide_button("Replay my labels", "", ui.slot(self._replay), self)
        self.job = JobRow({"replay"}, ui.slot(self._cancel), self.button, self)
        self.said = wrapped(self)
        self.plot = LinePlot("answers", "right (%)", "", ui.theme, self)
        self.plot.from_zero = False
        self.plot.setMinimumHeight(PLOT_PX)
        for widget in (self.job, self.said, self.plot):
            self.content.addWidget(widget)
        self.fill()
        self.refresh()

    def rebuild(self) -> None:
        """Show another project."""
        self.job.forget()
        self.refresh()

    def refresh(self) -> None:
        """Show the last replay of the shown kind of scan, and whether there can be one."""
        session = self._ui.session
        why = "wants an open project" if session is None else session.replay.lacks(session.pool)
        self.button.setEnabled(not why)
        tip = "Asks your labels once more, at random and by the usual mix, and compares what was learnt"
        self.button.setToolTip(f"Replaying {escape(why)}" if why else tip)
        told = None if session is None else session.replay.last.get(session.pool)
        self.said.setVisible(told is not None)
        self.plot.setVisible(told is not None)
        if told is None:
            return
        self.said.setText(escape(sentence(told)))
        x, curves = np.asarray(told["budget"], float), told[told["judged_by"]]
        colors = {"random": self._ui.theme.dim, "default": self._ui.theme.accent}
        names = {"random": "at random", "default": "this way"}
        lines = [Line(names[s], colors[s], x, 100 * np.asarray(curves[s])) for s in names if s in curves]
        self.plot.show_lines(lines)

    def show_job(self, status: JobStatus) -> None:
        """Show progress, and the result when it is there."""
        self.job.show_job(status)
        if kind_of(status) == "replay" and status.state.is_final:
            self.refresh()

    def _replay(self) -> None:
        if self._ui.session is not None:
            self._ui.session.replay.my_labels()

    def _cancel(self, job_id: str) -> None:
        if self._ui.session is not None:
            self._ui.session.cancel(job_id)
