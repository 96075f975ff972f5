import time

import numpy as np
import pytest

from napari_seedlab.core import InputError, NotReady
from napari_seedlab.learn.queries import STRATEGIES, Pool, neighbour_distance, novelty, suggest

NAMES = ("normal", "abnormal", "dead")


def make_pool(n=120, d=8, answered=15, with_model=True, **changes):
    rng = np.random.default_rng(3)
    known = np.zeros(n, bool)
    known[rng.permutation(n)[:answered]] = True
    askable = ~known
    askable[rng.permutation(n)[:10]] = False  # skipped
    p = rng.dirichlet([1, 1, 1], n)
    facts = {
        "seeds": np.arange(n, dtype=np.int64) + 1000,
        "vectors": rng.normal(size=(n, d)),
        "askable": askable,
        "answered": known,
        "probabilities": p if with_model else None,
        "class_names": NAMES,
        "model_id": "head-3",
    }
    return Pool(**{**facts, **changes})


def two_opinions(n=120):
    """Ranks by two methods; the second one left some seeds out."""
    rng = np.random.default_rng(4)
    ranks = np.stack([(rng.permutation(n) + 1) / n, (rng.permutation(n) + 1) / n], 1)
    ranks[: n // 10, 1] = np.nan
    return {"ranks": ranks, "method_names": ("pasted defects", "the autoencoder")}


@pytest.fixture
def opinions(strategy):
    """What a strategy may be told beside the answers: the one that compares methods needs two."""
    return two_opinions if strategy in ("disagreement", "default") else lambda n=120: {}


@pytest.mark.parametrize("strategy", STRATEGIES)
class TestContract:
    """What each strategy owes."""

    @pytest.mark.parametrize("with_model", [True, False])
    @pytest.mark.parametrize("n", [0, 1, 7, 10, 40])
    def test_gives_that_many_askable_seeds_once(self, strategy, n, with_model, opinions):
        pool = make_pool(with_model=with_model, **opinions())
        seeds = [s.seed for s in suggest(pool, n, strategy)]
        assert len(seeds) == len(set(seeds)) == n
        assert set(seeds) <= set(pool.seeds[pool.askable].tolist())

    def test_is_deterministic(self, strategy, opinions):
        assert suggest(make_pool(**opinions()), 10, strategy, 5) == suggest(
            make_pool(**opinions()), 10, strategy, 5
        )

    def test_gives_what_is_left(self, strategy, opinions):
        pool = make_pool(**opinions())
        assert len(suggest(pool, 10_000, strategy)) == pool.askable.sum()
        nothing = make_pool(askable=np.zeros(120, bool), **opinions())
        assert suggest(nothing, 10, strategy) == []

    def test_says_why_and_with_what_chance(self, strategy, opinions):
        for s in suggest(make_pool(**opinions()), 20, strategy):
            assert s.reason and s.strategy in STRATEGIES and s.uuid and s.model_id == "head-3"
            assert (s.inclusion_p < 1.0) == (s.strategy == "random")
            assert 0.0 < s.inclusion_p <= 1.0

    def test_equal_seeds_are_no_trouble(self, strategy, opinions):
        assert len(suggest(make_pool(vectors=np.zeros((120, 8)), **opinions()), 10, strategy)) == 10

    def test_a_handful_of_seeds_is_enough(self, strategy, opinions):
        pool = Pool(np.arange(3), np.eye(3), np.ones(3, bool), np.zeros(3, bool), **opinions(3))
        assert len(suggest(pool, 2, strategy)) == 2


def test_unknown_strategy_is_refused():
    with pytest.raises(InputError, match="oracle"):
        suggest(make_pool(), 3, "oracle")


def test_random_share_states_its_chance():
    pool = make_pool()
    drawn = [s for s in suggest(pool, 20, "default") if s.strategy == "random"]
    assert len(drawn) == 2
    assert drawn[0].inclusion_p == pytest.approx(2 / pool.askable.sum())
    alone = suggest(pool, 20, "random")
    assert alone[0].inclusion_p == pytest.approx(20 / pool.askable.sum())


def test_inclusion_p_is_the_share_of_draws():
    pool = make_pool(n=40, answered=4)
    times = np.zeros(40)
    n_states = 600
    for state in range(n_states):
        for s in suggest(pool, 5, "default", state):
            times[s.seed - 1000] += s.strategy == "random"
    expected = 0.1 * 5 / pool.askable.sum()
    assert times[pool.askable].mean() / n_states == pytest.approx(expected, rel=0.15)
    assert not times[~pool.askable].any()


def test_batch_of_default_is_mixed():
    counts = {}
    for s in suggest(make_pool(), 20, "default"):
        counts[s.strategy] = counts.get(s.strategy, 0) + 1
    assert counts == {"margin": 10, "anomaly": 4, "novelty": 4, "random": 2}


def test_first_batch_takes_one_typical_seed_of_each_group():
    rng = np.random.default_rng(0)
    centres = 20 * np.eye(6)
    group = np.repeat(np.arange(6), 34)
    vectors = centres[group] + rng.normal(size=(len(group), 6))
    everything = np.ones(len(group), bool)
    pool = Pool(np.arange(len(group)), vectors, everything, ~everything)
    asked = suggest(pool, 6)
    assert sorted(group[s.seed] for s in asked) == list(range(6))
    assert asked[0].reason == "typical of a cluster of 34 seeds nobody has labelled yet"
    for s in asked:
        assert np.linalg.norm(vectors[s.seed] - centres[group[s.seed]]) < 2.0


def test_margin_asks_between_two_classes_and_says_which():
    p = np.tile([0.98, 0.01, 0.01], (120, 1))
    unsure = np.flatnonzero(make_pool().askable)[:5]
    p[unsure] = [0.48, 0.45, 0.07]
    asked = suggest(make_pool(probabilities=p), 1, "margin")
    assert asked[0].seed - 1000 in unsure
    assert asked[0].reason == "could be normal (48 %) or abnormal (45 %)"


def test_margin_spreads_over_the_groups():
    rng = np.random.default_rng(0)
    group = np.arange(120) % 4
    vectors = 30 * np.eye(8)[group] + rng.normal(size=(120, 8))
    p = np.tile([0.5, 0.5, 0.0], (120, 1))
    asked = suggest(make_pool(vectors=vectors, probabilities=p), 4, "margin")
    assert {int(group[s.seed - 1000]) for s in asked} == {0, 1, 2, 3}


def test_anomaly_takes_the_largest_scores():
    scores = np.linspace(0, 1, 120)
    pool = make_pool(anomaly=scores)
    asked = suggest(pool, 3, "anomaly")
    top = pool.seeds[pool.askable][np.argsort(-scores[pool.askable])[:3]]
    assert [s.seed for s in asked] == top.tolist()
    assert asked[0].reason.startswith("among the ") and asked[0].reason.endswith("oddest by anomaly score")


def test_disagreement_asks_where_the_methods_are_furthest_apart_and_says_who_is():
    ranks = np.full((120, 3), 0.5)
    pool = make_pool(ranks=ranks, method_names=("pasted defects", "the autoencoder", "feature distance"))
    here = np.flatnonzero(pool.askable)
    ranks[here[7]] = 0.4, 0.98, np.nan
    ranks[here[2]] = 0.6, 0.7, 0.9
    ranks[here[5]] = 1.0, np.nan, np.nan
    asked = suggest(pool, len(here), "disagreement")
    assert [s.seed - 1000 for s in asked[:2]] == [here[7], here[2]]
    assert asked[0].reason == "among the 3 % oddest by the autoencoder, only among the 61 % by pasted defects"
    assert asked[2].reason == "among the 51 % oddest by pasted defects"
    assert asked[-1].seed - 1000 == here[5] and asked[-1].reason.startswith("scored by one method alone")


@pytest.mark.parametrize("ranks", [None, np.tile([0.5, np.nan], (120, 1))], ids=["no method", "one method"])
def test_disagreement_needs_two_methods(ranks):
    with pytest.raises(NotReady, match=r"two are needed.*Find odd ones by another method"):
        suggest(make_pool(ranks=ranks), 3, "disagreement")


def test_seeds_that_may_be_asked_decide_whether_methods_can_disagree():
    pool = make_pool(**two_opinions())
    pool.ranks[pool.askable, 1] = np.nan
    assert np.isfinite(pool.ranks[~pool.askable]).all(1).any()
    with pytest.raises(NotReady, match="1 method scored the seeds"):
        suggest(pool, 3, "disagreement")
    assert not any(s.strategy == "disagreement" for s in suggest(pool, 20))
    pool.ranks[pool.candidates[3], 1] = 0.5  # one seed for a share of two
    asked = [s.seed for s in suggest(pool, 20) if s.strategy == "disagreement"]
    assert asked in ([], [pool.seeds[pool.candidates[3]]])  # unless it was drawn at random
    assert suggest(pool.without(pool.candidates), 3, "disagreement") == []


def test_half_of_the_odd_share_asks_where_methods_disagree_and_nothing_else_moves():
    one, two = suggest(make_pool(), 20, "default"), suggest(make_pool(**two_opinions()), 20, "default")
    counts = {}
    for s in two:
        counts[s.strategy] = counts.get(s.strategy, 0) + 1
    assert counts == {"margin": 10, "disagreement": 2, "anomaly": 2, "novelty": 4, "random": 2}
    blind = [[s.seed for s in batch if s.strategy == "random"] for batch in (one, two)]
    assert blind[0] == blind[1]
    single = make_pool(ranks=two_opinions()["ranks"][:, :1], method_names=("pasted defects",))
    assert suggest(single, 20, "default") == one


def test_without_scores_the_lonely_seed_is_odd():
    pool = make_pool()
    lonely = int(np.flatnonzero(pool.askable)[4])
    pool.vectors[lonely] += 50
    asked = suggest(pool, 1, "anomaly")[0]
    assert asked.seed == 1000 + lonely
    assert asked.reason == "among the 1 % oddest by how few seeds look like it"


def test_novelty_asks_about_the_group_without_answers():
    pool = make_pool()
    group = np.flatnonzero(pool.askable)[:20]
    pool.vectors[group] += 8.0
    rows = [p.row for p in novelty(pool, 2, np.random.default_rng(0))]
    assert rows[0] in group


def test_nearest_first_keeps_the_batch():
    plain, chain = (suggest(make_pool(), 12, "margin", 0, near) for near in (False, True))
    assert {s.seed for s in plain} == {s.seed for s in chain}
    vectors = make_pool().vectors

    def length(batch):
        x = vectors[[s.seed - 1000 for s in batch]]
        return np.linalg.norm(np.diff(x, axis=0), axis=1).sum()

    assert length(chain) < length(plain)


def test_neighbour_distance_is_that_of_a_plain_loop():
    x = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    d = np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1))
    plain = np.sort(d, axis=1)[:, 1:11].mean(1)
    np.testing.assert_allclose(neighbour_distance(x, 10, block=16), plain, rtol=1e-3)


def test_new_answers_change_the_uuids():
    first = suggest(make_pool(answered=15), 5, "random")
    second = suggest(make_pool(answered=16), 5, "random")
    assert not {s.uuid for s in first} & {s.uuid for s in second}


@pytest.mark.parametrize("strategy", ["typiclust", "default"])
def test_five_thousand_seeds_take_a_second(strategy):
    rng = np.random.default_rng(0)
    n = 5000
    known = np.arange(n) < 60
    vectors = rng.normal(size=(n, 384)).astype(np.float32)
    pool = Pool(np.arange(n), vectors, ~known, known, rng.dirichlet(np.ones(4), n))
    suggest(make_pool(), 3, strategy)
    best = np.inf
    for _ in range(2):
        start = time.process_time()
        suggest(pool, 10, strategy)
        best = min(best, time.process_time() - start)
    assert best <= 1.0
