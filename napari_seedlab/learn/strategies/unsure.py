"""Strategies that ask where the present model is unsure. Without a model they ask for typical seeds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_seedlab.core import SURE
from napari_seedlab.learn.head import fit_head
from napari_seedlab.learn.strategies.diverse import typiclust
from napari_seedlab.learn.strategies.pool import Pick, Pool, Rows, first_of, group_space, groups_of

Floats = npt.NDArray[np.floating]

MARGIN_POOL = 5  # candidates per asked seed that margin_kmeans spreads over
N_HEADS = 5  # of the committee
CERTAIN = 0.995  # probability from which a seed is not called doubtful: 100 % in words


def _certainty(p: Floats) -> tuple[Floats, Floats]:
    """Largest and second largest probability of each row; the latter 0 where there is one class."""
    if p.shape[1] < 2:
        return p[:, 0], np.zeros(len(p))
    top = np.partition(p, p.shape[1] - 2, axis=1)
    return top[:, -1], top[:, -2]


def entropy_of(p: Floats) -> Floats:
    """Shannon entropy of each row in nats."""
    out = np.zeros(p.shape[:-1])
    for column in np.moveaxis(p, -1, 0):
        out -= column * np.log(np.maximum(column, 1e-12))
    return out


def _between(pool: Pool, row: int, lead: str = "") -> str:
    """The two most probable classes in words, after the `lead`; of a sure seed that it is sure."""
    assert pool.probabilities is not None
    p = pool.probabilities[row]
    first, *rest = np.argsort(-p, kind="stable")
    if p[first] >= CERTAIN:
        return f"{SURE}: {pool.name(first)} ({100 * p[first]:.0f} %)"
    words = f"{lead}could be {pool.name(first)} ({100 * p[first]:.0f} %)"
    return f"{words} or {pool.name(rest[0])} ({100 * p[rest[0]]:.0f} %)" if rest else words


def least_confidence(pool: Pool, n: int, rng: np.random.Generator) -> list[Pick]:
    """Seeds whose most probable class is least probable: 1 − p1 (Lewis & Gale 1994)."""
    if pool.probabilities is None:
        return typiclust(pool, n, rng)
    rows = pool.candidates
    score = 1.0 - pool.probabilities[rows].max(axis=1, initial=0.0)
    return [
        Pick(int(rows[i]), float(score[i]), "least_confidence", _between(pool, rows[i], "least sure: "))
        for i in first_of(rows, score, n)
    ]


def margin(pool: Pool, n: int, rng: np.random.Generator) -> list[Pick]:
    """Seeds between two classes: least p1 − p2 first (Scheffer, Decomain & Wrobel 2001)."""
    if pool.probabilities is None:
        return typiclust(pool, n, rng)
    rows = pool.candidates
    first, second = _certainty(pool.probabilities[rows])
    score = 1.0 - (first - second)
    return [
        Pick(int(rows[i]), float(score[i]), "margin", _between(pool, rows[i]))
        for i in first_of(rows, score, n)
    ]


def entropy(pool: Pool, n: int, rng: np.random.Generator) -> list[Pick]:
    """Seeds whose classes are most evenly probable: −Σ p ln p (Shannon 1948; Settles 2009, §3.1)."""
    if pool.probabilities is None:
        return typiclust(pool, n, rng)
    rows = pool.candidates
    score = entropy_of(pool.probabilities)[rows]
    most = np.log(max(2, pool.probabilities.shape[1]))
    return [
        Pick(
            int(rows[i]),
            float(score[i]),
            "entropy",
            _between(pool, rows[i], f"unsure over all classes ({100 * score[i] / most:.0f} % of the most): "),
        )
        for i in first_of(rows, score, n)
    ]


def committee(pool: Pool, rng: np.random.Generator, n_heads: int = N_HEADS) -> npt.NDArray[np.float32]:
    """Probabilities (n_heads, n, C) by heads fitted on bootstrap draws of the answers, class by class."""
    assert pool.said is not None
    known, n_classes = pool.known, pool.n_classes
    said = pool.said[known]
    d = pool.vectors.shape[1]
    scaler = np.zeros(d), np.ones(d)
    out = np.empty((n_heads, len(pool.vectors), n_classes), np.float32)
    for k in range(n_heads):
        drawn = np.concatenate(
            [
                rng.choice(members, len(members))
                for c in np.unique(said)
                if len(members := np.flatnonzero(said == c))
            ]
        )
        head = fit_head(pool.vectors[known[drawn]], said[drawn], range(n_classes), scaler)
        out[k] = head.probabilities(pool.vectors, is_scaled=True)
    return out


def bald(pool: Pool, n: int, rng: np.random.Generator) -> list[Pick]:
    """Seeds about which models fitted on resampled answers disagree: H(mean p) − mean H(p).

    Houlsby et al. 2011, "Bayesian Active Learning for Classification and Preference Learning", with five
    bootstrap heads on the frozen embedding for the posterior (Lakshminarayanan et al. 2017).
    """
    if pool.probabilities is None or pool.said is None or not len(pool.known):
        return typiclust(pool, n, rng)
    rows = pool.candidates
    p = committee(pool, rng)[:, rows]
    score = entropy_of(p.mean(axis=0)) - entropy_of(p).mean(axis=0)
    picks = []
    for i in first_of(rows, score, n):
        votes = np.bincount(p[:, i].argmax(axis=1), minlength=p.shape[2])
        said = " or ".join(f"{pool.name(c)} ({votes[c]} of {len(p)})" for c in np.argsort(-votes) if votes[c])
        picks.append(Pick(int(rows[i]), float(score[i]), "bald", f"models of resampled answers say {said}"))
    return picks


def badge(pool: Pool, n: int, rng: np.random.Generator) -> list[Pick]:
    """Seeds that would change the model most, and each differently: k-means++ over loss gradients.

    Ash et al. 2020, "Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds". The gradient
    of the last layer is (p − onehot) ⊗ x; distances follow from its two factors, so that the n × (C·d)
    table is never formed.
    """
    if pool.probabilities is None:
        return typiclust(pool, n, rng)
    rows = pool.candidates
    n = min(n, len(rows))
    if 2 * len(rows) > len(pool.vectors):  # no copy of nearly all vectors
        rows = np.arange(len(pool.vectors))
    x = np.asarray(pool.vectors if len(rows) == len(pool.vectors) else pool.vectors[rows], np.float32)
    a = pool.probabilities[rows].astype(np.float32)
    a[np.arange(len(a)), a.argmax(axis=1)] -= 1.0
    length = np.einsum("ij,ij->i", a, a) * np.einsum("ij,ij->i", x, x)
    picks: list[Pick] = []
    gap = length.copy()  # to the nearest pick; to the zero gradient of a sure seed before the first
    taken = ~pool.askable[rows]
    for k in range(n):
        chance = np.where(taken, 0.0, gap).astype(np.float64)
        total = chance.sum()
        if k == 0 or total <= 0:
            i = int(np.where(taken, -1.0, gap).argmax())
        else:
            i = int(min(np.searchsorted(np.cumsum(chance), rng.random() * total, "right"), len(rows) - 1))
            i = i if not taken[i] else int(np.where(taken, -1.0, gap).argmax())
        taken[i] = True
        reason = _between(pool, int(rows[i]), "would teach the model most that is new: ")
        picks.append(Pick(int(rows[i]), float(np.sqrt(length[i])), "badge", reason))
        new = length + length[i] - 2.0 * (a @ a[i]) * (x @ x[i])
        np.minimum(gap, np.maximum(new, 0.0), out=gap)
    return picks


def margin_kmeans(pool: Pool, n: int, rng: np.random.Generator) -> list[Pick]:
    """Seeds between two classes, spread out: k-means over the least-margin ones, one per group.

    Margin p1 − p2 (Scheffer et al. 2001) with the k-means step of Zhdanov 2019, "Diverse mini-batch
    Active Learning".
    """
    if pool.probabilities is None:
        return typiclust(pool, n, rng)
    rows = pool.candidates
    n = min(n, len(rows))
    if n == 0:
        return []
    first, second = _certainty(pool.probabilities[rows])
    near = first_of(rows, second - first, MARGIN_POOL * n)
    rows, unsure = rows[near], 1.0 - (first - second)[near]
    group = groups_of(group_space(pool.vectors)[rows], n, rng, np.maximum(unsure, 1e-3))
    best = one_per_group(group, unsure, n)
    return [Pick(int(rows[i]), float(unsure[i]), "margin_kmeans", _between(pool, int(rows[i]))) for i in best]


def one_per_group(group: Rows, score: Floats, n: int) -> list[int]:
    """Positions of the best of each group, the best groups first, filled up by score."""
    order = np.argsort(-score, kind="stable")
    _, first = np.unique(group[order], return_index=True)
    best = [int(i) for i in order[np.sort(first)]]
    return (best + [int(i) for i in order if i not in set(best)])[:n]
