"""Work beside the event loop whose result holds something, such as the lock of a project."""

import threading
from types import SimpleNamespace

import pytest

from napari_seedlab.session import Session
from napari_seedlab.ui import projects
from napari_seedlab.ui.background import Background


@pytest.fixture
def background(qapp):
    failed = []
    made = Background(failed.append)
    yield made
    made.close()
    assert not failed


def test_a_result_that_nobody_takes_is_given_back_before_newer_work(background, qtbot):
    order, taken, gate = [], [], threading.Event()

    def first():
        gate.wait(60)
        return "first"

    background.submit("a", first, taken.append, order.append)
    background.submit("a", lambda: order.append("work") or "second", taken.append, order.append)
    gate.set()
    qtbot.waitUntil(lambda: taken == ["second"], timeout=60_000)
    assert order == ["first", "work"]


def test_a_result_under_way_to_the_window_is_given_back_too(background, qtbot):
    given, taken, gate, is_read = [], [], threading.Event(), threading.Event()
    background.submit("a", lambda: gate.wait(60), lambda _: taken.append("a"), given.append)
    background.submit("b", is_read.set, lambda _: taken.append("b"))
    gate.set()
    assert is_read.wait(60)  # one thread: the first was handed over by now
    background.drop("a")
    qtbot.waitUntil(lambda: given == [True] and taken == ["b"], timeout=60_000)


def test_what_fails_or_is_taken_is_not_given_back(background, qtbot):
    given, taken, gate = [], [], threading.Event()
    background.submit("a", lambda: gate.wait(60) / 0, taken.append, given.append)
    background.submit("a", lambda: 2, taken.append, given.append)
    gate.set()
    qtbot.waitUntil(lambda: taken == [2], timeout=60_000)
    background.drop("a")
    background.close()
    assert given == []


def test_closing_gives_back_what_was_read_and_not_taken(background):
    given, gate, is_read = [], threading.Event(), threading.Event()
    background.submit("a", lambda: gate.wait(60) and "first", pytest.fail, given.append)
    background.submit("b", lambda: "second", pytest.fail, given.append)
    background.submit("c", is_read.set, pytest.fail)
    gate.set()
    assert is_read.wait(60)  # one thread: both were read by now, and no event was handled since
    background.close()
    assert sorted(given) == ["first", "second"]


def test_closing_gives_back_what_is_under_way(background, qtbot):
    given, gate = [], threading.Event()
    background.submit("a", lambda: gate.wait(60), pytest.fail, given.append)
    background.close()
    gate.set()
    qtbot.waitUntil(lambda: given == [True], timeout=60_000)


def test_a_project_that_another_one_overtook_is_free_again(background, qtbot, tmp_path, monkeypatch):
    shown, gate = [], threading.Event()
    for name in ("a", "b"):
        Session.create(tmp_path / f"{name}.seedlab").close()
    open_one = projects._open
    monkeypatch.setattr(projects, "_open", lambda path: gate.wait(60) and open_one(path))
    monkeypatch.setattr(projects, "_show", lambda ui, session: shown.append(session))
    ui = SimpleNamespace(say=lambda *_: None, background=background)
    projects.open_project(ui, tmp_path / "a.seedlab")
    projects.open_project(ui, tmp_path / "b.seedlab")
    gate.set()
    qtbot.waitUntil(lambda: len(shown) == 1, timeout=60_000)
    with Session.open(tmp_path / "a.seedlab") as free:
        assert not free.read_only
    assert shown[0].path.name == "b.seedlab"
    shown[0].close()
