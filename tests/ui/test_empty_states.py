"""What an empty map and an empty canvas say, while work is on its way and where none is."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from napari_seedlab.core import InputError
from napari_seedlab.ui import reading
from napari_seedlab.ui.empty_states import on_map
from tests.ui.fake_session import FakeSession

WAIT_MS = 60_000


def jobs(session, *ids):
    session.desk.active = tuple(SimpleNamespace(id=f"{i}-000001-aa") for i in ids)


@pytest.mark.parametrize(
    ("kinds", "told"),
    [
        ((), "42 seeds, not described yet"),
        (("embed",), "42 seeds are being described: the map comes after."),
        (("round", "mapumap"), "The map of 42 seeds is being drawn."),
    ],
)
def test_a_map_without_points_says_what_comes(session, kinds, told):
    jobs(session, *kinds)
    assert told in on_map(session)


def test_between_two_jobs_the_map_is_still_on_its_way(session):
    session.after_split(1)
    assert on_map(session) == "42 seeds: the map comes by itself."


def test_before_there_are_seeds_it_says_what_to_do(tmp_path):
    bare, unsplit = FakeSession(tmp_path, scans=False), FakeSession(tmp_path, split=False)
    assert "Open a project" in on_map(None) and "Open a scan" in on_map(bare)
    jobs(bare, "import")
    assert on_map(bare) == "The scan is being opened."
    assert on_map(unsplit) == "Split the scan into seeds: their map appears here."
    jobs(unsplit, "split")
    assert "is being split" in on_map(unsplit)


def test_the_map_follows_the_jobs_and_forgets_another_project(ui, session, tmp_path, qtbot):
    canvas = ui.docks["map"].canvas
    session.make_map()
    qtbot.waitUntil(lambda: len(canvas.seeds) > 0, timeout=WAIT_MS)
    other = FakeSession(tmp_path, scans=False)
    ui.bind(other)
    assert not len(canvas.seeds) and "Open a scan" in canvas.empty
    jobs(other, "import")
    other.job("import-000001-aa", 1, 3)
    qtbot.waitUntil(lambda: canvas.empty == "The scan is being opened.", timeout=WAIT_MS)


def test_the_map_of_another_project_has_its_own_colours_at_once(ui, session, tmp_path, qtbot, monkeypatch):
    session.make_map()
    session.answer(1, [5])
    canvas = ui.docks["map"].canvas
    qtbot.waitUntil(lambda: len(canvas.seeds) > 0 and not ui._redraw.isActive(), timeout=WAIT_MS)
    before = canvas._rgb[canvas.seeds == 5].copy()
    other = FakeSession(tmp_path)
    other.make_map()
    other.answer(2, [5])
    monkeypatch.setattr(reading, "read_scan", lambda *a: None)
    monkeypatch.setattr(ui.listener, "scan_opened", lambda opened: None)  # it takes long
    ui.set_colour_by("label")
    ui.bind(other)
    qtbot.waitUntil(lambda: not np.array_equal(canvas._rgb[canvas.seeds == 5], before), timeout=WAIT_MS)


def test_a_scan_that_is_being_read_keeps_the_welcome_of_napari_away(ui, tmp_path, qtbot, monkeypatch):
    window, text = ui.viewer.window._qt_viewer, ui.viewer.canvas.overlays.text
    may_read, read = threading.Event(), reading.read_scan
    monkeypatch.setattr(reading, "read_scan", lambda *a: may_read.wait(60) and read(*a))
    ui.bind(None)
    qtbot.waitUntil(lambda: not len(ui.viewer.layers), timeout=WAIT_MS)
    assert window.show_welcome_screen and not text.visible
    ui.bind(FakeSession(tmp_path))
    assert text.text == "Reading tray-1…" and text.visible and not window.show_welcome_screen
    may_read.set()
    qtbot.waitUntil(lambda: len(ui.viewer.layers) > 0, timeout=WAIT_MS)
    assert "Reading" not in text.text
    ui.bind(None)
    assert window.show_welcome_screen


def test_where_reading_failed_the_canvas_does_not_say_that_it_reads(ui, tmp_path, qtbot, monkeypatch):
    def fail(*_):
        raise InputError("tray-1", "the file was moved", "Put it back")

    window, text = ui.viewer.window._qt_viewer, ui.viewer.canvas.overlays.text
    ui.bind(None)
    qtbot.waitUntil(lambda: not len(ui.viewer.layers), timeout=WAIT_MS)
    monkeypatch.setattr(reading, "read_scan", fail)
    ui.bind(FakeSession(tmp_path))
    assert text.text == "Reading tray-1…"
    qtbot.waitUntil(lambda: "was moved" in ui.last_message[0], timeout=WAIT_MS)
    assert "Reading" not in text.text and window.show_welcome_screen
