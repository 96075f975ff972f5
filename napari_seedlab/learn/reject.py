"""Which predictions are too unsure to be used: by probability, and by distance to everything labelled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_seedlab.learn.calibration import wilson_interval

Floats = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]

TARGET = 0.98  # accuracy that the kept predictions shall have
SURE = 0.85  # p0 where nothing better is known, and what the stop light calls sure
GRID = np.round(np.arange(0.0, 1.0, 0.01), 2)  # values of p0
PERCENTILE = 99.0  # of the labelled seeds' distances to one another
N_NEAREST = 3
LEAST_KNOWN = 10  # labelled seeds below which nothing counts as far
BLOCK = 2048  # rows compared at a time


@dataclass(frozen=True)
class RejectCurve:
    """What a threshold p0 on the largest class probability keeps.

    Attributes
    ----------
    p0 : (g,) float64
    coverage : (g,) float64
        Share of all seeds that are kept.
    accuracy, low : (g,) float64
        Of what is kept, and its lower bound; NaN where no answer tells.
    chosen : float
        Default p0.
    is_proven : bool
        Whether the lower bound reaches the target there.
    """

    p0: npt.NDArray[np.float64]
    coverage: npt.NDArray[np.float64]
    accuracy: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    chosen: float
    is_proven: bool


def reject_curve(
    pool_p: Floats, kept_always: Bools, p: Floats, right: Bools, weight: Floats, target: float = TARGET
) -> RejectCurve:
    """Coverage and accuracy over a grid of thresholds.

    Parameters
    ----------
    pool_p : (n,) float
        Largest class probability of every seed.
    kept_always : (n,) bool
        Seeds that the distance rule keeps; others are rejected at every threshold.
    p : (m,) float
        Largest probability of answered seeds, by a model that did not see the answer.
    right : (m,) bool
        Whether that prediction was right.
    weight : (m,) float
        How many seeds each stands for; 0 leaves it out.
    target : float
        Accuracy wanted of what is kept. The default p0 is the smallest whose Wilson lower bound reaches
        it; while none does, the smallest whose estimate does, and ``SURE`` while none does that either.
    """
    coverage, accuracy, low = (np.full(len(GRID), np.nan) for _ in range(3))
    for i, p0 in enumerate(GRID):
        coverage[i] = float(((pool_p >= p0) & kept_always).mean()) if len(pool_p) else 0.0
        w = np.where(p >= p0, weight, 0.0)
        if w.sum() > 0:
            accuracy[i] = float((w * right).sum() / w.sum())
            low[i] = wilson_interval(accuracy[i], float(w.sum() ** 2 / (w * w).sum()))[0]
    for bound, is_proven in ((low, True), (accuracy, False)):
        reached = np.flatnonzero(np.nan_to_num(bound) >= target)
        if len(reached):
            return RejectCurve(GRID, coverage, accuracy, low, float(GRID[reached[0]]), is_proven)
    return RejectCurve(GRID, coverage, accuracy, low, SURE, False)


def nearest_distance(x: Floats, known: Floats, *, same: bool = False) -> npt.NDArray[np.float64]:
    """Mean distance (n,) of each row of `x` to its ``N_NEAREST`` rows of `known` (m, d).

    With `same`, both are the same rows and none is its own neighbour.
    """
    k = min(N_NEAREST, len(known) - same)
    out = np.zeros(len(x))
    if k < 1:
        return out
    square = (known * known).sum(1)
    for start in range(0, len(x), BLOCK):
        part = x[start : start + BLOCK]
        d = np.maximum((part * part).sum(1)[:, None] + square - 2 * part @ known.T, 0)
        if same:
            d[np.arange(len(part)), np.arange(start, start + len(part))] = np.inf
        out[start : start + BLOCK] = np.sqrt(np.partition(d, k - 1, axis=1)[:, :k]).mean(1)
    return out


def is_far(x: Floats, known: Floats, percentile: float = PERCENTILE) -> npt.NDArray[np.bool_]:
    """Rows (n,) that lie further from everything labelled than labelled seeds do from one another.

    A softmax is sure of what it has never seen; this rule is not. Distance is taken twice: between the
    vectors, and between their directions (Sun et al. 2022, "Out-of-Distribution Detection with Deep Nearest
    Neighbors", which tells unseen kinds better, but not how far off they are). Nothing is far of fewer than
    ten labelled rows.

    Parameters
    ----------
    x : (n, d) float
        Standardised vectors.
    known : (m, d) float
        Those of the labelled seeds.
    percentile : float
        Of the labelled rows' distances to one another.
    """
    far = np.zeros(len(x), bool)
    if len(known) < LEAST_KNOWN:
        return far
    for rows, others in ((x, known), (_directions(x), _directions(known))):
        limit = np.percentile(nearest_distance(others, others, same=True), percentile)
        far |= nearest_distance(rows, others) > limit
    return far


def _directions(x: Floats) -> npt.NDArray[np.float64]:
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9))
