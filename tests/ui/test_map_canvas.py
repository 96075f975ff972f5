import time

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QColor, QImage, QMouseEvent
from qtpy.QtWidgets import QApplication

from napari_seedlab.ui.colouring import CURRENT_RGB
from napari_seedlab.ui.map_canvas import MapCanvas
from napari_seedlab.ui.map_pictures import edge_that_fits
from napari_seedlab.ui.points import inside_polygon, packed, radius_for, raster


@pytest.fixture
def canvas(qtbot):
    canvas = MapCanvas()
    qtbot.addWidget(canvas)
    canvas.resize(300, 200)
    canvas.set_layout(np.arange(1, 5), np.asarray([[0, 0], [1, 0], [0, 1], [1, 1]]))
    canvas.show()
    yield canvas
    canvas.deleteLater()
    QApplication.sendPostedEvents(canvas, QEvent.Type.DeferredDelete)


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


def pull(canvas, start, keys=Qt.KeyboardModifier.NoModifier):
    """Press at a place and move right, as Qt tells it."""
    held, end = Qt.MouseButton.LeftButton, (start[0] + 30, start[1] + 8)
    for kind, at in ((QEvent.Type.MouseButtonPress, start), (QEvent.Type.MouseMove, end)):
        QApplication.sendEvent(canvas, QMouseEvent(kind, QPointF(*at), QPointF(*at), held, held, keys))


def test_selected_points_are_carried_and_others_begin_a_lasso(canvas, qtbot):
    carried = []
    canvas.dragged.connect(carried.append)
    one, two = canvas.positions()[2], canvas.positions()[0]
    canvas.mark(1, frozenset({2, 3}))
    pull(canvas, one)
    assert carried == [3] and not canvas._lasso
    pull(canvas, two)  # on the card, but others are selected
    assert carried == [3] and canvas._lasso
    pull(canvas, one, Qt.KeyboardModifier.ShiftModifier)  # more are drawn around
    assert carried == [3] and canvas._lasso
    canvas.mark(1, frozenset())
    pull(canvas, two)
    assert carried == [3, 1]


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


def test_fifty_thousand_points_are_drawn_chosen_and_recoloured_in_time(canvas):
    rng = np.random.default_rng(0)
    canvas.set_layout(np.arange(50_000), rng.random((50_000, 2)))
    angle = np.linspace(0, 2 * np.pi, 600)
    line = np.column_stack([150 + 90 * np.cos(angle), 100 + 60 * np.sin(angle)])
    begun = time.thread_time()
    canvas.set_colours(rng.integers(0, 255, (50_000, 3), dtype=np.uint8), np.ones(50_000, bool))
    canvas._picture()
    chosen = inside_polygon(canvas.positions(), line)
    assert time.thread_time() - begun < 0.4
    assert 10_000 < chosen.sum() < 20_000


def pointer(canvas, kind, at, button=Qt.MouseButton.NoButton, held=Qt.MouseButton.NoButton, keys=None):
    keys = Qt.KeyboardModifier.NoModifier if keys is None else keys
    QApplication.sendEvent(canvas, QMouseEvent(kind, QPointF(*at), QPointF(*at), button, held, keys))


@pytest.mark.parametrize(
    ("keys", "how"),
    [
        (Qt.KeyboardModifier.NoModifier, "only"),
        (Qt.KeyboardModifier.ShiftModifier, "add"),
        (Qt.KeyboardModifier.ControlModifier, "remove"),
        (Qt.KeyboardModifier.AltModifier, "remove"),
    ],
)
def test_keys_held_at_a_lasso_say_what_becomes_of_the_selection(canvas, qtbot, keys, how):
    left, corners = Qt.MouseButton.LeftButton, [(150, 2), (298, 2), (298, 198), (150, 198)]
    with qtbot.waitSignal(canvas.lassoed) as got:
        pointer(canvas, QEvent.Type.MouseButtonPress, corners[0], left, left, keys)
        for corner in corners[1:]:
            pointer(canvas, QEvent.Type.MouseMove, corner, held=left, keys=keys)
        pointer(canvas, QEvent.Type.MouseButtonRelease, corners[-1], left, keys=keys)
    assert got.args[1] == how


def test_new_points_come_without_moving_old_ones_also_under_the_pointer(canvas, monkeypatch):
    monkeypatch.setattr(canvas, "underMouse", lambda: True)
    before = canvas.positions().copy()
    xy = np.asarray([[0, 0], [1, 0], [0, 1], [1, 1], [0.4, 0.6]])
    canvas.set_layout(np.arange(1, 6), xy)
    assert not canvas.is_waiting
    np.testing.assert_array_equal(canvas.positions()[:4], before)
    canvas.set_layout(np.asarray([1, 2, 5]), xy[[0, 1, 4]])  # the extent of what is left is smaller
    np.testing.assert_array_equal(canvas.positions()[:2], before[:2])


class Pictures:
    """Thumbnails of one colour."""

    def __init__(self, rgb):
        self.image, self.asked = QImage(40, 40, QImage.Format.Format_RGB888), set()
        self.image.fill(QColor(*rgb))

    def get(self, seed):
        self.asked.add(seed)
        return self.image


def test_thumbnails_stand_in_place_of_points_where_they_fit(canvas):
    rng = np.random.default_rng(0)
    canvas.thumbs = Pictures((10, 200, 30))
    canvas.set_layout(np.arange(1, 2001), rng.random((2000, 2)))
    canvas.grab()
    assert canvas.n_pictures == 0 and not canvas.thumbs.asked
    canvas._zoom = 12.0
    canvas._redraw()
    picture = canvas.grab().toImage()
    rows, edge = canvas._pictured
    assert 0 < canvas.n_pictures < 60 and edge >= 26
    x, y = canvas.positions()[rows].T
    inside = (x > 5) & (x < 295) & (y > 5) & (y < 195)
    middles = [
        picture.pixelColor(round(a), round(b)).green() for a, b in zip(x[inside], y[inside], strict=True)
    ]
    assert sum(green > 190 for green in middles) > 0.8 * len(middles)


def middles_of(canvas, rgb):
    """Extent (left, top, right, bottom) of what has a colour, within a canvas."""
    shown = canvas.grab().toImage()
    is_it = [(c, r) for r in range(200) for c in range(300) if shown.pixelColor(c, r) == QColor(*rgb)]
    return (*np.min(is_it, 0).tolist(), *np.max(is_it, 0).tolist())


def test_pictures_of_two_seeds_and_their_frames_stay_within_the_map(canvas):
    canvas.set_layout(np.asarray([8, 9]), np.asarray([[0.0, 0.0], [1.0, 1.0]]))
    canvas.mark(8, frozenset())
    x, y = canvas.positions()[0]
    around = middles_of(canvas, CURRENT_RGB)
    assert max(x - around[0], around[2] - x, y - around[1], around[3] - y) < 10, "a ring, no picture came"
    canvas.thumbs = Pictures((10, 200, 30))
    canvas._redraw()
    left, top, right, bottom = middles_of(canvas, CURRENT_RGB)
    assert canvas.n_pictures == 2
    assert 1 <= left and right <= 298 and 1 <= top and bottom <= 198
    assert abs((right - left) - (bottom - top)) <= 1, "a whole square"
    assert canvas.seed_near(QPointF((left + right) / 2, (top + bottom) / 2)) == 8


def test_the_seed_under_the_pointer_is_shown_beside_it(canvas):
    canvas.thumbs, canvas.describe = Pictures((10, 200, 30)), lambda seed: f"Seed {seed} · dead"
    x, y = canvas.positions()[0]
    pointer(canvas, QEvent.Type.MouseMove, (x, y))
    shown = canvas.grab().toImage()
    green = [shown.pixelColor(c, r).green() for r in range(0, 200, 4) for c in range(0, 300, 4)]
    assert canvas.thumbs.asked == {1}
    assert sum(190 < g < 210 for g in green) > 100


@pytest.mark.parametrize("n", [3, 900, 9000])
def test_points_on_and_beyond_every_border_are_drawn_or_left_out(n):
    places = np.random.default_rng(0).uniform(-20, 50, (n, 2))
    red = packed(np.tile(np.uint8([255, 0, 0]), (n, 1)))
    picture = raster(places, red, (30, 20), (0, 0, 0), radius_for(n))
    assert picture.shape == (30, 20)
    inside = ((places > 0) & (places < (19, 29))).all(1)
    x, y = np.rint(places[inside]).astype(int).T
    assert (picture[y, x] == 0xFFFF0000).all()


def test_a_crowd_of_selected_seeds_is_dotted(canvas):
    xy = np.random.default_rng(0).random((3000, 2))
    canvas.set_layout(np.arange(3000), xy)
    canvas.mark(None, frozenset(range(1500)))
    shown = canvas._picture()
    x, y = np.floor(canvas.positions()).astype(int).T
    white = canvas._theme.color("text").rgb()
    is_white = np.asarray([shown.pixel(int(a), int(b)) == white for a, b in zip(x, y, strict=True)])
    assert is_white[:1500].all() and is_white[1500:].mean() < 0.3
    canvas.mark(None, frozenset())
    assert not any(canvas._picture().pixel(int(a), int(b)) == white for a, b in zip(x, y, strict=True))


def test_the_part_in_view_stays_in_view_when_the_window_grows(canvas):
    canvas._zoom, canvas._shift = 20.0, np.asarray([-2600.0, -1600.0])  # about the last point but one
    before = canvas.positions()[1] / (300, 200)
    canvas.resize(900, 500)
    np.testing.assert_allclose(canvas.positions()[1] / (900, 500), before, atol=0.12)
    canvas.resize(300, 200)
    np.testing.assert_allclose(canvas.positions()[1] / (300, 200), before, atol=1e-6)
    canvas._shift = np.asarray([9000.0, 0.0])
    canvas._redraw()
    canvas.grab()
    assert canvas._n_seen == 0


def test_look_alikes_stand_as_pictures_in_a_low_map():
    """Pairs, closer than a picture is wide, do not keep the pictures away; a crowd does."""
    x, y = np.meshgrid([30.0, 90.0, 150.0, 210.0, 270.0], [30.0, 90.0])
    pairs = np.concatenate([np.column_stack([x.ravel() + d, y.ravel()]) for d in (0, 14)])
    assert 20 <= edge_that_fits(pairs, (314, 120)) <= 28
    crowd = np.random.default_rng(0).uniform((0, 0), (314, 120), (60, 2))
    assert edge_that_fits(crowd, (314, 120)) == 0
