"""Strategies that look at the seeds alone: typical ones of each group, and ones unlike any labelled one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_seedlab.learn.strategies.pool import (
    Pick,
    Pool,
    Rows,
    group_space,
    groups_of,
    neighbour_distance,
    squared_distances,
)

N_NEIGHBOURS = 20  # of the typicality (Hacohen et al. 2022)
MAX_CLUSTERS = 500
MIN_CLUSTER = 5
BLOCK = 4096  # rows compared at a time


def typiclust(pool: Pool, n: int, rng: np.random.Generator) -> list[Pick]:
    """The most typical seed of each large group that has the fewest answers.

    Hacohen, Dekel & Weinshall 2022, "Active Learning on a Budget: Opposite Strategies Suit High and
    Low Budgets", algorithm 1: as many k-means groups as answers there will be, then typicality
    1 / mean distance to the 20 nearest of the group.
    """
    n = min(n, len(pool.candidates))
    if n == 0:
        return []
    x = group_space(pool.vectors)
    group = groups_of(x, min(int(pool.answered.sum()) + n, MAX_CLUSTERS), rng)
    size = np.bincount(group)
    known = np.bincount(group[pool.answered], minlength=len(size))
    answers = known.copy()  # those to be given to this batch included
    open_ = np.bincount(group[pool.askable], minlength=len(size))
    picks: list[Pick] = []
    while len(picks) < n:
        fit = np.flatnonzero(open_ > 0)
        big = fit[size[fit] > MIN_CLUSTER]
        fit = big if big.size else fit
        chosen = fit[np.lexsort((-size[fit], answers[fit]))[0]]
        taken = {p.row for p in picks}
        picks.append(_most_typical(pool, x, np.flatnonzero(group == chosen), taken, int(known[chosen])))
        answers[chosen] += 1
        open_[chosen] -= 1
    return picks


def _most_typical(pool: Pool, x: npt.NDArray[np.float32], members: Rows, taken: set[int], known: int) -> Pick:
    far = neighbour_distance(x[members], N_NEIGHBOURS)
    ok = pool.askable[members] & ~np.isin(members, list(taken))
    best = int(np.flatnonzero(ok)[np.argmin(far[ok])])
    seeds = "1 seed" if len(members) == 1 else f"{len(members)} seeds"
    if known == 0:
        reason = f"typical of a cluster of {seeds} nobody has labelled yet"
    else:
        reason = f"typical of a cluster of {seeds} with only {known} labelled"
    return Pick(int(members[best]), float(1.0 / (1e-6 + far[best])), "typiclust", reason)


def k_center(pool: Pool, n: int, rng: np.random.Generator) -> list[Pick]:
    """Seeds that no answered seed resembles: greedy farthest point (Sener & Savarese 2018, k-center).

    Finds tight groups that are neither odd nor between classes for the model.
    """
    x = group_space(pool.vectors)
    known = np.flatnonzero(pool.answered)
    start = x[known] if known.size else x.mean(axis=0, keepdims=True)
    gap = np.empty(len(x), np.float32)
    for at in range(0, len(x), BLOCK):
        gap[at : at + BLOCK] = squared_distances(x[at : at + BLOCK], start).min(axis=1)
    gap[~pool.askable] = -1.0
    length = np.einsum("ij,ij->i", x, x)
    picks: list[Pick] = []
    for _ in range(min(n, len(pool.candidates))):
        row = int(gap.argmax())
        reason = "unlike any seed labelled so far"
        picks.append(Pick(row, float(np.sqrt(max(gap[row], 0.0))), "k_center", reason))
        np.minimum(gap, np.maximum(length + length[row] - 2.0 * (x @ x[row]), 0.0), out=gap)
        gap[[p.row for p in picks]] = -1.0
    return picks
