import threading
import time

import numpy as np
import pytest
from qtpy.QtGui import qGray

from napari_seedlab.core import ProjectDamaged
from napari_seedlab.imaging.thumbnails import PAGE
from napari_seedlab.ui import thumbs
from napari_seedlab.ui.gallery_cells import facts_of
from napari_seedlab.ui.gallery_grid import GalleryGrid
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


def test_what_is_in_sight_comes_before_what_was_scrolled_past(make_cache, qtbot, monkeypatch):
    monkeypatch.setattr(thumbs, "N_READERS", 1)
    table, order, gate, is_reading = FakeTable(PAGE * 30), [], threading.Event(), threading.Event()
    page = table.page
    table.page = lambda number: (is_reading.set(), gate.wait(5), order.append(number), page(number))[3]
    cache = make_cache(table)
    for seed in (1, PAGE * 10, PAGE * 20):
        cache.get(seed)
        assert is_reading.wait(5)  # the first page is under way before the next wish
    gate.set()
    qtbot.waitUntil(lambda: len(order) == 30, timeout=5000)
    assert order[:4] == [0, 19, 9, 1]  # and then, while nobody waits, all others


def test_pages_are_read_side_by_side_and_each_once(make_cache, qtbot):
    table, order, both = FakeTable(PAGE * 30), [], threading.Barrier(2)
    page = table.page
    table.page = lambda number: (order.append(number), number in (0, 29) and both.wait(5), page(number))[2]
    cache = make_cache(table)
    told = []
    cache.ready.connect(lambda: told.append(1))
    cache.get(PAGE * 29 + 1)  # while the first is under way, another is read
    cache.get(1)
    qtbot.waitUntil(lambda: len(order) == 30 and bool(told), timeout=5000)
    assert sorted(order) == list(range(30)) and not both.broken


def test_memory_is_bounded(make_cache, qtbot, monkeypatch):
    page = PAGE * 4800
    monkeypatch.setattr(thumbs, "MOST_BYTES", 4 * page)
    cache = make_cache(FakeTable(PAGE * 12))
    for seed in range(1, PAGE * 12, PAGE):
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
    qtbot.waitUntil(lambda: cache.n_bytes == 10 * 4800, timeout=5000)  # few are read before anybody asks
    assert qGray(cache.get(1).pixel(0, 0)) == 7


def test_five_thousand_seeds_scroll_without_a_blank(make_cache, qtbot):
    seeds = np.random.default_rng(0).permutation(np.arange(1, 5001))
    cache = make_cache(FakeTable(5000))
    grid = GalleryGrid(cache)
    qtbot.addWidget(grid)
    grid.resize(1000, 280)
    grid.show()
    grid.show_seeds(seeds, facts_of(None, seeds))
    grid.viewport().repaint()
    qtbot.waitUntil(lambda: cache.n_bytes == 5000 * 4800, timeout=20_000)  # read on while nobody waits
    bar, spent = grid.verticalScrollBar(), []
    for i in range(40):
        bar.setValue(bar.maximum() * i // 39)
        start = time.thread_time()
        grid.viewport().repaint()
        spent.append(time.thread_time() - start)
        first, last = grid.rows_in_sight()
        assert all(cache.cuts(int(s)) is not None for s in seeds[first:last])
    assert np.median(spent) < 0.2 and last == 5000


def test_a_lasso_of_ten_thousand_is_shown_at_once(make_cache, qtbot):
    """Two in a row: the selection before must not cost the next one."""
    seeds = np.arange(1, 50_001)
    grid = GalleryGrid(make_cache(FakeTable(64)))
    qtbot.addWidget(grid)
    grid.show_seeds(seeds, facts_of(None, seeds))
    rng = np.random.default_rng(0)
    for _ in range(2):
        chosen = frozenset(rng.choice(seeds, 10_000, replace=False).tolist())
        start = time.thread_time()
        grid.mark(None, chosen)
        assert time.thread_time() - start < 0.6  # a list view takes 2 s for the second
        assert set(grid.chosen_seeds().tolist()) == chosen
