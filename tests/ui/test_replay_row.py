"""Replay of the labels, and labels that spread, in the Train dock."""

import pytest

from napari_seedlab.core import JobState, JobStatus, Progress
from napari_seedlab.ui.replay_row import ReplayRow

TOLD = {
    "budget": [5, 10, 15, 20],
    "judged_by": "accuracy",
    "accuracy": {"default": [0.5, 0.8, 0.9, 0.9], "random": [0.4, 0.5, 0.6, 0.7]},
    "labels_to_random": {"default": 10, "random": 20},
}


@pytest.fixture
def row(ui):
    return ui.docks["train"].replay


def test_it_waits_for_labels_and_says_how_many(row, session):
    assert isinstance(row, ReplayRow)
    assert not row.button.isEnabled() and "wants 20 labels" in row.button.toolTip()
    assert row.said.isHidden() and row.plot.isHidden()
    session.replay.lacks = lambda pool: ""
    session.replay.my_labels = lambda: session.calls.append(("my_labels",))
    row.refresh()
    row.button.click()
    assert ("my_labels",) in session.calls


def test_the_result_is_a_sentence_and_two_curves(row, session):
    session.replay.last = {"ct": TOLD}
    row.show_job(JobStatus("replay-000001-a", "simulate:run", 1, JobState.COMPLETED, Progress(1, 1, "done")))
    assert "10 answers would have reached what 20 random answers reach" in row.said.text()
    assert [line.name for line in row.plot.lines] == ["at random", "this way"]
    assert not row.plot.isHidden()


def test_a_finished_replay_brings_its_sentence_into_view(ui, row, session, qtbot):
    dock = ui.docks["train"]
    ui.raise_dock("train")
    dock.tabs.setCurrentIndex(0)
    dock.scroll.verticalScrollBar().setValue(0)
    session.replay.last = {"ct": TOLD}
    row.refresh()
    dock.show_job(JobStatus("replay-000001-a", "simulate:run", 1, JobState.COMPLETED, Progress(1, 1, "done")))
    qtbot.waitUntil(lambda: row.said.visibleRegion().boundingRect().height() == row.said.height())


def test_labels_spread_by_a_visible_choice(ui, session):
    box = ui.docks["train"].ask_about.spread
    assert not box.isChecked() and "look-alikes" in box.text()
    box.click()
    assert ("spread_labels", True) in session.calls
    ui.docks["train"].refresh()
    assert box.isChecked()
