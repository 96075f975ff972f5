"""What every query strategy is given and gives, and distances between seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]

N_COMPONENTS = 50  # of the space in which groups are looked for
N_AXIS_ROWS = 5000  # seeds, evenly spaced, that decide its axes
BLOCK = 2048  # rows read at a time


@dataclass(frozen=True)
class Pool:
    """All seeds that could be asked about, and what is known of them.

    Attributes
    ----------
    seeds : (n,) int64
        Seed ids.
    vectors : (n, d) float
        Standardised embedding.
    askable : (n,) bool
        Whether the seed may be asked: not answered, not skipped.
    answered : (n,) bool
        Whether its class is known.
    probabilities : (n, C) float, optional
        Of the present model.
    anomaly : (n,) float, optional
        Larger is odder, NaN where unknown; distance to the neighbours in the embedding where None.
    class_names : tuple of str
        Names of the C columns.
    model_id : str
        Model of the probabilities.
    ranks : (n, m) float, optional
        Share of the seeds that are at most as odd, by each of m methods; NaN where one did not score.
    method_names : tuple of str
        What the m methods are called in a sentence.
    said : (n,) int64, optional
        Column of the class of each answered seed, −1 elsewhere.
    class_ids : tuple of int
        Ids of the C columns.
    inclusion_p : (n,) float, optional
        Chance with which each answered seed was drawn; NaN elsewhere.
    confirmed : (n,) bool, optional
        Answered seeds that were asked about a second time already.
    places : (n, 4) float, optional
        Scan and centre (z, y, x) of each seed; NaN where unknown.
    """

    seeds: npt.NDArray[np.int64]
    vectors: npt.NDArray[np.floating]
    askable: npt.NDArray[np.bool_]
    answered: npt.NDArray[np.bool_]
    probabilities: npt.NDArray[np.floating] | None = None
    anomaly: npt.NDArray[np.floating] | None = None
    class_names: tuple[str, ...] = ()
    model_id: str = ""
    ranks: npt.NDArray[np.floating] | None = None
    method_names: tuple[str, ...] = ()
    said: npt.NDArray[np.int64] | None = None
    class_ids: tuple[int, ...] = ()
    inclusion_p: npt.NDArray[np.floating] | None = None
    confirmed: npt.NDArray[np.bool_] | None = None
    places: npt.NDArray[np.floating] | None = None

    @property
    def candidates(self) -> Rows:
        """Rows that may be asked."""
        return np.flatnonzero(self.askable)

    @property
    def known(self) -> Rows:
        """Rows whose class is known and told."""
        return np.flatnonzero(self.answered if self.said is None else self.answered & (self.said >= 0))

    @property
    def n_classes(self) -> int:
        """Columns of the scheme, as far as anything here tells."""
        said = 0 if self.said is None or not len(self.said) else int(self.said.max()) + 1
        given = 0 if self.probabilities is None else self.probabilities.shape[1]
        return max(said, given, len(self.class_ids))

    @property
    def n_ranked_twice(self) -> int:
        """How many of the candidates have a rank by at least two methods."""
        if self.ranks is None:
            return 0
        return int((np.isfinite(self.ranks[self.askable]).sum(1) >= 2).sum())

    def name(self, column: int) -> str:
        """Name of a class in a sentence."""
        return self.class_names[column] if column < len(self.class_names) else f"class {column + 1}"

    def without(self, rows: Sequence[int] | Rows) -> Pool:
        """The pool with `rows` no longer askable."""
        askable = self.askable.copy()
        askable[np.asarray(rows, np.int64)] = False
        return replace(self, askable=askable)


@dataclass(frozen=True)
class Pick:
    """A chosen row with its score, its reason, and the chance with which it was drawn."""

    row: int
    score: float
    strategy: str
    reason: str
    inclusion_p: float = 1.0


Strategy = Callable[[Pool, int, np.random.Generator], list[Pick]]


def group_space(vectors: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Rows projected on at most ``N_COMPONENTS`` principal axes: (n, ≤ 50) float32.

    The axes are those of at most ``N_AXIS_ROWS`` rows, and no second copy of all rows is made.
    """
    n, d = vectors.shape
    some = np.asarray(vectors[:: max(1, n // N_AXIS_ROWS)], np.float32)
    center = some.mean(axis=0)
    if d <= N_COMPONENTS:
        return np.asarray(vectors - center, np.float32)
    some = some - center
    _, axes = np.linalg.eigh(some.T @ some)
    axes = np.ascontiguousarray(axes[:, : -N_COMPONENTS - 1 : -1])
    out = np.empty((n, N_COMPONENTS), np.float32)
    for start in range(0, n, BLOCK):
        out[start : start + BLOCK] = np.asarray(vectors[start : start + BLOCK], np.float32) @ axes
    out -= center @ axes
    return out


def squared_distances(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Squared Euclidean distances (len(a), len(b))."""
    d = np.einsum("ij,ij->i", a, a)[:, None] + np.einsum("ij,ij->i", b, b)[None] - 2.0 * (a @ b.T)
    return np.asarray(np.maximum(d, 0.0), np.float32)


def neighbour_distance(x: npt.NDArray[np.float32], k: int = 10, block: int = 1024) -> npt.NDArray[np.float32]:
    """Mean distance of each row to its `k` nearest others: a plain anomaly score, (n,) float32."""
    k = min(k, len(x) - 1)
    out = np.zeros(len(x), np.float32)
    if k < 1:
        return out
    for start in range(0, len(x), block):
        d = squared_distances(x[start : start + block], x)
        d[np.arange(len(d)), np.arange(start, start + len(d))] = np.inf
        out[start : start + block] = np.sqrt(np.partition(d, k - 1, axis=1)[:, :k]).mean(axis=1)
    return out


def nearest_known(pool: Pool, rows: Rows, k: int) -> tuple[Rows, npt.NDArray[np.float64]]:
    """The `k` answered rows most like each of `rows`, nearest first, and their distances.

    Returns
    -------
    rows : (len(rows), ≤ k) int64
    distances : (len(rows), ≤ k) float64
        Root mean square difference per entry of the embedding. A row is not its own neighbour.
    """
    known = pool.known
    k = min(k, len(known) - int(np.isin(rows, known).any()))
    if k < 1 or not len(rows):
        return np.zeros((len(rows), 0), np.int64), np.zeros((len(rows), 0))
    near, far = np.empty((len(rows), k), np.int64), np.empty((len(rows), k))
    taught = np.asarray(pool.vectors[known], np.float32)
    for start in range(0, len(rows), BLOCK):
        here = rows[start : start + BLOCK]
        d = squared_distances(np.asarray(pool.vectors[here], np.float32), taught)
        d[here[:, None] == known[None]] = np.inf
        order = np.argpartition(d, k - 1, axis=1)[:, :k] if k < d.shape[1] else np.argsort(d, axis=1)[:, :k]
        part = np.take_along_axis(d, order, axis=1)
        inner = np.argsort(part, axis=1, kind="stable")
        near[start : start + BLOCK] = known[np.take_along_axis(order, inner, axis=1)]
        far[start : start + BLOCK] = np.take_along_axis(part, inner, axis=1)
    return near, np.sqrt(far / max(1, pool.vectors.shape[1]))


def groups_of(
    x: npt.NDArray[np.float32],
    k: int,
    rng: np.random.Generator,
    weight: npt.NDArray[np.floating] | None = None,
) -> Rows:
    """K-means group (n,) of each row."""
    from sklearn.cluster import KMeans

    k = min(k, len(np.unique(x, axis=0)))
    state = int(rng.integers(2**31))
    fit = KMeans(k, n_init=1, max_iter=50, random_state=state).fit(x, sample_weight=weight)
    return np.asarray(fit.labels_, np.int64)


def first_of(rows: Rows, score: npt.NDArray[np.floating], n: int) -> Rows:
    """Positions of the `n` largest scores, equal ones in the order of the rows."""
    n = min(n, len(rows))
    if n == 0:
        return np.zeros(0, np.int64)
    if n < len(rows) // 8:  # a full sort of a large pool is needless
        edge = np.partition(score, len(score) - n)[len(score) - n]
        some = np.flatnonzero(score >= edge)
        return np.asarray(some[np.argsort(-score[some], kind="stable")][:n], np.int64)
    return np.asarray(np.argsort(-score, kind="stable")[:n], np.int64)
