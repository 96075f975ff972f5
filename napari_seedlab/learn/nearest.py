"""Classes by a vote of the most similar labelled seeds: the plainest model that looks at them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]

N_NEIGHBOURS = 5  # that vote
LATER = 0.01  # less that each further one counts, so that the nearer ones win where votes are level
BLOCK = 2048  # rows compared at a time


def nearest_votes(
    vectors: Floats, columns: Ints, folds: Ints, n: int = N_NEIGHBOURS
) -> npt.NDArray[np.int64]:
    """Class (m,) of each row by the vote of its nearest rows of other folds; 0 where there is no other fold.

    Parameters
    ----------
    vectors : (m, d) float
        Standardised.
    columns : (m,) int
        Class of each row, 0 to C − 1.
    folds : (m,) int
        Rows of one fold do not vote for one another; a fold for each row leaves just itself out.
    n : int
        How many vote.
    """
    x = np.asarray(vectors, np.float64)
    out, n = np.zeros(len(x), np.int64), min(n, len(x))
    square = (x * x).sum(1)
    for start in range(0, len(x), BLOCK):
        part = slice(start, start + BLOCK)
        far = square[part, None] + square - 2 * x[part] @ x.T
        far[folds[part, None] == folds] = np.inf
        some = np.argpartition(far, n - 1, axis=1)[:, :n]
        order = np.argsort(np.take_along_axis(far, some, axis=1), axis=1, kind="stable")
        near = np.take_along_axis(some, order, axis=1)
        may = np.isfinite(np.take_along_axis(far, near, axis=1))
        votes, rows = np.zeros((len(near), int(columns.max()) + 1)), np.arange(len(near))
        for rank in range(n):
            votes[rows, columns[near[:, rank]]] += may[:, rank] * (1.0 - LATER * rank)
        out[part] = votes.argmax(1)
    return out
