"""Groups of seeds: a merge tree cut into them, how pure they are, and who fits badly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.integer[Any]]
    Floats = npt.NDArray[np.floating[Any]]

N_NEAR = 5  # neighbours that tell where a seed belongs
BLOCK = 512  # rows whose distances are held at once


def cut_tree(merges: Ints, n_groups: int) -> npt.NDArray[np.int64]:
    """Groups of a hierarchical clustering, its last merges left undone.

    Parameters
    ----------
    merges : (n - 1, 2) int
        Which nodes each step merged, in the order of their heights: 0 to n - 1 are rows, n + i is what step
        i made; the first columns of scipy's linkage.
    n_groups : int
        From 1 to n.

    Returns
    -------
    (n,) int64
        Group of each row from 0; number them by :func:`by_size`.
    """
    n = len(merges) + 1
    n_done = n - min(max(int(n_groups), 1), n)
    pairs = np.asarray(merges, np.int64)[:n_done].tolist()
    group = list(range(n + n_done))  # each node is a group of its own until its parent says otherwise
    for i in range(n_done - 1, -1, -1):
        left, right = pairs[i]
        group[left] = group[right] = group[n + i]
    return np.unique(np.asarray(group[:n]), return_inverse=True)[1].reshape(-1)


def by_size(group: Ints) -> npt.NDArray[np.int32]:
    """Groups (n,) renumbered from the largest down, ties by first row."""
    labels, first, size = np.unique(group, return_index=True, return_counts=True)
    order = np.lexsort((first, -size))
    rank = np.empty(len(labels), np.int32)
    rank[order] = np.arange(len(labels), dtype=np.int32)
    return rank[np.searchsorted(labels, group)]


def majorities(group: Ints, class_id: Ints) -> npt.NDArray[np.int64]:
    """The commonest class of each group and how many of how many have it.

    Parameters
    ----------
    group : (n,) int
        From 0.
    class_id : (n,) int
        0 where it is not known: such rows do not count.

    Returns
    -------
    (g, 3) int64
        Class (0 where no row of the group has one; the lower id where two are as common), rows with it,
        rows with any.
    """
    n_groups = int(group.max()) + 1 if len(group) else 0
    known = np.asarray(class_id) > 0
    ids, place = np.unique(np.asarray(class_id)[known], return_inverse=True)
    if not len(ids):
        return np.zeros((n_groups, 3), np.int64)
    counts = np.zeros((n_groups, len(ids)), np.int64)
    np.add.at(counts, (np.asarray(group)[known], place), 1)
    best, total = counts.argmax(1), counts.sum(1)
    return np.stack([np.where(total > 0, ids[best], 0), counts.max(1), total], 1)


def strangeness(members: Floats, others: Floats) -> npt.NDArray[np.float32]:
    """How much nearer the members (m, d) of a group lie to the `others` (k, d) than to each other.

    The difference of the mean distances to the five nearest of either kind, over the larger one, as in a
    silhouette (Rousseeuw 1987) but local, so that groups need not be round.

    Returns
    -------
    (m,) float32
        From -1, deep inside the group, to 1, among the others. Without others: how far each is from
        the group's centre, scaled to 0-1.
    """
    if not len(members):
        return np.zeros(0, np.float32)
    if not len(others) or len(members) < 2:
        far = np.sqrt(np.square(members - members.mean(0)).sum(1))
        return np.asarray(far / max(float(far.max()), 1e-12), np.float32)
    own = _mean_of_nearest(members, members, itself=True)
    other = _mean_of_nearest(members, others, itself=False)
    return np.asarray((own - other) / np.maximum(np.maximum(own, other), 1e-12), np.float32)


def _mean_of_nearest(rows: Floats, base: Floats, itself: bool) -> Floats:
    x, y = np.asarray(rows, np.float32), np.asarray(base, np.float32)
    square, out = (y * y).sum(1), []
    n = min(N_NEAR, len(y) - itself)
    for start in range(0, len(x), BLOCK):
        part = x[start : start + BLOCK]
        d = np.maximum((part * part).sum(1)[:, None] + square[None] - 2 * part @ y.T, 0)
        if itself:
            d[np.arange(len(part)), start + np.arange(len(part))] = np.inf
        out.append(np.sqrt(np.partition(d, n - 1, axis=1)[:, :n]).mean(1))
    return np.concatenate(out)
