import threading
import time

import numpy as np
import pytest
from qtpy.QtGui import qGray

from napari_seedlab.core import ProjectDamaged
from napari_seedlab.ui import thumbs
from napari_seedlab.ui.thumbs import ThumbCache
from tests.ui.fake_thumbs import FakeTable, session_with


@pytest.fixture
def make_cache(qapp):
    made = []

    def make(table):
        session = session_with(table)
        made.append(ThumbCache(lambda: session))
        return made[-1]

    yield make
    for cache in made:
        cache.close()


def test_a_picture_is_none_until_it_was_read(make_cache, qtbot):
    cache = make_cache(FakeTable(200))
    with qtbot.waitSignal(cache.ready, timeout=5000):
        assert cache.get(150) is None
    image = cache.get(150)
    assert (image.width(), image.height()) == (40, 40) and qGray(image.pixel(20, 20)) == 60 + 150
    assert (cache.cuts(150).width(), cache.cuts(150).height()) == (40, 120)
    assert cache.get(999) is None


def test_what_is_in_sight_comes_before_what_was_scrolled_past(make_cache, qtbot):
    table, order, gate = FakeTable(64 * 30), [], threading.Event()
    page = table.page
    table.page = lambda number: (gate.wait(5), order.append(number), page(number))[2]
    cache = make_cache(table)
    for seed in (1, 64 * 10, 64 * 20):
        cache.get(seed)
        time.sleep(0.05)  # the first page is being read
    gate.set()
    qtbot.waitUntil(lambda: len(order) == 30, timeout=5000)
    assert order[:4] == [0, 19, 9, 1]  # and then, while nobody waits, all others


def test_memory_is_bounded(make_cache, qtbot, monkeypatch):
    page = 64 * 4800
    monkeypatch.setattr(thumbs, "MOST_BYTES", 4 * page)
    cache = make_cache(FakeTable(64 * 12))
    for seed in range(1, 64 * 12, 64):
        cache.get(seed)
        qtbot.waitUntil(lambda s=seed: cache.get(s) is not None, timeout=5000)
        assert cache.n_bytes <= 4 * page


def test_a_damaged_page_is_asked_for_once(make_cache, qtbot):
    table = FakeTable(64)

    def broken(number):
        table.n_read += 1
        raise ProjectDamaged("thumbs", "is not what was written", "Compute it again")

    table.page = broken
    cache = make_cache(table)
    for _ in range(3):
        assert cache.get(1) is None
        qtbot.wait(30)
    assert table.n_read == 1


def test_another_project_is_read_anew(make_cache, qtbot):
    table = FakeTable(10, is_volume=False)
    cache = make_cache(table)
    cache.get(1)
    qtbot.waitUntil(lambda: cache.get(1) is not None, timeout=5000)
    table.page = lambda number: np.full((10, 3, 40, 40), 7, np.uint8)
    cache.changed()
    assert cache.get(1) is None
    qtbot.waitUntil(lambda: cache.get(1) is not None, timeout=5000)
    assert qGray(cache.get(1).pixel(0, 0)) == 7
