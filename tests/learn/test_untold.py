"""Figures of a pool in which people cannot tell the hard seeds."""

import numpy as np
import pytest

from napari_seedlab.learn.sampling import Draws, Judged, Untold, accuracy, draws_of, recall
from tests.learn.test_sampling import asked, covered

N = 600


def hard_pool(state):
    """Predicted and true class, how sure the model is, and who cannot be told: nearly all of them hard."""
    rng = np.random.default_rng(state)
    truth = rng.choice(3, N, p=(0.7, 0.2, 0.1))
    hard = rng.random(N) < np.where(truth == 0, 0.15, 0.4)
    wrong = rng.random(N) < np.where(hard, 0.5, 0.04)
    predicted = np.where(wrong, (truth + rng.integers(1, 3, N)) % 3, truth)
    sure = np.where(hard, rng.random(N), 0.5 + rng.random(N))
    return rng, predicted, truth, sure, hard & (rng.random(N) < 0.9)


def judged(state, knows_of_untold=True):
    rng, predicted, truth, sure, untold = hard_pool(state)
    rows, p, batch, by_chance = asked(rng, predicted, sure, 10, 60)
    order, said = np.arange(len(rows)), ~untold[rows]
    both = np.concatenate([np.flatnonzero(said), np.flatnonzero(~said)])
    if not knows_of_untold:
        both = both[: said.sum()]
    draws = draws_of(order[both], p[both], batch[both], N, by_chance[both])
    answered, lost = draws.split(int(said.sum()))
    row = rows[both]
    labelled, others = row[: said.sum()], row[said.sum() :]
    none = Untold(others, lost) if knows_of_untold else None
    return Judged(predicted, labelled, truth[labelled], predicted[labelled], answered, none), truth, untold


def test_intervals_cover_the_seeds_that_can_be_told_and_not_those_that_cannot():
    told_of, of_all, as_before, counts, finds = [], [], [], [], []
    for state in range(60):
        seen, truth, untold = judged(state)
        right = seen.predicted == truth
        told = accuracy(seen)
        told_of.append(covered(told, right[~untold].mean()))
        finds.append(covered(recall(seen, 1), right[(truth == 1) & ~untold].mean()))
        of_all.append(covered(told, right.mean()))
        as_before.append(covered(accuracy(judged(state, False)[0]), right.mean()))
        counts.append((seen.n_untold, untold.sum()))
    assert np.mean(told_of) >= 0.93 and np.mean(finds) >= 0.93
    assert np.mean(of_all) <= 0.45  # so it has to be said whom they speak of
    assert np.mean(as_before) <= 0.45  # what was said of all seeds while the others were not counted
    estimate, true = np.mean(counts, axis=0)
    assert estimate == pytest.approx(true, rel=0.06)


def test_without_such_seeds_nothing_changes():
    seen, _, _ = judged(0, False)
    nobody = Untold(np.zeros(0, np.int64), Draws(np.zeros(0, bool), np.zeros(0), np.zeros(0)))
    same = Judged(seen.predicted, seen.row, seen.said, seen.shown, seen.draws, nobody)
    assert accuracy(seen) == accuracy(same) and recall(seen, 1) == recall(same, 1)
    assert same.n_untold == 0


def test_a_class_of_which_half_cannot_be_told_counts_half():
    """Predicted 0: 100 seeds, all told and right. Predicted 1: 100, half told, half of these right."""
    predicted = np.repeat([0, 1], 100)
    rows = np.concatenate([np.arange(20), 100 + np.arange(20)])
    draws = draws_of(np.arange(40), np.full(40, 0.2), np.zeros(40, int), 200)
    answered, lost = draws.split(30)
    said = np.concatenate([np.zeros(20, int), np.repeat([1, 0], 5)])
    seen = Judged(predicted, rows[:30], said, predicted[rows[:30]], answered, Untold(rows[30:], lost))
    assert accuracy(seen).value == pytest.approx((100 + 25) / 150)
    assert recall(seen, 0).value == pytest.approx(100 / 125)
    assert seen.n_untold == pytest.approx(50)
