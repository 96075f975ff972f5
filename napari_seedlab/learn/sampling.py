"""What random answers say about all seeds: accuracy, recall and confusion with intervals.

Most answers are about seeds that a strategy chose because they are hard, so their share of right
predictions says nothing about the rest. Some are about seeds drawn by chance. Each draw `b` came from the
seeds `U_b` that nobody had answered by then; the others, `L_b`, are known. So one draw estimates the whole
pool as ``known part of L_b + |U_b| · share among its seeds``, without bias however the pool had shrunk, and
the draws are averaged, each counted by its number of seeds. This is the estimator "PURE" of Farquhar, Gal
& Rainforth 2021, "On Statistical Bias in Active Learning", eq. 4, for draws without replacement that are
uniform or stratified.

What is estimated is how many seeds the present model gets right without being told the answer. For labelled
seeds this lies between two known figures: by a model that did not see the answer (a little too few, since
it also lacks what the answer tells about similar seeds) and by the present one (too many). The value takes
the former; the interval reaches from its lower end with the former to its upper end with the latter.

Some seeds that are asked about get no class: the person is unsure, or passes them over. They are the hard
ones, and no answer can ever say whether the model is right about them. So the figures speak of the seeds that
can be told alone: in each part of the pool the share of such among its draws says how many of the others are
(they are a domain whose members are known once they were asked; Cochran 1977, "Sampling Techniques", 2.13).
How many are left out is told beside the figures, as :attr:`Judged.n_untold`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_seedlab.learn.calibration import Estimate

if TYPE_CHECKING:
    from collections.abc import Iterator

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]
Bools = npt.NDArray[np.bool_]

N_SAMPLES = 4000  # from the distribution behind an interval
COVERED = (2.5, 97.5)  # percentiles of an interval of 95 %
LEAST_DRAWN = 3  # seeds of a predicted class that stand for it alone
PSEUDO = 0.5  # hits and misses that Jeffreys' interval adds


@dataclass(frozen=True)
class Draws:
    """How the labelled seeds came to be answered.

    Attributes
    ----------
    drawn : (m,) bool
        Whether chance decided that the seed is asked about.
    weight : (m,) float64
        How many seeds of the pool it stands for; 0 where it was not drawn.
    known : (m,) float64
        Share of the draws at whose time its answer was there already.
    """

    drawn: Bools
    weight: npt.NDArray[np.float64]
    known: npt.NDArray[np.float64]

    @property
    def n(self) -> int:
        """Number of answers about seeds drawn by chance."""
        return int(self.drawn.sum())

    def split(self, m: int) -> tuple[Draws, Draws]:
        """The first `m`, and the others."""
        first = Draws(self.drawn[:m], self.weight[:m], self.known[:m])
        return first, Draws(self.drawn[m:], self.weight[m:], self.known[m:])


def draws_of(
    sequence: Ints, inclusion_p: Floats, batch: Ints, n_seeds: int, by_chance: Bools | None = None
) -> Draws:
    """Weights of answers from the order in which they came and the chance with which they were drawn.

    Parameters
    ----------
    sequence : (m,) int
        Order of the first answer about each labelled seed.
    inclusion_p : (m,) float
        Chance with which it was drawn; 0, 1 or NaN where chance had no part.
    batch : (m,) int
        Number of the batch in which it was suggested; −1 where that is not known.
    n_seeds : int
        Seeds of the whole pool.
    by_chance : (m,) bool, optional
        Which ones chance drew; those with ``0 < inclusion_p < 1`` where left out.
    """
    p = np.nan_to_num(np.asarray(inclusion_p, np.float64))
    drawn = (p > 0) & ((p < 1) if by_chance is None else np.asarray(by_chance, bool))
    own = np.where(batch < 0, batch.max(initial=-1) + 1 + np.arange(len(p)), batch)  # unknown: one each
    weight, known = np.zeros(len(p)), np.zeros(len(p))
    for b in np.unique(own[drawn]):
        members = drawn & (own == b)
        before = sequence < sequence[own == b].min()
        share = members.sum() / drawn.sum()
        known[before] += share
        each = 1.0 / p[members]
        weight[members] = share * max(n_seeds - before.sum(), 0) * each / each.sum()
    return Draws(drawn, weight, known)


@dataclass(frozen=True)
class Untold:
    """Seeds that were asked about and got no class.

    Attributes
    ----------
    row : (k,) int64
        Row of each in the pool.
    draws : Draws
        How they came to be asked.
    """

    row: npt.NDArray[np.int64]
    draws: Draws


@dataclass(frozen=True)
class Judged:
    """Predictions of all seeds, beside the answers.

    Attributes
    ----------
    predicted : (n,) int64
        Column of the predicted class of every seed of the pool; of a labelled seed by a model that did
        not see its answer.
    row : (m,) int64
        Row of each labelled seed among them.
    said : (m,) int64
        Column of the class that people gave.
    shown : (m,) int64
        Column that the present model, which saw the answers, predicts for the labelled seeds.
    draws : Draws
    untold : Untold, optional
        Seeds that a person could not tell, and that the figures do not speak of.
    """

    predicted: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]
    said: npt.NDArray[np.int64]
    shown: npt.NDArray[np.int64]
    draws: Draws
    untold: Untold | None = None

    @property
    def own(self) -> npt.NDArray[np.int64]:
        """Predicted column of each labelled seed."""
        return np.asarray(self.predicted[self.row])

    @property
    def n_untold(self) -> float:
        """About how many seeds of the pool nobody could tell, by the draws."""
        return (
            0.0 if self.untold is None else float((self.untold.draws.weight + self.untold.draws.known).sum())
        )

    def left(self, part: Bools) -> float:
        """As :meth:`rest`, with those that cannot be told."""
        known = self.draws.known[part[self.row]].sum()
        if self.untold is not None:
            known += self.untold.draws.known[part[self.untold.row]].sum()
        return max(0.0, float(part.sum() - known))

    def told(self, part: Bools) -> tuple[float, float]:
        """Share of those that can be told, by the draws of the part or else by all, and Kish's number."""
        if self.untold is None or not self.untold.draws.drawn.any():
            return 1.0, np.inf
        answered = self.draws.weight * part[self.row]
        w = np.concatenate([answered, self.untold.draws.weight * part[self.untold.row]])
        if not w.any():
            return (1.0, np.inf) if part.all() else self.told(np.ones(len(part), bool))
        return float(answered.sum() / w.sum()), float(w.sum() ** 2 / (w * w).sum())

    def rest(self, part: Bools) -> float:
        """How many seeds of a part (n,) of the pool that can be told the draws stand for."""
        return self.left(part) * self.told(part)[0]

    def rests(self, part: Bools, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        """As :meth:`rest`, from the distribution behind it (N_SAMPLES,)."""
        share, n = self.told(part)
        if np.isinf(n):
            return np.full(N_SAMPLES, self.left(part))
        return self.left(part) * rng.beta(n * share + PSEUDO, n * (1 - share) + PSEUDO, N_SAMPLES)

    def known(self, labelled: Bools) -> float:
        """How many of the labelled seeds (m,) count as known."""
        return float((self.draws.known * labelled).sum())

    def share(self, part: Bools, hits: Bools) -> tuple[float, float]:
        """Weighted share of `hits` among the drawn seeds of a part (m,), and Kish's effective number."""
        w = self.draws.weight * part
        total = float(w.sum())
        if total <= 0:
            return 0.0, 0.0
        return float((w * hits).sum()) / total, total**2 / float((w * w).sum())


def accuracy(judged: Judged, within: Bools | None = None) -> Estimate:
    """Share of the seeds that the present model gets right without being told, with its 95 % interval.

    Stratified by predicted class: the draws of a class tell the share among its other seeds, with a beta
    distribution behind it (Jeffreys for hits; of the misses' pseudo-count each class gets its share).

    Parameters
    ----------
    judged : Judged
        Predictions and answers.
    within : (n,) bool, optional
        Only these seeds of the pool.
    """
    every = np.ones(len(judged.predicted), bool) if within is None else within
    here = every[judged.row]
    right = here & (judged.own == judged.said)
    value = judged.known(right)
    sure = max(value, judged.known(here & (judged.shown == judged.said)))
    rng, all_rest = np.random.default_rng(0), max(judged.rest(every), 1e-9)
    spread, totals, total = np.zeros(N_SAMPLES), np.full(N_SAMPLES, judged.known(here)), judged.known(here)
    for pool_part, part in _strata(judged, every):
        rest = judged.rest(pool_part)
        share, n = judged.share(part, right)
        value, total = value + rest * share, total + rest
        right_of_rest = rng.beta(
            n * share + PSEUDO, n * (1 - share) + PSEUDO * rest / all_rest + 1e-9, N_SAMPLES
        )
        rests = judged.rests(pool_part, rng)
        spread, totals = spread + rests * right_of_rest, totals + rests
    low = np.percentile(_of(judged.known(right) + spread, totals), COVERED[0])
    high = np.percentile(_of(sure + spread, totals), COVERED[1])
    return _estimate(value / max(total, 1.0), float(low), float(high), int((judged.draws.drawn & here).sum()))


def _of(right: Floats, totals: Floats) -> Floats:
    return right / np.maximum(totals, 1.0)


def _strata(judged: Judged, every: Bools) -> Iterator[tuple[Bools, Bools]]:
    """Parts of the pool (n,) and of the answers (m,) by predicted class; those with few draws as one."""
    own, here = judged.own, every[judged.row]
    classes = np.unique(judged.predicted[every]).tolist()
    n_of = {c: int((judged.draws.drawn & here & (own == c)).sum()) for c in classes}
    groups = [[c] for c in classes if n_of[c] >= LEAST_DRAWN]
    few = [c for c in classes if n_of[c] < LEAST_DRAWN]
    if few and (not groups or sum(n_of[c] for c in few) >= LEAST_DRAWN):
        groups.append(few)
    elif few:
        max(groups, key=lambda g: n_of[g[0]]).extend(few)
    for g in groups:
        yield every & np.isin(judged.predicted, g), here & np.isin(own, g)


def recall(judged: Judged, column: int) -> Estimate:
    """Share of the seeds of a class that the present model finds; see :func:`accuracy`.

    `n` counts the drawn seeds of that class.
    """
    own, is_class = judged.own, judged.said == column
    parts = ((judged.predicted == column, own == column), (judged.predicted != column, own != column))
    rng = np.random.default_rng(column)
    counts, spreads = [], []
    for pool_part, part in parts:
        share, n = judged.share(part, is_class)
        counts.append(judged.known(is_class & part) + judged.rest(pool_part) * share)
        of_class = rng.beta(n * share + PSEUDO, n * (1 - share) + PSEUDO, N_SAMPLES)
        spreads.append(judged.rests(pool_part, rng) * of_class)
    found, missed = judged.known(is_class & parts[0][1]), judged.known(is_class & parts[1][1])
    told = max(found, judged.known(is_class & (judged.shown == column)))
    low = np.percentile(_ratio(found + spreads[0], missed + spreads[1]), COVERED[0])
    high = np.percentile(_ratio(told + spreads[0], found + missed - told + spreads[1]), COVERED[1])
    value = float(_ratio(np.asarray(counts[0]), np.asarray(counts[1])))
    return _estimate(value, float(low), float(high), int((judged.draws.drawn & is_class).sum()))


def _ratio(found: Floats, missed: Floats) -> npt.NDArray[np.float64]:
    return np.asarray(found / np.maximum(found + missed, 1e-9), np.float64)


def _estimate(value: float, low: float, high: float, n: int) -> Estimate:
    return Estimate(value, max(0.0, min(low, value)), min(1.0, max(high, value)), n)


def confusion(judged: Judged, n_classes: int, weighted: bool) -> npt.NDArray[np.float64]:
    """Seeds by class that people gave (row) and predicted class (column).

    Parameters
    ----------
    judged : Judged
        Predictions and answers.
    n_classes : int
        Number of columns, C.
    weighted : bool
        Whether to estimate the whole pool from the draws, in place of counting the answers.

    Returns
    -------
    (C, C) float64
    """
    each = judged.draws.weight + judged.draws.known if weighted else np.ones(len(judged.said))
    table = np.zeros((n_classes, n_classes))
    np.add.at(table, (judged.said, judged.own), each)
    return table
