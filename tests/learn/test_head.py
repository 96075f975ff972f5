import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from napari_seedlab.core import InputError
from napari_seedlab.learn.calibration import (
    agreement,
    balanced_accuracy,
    calibration_error,
    fit_temperature,
    may_stop,
    softmax,
    wilson_interval,
)
from napari_seedlab.learn.head import (
    BLOCK,
    STRENGTH,
    Head,
    class_weights,
    fit_calibrated,
    fit_head,
    fold_of,
    load_head,
    pool_scaler,
    save_head,
    scaled,
)

IDS = (1, 2, 3, 4)


def blobs(n=200, d=20, classes=IDS, spread=1.0, random_state=0):
    rng = np.random.default_rng(random_state)
    centres = np.random.default_rng(9).normal(0, 1, (len(classes), d))
    column = np.arange(n) % len(classes)
    return centres[column] + rng.normal(0, spread, (n, d)), np.asarray(classes)[column]


def test_agrees_with_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    x, y = blobs(spread=2.0)
    y[:60] = 1  # imbalanced
    head = fit_head(x, y, IDS)
    z = scaled(x, *pool_scaler(x))
    weights = class_weights(np.searchsorted(IDS, y), 4)
    peer = LogisticRegression(C=STRENGTH, tol=1e-8, max_iter=2000).fit(z, y, weights)
    np.testing.assert_allclose(head.probabilities(x), peer.predict_proba(z), atol=0.02)


def test_class_weights_are_capped():
    columns = np.r_[np.zeros(99, int), 1]
    assert class_weights(columns, 2).max() == 10.0
    assert class_weights(np.r_[0, 0, 0, 1], 3).tolist() == pytest.approx([2 / 3] * 3 + [2.0])


def test_nothing_named_gives_even_chances():
    head = fit_head(np.zeros((0, 5)), np.zeros(0, int), IDS, (np.zeros(5), np.ones(5)))
    np.testing.assert_allclose(head.probabilities(np.ones((2, 5))), 0.25)


def test_one_answer_leans_but_is_not_certain():
    head = fit_head(np.ones((1, 5)), np.asarray([2]), IDS, (np.zeros(5), np.ones(5)))
    p = head.probabilities(np.ones((3, 5)))
    np.testing.assert_allclose(p.sum(1), 1.0, rtol=1e-6)
    assert 0.4 < p[0, 1] < 0.7 and p[0].argmax() == 1


def test_two_answers_of_two_classes_tell_them_apart():
    x = np.asarray([[0.0, 0], [2, 2]])
    p = fit_head(x, np.asarray([1, 3]), IDS, (np.ones(2), np.ones(2))).probabilities(x)
    assert p.argmax(1).tolist() == [0, 2]
    assert (p[:, [1, 3]] > 0).all() and p.max() < 0.9


def test_a_class_outside_the_scheme_is_refused():
    with pytest.raises(InputError, match="class 7"):
        fit_head(np.ones((1, 2)), np.asarray([7]), IDS)


def test_a_wrong_embedding_is_refused():
    head = fit_head(*blobs(), IDS)
    with pytest.raises(InputError, match="20 columns"):
        head.probabilities(np.ones((2, 19)))


def test_saved_head_predicts_the_same(tmp_path):
    x, y = blobs()
    head, _ = fit_calibrated(x, y, np.ones(len(y)), IDS, pool_scaler(x), 0)
    save_head(head, tmp_path / "head.safetensors")
    again = load_head(tmp_path / "head.safetensors")
    assert isinstance(again, Head) and again.temperature == head.temperature
    np.testing.assert_array_equal(again.probabilities(x), head.probabilities(x))


def test_a_foreign_file_is_no_head(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    with pytest.raises(InputError, match="no saved head"):
        load_head(tmp_path / "x.safetensors")
    (tmp_path / "y.safetensors").write_bytes(b"rubbish")
    with pytest.raises(InputError, match="no saved head"):
        load_head(tmp_path / "y.safetensors")


def test_folds_hold_even_shares_of_each_class():
    folds = fold_of(np.repeat([0, 1], [50, 10]), 0)
    assert all(np.bincount(folds[50:], minlength=5) == 2)
    assert all(np.bincount(folds, minlength=5) == 12)


def test_temperature_mends_an_overconfident_model():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (2000, 3))
    truth = np.asarray([rng.choice(3, p=p) for p in softmax(logits)])
    loud = 3.0 * logits
    t = fit_temperature(loud[:1000], truth[:1000])
    before, after = softmax(loud[1000:]), softmax(loud[1000:] / t)
    assert t == pytest.approx(3.0, rel=0.15)
    assert calibration_error(after, truth[1000:]) <= 0.6 * calibration_error(before, truth[1000:])
    assert (before.argmax(1) == after.argmax(1)).all()


def test_temperature_comes_from_the_random_answers_once_there_are_thirty():
    x, y = blobs(spread=3.0)
    few, many = np.ones(len(y)), np.ones(len(y))
    few[:29], many[:30] = 0.1, 0.1
    reports = [fit_calibrated(x, y, p, IDS, pool_scaler(x), 0)[1] for p in (few, many)]
    assert [r.temperature_from for r in reports] == ["cross-validation", "random answers"]


def test_shuffled_answers_score_like_guessing():
    x, y = blobs()
    y = np.random.default_rng(1).permutation(y)
    _, report = fit_calibrated(x, y, np.ones(len(y)), IDS, pool_scaler(x), 0)
    assert report.chance == 0.25
    assert abs(report.balanced_accuracy - 0.25) < 0.12
    x, y = blobs(spread=0.5)
    assert fit_calibrated(x, y, np.ones(len(y)), IDS, pool_scaler(x), 0)[1].balanced_accuracy > 0.95


def test_wilson_interval_as_published():
    low, high = wilson_interval(0.9, 10)
    assert (round(low, 3), round(high, 3)) == (0.596, 0.982)
    assert wilson_interval(0.0, 0) == (0.0, 1.0)


def test_agreement_and_stop():
    first = np.asarray([0, 0, 1, 1, 2, 2])
    assert agreement(first, first) == 1.0
    assert agreement(first, np.asarray([0, 1, 0, 1, 0, 1])) < 0.2
    assert not may_stop([1.0, 1.0])
    assert may_stop([0.2, 0.99, 0.98, 1.0]) and not may_stop([0.99, 0.9, 0.9])


def test_balanced_accuracy_is_the_mean_recall():
    assert balanced_accuracy(np.asarray([1, 1, 1, 2]), np.asarray([1, 1, 1, 1])) == 0.5


def test_fit_and_predict_five_thousand_in_fifty_milliseconds():
    x, y = blobs(n=200, d=110, spread=2.0)
    pool = blobs(n=5000, d=110)[0]
    scaler = pool_scaler(pool)
    best = np.inf
    for _ in range(8):
        start = time.process_time()
        fit_head(x, y, IDS, scaler).probabilities(pool)
        best = min(best, time.process_time() - start)
    assert best <= 0.05


def test_every_block_weighs_the_same_whatever_its_width():
    rng = np.random.default_rng(0)
    narrow, wide = rng.normal(5, 2, (200, 4)), rng.normal(-3, 7, (200, 64))
    wide[:, 32:] = 1.0  # columns that do not vary count for nothing
    x = np.hstack([narrow, wide])
    z = scaled(x, *pool_scaler(x, (4, 64)))
    np.testing.assert_allclose(z[:, :4], scaled(narrow, *pool_scaler(narrow)))
    assert np.square(z[:, 4:]).sum() == pytest.approx(np.square(z[:, :4]).sum(), rel=0.01)
    np.testing.assert_array_equal(pool_scaler(x, (68,))[1], pool_scaler(x)[1])


@pytest.mark.parametrize("is_scaled", [False, True])
def test_rows_are_predicted_block_by_block_and_without_a_second_copy(is_scaled):
    n, d = 3 * BLOCK + 17, 64
    x = np.random.default_rng(1).normal(size=(n, d)).astype(np.float32)
    scaler = np.full(d, 0.0 if is_scaled else 0.3), np.full(d, 1.0 if is_scaled else 1.7)
    head = replace(fit_head(x[:60], np.arange(60) % 3 + 1, IDS, scaler), temperature=2.0)
    wide = x.astype(np.float64)
    z = (wide if is_scaled else scaled(wide, *scaler)) @ head.weight + head.bias
    seen = head.n_behind > 0
    share = 0.5 / (60 + 0.5 * 4)  # one of the four classes was never named
    wanted = np.full((n, 4), share)
    wanted[:, seen] = (1 - share) * softmax(z[:, seen] / 2.0)
    np.testing.assert_allclose(head.logits(x, is_scaled)[:, seen], z[:, seen], atol=1e-4)
    tracemalloc.start()
    got = head.probabilities(x, is_scaled)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_allclose(got, wanted, atol=1e-6)
    assert got.dtype == np.float32 and peak < x.nbytes
