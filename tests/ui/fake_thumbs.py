"""Thumbnails without a project: each seed's grey says which one it is."""

from types import SimpleNamespace

import numpy as np

from napari_seedlab.imaging.thumbnails import PAGE


class FakeTable:
    """A table of `n` seeds from 1 on, in pages; `n_read` counts pages."""

    def __init__(self, n, is_volume=True, bands=0):
        self.seeds, self.is_volume, self.n_read = np.arange(1, n + 1), is_volume, 0
        self.spectrum = np.tile(np.linspace(0, 1, bands, dtype=np.float32), (n, 1))
        self.row = {int(s): i for i, s in enumerate(self.seeds)}

    def page(self, number):
        self.n_read += 1
        seeds = self.seeds[number * PAGE : (number + 1) * PAGE]
        pixels = np.zeros((len(seeds), 3, 40, 40), np.uint8)
        y, x = np.mgrid[-1:1:40j, -1:1:40j]
        for i, reach in enumerate((0.9, 0.7, 0.5)):
            pixels[:, i] = np.where(x**2 / 0.8 + y**2 / reach**2 < 1, (60 + seeds % 190)[:, None, None], 0)
        return pixels


class FakeThumbs:
    """What ``session.thumbnails`` offers."""

    def __init__(self, table=None):
        self.table, self.asked = table, []
        self.tables = {} if table is None else {"ct": table}

    def find(self, seed):
        row = None if self.table is None else self.table.row.get(seed)
        return None if row is None else (self.table, row)

    def spectrum(self, seed):
        found = self.find(seed)
        return None if found is None or not found[0].spectrum.shape[1] else found[0].spectrum[found[1]]

    def ask(self, pool):
        self.asked.append(pool)


def session_with(table):
    """The least of a session that a cache needs."""
    return SimpleNamespace(thumbnails=FakeThumbs(table), pool="ct")
