import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractButton, QApplication, QLabel, QScrollArea

from napari_seedlab.core import JobState
from napari_seedlab.ui.dock_frame import DockFrame
from napari_seedlab.ui.map_dock import ROW
from tests.ui.fake_session import FakeSession

LONG = "tray.tif: declares 37 GiB of voxels, the file holds 12 GiB. Copy the file again from its origin."
NEVER = Qt.ScrollBarPolicy.ScrollBarAlwaysOff


@pytest.mark.parametrize("name", ["project", "labelling", "train"])
def test_rows_scroll_up_and_down_and_never_sideways(ui, name):
    dock = ui.docks[name]
    assert isinstance(dock, DockFrame) and dock.scroll.widget() is dock.body
    assert dock.scroll.horizontalScrollBarPolicy() == NEVER and dock.scroll.widgetResizable()
    assert dock.scroll.frameShape() == QScrollArea.Shape.NoFrame
    dock.parentWidget().raise_()
    assert dock.body.width() <= dock.scroll.viewport().width() <= dock.width()


def places(dock):
    """Where each button of the dock stands; Cancel comes and goes with its job."""
    QApplication.sendPostedEvents()
    QApplication.processEvents()
    buttons = [b for b in dock.findChildren(QAbstractButton) if b.isVisible() and b.text() != "Cancel"]
    return {id(b): (b.text(), b.mapTo(dock, b.rect().topLeft())) for b in buttons}


@pytest.mark.parametrize(("name", "job"), [("project", "export-7"), ("labelling", ""), ("train", "fcdd-7")])
def test_no_button_moves_whatever_is_said_or_done(ui, session, qtbot, name, job):
    dock = ui.docks[name]
    dock.parentWidget().raise_()
    qtbot.waitUntil(dock.isVisible)
    before = places(dock)
    assert len(before) >= 2
    for text, kind in (("Done.", "success"), (LONG, "error"), (LONG + LONG, "error"), ("", "info")):
        ui.say(text, kind)
        assert places(dock) == before
        assert "…" not in dock.status.findChild(QLabel).text()
    if job:
        session.job(job, 1, 9)
        qtbot.waitUntil(lambda: dock.job.text() != "")
        qtbot.waitUntil(lambda: dock.job.currentWidget() is not dock.job.widget(0))
        assert places(dock) == before
        session.job(job, 9, 9, JobState.COMPLETED)
        qtbot.waitUntil(lambda: dock.job.currentWidget() is dock.job.widget(0))
        assert places(dock) == before


def test_a_long_message_covers_no_button_for_long(ui, qtbot):
    dock = ui.docks["project"]
    dock.parentWidget().raise_()
    qtbot.waitUntil(dock.isVisible)
    ui.say(LONG + LONG, "error")
    assert dock.status.findChild(QLabel).text().count("\n") > 1 and dock._fold.isActive()
    dock._fold.timeout.emit()
    assert dock.status.findChild(QLabel).text().count("\n") == 1
    assert dock.status.text() == LONG + LONG
    ui.say("")


def test_no_answer_moves_with_the_length_of_the_reason(ui, session, qtbot):
    dock = ui.docks["labelling"]
    dock.parentWidget().raise_()
    qtbot.waitUntil(dock.isVisible)
    before = places(dock)
    for reason in ("Odd.", "Typical of a cluster of 7 seeds " + "that nobody has labelled yet " * 6):
        dock.reason.tell(reason)
        assert places(dock) == before


def test_no_point_moves_when_a_new_map_waits(ui, session, qtbot):
    dock = ui.docks["map"]
    before = dock.canvas.geometry(), dock.minimumSizeHint()
    dock._hint.setVisible(True)
    QApplication.sendPostedEvents()
    QApplication.processEvents()
    assert (dock.canvas.geometry(), dock.minimumSizeHint()) == before
    assert dock.canvas.geometry().contains(dock._hint.geometry().translated(dock.canvas.pos()))
    dock._hint.setVisible(False)


def test_a_map_that_comes_before_a_better_one_keeps_saying_what_comes(ui, session, qtbot):
    dock = ui.docks["map"]
    session.make_map()
    session.job("mapumap-7", 1, 9)
    qtbot.waitUntil(dock._stop.isVisible)
    dock.show_layout()  # the quick one came
    assert dock._hint.isVisible() and dock._hint.text().startswith("New map: ")
    session.job("mapumap-7", 9, 9, JobState.COMPLETED)
    qtbot.waitUntil(lambda: not dock._stop.isVisible() and not dock._hint.isVisible())


def test_the_progress_of_a_map_ends_with_its_project(ui, session, tmp_path, qtbot):
    dock = ui.docks["map"]
    session.make_map()
    session.job("mapumap-7", 1, 9)
    qtbot.waitUntil(dock._stop.isVisible)
    (tmp_path / "other").mkdir()
    ui.bind(FakeSession(tmp_path / "other"))
    assert not dock._hint.isVisible() and not dock._stop.isVisible()


def test_many_classes_in_the_legend_leave_the_docks_above_their_room(ui):
    legend, entries = ui.docks["map"].legend, [(f"cluster {i}", (9, 9, 9)) for i in range(1, 31)]
    colours = type(
        "C", (), {"legend": tuple(entries), "is_ramp": False, "palette": np.zeros((31, 3), np.uint8)}
    )
    before = legend.entries
    legend.tell(colours)
    assert legend.sizeHint().height() == 2 * ROW
    assert legend.shown()[0][0] == "cluster 1" and legend.shown()[-1][0] == "…"
    assert "cluster 30" in legend.toolTip()
    legend.tell(type("C", (), {"legend": before, "is_ramp": False, "palette": np.zeros((1, 3), np.uint8)}))


def test_the_reason_takes_the_room_there_is_and_no_more(ui, session, qtbot):
    dock = ui.docks["labelling"]
    dock.parentWidget().raise_()
    qtbot.waitUntil(dock.isVisible)
    dock.refresh()
    QApplication.processEvents()
    room = dock.scroll.viewport().height()
    line = dock.reason.fontMetrics().lineSpacing()
    n_lines = dock.reason.sizeHint().height() // line
    spare = room - dock.body.sizeHint().height()
    assert n_lines == 2 or spare >= 0, "no button is pushed below the edge"
    assert n_lines == 4 or spare < line, "and none of the room is left"


def test_what_keeps_from_training_is_read_in_full(ui, session, qtbot):
    dock = ui.docks["train"]
    dock.parentWidget().raise_()
    qtbot.waitUntil(dock.isVisible)
    long = "To train: label two seeds of two classes at least, such as normal and abnormal: 0 of 2 so far."
    dock.blocked.say(long, "warning")
    QApplication.processEvents()
    assert " ".join(dock.blocked.findChild(QLabel).text().split("\n")) == long
    dock.refresh()
