import numpy as np
import pytest
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication

from napari_seedlab.ui.map_canvas import MapCanvas, inside_polygon


@pytest.fixture
def canvas(qtbot):
    canvas = MapCanvas()
    qtbot.addWidget(canvas)
    canvas.resize(300, 200)
    canvas.set_layout(np.arange(1, 5), np.asarray([[0, 0], [1, 0], [0, 1], [1, 1]]))
    canvas.show()
    return canvas


def test_a_click_means_the_nearest_seed(canvas, qtbot):
    x, y = canvas.positions()[2]
    with qtbot.waitSignal(canvas.clicked) as got:
        qtbot.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=QPoint(round(x) + 3, round(y)))
    assert got.args == [3, False]


def test_a_drag_selects_what_lies_inside(canvas, qtbot):
    corners = [(150, 2), (298, 2), (298, 198), (150, 198)]
    with qtbot.waitSignal(canvas.lassoed) as got:
        qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, pos=QPoint(*corners[0]))
        for corner in corners[1:]:
            move = QMouseEvent(
                QEvent.Type.MouseMove, QPointF(*corner), QPointF(*corner), Qt.MouseButton.NoButton,
                Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier,
            )  # fmt: skip
            QApplication.sendEvent(canvas, move)
        qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=QPoint(*corners[-1]))
    assert sorted(got.args[0].tolist()) == [2, 4]


def test_a_new_layout_waits_while_the_pointer_is_over_the_map(canvas, monkeypatch, qtbot):
    monkeypatch.setattr(canvas, "underMouse", lambda: True)
    before = canvas.positions().copy()
    canvas.set_layout(canvas.seeds, np.asarray([[1, 1], [0, 1], [1, 0], [0, 0]]))
    assert canvas.is_waiting
    np.testing.assert_array_equal(canvas.positions(), before)
    canvas.leaveEvent(None)
    qtbot.waitUntil(lambda: abs(canvas.positions()[0] - before[3]).max() < 1)


def test_zoom_keeps_what_is_under_the_pointer(canvas):
    place = canvas.positions()[1].copy()

    class Wheel:
        def angleDelta(self):
            return QPoint(0, 240)

        def position(self):
            return QPointF(*place)

        def accept(self):
            pass

    canvas.wheelEvent(Wheel())
    np.testing.assert_allclose(canvas.positions()[1], place, atol=1e-6)
    assert abs(canvas.positions()[2] - place).max() > 300


def test_inside_polygon_agrees_with_a_disc():
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (500, 2))
    angle = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    circle = 0.7 * np.column_stack([np.cos(angle), np.sin(angle)])
    near = abs(np.hypot(*points.T) - 0.7) < 0.01
    np.testing.assert_array_equal(inside_polygon(points, circle)[~near], (np.hypot(*points.T) < 0.7)[~near])


def test_fifty_thousand_points_are_recoloured_in_time(canvas):
    import time

    rng = np.random.default_rng(0)
    canvas._swap(np.arange(50_000), rng.random((50_000, 2)))
    canvas._picture()
    canvas.set_colours(rng.integers(0, 255, (50_000, 3), dtype=np.uint8), np.ones(50_000, bool))
    start = time.process_time()
    canvas._picture()
    assert time.process_time() - start < 0.15
