"""Which seeds to ask about next: each strategy a few lines, one shared contract.

A strategy gets a :class:`Pool` and returns rows of seeds that are askable, without duplicates, the
same for the same `random_state`. :func:`suggest` mixes them and words the reason.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from napari_seedlab.core import InputError, NotReady, Suggestion

Rows = npt.NDArray[np.int64]

ODD_SHARE = 0.2  # of each batch, from the top of the anomaly scores
NOVEL_SHARE = 0.2  # of each batch, the least like anything answered
RANDOM_SHARE = 0.1  # of each batch, drawn blindly: the unbiased accuracy estimate
N_NEIGHBOURS = 20  # of the typicality (Hacohen et al. 2022)
MAX_CLUSTERS = 500
MIN_CLUSTER = 5
MARGIN_POOL = 5  # candidates per asked seed that margin spreads over
N_COMPONENTS = 50  # of the space in which groups are looked for


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
        Larger is odder; distance to the neighbours in the embedding where None.
    class_names : tuple of str
        Names of the C columns.
    model_id : str
        Model of the probabilities.
    ranks : (n, m) float, optional
        Share of the seeds that are at most as odd, by each of m methods; NaN where one did not score.
    method_names : tuple of str
        What the m methods are called in a sentence.
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

    @property
    def candidates(self) -> Rows:
        """Rows that may be asked."""
        return np.flatnonzero(self.askable)

    @property
    def n_ranked_twice(self) -> int:
        """How many of the candidates have a rank by at least two methods."""
        if self.ranks is None:
            return 0
        return int((np.isfinite(self.ranks[self.askable]).sum(1) >= 2).sum())

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
    """Rows projected on at most ``N_COMPONENTS`` principal axes: (n, ≤ 50) float32."""
    x = np.asarray(vectors, np.float32)
    x = x - x.mean(axis=0)
    if x.shape[1] <= N_COMPONENTS:
        return np.asarray(x, np.float32)
    _, axes = np.linalg.eigh(x.T @ x)
    return np.asarray(x @ axes[:, : -N_COMPONENTS - 1 : -1], np.float32)


def squared_distances(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Squared Euclidean distances (len(a), len(b))."""
    d = (a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2.0 * (a @ b.T)
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


def _groups(
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
    group = _groups(x, min(int(pool.answered.sum()) + n, MAX_CLUSTERS), rng)
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


def margin(pool: Pool, n: int, rng: np.random.Generator) -> list[Pick]:
    """Seeds between two classes, spread out: k-means over the least-margin ones, one per group.

    Margin p1 − p2 (Scheffer et al. 2001) with the k-means step of Zhdanov 2019, "Diverse mini-batch
    Active Learning". TypiClust while there is no model.
    """
    if pool.probabilities is None:
        return typiclust(pool, n, rng)
    rows = pool.candidates
    n = min(n, len(rows))
    if n == 0:
        return []
    top = np.sort(pool.probabilities[rows], axis=1)
    gap = top[:, -1] - (top[:, -2] if top.shape[1] > 1 else 0.0)
    near = np.argsort(gap, kind="stable")[: MARGIN_POOL * n]
    rows, unsure = rows[near], 1.0 - gap[near]
    group = _groups(group_space(pool.vectors)[rows], n, rng, np.maximum(unsure, 1e-3))
    order = np.argsort(-unsure, kind="stable")
    _, first = np.unique(group[order], return_index=True)
    best = list(order[np.sort(first)])
    best += [i for i in order if i not in set(best)][: n - len(best)]
    return [_margin_pick(pool, int(rows[i]), float(unsure[i])) for i in best[:n]]


def _margin_pick(pool: Pool, row: int, score: float) -> Pick:
    assert pool.probabilities is not None
    p = pool.probabilities[row]
    first, *rest = np.argsort(-p, kind="stable")
    reason = f"could be {_name(pool, first)} ({100 * p[first]:.0f} %)"
    if rest:
        reason += f" or {_name(pool, rest[0])} ({100 * p[rest[0]]:.0f} %)"
    return Pick(row, score, "margin", reason)


def _name(pool: Pool, column: int) -> str:
    return pool.class_names[column] if column < len(pool.class_names) else f"class {column + 1}"


def anomaly(pool: Pool, n: int, rng: np.random.Generator) -> list[Pick]:
    """The oddest seeds: by the given scores, else by distance to the neighbours in the embedding."""
    scores = pool.anomaly
    source = "by anomaly score"
    if scores is None:
        scores, source = neighbour_distance(group_space(pool.vectors)), "by how few seeds look like it"
    rows = pool.candidates
    order = rows[np.argsort(-scores[rows], kind="stable")][:n]
    rank = np.argsort(np.argsort(-scores, kind="stable"), kind="stable")
    percent = np.maximum(1, np.ceil(100 * (rank + 1) / len(scores))).astype(int)
    return [
        Pick(int(r), float(scores[r]), "anomaly", f"among the {percent[r]} % oddest {source}") for r in order
    ]


def disagreement(pool: Pool, n: int, rng: np.random.Generator) -> list[Pick]:
    """The seeds about which methods of oddness are furthest apart: highest rank minus lowest.

    Query by committee (Seung, Opper & Sompolinsky 1992) with anomaly scores for the committee. Seeds
    with fewer than two ranks come last, in the order of their rows.

    Raises
    ------
    NotReady
        There are candidates, and none has ranks by two methods.
    """
    rows = pool.candidates
    if not len(rows):
        return []
    if pool.ranks is None or not pool.n_ranked_twice:
        n_methods = 0 if pool.ranks is None else int(np.isfinite(pool.ranks[rows]).sum(1).max())
        scored = f"{n_methods} method{'' if n_methods == 1 else 's'} scored the seeds, two are needed"
        raise NotReady("disagreement", scored, "Find odd ones by another method first")
    known = np.isfinite(pool.ranks[rows])
    high = np.where(known, pool.ranks[rows], -np.inf).max(1)
    low = np.where(known, pool.ranks[rows], np.inf).min(1)
    spread = np.where(known.sum(1) >= 2, high - low, -1.0)
    order = np.argsort(-spread, kind="stable")[:n]
    return [_disagreement_pick(pool, int(rows[i]), float(spread[i])) for i in order]


def _disagreement_pick(pool: Pool, row: int, spread: float) -> Pick:
    assert pool.ranks is not None
    if spread < 0:
        return Pick(row, 0.0, "disagreement", "scored by one method alone or by none")
    ranks = pool.ranks[row]
    percent = np.clip(np.ceil(100 * (1 - np.nan_to_num(ranks, nan=0.5)) + 1e-6), 1, 100).astype(int)
    odd, usual = int(np.nanargmax(ranks)), int(np.nanargmin(ranks))
    names = [*pool.method_names, *(f"method {i + 1}" for i in range(len(pool.method_names), len(ranks)))]
    reason = f"among the {percent[odd]} % oddest by {names[odd]}"
    if percent[odd] < percent[usual]:
        reason += f", only among the {percent[usual]} % by {names[usual]}"
    return Pick(row, spread, "disagreement", reason)


def novelty(pool: Pool, n: int, rng: np.random.Generator) -> list[Pick]:
    """Seeds that no answered seed resembles: greedy farthest point (Sener & Savarese 2018, k-center).

    Finds tight groups that are neither odd nor between classes for the model.
    """
    x = group_space(pool.vectors)
    known = np.flatnonzero(pool.answered)
    start = x[known] if known.size else x.mean(axis=0, keepdims=True)
    gap = np.full(len(x), np.inf, np.float32)
    for block in range(0, len(start), 256):
        gap = np.minimum(gap, squared_distances(x, start[block : block + 256]).min(axis=1))
    gap = np.where(pool.askable, gap, -1.0).astype(np.float32)
    picks: list[Pick] = []
    for _ in range(min(n, len(pool.candidates))):
        row = int(gap.argmax())
        reason = "unlike any seed labelled so far"
        picks.append(Pick(row, float(np.sqrt(max(gap[row], 0.0))), "novelty", reason))
        gap = np.minimum(gap, squared_distances(x, x[[row]])[:, 0])
        gap[[p.row for p in picks]] = -1.0
    return picks


def at_random(pool: Pool, n: int, rng: np.random.Generator) -> list[Pick]:
    """Seeds drawn blindly, each with chance n / N of the N that may be asked."""
    rows = pool.candidates
    n = min(n, len(rows))
    chosen = rng.choice(rows, n, replace=False) if n else rows[:0]
    p = n / max(len(rows), 1)
    reason = "random check: keeps the accuracy estimate honest"
    return [Pick(int(r), 0.0, "random", reason, p) for r in chosen]


def default(pool: Pool, n: int, rng: np.random.Generator) -> list[Pick]:
    """TypiClust for the first batch; then margin, with shares of odd, novel and random seeds.

    Where two methods scored oddness, half of the odd share goes to seeds that they disagree about.

    The random share is drawn first, from all candidates, so that its `inclusion_p` is honest: the
    expected number drawn over N. A fraction of a seed is rounded up or down by chance.
    """
    if pool.probabilities is None:
        return typiclust(pool, n, rng)
    n = min(n, len(pool.candidates))
    p = RANDOM_SHARE * n / max(len(pool.candidates), 1)
    blind = [replace(k, inclusion_p=p) for k in at_random(pool, _rounded(RANDOM_SHARE * n, rng), rng)]
    picks = list(blind)
    for strategy, share in ((anomaly, ODD_SHARE), (novelty, NOVEL_SHARE)):
        wanted = min(_rounded(share * n, rng), n - len(picks))
        left = _without(pool, picks)
        if strategy is anomaly and (n_apart := min(wanted // 2, left.n_ranked_twice)):
            picks += disagreement(left, n_apart, rng)
            wanted -= n_apart
        picks += strategy(_without(pool, picks), wanted, rng)
    return margin(_without(pool, picks), n - len(picks), rng) + picks[len(blind) :] + blind


def _rounded(wanted: float, rng: np.random.Generator) -> int:
    """`wanted` rounded up or down by chance, so that its mean is kept."""
    return int(wanted + 1e-9) + int(rng.random() < (wanted + 1e-9) % 1 - 1e-9)


def _without(pool: Pool, picks: list[Pick]) -> Pool:
    return pool.without([p.row for p in picks])


STRATEGIES: dict[str, Strategy] = {
    "default": default,
    "typiclust": typiclust,
    "margin": margin,
    "anomaly": anomaly,
    "disagreement": disagreement,
    "novelty": novelty,
    "random": at_random,
}


def suggest(
    pool: Pool, n: int, strategy: str = "default", random_state: int = 0, nearest_first: bool = False
) -> list[Suggestion]:
    """Up to `n` suggestions, the most telling first.

    Parameters
    ----------
    pool : Pool
        What may be asked and what is known.
    n : int
        Batch size.
    strategy : str
        A key of ``STRATEGIES``.
    random_state : int
        Together with the number of answers it fixes every draw and the UUIDs.
    nearest_first : bool
        Order the batch so that each seed resembles the one before, for the eye.

    Returns
    -------
    list of Suggestion
        Empty when nothing is left to ask. `inclusion_p` is 1.0 for chosen seeds and n / N for
        those drawn at random; only the latter may enter an accuracy estimate.

    Examples
    --------
    >>> one = np.ones(3, bool)
    >>> pool = Pool(np.arange(3), np.eye(3), one, ~one)
    >>> len(suggest(pool, 2, "random"))
    2
    """
    if strategy not in STRATEGIES:
        raise InputError(f"strategy {strategy!r}", "is unknown", "Use one of " + ", ".join(STRATEGIES))
    known = int(pool.answered.sum())
    rng = np.random.default_rng([random_state & 0xFFFFFFFF, known, len(pool.candidates)])
    picks = STRATEGIES[strategy](pool, n, rng)
    if nearest_first:
        picks = nearest_chain(pool, picks)
    space = uuid.UUID(bytes=rng.bytes(16), version=4)
    return [
        Suggestion(
            str(uuid.uuid5(space, f"{p.strategy} {pool.seeds[p.row]}")),
            int(pool.seeds[p.row]),
            p.score,
            p.strategy,
            p.reason,
            p.inclusion_p,
            pool.model_id,
        )
        for p in picks
    ]


def nearest_chain(pool: Pool, picks: list[Pick]) -> list[Pick]:
    """The picks in a greedy chain from the first, each followed by the most similar one left."""
    left = list(picks)
    chain: list[Pick] = []
    while left:
        if chain:
            here = pool.vectors[chain[-1].row]
            gaps = [float(np.square(pool.vectors[p.row] - here).sum()) for p in left]
            chain.append(left.pop(int(np.argmin(gaps))))
        else:
            chain.append(left.pop(0))
    return chain
