import functools

import numpy as np
import pytest

from napari_seedlab.core import InputError, JobRequest
from napari_seedlab.files import save_arrays, write_json
from napari_seedlab.imaging.features import describe_seed, grey_levels, sample_levels
from napari_seedlab.learn.round import Answers, RoundSettings, labelling_round
from napari_seedlab.learn.simulate import Comparison, Plan, Truth, compare, replay, run, share_found

RARE = (1, 4, 8)  # digits that occur twelve times in the imbalanced pool


@functools.cache
def digits(random_state, imbalanced):
    """Pool of 1,200 handwritten digits (or fewer where imbalanced) and 597 fresh ones."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(random_state).permutation(len(y))
    pool, fresh = order[:1200], order[1200:]
    if imbalanced:
        keep = np.ones(len(pool), bool)
        for c in RARE:
            keep[np.flatnonzero(y[pool] == c)[12:]] = False
        pool = pool[keep]
    return Truth(x[pool], y[pool]), Truth(x[fresh], y[fresh])


def digits_curves(imbalanced, states):
    runs = {"default": [], "random": []}
    for state in states:
        for strategy, curves in runs.items():
            curves.append(replay(*digits(state, imbalanced), Plan(strategy, 150), state).accuracy)
    return Comparison(np.arange(10, 151, 10), np.stack(runs["default"]), np.stack(runs["random"]))


@functools.cache
def phantom(n, random_state):
    """Descriptors of `n` phantom seeds, 10 % abnormal and 5 % dead, with their classes."""
    from napari_seedlab.imaging.phantom import make_seed_pool

    pool = make_seed_pool(n, random_state)
    samples = zip(pool.images[:100], pool.masks[:100], strict=True)
    levels = grey_levels(sample_levels(image, mask.astype(np.uint8), 1) for image, mask in samples)
    scale = (pool.dials.voxel_size_um,) * 3
    rows = [describe_seed(i, m, levels, scale) for i, m in zip(pool.images, pool.masks, strict=True)]
    return Truth(np.asarray(rows), pool.class_id)


def found_early(pool, strategy, states):
    """Mean share of the abnormal and of the dead seeds among the first fifth shown."""
    fifth = len(pool.class_id) // 5
    asked = [replay(pool, pool, Plan(strategy, fifth), s).asked for s in states]
    return [float(np.mean([share_found(a, pool.class_id, c) for a in asked])) for c in (2, 3)]


def test_replay_asks_each_seed_once_and_judges_after_each_batch():
    pool, fresh = digits(0, False)
    result = replay(pool, fresh, Plan("default", 45, batch=10), 0)
    assert result.budgets.tolist() == [10, 20, 30, 40, 45]
    assert len(set(result.asked.tolist())) == 45
    assert result.accuracy[-1] > result.accuracy[0]


def test_replay_is_deterministic():
    pool, fresh = digits(0, True)
    first, second = (replay(pool, fresh, Plan("default", 40), 3) for _ in range(2))
    np.testing.assert_array_equal(first.asked, second.asked)
    np.testing.assert_array_equal(first.accuracy, second.accuracy)


def test_a_small_pool_ends_when_all_is_asked():
    pool, fresh = digits(0, False)
    small = Truth(pool.vectors[:23], pool.class_id[:23])
    assert sorted(replay(small, fresh, Plan("default", 120), 0).asked.tolist()) == list(range(23))


def test_needed_is_the_first_budget_that_reaches_random():
    budgets = np.asarray([10, 20, 30])
    clever = np.asarray([[0.5, 0.8, 0.9], [0.5, 0.7, 0.9]])
    assert Comparison(budgets, clever, np.asarray([[0.3, 0.5, 0.75]])).needed(30) == 20
    assert Comparison(budgets, clever, np.asarray([[0.3, 0.5, 0.95]])).needed(30) is None


def test_share_found_counts_one_class():
    assert share_found(np.asarray([0, 3]), np.asarray([2, 2, 1, 2]), 2) == pytest.approx(2 / 3)


def test_first_batch_of_ten_meets_most_digits():
    shares = []
    for state in range(16):
        pool, _ = digits(state, False)
        seeds = np.arange(len(pool.class_id))
        settings = RoundSettings(tuple(range(10)), n=10, random_state=state)
        asked = labelling_round(seeds, pool.vectors, Answers.none(), settings).suggestions
        shares.append(len({int(pool.class_id[s.seed]) for s in asked}) / 10)
    assert np.mean(shares) >= 0.8


def test_digits_need_fewer_answers_than_random_quick():
    both = digits_curves(True, range(2))
    assert (both.needed(150) or 999) <= 90
    assert both.strategy.mean(0)[-1] >= both.random.mean(0)[-1] + 0.03


@pytest.mark.slow
@pytest.mark.parametrize(("imbalanced", "most"), [(True, 60), (False, 100)], ids=["rare", "even"])
def test_digits_need_fewer_answers_than_random(imbalanced, most):
    assert (digits_curves(imbalanced, range(8)).needed(150) or 999) <= most


def test_phantom_seeds_need_at_most_half_the_answers_quick():
    pool, fresh = phantom(400, 1), phantom(400, 2)
    both = compare(pool, fresh, Plan("default", 120), range(4))
    assert (both.needed(120) or 999) <= 60
    assert both.strategy.mean(0)[5] >= 0.9


@pytest.mark.slow
def test_phantom_seeds_need_at_most_half_the_answers():
    pool, fresh = phantom(400, 1), phantom(2000, 2)
    both = compare(pool, fresh, Plan("default", 120), range(16))
    assert 0.9 <= both.random.mean(0)[-1] <= 0.95
    assert (both.needed(120) or 999) <= 60
    abnormal, dead = found_early(pool, "default", range(16))
    assert abnormal >= 0.6 and dead >= 0.8
    blind = found_early(pool, "random", range(16))
    assert max(blind) < 0.35


def write_job(folder, vectors, class_id, **params):
    seeds = np.arange(len(class_id), dtype=np.int64) + 50
    save_arrays(folder / "embedding.npz", seed=seeds, vector=vectors)
    save_arrays(folder / "truth.npz", seed=seeds, class_id=class_id)
    write_json(folder / "request.json", JobRequest("s", "simulate:run", params).to_json())


def drain(job):
    while True:
        try:
            next(job)
        except StopIteration as end:
            return end.value


def test_job_reports_the_curves(tmp_path):
    pool, _ = digits(0, True)
    write_job(tmp_path, pool.vectors, pool.class_id, budget=40, n_states=2)
    values = drain(run(tmp_path)).values
    assert values["budgets"] == [10, 20, 30, 40]
    assert len(values["strategy"]) == len(values["random"]) == 4
    assert values["needed"] in (10, 20, 30, 40)
    assert set(values["found_in_first_fifth"]) == {str(c) for c in range(10)}


def test_job_wants_a_truth_table(tmp_path):
    write_job(tmp_path, np.ones((5, 2)), np.ones(5, int))
    with pytest.raises(InputError, match="names 5 seeds"):
        drain(run(tmp_path))
