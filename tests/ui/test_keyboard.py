"""Labelling by keys alone: a hundred in a row, each about the seed that is seen; digits on any keyboard."""

import itertools

import numpy as np
import pytest
from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_seedlab import files
from napari_seedlab.core import Modality, RegionTable, ScanFacts
from napari_seedlab.jobs import InlineRunner
from napari_seedlab.session import Session
from napari_seedlab.ui.digits import digit_of_place
from tests.ui.fake_session import raw, table_of

NONE, SHIFT = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier
N_ROWS, N_COLUMNS, CELL = 11, 11, 9
WAIT_MS = 60_000


def native(ui):
    return ui.viewer.window._qt_viewer.canvas.native


def many_seeds(folder):
    """A split tray of 121 small seeds in a real project, with vectors."""
    from napari_seedlab.imaging.features import descriptor_names
    from napari_seedlab.session.results import region_keys
    from napari_seedlab.store import Project

    shape, n = (CELL, N_ROWS * CELL, N_COLUMNS * CELL), N_ROWS * N_COLUMNS
    z, y, x = np.ogrid[-1 : 1 : CELL * 1j, -1 : 1 : CELL * 1j, -1 : 1 : CELL * 1j]
    ball = np.tile(z**2 + y**2 + x**2 < 0.8, (1, N_ROWS, N_COLUMNS))
    ids = np.kron(np.arange(1, n + 1).reshape(N_ROWS, N_COLUMNS), np.ones((CELL, CELL), int))
    regions = np.where(ball, ids, 0).astype(np.int32)
    source = raw(folder, "many", np.where(ball, 150, 20).astype(np.uint8))
    facts = ScanFacts(
        "many", Modality.CT, shape, ("z", "y", "x"), "uint8", (40.0,) * 3, None, source.path, 1, 1
    )
    project = Project.create(folder / "many.seedlab")
    scan = project.add_scan(facts, source, "ada")
    stored = files.create_zarr(folder / "regions.zarr", shape, shape, np.int32)
    stored[...] = regions
    found = table_of(scan.id, regions)
    new = RegionTable(scan.id, found.region, np.zeros(n, np.int64), found.box, found.centroid, found.n_voxels)
    table = project.add_split(scan.id, {}, new, folder / "regions.zarr", "ada")
    keys = region_keys(scan.id, table.box, table.centroid, table.n_voxels)
    vectors = np.random.default_rng(0).normal(size=(n, len(descriptor_names("ct")))).astype(np.float32)
    project.put_arrays("embedding-ct", seed=table.seed, vector=vectors, key=keys)
    middle = np.zeros((n, 2), np.float32)
    project.put_arrays(
        "layout-ct", seed=table.seed, xy=middle, cluster=np.zeros(n, np.int32), method=np.asarray("pca")
    )
    project.close()
    return folder / "many.seedlab"


@pytest.mark.parametrize("n_keys", [13, pytest.param(100, marks=pytest.mark.slow)])
def test_as_many_seeds_are_labelled_as_keys_are_pressed(window_ui, tmp_path, qtbot, n_keys):
    ui = window_ui
    ui.mode.switch(False)
    ui.viewer.layers.clear()
    session = Session.open(many_seeds(tmp_path), InlineRunner())
    ui.bind(session)
    try:
        qtbot.waitUntil(lambda: ui.layers.find("labels") is not None, timeout=WAIT_MS)
        ui.viewer.window._qt_window.activateWindow()
        native(ui).setFocus()
        qtbot.waitUntil(lambda: QApplication.focusWidget() is native(ui), timeout=WAIT_MS)
        QTest.keyClick(native(ui), "K")
        said = {}
        for key in itertools.islice(itertools.cycle("123"), n_keys):
            qtbot.waitUntil(lambda: ui.card_seed is not None, timeout=WAIT_MS)
            seen = ui.card_seed
            QTest.keyClick(QApplication.focusWidget(), key)
            assert seen not in said
            said[seen] = int(key)
        qtbot.waitUntil(lambda: session.labelling.pending == 0, timeout=WAIT_MS)
        assert {s: x.class_id for s, x in session.labels.items() if x.class_id} == said
        assert len(said) == n_keys
    finally:
        ui.bind(None)


def test_a_key_is_about_the_seed_that_is_seen_while_another_comes(ui, session, qtbot):
    session.draw()
    ui.mode.switch(True)
    native(ui).setFocus()
    seen = ui.card_seed
    session.current_seed = next(s.seed for s in session.queue if s.seed != seen)  # nobody told the window yet
    qtbot.keyClick(native(ui), Qt.Key.Key_2)
    assert session.calls[-1] == ("answer", 2, (seen,))


def press_at(widget, place, key, text, modifier):
    """What Qt sends for a key of the upper row on Linux: an override first, then the press."""
    kinds = (QEvent.Type.ShortcutOverride, QEvent.Type.KeyPress)
    for kind in kinds:
        event = QKeyEvent(kind, key, modifier, 9 + place, 0, 0, text)
        event.ignore()
        QApplication.sendEvent(widget, event)


@pytest.mark.skipif("not __import__('sys').platform.startswith('linux')", reason="places of keys differ")
@pytest.mark.parametrize(
    ("key", "text", "modifier", "hovers"),
    [
        (Qt.Key.Key_Ampersand, "&", NONE, False),  # French, without Shift
        (Qt.Key.Key_1, "1", SHIFT, True),  # French, with Shift
        (Qt.Key.Key_Exclam, "!", SHIFT, True),  # English and German
        (Qt.Key.Key_Plus, "+", NONE, False),  # Czech
    ],
)
def test_digits_are_known_by_their_place_on_every_keyboard(ui, session, key, text, modifier, hovers):
    session.draw()
    ui.mode.switch(True)
    native(ui).setFocus()
    ui.viewer.cursor.position = (ui.viewer.dims.point[0], *(session.regions(1).centroid[30] * 40)[1:])
    asked = session.current_seed
    press_at(native(ui), 1, key, text, modifier)
    assert session.calls[-1] == ("answer", 1, (31,) if hovers else (asked,))
    assert session.current_seed == asked if hovers else session.current_seed != asked


def test_places_of_digits_on_other_systems():
    event = QKeyEvent(QEvent.Type.KeyPress, Qt.Key.Key_Exclam, SHIFT, 4, 21, 0, "!")
    assert digit_of_place(event, "win32") == 3
    assert digit_of_place(event, "darwin") == 4
    assert digit_of_place(event, "linux") is None
    typed = QKeyEvent(QEvent.Type.KeyPress, Qt.Key.Key_1, NONE, "1")
    assert all(digit_of_place(typed, name) is None for name in ("linux", "win32", "darwin"))


def test_shift_and_digit_answer_about_the_seed_under_the_pointer_on_the_map(ui, session, qtbot, monkeypatch):
    session.make_map()
    session.draw()
    ui.mode.switch(True)
    canvas = ui.docks["map"].canvas
    ui.raise_dock("map")
    qtbot.waitUntil(lambda: len(canvas.seeds) == 42, timeout=WAIT_MS)
    monkeypatch.setattr(canvas, "underMouse", lambda: True)
    x, y = canvas.positions()[11]
    canvas._hover_over(type(canvas._pointer)(x, y))
    asked, seed = session.current_seed, canvas.hovered_seed
    canvas.setFocus()
    qtbot.keyClick(canvas, Qt.Key.Key_3, SHIFT)
    assert session.calls[-1] == ("answer", 3, (seed,))
    assert session.current_seed == (asked if seed != asked else session.current_seed)


def test_k_starts_from_anywhere_but_a_field(ui, session, qtbot):
    ui.raise_dock("project")
    button = ui.docks["project"].split
    button.setFocus()
    qtbot.waitUntil(lambda: QApplication.focusWidget() is button, timeout=WAIT_MS)
    qtbot.keyClick(button, Qt.Key.Key_K)
    assert ui.mode.is_on and session.current_seed is not None
