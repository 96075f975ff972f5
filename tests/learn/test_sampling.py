import numpy as np
import pytest

from napari_seedlab.learn.calibration import wilson_interval
from napari_seedlab.learn.sampling import Judged, accuracy, confusion, draws_of, recall

SHARES = (0.85, 0.1, 0.05)


def pool(rng, n=600):
    """Predicted and true class of `n` seeds, and how sure a model is that errs where it is unsure."""
    truth = rng.choice(3, n, p=SHARES)
    unsure = rng.random(n) < np.where(truth == 0, 0.1, 0.5)
    wrong = rng.random(n) < np.where(unsure, 0.45, 0.03)
    predicted = np.where(wrong, (truth + rng.integers(1, 3, n)) % 3, truth)
    return predicted, truth, np.where(unsure, rng.random(n), 1 + rng.random(n))


def asked(rng, predicted, sure, n_batches=12, n_check=30):
    """Rows in the order in which they are asked, their chance, batch, and whether chance drew them.

    Nine of each batch are the least sure ones, one is drawn blindly; then a check by predicted class.
    """
    left, rows, p, batch = np.ones(len(sure), bool), [], [], []
    for b in range(n_batches):
        free = np.flatnonzero(left)
        blind = rng.choice(free, 1)
        hard = [r for r in free[np.argsort(sure[free])] if r not in blind][:9]
        rows += [*hard, *blind]
        p += [1.0] * 9 + [1 / len(free)]
        batch += [b] * 10
        left[rows] = False
    for c in np.unique(predicted[left]):
        members = np.flatnonzero(left & (predicted == c))
        n = min(len(members), n_check // 3)
        rows += rng.choice(members, n, replace=False).tolist()
        p += [n / len(members)] * n
        batch += [n_batches] * n
    p, batch = np.asarray(p), np.asarray(batch)
    return np.asarray(rows), p, batch, (p < 1) | (batch == n_batches)


def judged(state):
    rng = np.random.default_rng(state)
    predicted, truth, sure = pool(rng)
    rows, p, batch, by_chance = asked(rng, predicted, sure)
    draws = draws_of(np.arange(len(rows)), p, batch, len(truth), by_chance)
    return Judged(predicted, rows, truth[rows], predicted[rows], draws), truth


def covered(estimate, value):
    return estimate.low - 1e-9 <= value <= estimate.high + 1e-9


def test_intervals_cover_the_truth_of_the_pool_and_the_share_of_right_answers_does_not():
    hits, finds, by_answers, error = [], [[], [], []], [], []
    for state in range(200):
        seen, truth = judged(state)
        right = seen.predicted == truth
        told = accuracy(seen)
        hits.append(covered(told, right.mean()))
        error.append(told.value - right.mean())
        for c, one in enumerate(finds):
            one.append(covered(recall(seen, c), right[truth == c].mean()))
        low, high = wilson_interval(float((seen.own == seen.said).mean()), len(seen.said))
        by_answers.append(low <= right.mean() <= high)
    assert np.mean(hits) >= 0.93
    assert min(np.mean(one) for one in finds) >= 0.93
    assert np.mean(by_answers) <= 0.2  # hard seeds are too many among the answers
    assert abs(np.mean(error)) <= 0.01


def test_draws_stand_for_what_was_left_when_they_were_made():
    sequence, batch = np.arange(6), np.asarray([0, 0, 0, 1, 1, 1])
    p = np.asarray([1, 1, 0.01, 1, 1, 1 / 97])
    draws = draws_of(sequence, p, batch, 100)
    assert draws.drawn.tolist() == [False, False, True, False, False, True]
    assert draws.weight[2] == pytest.approx(100 / 2)  # nothing was known then
    assert draws.weight[5] == pytest.approx(97 / 2)
    np.testing.assert_allclose(draws.known, [0.5, 0.5, 0.5, 0, 0, 0])
    assert draws.weight.sum() + draws.known.sum() == pytest.approx(100)


def test_a_pool_that_is_answered_whole_is_known():
    predicted, truth = np.asarray([0, 0, 1, 1]), np.asarray([0, 1, 1, 1])
    sequence, p = np.arange(4), np.asarray([1, 1, 1, 1.0])
    batch, by_chance = np.asarray([0, 0, 0, 1]), np.asarray([False, False, False, True])
    draws = draws_of(sequence, p, batch, 4, by_chance)
    told = accuracy(Judged(predicted, np.arange(4), truth, predicted, draws))
    assert told.value == pytest.approx(0.75)


def test_the_confusion_of_the_pool_sums_to_its_seeds():
    seen, truth = judged(0)
    table = confusion(seen, 3, weighted=True)
    assert table.sum() == pytest.approx(len(truth))
    assert confusion(seen, 3, weighted=False).sum() == len(seen.said)


def test_without_a_draw_nothing_is_claimed():
    none = draws_of(np.arange(3), np.ones(3), np.zeros(3, int), 50)
    told = accuracy(Judged(np.zeros(50, int), np.arange(3), np.zeros(3, int), np.zeros(3, int), none))
    assert told.n == 0
    assert told.low < 0.1
    assert told.high > 0.9
