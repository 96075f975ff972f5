"""Strategies that draw by chance, with the chance told: what accuracy may be estimated from."""

from __future__ import annotations

import numpy as np

from napari_seedlab.learn.strategies.pool import Pick, Pool, Rows

MIN_PER_CLASS = 2  # seeds of each predicted class in an honest check


def at_random(pool: Pool, n: int, rng: np.random.Generator) -> list[Pick]:
    """Seeds drawn blindly, each with chance n / N of the N that may be asked."""
    rows = pool.candidates
    n = min(n, len(rows))
    chosen = rng.choice(rows, n, replace=False) if n else rows[:0]
    p = n / max(len(rows), 1)
    reason = "random check: keeps the accuracy estimate honest"
    return [Pick(int(r), 0.0, "random", reason, p) for r in chosen]


def check(pool: Pool, n: int, rng: np.random.Generator) -> list[Pick]:
    """An honest check: drawn blindly within each predicted class, rare classes more often.

    Each predicted class gets a share of the draws by the square root of its size (power allocation, Bankier
    1988), ``MIN_PER_CLASS`` at least, so that the recall of rare classes can be told; `inclusion_p` is
    n_h / N_h of its class, with which an estimate is weighted. Plain random draws without a model, or
    where the draws are too few for all classes.
    """
    rows = pool.candidates
    n = min(n, len(rows))
    if pool.probabilities is None or n == 0:
        return at_random(pool, n, rng)
    predicted = pool.probabilities[rows].argmax(axis=1)
    classes, size = np.unique(predicted, return_counts=True)
    if n < MIN_PER_CLASS * len(classes):
        return at_random(pool, n, rng)
    picks = []
    for column, wanted in zip(classes, allocation(size, n), strict=True):
        members = rows[predicted == column]
        p = float(wanted / len(members))
        reason = f"honest check: drawn blindly among {len(members)} seeds predicted {pool.name(int(column))}"
        drawn = rng.choice(members, int(wanted), replace=False)
        picks += [Pick(int(r), 0.0, "check", reason, p) for r in drawn]
    return picks


def allocation(size: Rows, n: int) -> Rows:
    """How many of `n` draws each class of `size` seeds gets; sums to n ≤ Σ size."""
    wanted = np.minimum(size, MIN_PER_CLASS)
    weight = np.sqrt(size.astype(np.float64))
    while (left := n - int(wanted.sum())) > 0:
        lack = np.where(wanted < size, n * weight / weight.sum() - wanted, -np.inf)
        wanted[int(lack.argmax())] += min(1, left)
    return np.asarray(wanted, np.int64)
