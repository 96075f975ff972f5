import functools

import numpy as np
import pytest

from napari_seedlab.core import JobRequest, SeedlabError
from napari_seedlab.files import load_arrays, save_arrays, write_json
from napari_seedlab.imaging.features import describe_seed, grey_levels, sample_levels
from napari_seedlab.learn.round import Answers, RoundSettings, labelling_round
from napari_seedlab.learn.simulate import (
    Curves,
    Plan,
    Replay,
    Truth,
    compare,
    held_rows,
    replay,
    run,
)

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


def digits_curves(imbalanced, states, strategy="default"):
    """Curves of a strategy and of random asking; each state has a pool and fresh digits of its own."""
    curves = Curves()
    for state in states:
        for name in (strategy, "random"):
            curves.add(name, replay(*digits(state, imbalanced), Plan(name, 150), state))
    return curves


def needed(curves, name="default"):
    """Answers to random's balanced accuracy at the full budget; 999 for never.

    For `random` it is what a way of asking would need that is no better than chance.
    """
    return curves.needed("balanced_accuracy", name) or 999


def last(curves, name):
    return curves.table("balanced_accuracy", name).mean(0)[-1]


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
    wanted = [(c, (pool.class_id == c).sum()) for c in (2, 3)]
    return [float(np.mean([(pool.class_id[a] == c).sum() / n for a in asked])) for c, n in wanted]


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


def curves_of(**named):
    curves = Curves()
    for name, rows in named.items():
        for row in rows:
            budgets = 10 * np.arange(1, len(row) + 1)
            curves.add(name, Replay(budgets, np.asarray(row), np.asarray(row), np.zeros(0, np.int64)))
    return curves


def test_needed_is_the_first_budget_that_reaches_random():
    clever = [[0.5, 0.8, 0.9], [0.5, 0.7, 0.9]]
    assert curves_of(default=clever, random=[[0.3, 0.5, 0.75]]).needed("accuracy", "default") == 20
    assert curves_of(default=clever, random=[[0.3, 0.5, 0.95]]).needed("accuracy", "default") is None


def test_values_are_means_over_repeats():
    told = curves_of(default=[[0.5, 0.8], [0.7, 1.0]], random=[[0.1, 0.6]]).values("accuracy")
    assert told["budget"] == [10, 20]
    assert told["accuracy"] == {"default": [0.6, 0.9], "random": [0.1, 0.6]}
    assert told["labels_to_random"] == {"default": 10, "random": 20}


def test_a_test_share_is_stratified_and_its_own_for_each_repeat():
    class_id = np.repeat([1, 2, 3], [60, 20, 2])
    held = held_rows(class_id, 0)
    assert np.bincount(class_id[held]).tolist() == [0, 18, 6, 1]
    assert held.tolist() == held_rows(class_id, 0).tolist() != held_rows(class_id, 1).tolist()
    assert len(held_rows(np.asarray([1, 1, 2]), 0)) == 1  # a class of one seed stays in the pool


def met_at_first(strategy):
    """Mean share of the digits that occur in the first batch of ten."""
    shares = []
    for state in range(16):
        pool, _ = digits(state, False)
        seeds = np.arange(len(pool.class_id))
        settings = RoundSettings(tuple(range(10)), n=10, strategy=strategy, random_state=state)
        asked = labelling_round(seeds, pool.vectors, Answers.none(), settings).suggestions
        shares.append(len({int(pool.class_id[s.seed]) for s in asked}) / 10)
    return np.mean(shares)


def test_first_batch_of_ten_meets_most_digits():
    assert met_at_first("random") < 0.8 <= met_at_first("default")


def test_digits_need_fewer_answers_than_random_quick():
    curves = digits_curves(True, range(2))
    assert needed(curves) <= 90 < needed(curves, "random")
    assert last(curves, "default") >= last(curves, "random") + 0.03


@pytest.mark.slow
@pytest.mark.parametrize(("imbalanced", "most"), [(True, 60), (False, 100)], ids=["rare", "even"])
def test_digits_need_fewer_answers_than_random(imbalanced, most):
    curves = digits_curves(imbalanced, range(8))
    assert needed(curves) <= most < needed(curves, "random")


@pytest.mark.slow
def test_phantom_seeds_need_at_most_half_the_answers():
    pool, fresh = phantom(400, 1), phantom(2000, 2)
    curves = compare(pool, fresh, ["default"], Plan(budget=120), range(8))
    assert 0.9 <= last(curves, "random") <= 0.95
    assert needed(curves) <= 60 < needed(curves, "random")
    abnormal, dead = found_early(pool, "default", range(8))
    assert abnormal >= 0.6 and dead >= 0.8
    blind = found_early(pool, "random", range(8))
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
    write_job(
        tmp_path, pool.vectors, pool.class_id, strategies=["badge", "label_errors"], budget=40, n_repeats=2
    )
    values = drain(run(tmp_path)).values
    assert values["budget"] == [10, 20, 30, 40]
    for measure in ("accuracy", "balanced_accuracy"):
        assert set(values[measure]) == {"badge", "random"}
        assert all(len(curve) == 4 for curve in values[measure].values())
    assert values["labels_to_random"]["random"] in (10, 20, 30, 40)
    assert values["judged_by"] == "accuracy"
    assert list(values["refused"]) == ["label_errors"]


def test_job_goes_on_where_it_was_stopped(tmp_path):
    pool, _ = digits(0, True)
    write_job(tmp_path, pool.vectors, pool.class_id, strategies=["random"], budget=20, n_repeats=2)
    job = run(tmp_path)
    while not (tmp_path / "replay-random-0.npz").exists():
        next(job)
    job.close()
    kept = load_arrays(tmp_path / "replay-random-0.npz")
    save_arrays(tmp_path / "replay-random-0.npz", **{**kept, "accuracy": np.zeros(2)})
    values = drain(run(tmp_path)).values
    half = [v / 2 for v in load_arrays(tmp_path / "replay-random-1.npz")["accuracy"]]
    assert values["accuracy"]["random"] == pytest.approx(half, abs=1e-5)


def test_fresh_seeds_judge_by_balanced_accuracy_and_nothing_is_set_aside(tmp_path):
    pool, fresh = digits(0, True)
    write_job(tmp_path, pool.vectors[:60], pool.class_id[:60], strategies=["default"], n_repeats=1)
    save_arrays(tmp_path / "fresh.npz", vector=fresh.vectors, class_id=fresh.class_id)
    values = drain(run(tmp_path)).values
    assert values["budget"][-1] == 60 and values["n_judges"] == len(fresh.class_id)
    assert values["judged_by"] == "balanced_accuracy"


def test_scores_of_oddness_reach_the_replay(tmp_path):
    pool, _ = digits(0, True)
    write_job(tmp_path, pool.vectors, pool.class_id, strategies=["anomaly"], budget=10, n_repeats=1)
    score = np.arange(len(pool.class_id), dtype=float)
    save_arrays(tmp_path / "anomaly.npz", seed=np.arange(len(score)) + 50, score=score)
    drain(run(tmp_path))
    asked = load_arrays(tmp_path / "replay-anomaly-0.npz")["asked"]
    held = held_rows(pool.class_id, 0)
    rows = np.setdiff1d(np.arange(len(score)), held)
    assert sorted(rows[asked]) == rows[-10:].tolist()


def test_disagreement_is_refused_where_too_few_seeds_were_scored_twice(tmp_path):
    """Its seeds would be used up in the middle, and the other strategies' curves with it."""
    pool, _ = digits(0, True)
    write_job(
        tmp_path, pool.vectors, pool.class_id, strategies=["disagreement", "anomaly"], budget=30, n_repeats=1
    )
    rank = np.full((len(pool.class_id), 2), np.nan)
    rank[:20] = np.random.default_rng(0).random((20, 2))
    save_arrays(tmp_path / "ranks.npz", seed=np.arange(len(rank)) + 50, rank=rank)
    values = drain(run(tmp_path)).values
    assert (
        list(values["refused"]) == ["disagreement"] and "of the 30 seeds" in values["refused"]["disagreement"]
    )
    assert set(values["accuracy"]) == {"anomaly", "random"} and values["budget"] == [10, 20, 30]


@pytest.mark.parametrize(
    ("class_id", "cause"), [(np.ones(5, int), "names 5 seeds"), (np.ones(50, int), "all are of one")]
)
def test_job_wants_a_truth_table(tmp_path, class_id, cause):
    write_job(tmp_path, np.ones((len(class_id), 2)), class_id)
    with pytest.raises(SeedlabError, match=cause):
        drain(run(tmp_path))
