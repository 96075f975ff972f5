"""Progress of one job: what it does, how far it is, how long it takes, and a way to stop it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QHBoxLayout,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from napari_seedlab.core import JobState, JobStatus
from napari_seedlab.session.anomaly import METHODS
from napari_seedlab.ui.few_lines import FewLines, fitted
from napari_seedlab.ui.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable

STOP_PX, FRAME_PX = 24, 4
SEPARATOR = " · "
TITLES = {
    "import": "Opening the scan",
    "split": "Splitting into seeds",
    "embed": "Describing the seeds",
    "own": "Teaching the encoder",
    "compare": "Comparing encoders",
    "backbone": "Reading the network",
    "fetch": "Fetching the network",
    "vgg16": "Reading the weights",
    "map": "Drawing the map",
    "origin": "Starting from the other project",
    "table": "Reading the seed table",
    "round": "Learning from the answers",
    "net": "Training",  # what it trains stands beside it
    **dict.fromkeys(METHODS, "Looking for odd seeds"),
    "slice": "Predicting the slice",
    "export": "Exporting",
    "predict": "Predicting",
    "batch": "Drawing a batch",
    "overfit": "Learning one batch",
    "replay": "Replaying the labels",
}
STATE_WORDS = {
    JobState.QUEUED: "waiting its turn",
    JobState.STARTING: "starting",
    JobState.CANCELLING: "stopping",
}


def kind_of(status: JobStatus) -> str:
    """First part of the job's id: what kind of work it is."""
    return status.id.partition("-")[0]


def duration(seconds: float) -> str:
    """Seconds in words: ``42 s``, ``3 min 10 s``, ``1 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class JobRow(QStackedWidget):
    """One job, in the place of what stands there when none runs: nothing else moves.

    Parameters
    ----------
    kinds : set of str
        First parts of the ids that this row shows.
    cancel : callable
        Gets the id of the job to stop.
    idle : QWidget
        Stands in its place when none runs.
    """

    def __init__(
        self,
        kinds: set[str],
        cancel: Callable[[str], None],
        idle: QWidget,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._idle, self._busy = QWidget(self), QWidget(self)
        above = QVBoxLayout(self._idle)  # where it is lower than a job it keeps its height
        above.setContentsMargins(0, 0, 0, 0)
        above.addWidget(idle)
        above.addStretch(1)
        self.kinds, self._cancel = kinds, cancel
        self.status: JobStatus | None = None
        self._title, self._bar = FewLines(1, self._busy), QProgressBar(self._busy)
        self._bar.setTextVisible(False)
        self._bar.setFixedHeight(10)
        self._stop = QPushButton("Cancel", self._busy)
        self._stop.setFixedHeight(STOP_PX)
        self._stop.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._stop.clicked.connect(lambda: self._ask())
        row = QHBoxLayout()
        row.addWidget(self._bar, 1)
        row.addWidget(self._stop)
        layout = QVBoxLayout(self._busy)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._title)
        layout.addLayout(row)
        self.addWidget(self._idle)
        self.addWidget(self._busy)
        self._pace = Pace(self._draw, self)

    def show_job(self, status: JobStatus) -> bool:
        """Show a status of one of our kinds; returns whether it was one."""
        if kind_of(status) not in self.kinds:
            return False
        if status.state.is_final:
            if self.status is None or self.status.id == status.id:
                self.forget()
            return True
        if self.status is None or (self.status.id, self.status.state) != (status.id, status.state):
            self._pace.stop()
        self.status = status
        self._pace.ask()
        return True

    def forget(self) -> None:
        """Show nothing of the jobs so far."""
        self.status = None
        self._pace.stop()
        self.setCurrentWidget(self._idle)

    def _draw(self) -> None:
        status = self.status
        if status is None:
            return
        self._bar.setUpdatesEnabled(False)  # else each setter paints the whole window by itself
        total = status.progress.total
        # a bar of no range would move by itself, and paint the whole window at each frame
        self._bar.setRange(0, max(total, 1))
        self._bar.setValue(status.progress.done if total else 0)
        self._bar.setUpdatesEnabled(True)
        self._title.tell(self._fitting(status))
        self._stop.setEnabled(status.state is not JobState.CANCELLING)
        self.setCurrentWidget(self._busy)

    def text(self) -> str:
        """The line above the bar."""
        return self._title.full_text()

    def _fitting(self, status: JobStatus) -> str:
        """The line; what is done just now alone where both would be cut."""
        line, font = self._line(status), self._title.font()
        _, _, now = line.partition(SEPARATOR)
        is_cut = fitted(line, font, self.width() - FRAME_PX, 1) != [line]
        return now if is_cut and now == status.progress.message else line

    @staticmethod
    def _line(status: JobStatus) -> str:
        parts = [TITLES.get(kind_of(status), kind_of(status).capitalize())]
        if status.state in STATE_WORDS:
            parts.append(STATE_WORDS[status.state])
        elif status.seconds_left is not None:
            parts.append(f"{duration(status.seconds_left)} left")
        elif status.progress.message:
            parts.append(status.progress.message)
        return SEPARATOR.join(parts)

    def _ask(self) -> None:
        if self.status is not None:
            self._cancel(self.status.id)
