import numpy as np
import pytest

from napari_seedlab.learn.person import Costs, Plan, rounds, work_through

IDS = (1, 2, 3)


def seeds(n=120, random_state=0):
    rng = np.random.default_rng(random_state)
    truth = rng.choice(IDS, n, p=(0.7, 0.2, 0.1))
    return rng.normal(0, 1, (n, 8)) + 5 * np.eye(8)[truth], truth


def test_every_look_key_and_drag_is_counted():
    x, truth = seeds()
    costs = Costs(look_s=1, key_s=0.3, drag_s=2, n_per_look=12)
    day = work_through(x, truth, IDS, Plan(n_groups=6, n_peeked=6, n_calm=10), costs, 0)
    assert day.seconds == pytest.approx(day.n_looks + 0.3 * day.n_keys + 2 * day.n_drags)
    assert day.n_drags > 0 and day.n_in_bulk > 0 and day.n_looks < day.n_looked
    assert day.accuracy > 0.95
    one = work_through(x, truth, IDS, Plan(n_groups=6, n_peeked=6, n_calm=10), Costs(), 0)
    assert one.n_looks == one.n_looked


def test_she_ends_when_her_time_is_spent():
    x, truth = seeds()
    day = work_through(x, truth, IDS, Plan(n_calm=0, budget_s=40), Costs(), 0)
    assert 25 < day.seconds <= 40 and day.n_answered == 30


def test_she_ends_earlier_once_the_model_is_right():
    x, truth = seeds()
    day = work_through(x, truth, IDS, Plan(n_calm=20), Costs(), 0)
    assert day.n_answered < 80 and day.accuracy > 0.97
    noise = np.random.default_rng(1).normal(0, 1, x.shape)
    lost = work_through(noise, truth, IDS, Plan(n_calm=20), Costs(), 0)
    assert lost.n_answered > day.n_answered


def test_what_is_asked_is_answered_once_until_nothing_is_left():
    x, truth = seeds(45)
    known = [answers for answers, _ in rounds(x, truth, IDS, 0)]
    assert [len(a.seed) for a in known] == [0, 10, 20, 30, 40, 45]
    assert sorted(known[-1].seed.tolist()) == list(range(45))
    assert (known[-1].class_id == truth[known[-1].seed]).all()


@pytest.mark.slow
@pytest.mark.parametrize("state", range(3))
def test_500_seeds_take_at_most_a_fifth_of_one_by_one(state):
    from benchmarks.person import days_of
    from benchmarks.trays import tray_of

    told = days_of(tray_of(500, 6000 + state, outlines="split"), state)
    facts = told["suggestions for a fifth of the time, a second a thumbnail"]
    assert facts["accuracy"] >= 0.95
    assert facts["recall"]["2"] >= 0.9 and facts["recall"]["3"] >= 0.9
    assert facts["share_of_one_by_one"] <= 0.2
    assert told["groups, then suggestions, a second a page"]["reached"]
