import functools

import numpy as np
import pytest

from napari_seedlab.learn.head import fit_head, pool_scaler, scaled
from napari_seedlab.learn.round import Answers, RoundSettings, labelling_round
from napari_seedlab.learn.spreading import MAX_TEACHERS, LookAlikes, look_alikes, spread


@functools.cache
def digits():
    from sklearn.datasets import load_digits

    return load_digits(return_X_y=True)


def three_per_class(state):
    rng = np.random.default_rng(state)
    _, y = digits()
    return np.concatenate([rng.choice(np.flatnonzero(y == c), 3, replace=False) for c in range(10)])


def accuracy(state, semi_supervised):
    """Share of the other digits that a round with three labels of each gets right."""
    x, y = digits()
    rows = three_per_class(state)
    answers = Answers(rows, y[rows].astype(np.int32), np.ones(30))
    settings = RoundSettings(tuple(range(10)), n=0, semi_supervised=semi_supervised)
    p = labelling_round(np.arange(len(y)), x, answers, settings).probabilities
    return float((p.argmax(1) == y)[np.setdiff1d(np.arange(len(y)), rows)].mean())


def test_spread_labels_beat_the_head_on_few_labels():
    """Three labels of each digit: at least 0.85 with spreading, at most 0.80 without."""
    assert np.mean([accuracy(s, True) for s in range(4)]) >= 0.85
    assert np.mean([accuracy(s, False) for s in range(4)]) <= 0.80


def test_it_is_off_unless_asked_for():
    assert not RoundSettings((1,)).semi_supervised


def test_only_sure_seeds_without_a_label_teach():
    x, y = digits()
    z, rows = scaled(x, *pool_scaler(x)), three_per_class(0)
    alike, columns = look_alikes(z, rows, y[rows], 10)
    assert not set(alike) & set(rows) and len(alike) > 500
    assert (columns == y[alike]).mean() > 0.9
    p = spread(z, rows, y[rows], 10)
    assert p[alike].max(1).min() >= 0.95
    np.testing.assert_allclose(p.sum(1), 1.0)


@pytest.mark.parametrize("columns", [[], [1], [1, 1]], ids=["none", "one", "one class"])
def test_too_little_to_spread_is_no_trouble(columns):
    rows = np.arange(len(columns))
    p = spread(np.random.default_rng(0).normal(size=(9, 4)), rows, np.asarray(columns, np.int64), 3)
    assert p.shape == (9, 3) and np.isfinite(p).all()


def test_a_group_that_no_label_reaches_stays_open():
    x = np.concatenate([np.zeros((20, 2)), np.full((20, 2), 50.0), np.full((20, 2), -50.0)])
    x += np.random.default_rng(0).normal(size=x.shape)
    p = spread(x, np.asarray([0, 20]), np.asarray([0, 1]), 2)
    assert (p[:20].argmax(1) == 0).all() and (p[20:40].argmax(1) == 1).all()
    np.testing.assert_allclose(p[40:], 0.5)
    assert fit_head(x[[0, 20]], np.asarray([0, 1]), (0, 1)).probabilities(x)[40:].max() > 0.5


def test_models_that_differ_in_one_answer_have_nearly_the_same_teachers():
    """Of 20 answers left out in turn, at most a tenth of the look-alikes that teach are others."""
    x, y = digits()
    rows = np.random.default_rng(0).choice(len(y), 200, replace=False)
    alike = LookAlikes(scaled(x, *pool_scaler(x)), rows)
    every, _ = alike.found(np.ones(200, bool), y[rows], 10)
    assert (
        len(every) == MAX_TEACHERS and np.abs(np.sort(every) - np.linspace(0, len(y), len(every))).max() < 90
    )
    for out in range(20):
        use = np.arange(200) != out
        found, _ = alike.found(use, y[rows][use], 10)
        assert len(np.setdiff1d(found, every)) <= MAX_TEACHERS // 10
