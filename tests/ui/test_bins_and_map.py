"""Seeds dropped into a bin of a real project, and frames of a map of five thousand."""

import time

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication

from napari_seedlab.jobs import InlineRunner
from napari_seedlab.session import Session
from napari_seedlab.ui.map_canvas import MapCanvas
from napari_seedlab.ui.seed_mime import carry
from tests.ui.conftest import WAIT_MS
from tests.ui.test_gallery import drop
from tests.ui.test_keyboard import many_seeds

N_POINTS, N_FRAMES = 5000, 30


@pytest.mark.slow
def test_forty_seeds_dropped_are_forty_labels_on_disk_and_one_undo(window_ui, tmp_path, qtbot):
    ui = window_ui
    session = Session.open(many_seeds(tmp_path), InlineRunner())
    ui.bind(session)
    try:
        qtbot.waitUntil(lambda: ui.layers.find("labels") is not None, timeout=WAIT_MS)
        ui.toggle_gallery()
        gallery = ui.docks["gallery"]
        qtbot.waitUntil(lambda: gallery.isVisible() and len(gallery.grid.seeds) > 40, timeout=WAIT_MS)
        forty = gallery.grid.seeds[5:45]
        assert drop(gallery.bins.bins[2], carry(forty))
        qtbot.waitUntil(lambda: session.labelling.pending == 0, timeout=WAIT_MS)
        assert said(session) == dict.fromkeys(forty.tolist(), 2)
        session.undo().wait(60)
        assert said(session) == {}
    finally:
        if ui.docks["gallery"].isVisible():
            ui.toggle_gallery()
        ui.bind(None)


def said(session):
    """Class of each labelled seed, as the project holds it."""
    labels = session.desk.do(lambda project: project.labels()).result(60)
    return {seed: label.class_id for seed, label in labels.items() if label.class_id}


def test_a_map_of_five_thousand_follows_the_hand(qtbot):
    canvas, rng = MapCanvas(), np.random.default_rng(0)
    qtbot.addWidget(canvas)
    canvas.resize(640, 480)
    canvas.set_layout(np.arange(N_POINTS), rng.random((N_POINTS, 2)))
    canvas.set_colours(rng.integers(0, 255, (N_POINTS, 3), dtype=np.uint8), np.ones(N_POINTS, bool))
    canvas.show()
    for button in (Qt.MouseButton.RightButton, Qt.MouseButton.LeftButton):  # pan, then lasso
        before, seconds = canvas.positions().copy(), []
        for i in range(N_FRAMES):
            at = QPointF(300 + 4 * i, 200 + 40 * np.sin(i))
            kind = QEvent.Type.MouseMove if i else QEvent.Type.MouseButtonPress
            event = QMouseEvent(kind, at, at, button, button, Qt.KeyboardModifier.NoModifier)
            begun = time.thread_time()
            QApplication.sendEvent(canvas, event)
            canvas.grab()
            seconds.append(time.thread_time() - begun)
        event = QMouseEvent(QEvent.Type.MouseButtonRelease, at, at, button, button, event.modifiers())
        QApplication.sendEvent(canvas, event)
        moved = (canvas.positions() - before).mean(0)
        assert np.allclose(moved, (116, 40 * np.sin(29)) if button == Qt.MouseButton.RightButton else 0)
        assert np.median(seconds[1:]) <= 0.05
