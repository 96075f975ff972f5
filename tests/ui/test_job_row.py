"""One job as a row."""

import time

import pytest
from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QWidget

from napari_seedlab.core import JobState, JobStatus, Progress
from napari_seedlab.ui.few_lines import fitted
from napari_seedlab.ui.job_row import JobRow


class Painted(QObject):
    """Counts how often a widget is painted."""

    n = 0

    def eventFilter(self, _, event):
        self.n += event.type() == QEvent.Type.Paint
        return False


@pytest.mark.parametrize(
    ("kind", "words"), [("origin", "Starting from the other project"), ("table", "Reading the seed table")]
)
def test_a_job_is_called_by_what_it_does(qtbot, kind, words):
    row = JobRow({kind}, print, QWidget())
    qtbot.addWidget(row)
    row.show_job(JobStatus(f"{kind}-1", "x:run", 1, JobState.QUEUED, Progress(0, 0, "")))
    qtbot.waitUntil(lambda: row.text() == f"{words} · waiting its turn")


@pytest.mark.parametrize("line", ["Network on all answers on cpu", "Comparison 12 of 12 on cuda"])
def test_what_is_trained_is_read_whole_in_the_smallest_window(ui, line):
    row = ui.docks["train"].job
    told = row._line(JobStatus("net-1", "x:run", 1, JobState.RUNNING, Progress(0, 9, line)))
    assert fitted(told, row._title.font(), 288, 1) == [told]  # 366 pixels of a dock 1366 wide, less margins


def test_where_a_line_is_too_long_it_says_what_is_done_just_now(qtbot):
    row = JobRow({"fcdd"}, print, QWidget())
    qtbot.addWidget(row)
    for width, words in (
        (600, "Looking for odd seeds · Learning what is normal"),
        (200, "Learning what is normal"),
    ):
        row.resize(width, 60)
        for state in (JobState.STARTING, JobState.RUNNING):
            row.show_job(JobStatus("fcdd-1", "x:run", 1, state, Progress(0, 0, "Learning what is normal")))
        row._pace.stop()
        row._draw()
        assert row.text() == words


def test_a_job_of_unknown_length_stands_still(qtbot):
    """A bar that moves by itself would paint the whole window many times a second."""
    row = JobRow({"import"}, print, QWidget())
    qtbot.addWidget(row)
    row.show()
    row.show_job(JobStatus("import-1", "x:run", 1, JobState.RUNNING, Progress(0, 0, "Reading")))
    qtbot.waitUntil(lambda: row._bar.isVisible())
    first, counter = Painted(), Painted()
    row._bar.installEventFilter(first)
    row._bar.update()
    qtbot.waitUntil(lambda: first.n > 0)  # what showing it asked for is drawn
    row._bar.installEventFilter(counter)
    begun = time.monotonic()
    qtbot.waitUntil(lambda: time.monotonic() - begun > 0.55)
    assert counter.n <= 1 and "Opening the scan" in row.text()
    row.show_job(JobStatus("import-1", "x:run", 1, JobState.CANCELLING, Progress(3, 7, "Reading")))
    assert (row._bar.value(), row._bar.maximum()) == (3, 7)
