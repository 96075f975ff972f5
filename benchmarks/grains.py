"""Synthetic grains, interleaved timing and peak memory, for the benchmarks of this folder."""

from __future__ import annotations

import os
import statistics
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable


def grains(n: int, count: int, random_state: int = 0, touch: float = 1.0) -> tuple[Any, Any]:
    """(uint16 image, int32 labels) of `count` ellipsoids on a jittered grid; `touch` > 1: they overlap."""
    rng = np.random.default_rng(random_state)
    g = int(np.ceil(count ** (1 / 3) - 1e-9))
    cell = n / g
    labels = np.zeros((n, n, n), np.int32)
    for k, c in enumerate(rng.permutation(g**3)[:count], 1):
        centre = (np.array(np.unravel_index(c, (g, g, g))) + 0.5) * cell + rng.normal(0, cell * 0.04, 3)
        radii = cell * 0.5 * touch * rng.uniform(0.85, 1.05, 3)
        lo = np.maximum(0, np.floor(centre - radii).astype(int))
        hi = np.minimum(n, np.ceil(centre + radii).astype(int) + 1)
        z, y, x = (((np.arange(lo[d], hi[d]) - centre[d]) / radii[d]) ** 2 for d in range(3))
        labels[lo[0] : hi[0], lo[1] : hi[1], lo[2] : hi[2]][
            z[:, None, None] + y[None, :, None] + x[None, None] <= 1
        ] = k
    image = np.empty(labels.shape, np.uint16)
    grey = np.concatenate([[8000], rng.integers(18000, 30000, count)]).astype(np.float32)
    for plane in range(n):
        noise = rng.normal(0, 1500, (n, n)).astype(np.float32)
        image[plane] = np.clip(grey[labels[plane]] + noise, 0, 65535)
    return image, labels


def interleave(ways: dict[str, Callable[[], object]], reps: int) -> dict[str, dict[str, float]]:
    """Seconds of each way, run A B C A B C after one round to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for rep in range(reps + 1):
        for name, way in ways.items():
            begun = time.perf_counter()
            way()
            if rep:
                seconds[name].append(time.perf_counter() - begun)
    return {
        name: {"median": round(statistics.median(s), 4), "min": round(min(s), 4), "max": round(max(s), 4)}
        for name, s in seconds.items()
    }


def ratio(seconds: dict[str, dict[str, float]], ours: str, peer: str) -> dict[str, float]:
    """Median and least seconds of ours over those of a peer."""
    return {k: round(seconds[ours][k] / seconds[peer][k], 3) for k in ("median", "min")}


def peak_mib(way: Callable[[], object]) -> int:
    """Most resident memory during a call above that before it, sampled every 3 ms."""

    def now() -> float:
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    before, stop = now(), threading.Event()
    most = [before]

    def watch() -> None:
        while not stop.wait(0.003):
            most[0] = max(most[0], now())

    watcher = threading.Thread(target=watch)
    watcher.start()
    way()
    stop.set()
    watcher.join()
    return round(max(most[0], now()) - before)
