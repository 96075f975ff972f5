"""What changes often is drawn at once and then seldom, but never left at an old state."""

from qtpy.QtWidgets import QScrollArea, QWidget

from napari_seedlab.ui import pace

WAIT_MS = 60_000


def test_a_burst_is_drawn_first_and_last(qtbot, qapp, monkeypatch):
    monkeypatch.setattr(pace, "PERIOD_MS", 50)
    asked, drawn = [], []
    owner = pace.QObject()
    paced = pace.Pace(lambda: drawn.append(asked[-1]), owner)

    for i in range(1, 20):
        asked.append(i)
        paced.ask()

    assert drawn == [1]
    qtbot.waitUntil(lambda: len(drawn) == 2, timeout=WAIT_MS)
    assert drawn == [1, 19]


def test_what_was_stopped_is_not_drawn_and_begins_at_once(qtbot, qapp, monkeypatch):
    monkeypatch.setattr(pace, "PERIOD_MS", 50)
    drawn = []
    owner = pace.QObject()
    paced = pace.Pace(lambda: drawn.append(1), owner)

    paced.ask()
    paced.ask()
    paced.stop()
    paced.ask()

    assert len(drawn) == 2


def test_the_next_moment_is_the_same_whenever_it_is_asked(monkeypatch):
    monkeypatch.setattr(pace, "PERIOD_MS", 1000)
    for at in (7.0, 7.3, 7.7):
        monkeypatch.setattr(pace.time, "monotonic", lambda at=at: at)
        assert round(at * 1000) + pace._ms_to_the_next() == 8000
    monkeypatch.setattr(pace.time, "monotonic", lambda: 7.9)
    assert 7900 + pace._ms_to_the_next() == 9000


def test_what_nobody_sees_waits_until_it_is_seen(qtbot, monkeypatch):
    monkeypatch.setattr(pace, "PERIOD_MS", 50)
    area, body = QScrollArea(), QWidget()
    qtbot.addWidget(area)
    area.resize(100, 100)
    body.resize(80, 1000)
    low = QWidget(body)
    low.setGeometry(0, 900, 80, 50)
    area.setWidget(body)
    area.show()
    qtbot.waitUntil(low.isVisible, timeout=WAIT_MS)
    drawn, others = [], []
    paced, other = pace.Pace(lambda: drawn.append(1), low), pace.Pace(lambda: others.append(1), area)
    for each in (paced, other):
        each.ask()
        each.ask()
    qtbot.waitUntil(lambda: len(others) == 2, timeout=WAIT_MS)
    qtbot.wait(150)
    assert len(drawn) == 1
    area.verticalScrollBar().setValue(900)
    qtbot.waitUntil(lambda: len(drawn) == 2, timeout=WAIT_MS)
