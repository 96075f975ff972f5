"""Which seeds to ask about next: the table of strategies, the usual mix, and what is said of each seed.

A strategy (:mod:`napari_seedlab.learn.strategies`) gets a :class:`Pool` and returns rows of seeds without
duplicates, the same for the same `random_state`: seeds that may be asked, but for ``label_errors``, which
asks about labelled ones again. :func:`suggest` adds evidence to it and orders the batch: for the eye, or by
score where the wish promises that.
"""

from __future__ import annotations

import uuid
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from napari_seedlab.core import Evidence, InputError, Suggestion
from napari_seedlab.learn.strategies.chance import at_random, check
from napari_seedlab.learn.strategies.diverse import k_center, typiclust
from napari_seedlab.learn.strategies.doubtful import anomaly, disagreement, label_errors, neighbours
from napari_seedlab.learn.strategies.pool import Pick, Pool, Strategy, nearest_known
from napari_seedlab.learn.strategies.unsure import (
    badge,
    bald,
    entropy,
    least_confidence,
    margin,
    margin_kmeans,
)

__all__ = ["OLD_NAMES", "STRATEGIES", "Pick", "Pool", "default", "suggest", "today"]

ODD_SHARE = 0.2  # of each batch, from the top of the anomaly scores
LONELY_SHARE = 0.1  # of each batch, where only the embedding tells what is odd
NOVEL_SHARE = 0.3  # of each batch, the least like anything answered, while answers are few
NOVEL_ANSWERS = 12  # that share is this over the answers, once it is less: explore first, then refine
RANDOM_SHARE = 0.1  # of each batch, drawn blindly: the unbiased accuracy estimate
N_EVIDENCE = 2  # labelled seeds shown beside an asked one
IN_ORDER = {"margin_kmeans", "k_center", "anomaly", "disagreement"}  # promised: most … first


def default(pool: Pool, n: int, rng: np.random.Generator) -> list[Pick]:
    """TypiClust for the first batch; then margin_kmeans, with shares of odd, unlike and random seeds.

    The odd share goes to seeds that the model takes for the commonest class all the same: it knows what to
    say of the others. Where two methods scored oddness, half of it goes to seeds that they disagree about.

    The random share is drawn first, from all candidates, so that its `inclusion_p` is honest: the
    expected number drawn over N. A fraction of a seed is rounded up or down by chance.
    """
    if pool.probabilities is None:
        return typiclust(pool, n, rng)
    n = min(n, len(pool.candidates))
    p = RANDOM_SHARE * n / max(len(pool.candidates), 1)
    blind = [replace(k, inclusion_p=p) for k in at_random(pool, _rounded(RANDOM_SHARE * n, rng), rng)]
    odd = _odd(_without(pool, blind), n, n - len(blind), rng)
    unlike = _unlike(pool, blind + odd, n, rng)
    taken = blind + odd + unlike
    return margin_kmeans(_without(pool, taken), n - len(taken), rng) + odd + unlike + blind


def _odd(pool: Pool, n: int, n_left: int, rng: np.random.Generator) -> list[Pick]:
    """The odd share of a batch of n."""
    scored = pool.n_ranked_twice or (pool.anomaly is not None and np.isfinite(pool.anomaly).any())
    wanted = min(_rounded((ODD_SHARE if scored else LONELY_SHARE) * n, rng), n_left)
    pool = _taken_for_usual(pool)
    n_apart = min(wanted // 2, pool.n_ranked_twice)
    apart = disagreement(pool, n_apart, rng) if n_apart else []
    odd = apart + anomaly(_without(pool, apart), wanted - n_apart, rng)
    assert pool.probabilities is not None
    told = [pool.name(int(column)) for column in pool.probabilities[[k.row for k in odd]].argmax(axis=1)]
    return [replace(k, reason=f"predicted {name}, yet {k.reason}") for k, name in zip(odd, told, strict=True)]


def _taken_for_usual(pool: Pool) -> Pool:
    """Only candidates that are predicted as most candidates are."""
    assert pool.probabilities is not None
    rows = pool.candidates
    predicted = pool.probabilities[rows].argmax(axis=1)
    return pool.without(rows[predicted != np.bincount(predicted, minlength=1).argmax()])


def _unlike(pool: Pool, taken: list[Pick], n: int, rng: np.random.Generator) -> list[Pick]:
    """The share of a batch of n that is least like what was answered, or `taken` into the batch already."""
    share = min(NOVEL_SHARE, NOVEL_ANSWERS / max(int(pool.answered.sum()), 1))
    left = _without(pool, taken)
    covered = pool.answered | ~left.askable & pool.askable
    return k_center(replace(left, answered=covered), min(_rounded(share * n, rng), n - len(taken)), rng)


def _rounded(wanted: float, rng: np.random.Generator) -> int:
    """`wanted` rounded up or down by chance, so that its mean is kept."""
    return int(wanted + 1e-9) + int(rng.random() < (wanted + 1e-9) % 1 - 1e-9)


def _without(pool: Pool, picks: list[Pick]) -> Pool:
    return pool.without([p.row for p in picks])


STRATEGIES: dict[str, Strategy] = {
    "default": default,
    "random": at_random,
    "least_confidence": least_confidence,
    "margin": margin,
    "entropy": entropy,
    "bald": bald,
    "k_center": k_center,
    "badge": badge,
    "typiclust": typiclust,
    "margin_kmeans": margin_kmeans,
    "anomaly": anomaly,
    "disagreement": disagreement,
    "neighbours": neighbours,
    "label_errors": label_errors,
    "check": check,
}
OLD_NAMES = {"novelty": "k_center"}  # of earlier versions


def today(strategy: str) -> str:
    """Present name of a strategy.

    Raises
    ------
    InputError
        There is none.
    """
    name = OLD_NAMES.get(strategy, strategy)
    if name not in STRATEGIES:
        raise InputError(f"strategy {strategy!r}", "is unknown", "Use one of " + ", ".join(STRATEGIES))
    return name


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
        A key of ``STRATEGIES``, or one of ``OLD_NAMES``.
    random_state : int
        Together with the number of answers it fixes every draw and the UUIDs.
    nearest_first : bool
        Order the batch so that the eye travels least, see :func:`for_the_eye`; by score where the strategy
        is one of ``IN_ORDER``.

    Returns
    -------
    list of Suggestion
        Empty when nothing is left to ask. `inclusion_p` is 1.0 for chosen seeds and below for those
        drawn by chance; only the latter may enter an accuracy estimate.

    Examples
    --------
    >>> one = np.ones(3, bool)
    >>> pool = Pool(np.arange(3), np.eye(3), one, ~one)
    >>> len(suggest(pool, 2, "random"))
    2
    """
    known = int(pool.answered.sum())
    rng = np.random.default_rng([random_state & 0xFFFFFFFF, known, len(pool.candidates)])
    picks = STRATEGIES[today(strategy)](pool, n, rng)
    if nearest_first:
        is_promised = {p.strategy for p in picks} <= {today(strategy)} & IN_ORDER
        picks = sorted(picks, key=lambda p: -p.score) if is_promised else for_the_eye(pool, picks)
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
            evidence,
        )
        for p, evidence in zip(picks, evidence_of(pool, picks), strict=True)
    ]


def evidence_of(pool: Pool, picks: list[Pick]) -> list[tuple[Evidence, ...]]:
    """The labelled seeds most like each pick, nearest first; none where their classes are not told."""
    said = pool.said
    if said is None or not pool.class_ids:
        return [()] * len(picks)
    near, far = nearest_known(pool, np.asarray([p.row for p in picks], np.int64), N_EVIDENCE)
    return [
        tuple(
            Evidence(int(pool.seeds[r]), pool.class_ids[said[r]], float(d))
            for r, d in zip(rows, distances, strict=True)
        )
        for rows, distances in zip(near, far, strict=True)
    ]


def for_the_eye(pool: Pool, picks: list[Pick]) -> list[Pick]:
    """The picks in a greedy chain from the first: by place in the scan, where known, else by resemblance.

    With places, all seeds of one scan come before those of the next.
    """
    if len(picks) < 2:
        return list(picks)
    rows = np.asarray([p.row for p in picks], np.int64)
    places = None if pool.places is None else pool.places[rows]
    if places is None or not np.isfinite(places).all():
        return [picks[i] for i in _chain(pool.vectors[rows])]
    first = {scan: at for at, scan in reversed(list(enumerate(places[:, 0])))}
    order: list[int] = []
    for scan in sorted(first, key=lambda s: first[s]):
        here = np.flatnonzero(places[:, 0] == scan)
        order += [int(here[i]) for i in _chain(places[here, 1:])]
    return [picks[i] for i in order]


def _chain(points: npt.NDArray[np.floating]) -> list[int]:
    """Rows from the first on, each followed by the nearest one left."""
    left = list(range(1, len(points)))
    chain = [0]
    while left:
        gaps = np.square(points[left] - points[chain[-1]]).sum(axis=1)
        chain.append(left.pop(int(gaps.argmin())))
    return chain
