"""Made and real hyperspectral scenes for the detectors."""

from pathlib import Path

import numpy as np
import pytest
from job_folders import finish
from scipy.io import loadmat

from napari_seedlab.learn import pixels, rx

ANOMALY = Path(__file__).parents[3] / "shared" / "data" / "hyperspectral" / "anomaly"
REAL = ("abu-airport-2", "abu-airport-4", "cat-island")
needs_scenes = pytest.mark.skipif(
    not ANOMALY.is_dir(), reason="the shared data folder is not beside the repository"
)


def real_scene(name):
    """Cube (band, y, x) as stored, and its odd pixels (y, x)."""
    held = loadmat(ANOMALY / f"{name}.mat")
    return held["data"].transpose(2, 0, 1), held["map"] > 0


def made_scene(n_bands=6, shape=(12, 15), seed=0):
    """Correlated bands (band, y, x) of unlike brightness and spread."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(n_bands, n_bands)) @ rng.normal(size=(n_bands, shape[0] * shape[1]))
    cube = mixed * rng.uniform(1, 50, (n_bands, 1)) + rng.uniform(0, 1000, (n_bands, 1))
    return cube.reshape(n_bands, *shape)


def global_rx(*given):
    """The map of this detector."""
    return finish(rx.global_rx_steps(*given))[1]


def local_rx(*given):
    """The map of this detector."""
    return finish(rx.local_rx_steps(*given))[1]


def odd_pixels(*given):
    """The map of this detector."""
    return finish(pixels.odd_pixel_steps(*given))[1]


def background_of(*given):
    """Mean and covariance."""
    return finish(rx.background_steps(*given))[1]


class Stored:
    """A cube that is made when it is cut; it remembers the largest cut, and how often each chunk was read."""

    def __init__(self, shape, chunks=None):
        self.shape, self.largest = shape, 0
        if chunks:
            self.chunks = chunks
            self.n_reads = np.zeros(
                [-(-n // edge) for n, edge in zip(shape[1:], chunks[1:], strict=True)], int
            )

    def __getitem__(self, index):
        bands, rows, columns = index
        y, x = np.arange(self.shape[1])[rows], np.arange(self.shape[2])[columns]
        places = y[:, None] * self.shape[2] + x
        block = np.sin(places * np.arange(1, self.shape[0] + 1)[bands, None, None] * 0.7)
        self.largest = max(self.largest, block.nbytes)
        if hasattr(self, "chunks"):
            high, wide = self.chunks[1:]
            self.n_reads[y[0] // high : y[-1] // high + 1, x[0] // wide : x[-1] // wide + 1] += 1
        return block.astype(np.float32)
