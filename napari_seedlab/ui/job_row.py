"""Progress of one job: what it does, how far it is, how long it takes, and a way to stop it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_seedlab.core import JobState, JobStatus
from napari_seedlab.ui.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable

TITLES = {
    "import": "Opening the scan",
    "split": "Splitting into seeds",
    "embed": "Describing the seeds",
    "map": "Drawing the map",
    "round": "Learning from the answers",
    "net": "Training the network",
    "fcdd": "Looking for odd seeds",
    "slice": "Predicting the slice",
    "export": "Exporting",
    "predict": "Predicting",
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


class JobRow(QWidget):
    """One job; hidden when none runs.

    Parameters
    ----------
    kinds : set of str
        First parts of the ids that this row shows.
    cancel : callable
        Gets the id of the job to stop.
    """

    def __init__(self, kinds: set[str], cancel: Callable[[str], None], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.kinds, self._cancel = kinds, cancel
        self.status: JobStatus | None = None
        self._title, self._bar = QLabel(self), QProgressBar(self)
        self._title.setTextFormat(Qt.TextFormat.PlainText)
        self._title.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._bar.setTextVisible(False)
        self._bar.setFixedHeight(10)
        self._stop = QPushButton("Cancel", self)
        self._stop.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._stop.clicked.connect(lambda: self._ask())
        row = QHBoxLayout()
        row.addWidget(self._bar, 1)
        row.addWidget(self._stop)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self._title)
        layout.addLayout(row)
        self._pace = Pace(self._draw, self)
        self.setVisible(False)

    def show_job(self, status: JobStatus) -> bool:
        """Show a status of one of our kinds; returns whether it was one."""
        if kind_of(status) not in self.kinds:
            return False
        if status.state.is_final:
            if self.status is None or self.status.id == status.id:
                self.status = None
                self._pace.stop()
                self.setVisible(False)
            return True
        if self.status is None or (self.status.id, self.status.state) != (status.id, status.state):
            self._pace.stop()
        self.status = status
        self._pace.ask()
        return True

    def _draw(self) -> None:
        status = self.status
        if status is None:
            return
        self._bar.setUpdatesEnabled(False)  # else each setter paints the whole window by itself
        self._bar.setRange(0, status.progress.total)
        self._bar.setValue(status.progress.done)
        self._bar.setUpdatesEnabled(True)
        self._title.setText(self._line(status))
        self._stop.setEnabled(status.state is not JobState.CANCELLING)
        self.setVisible(True)

    def text(self) -> str:
        """The line above the bar."""
        return str(self._title.text())

    @staticmethod
    def _line(status: JobStatus) -> str:
        parts = [TITLES.get(kind_of(status), kind_of(status).capitalize())]
        if status.state in STATE_WORDS:
            parts.append(STATE_WORDS[status.state])
        elif status.seconds_left is not None:
            parts.append(f"{duration(status.seconds_left)} left")
        elif status.progress.message:
            parts.append(status.progress.message)
        return " · ".join(parts)

    def _ask(self) -> None:
        if self.status is not None:
            self._cancel(self.status.id)
