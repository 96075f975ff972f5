"""Strategies that ask about odd seeds, and where two witnesses contradict each other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_seedlab.core import NotReady
from napari_seedlab.learn.calibration import softmax
from napari_seedlab.learn.head import out_of_fold_logits
from napari_seedlab.learn.strategies.diverse import typiclust
from napari_seedlab.learn.strategies.pool import (
    Pick,
    Pool,
    first_of,
    group_space,
    nearest_known,
    neighbour_distance,
)

N_NEAREST = 5  # labelled seeds that are witnesses


def anomaly(pool: Pool, n: int, rng: np.random.Generator) -> list[Pick]:
    """The oddest seeds: by the given scores, else by distance to the neighbours in the embedding."""
    scores, source = odd_scores(pool)
    rows = pool.candidates
    rank = np.argsort(np.argsort(-scores, kind="stable"), kind="stable")
    percent = np.maximum(1, np.ceil(100 * (rank + 1) / len(scores))).astype(int)
    chosen = rows[first_of(rows, scores[rows], n)]
    return [
        Pick(int(r), float(scores[r]), "anomaly", f"among the {percent[r]} % oddest {source}") for r in chosen
    ]


def odd_scores(pool: Pool) -> tuple[npt.NDArray[np.floating], str]:
    """Oddness (n,) of all seeds, finite, and where it comes from; the least one where unknown."""
    scores = pool.anomaly
    if scores is None or not np.isfinite(scores).any():
        return neighbour_distance(group_space(pool.vectors)), "by how few seeds look like it"
    known = np.isfinite(scores)
    return np.where(known, scores, scores[known].min()), "by anomaly score"


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
    return [_disagreement_pick(pool, int(rows[i]), float(spread[i])) for i in first_of(rows, spread, n)]


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


def neighbours(pool: Pool, n: int, rng: np.random.Generator) -> list[Pick]:
    """Seeds whose prediction the most similar labelled seeds contradict.

    The idea of Margatina et al. 2021, "Active Learning by Acquiring Contrastive Examples": neighbours
    in the embedding with unlike predictions lie at the border. Score: p of the predicted class times the
    share of the nearest labelled seeds that are of another class, by 1 / distance.
    """
    if pool.probabilities is None or pool.said is None or not len(pool.known):
        return typiclust(pool, n, rng)
    rows = pool.candidates
    near, far = nearest_known(pool, rows, N_NEAREST)
    p = pool.probabilities[rows]
    predicted = p.argmax(axis=1)
    other = pool.said[near] != predicted[:, None]
    weight = 1.0 / np.maximum(far, 1e-6)
    score = p.max(axis=1) * (weight * other).sum(axis=1) / weight.sum(axis=1)
    picks = []
    for i in first_of(rows, score, n):
        votes = np.bincount(pool.said[near[i]], minlength=pool.n_classes)
        votes[predicted[i]] = 0
        words = f"predicted {pool.name(predicted[i])} ({100 * p[i].max():.0f} %)"
        if votes.any():
            best = int(votes.argmax())
            witnesses = f"{votes[best]} of the {near.shape[1]} labelled seeds most like it"
            words += f", but {witnesses} are {pool.name(best)}"
        else:
            words += ", as the labelled seeds most like it"
        picks.append(Pick(int(rows[i]), float(score[i]), "neighbours", words))
    return picks


def label_errors(pool: Pool, n: int, rng: np.random.Generator) -> list[Pick]:
    """Labelled seeds whose label a model that did not see it contradicts most: asked a second time.

    Northcutt, Jiang & Chuang 2021, "Confident Learning", with out-of-fold predictions: p of the predicted
    class minus p of the label. The only strategy that asks about labelled seeds; those that are not
    contradicted, or were asked again already, are left in peace, so that fewer than `n` may come. The
    chance with which the first answer was drawn stays with the seed.
    """
    known = pool.known
    if pool.said is None or len(known) < 2 or len(np.unique(pool.said[known])) < 2:
        return []
    said, d = pool.said[known], pool.vectors.shape[1]
    scaler = np.zeros(d), np.ones(d)
    state = int(rng.integers(2**31))
    p = softmax(out_of_fold_logits(pool.vectors[known], said, range(pool.n_classes), scaler, state))
    own, predicted = p[np.arange(len(p)), said], p.argmax(axis=1)
    score = p.max(axis=1) - own
    again = predicted != said
    if pool.confirmed is not None:
        again &= ~pool.confirmed[known]
    score = np.where(again, score, -1.0)
    picks = []
    for i in first_of(known, score, min(n, int(again.sum()))):
        reason = (
            f"labelled {pool.name(said[i])}, but the other answers say {pool.name(predicted[i])} "
            f"({100 * p[i].max():.0f} %)"
        )
        drawn = 1.0 if pool.inclusion_p is None else float(pool.inclusion_p[known[i]])
        drawn = drawn if 0 < drawn <= 1 else 1.0
        picks.append(Pick(int(known[i]), float(score[i]), "label_errors", reason, drawn))
    return picks
