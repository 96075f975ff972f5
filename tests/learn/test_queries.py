import time
from dataclasses import replace

import numpy as np
import pytest

from napari_seedlab.core import ASKS_AGAIN, InputError, NotReady
from napari_seedlab.learn.queries import STRATEGIES, Pool, suggest
from napari_seedlab.learn.strategies.chance import allocation, at_random
from napari_seedlab.learn.strategies.diverse import k_center
from napari_seedlab.learn.strategies.pool import neighbour_distance
from napari_seedlab.learn.strategies.unsure import badge, entropy_of

P300 = np.random.default_rng(5).dirichlet([1, 1, 1], 300)
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
        "said": np.where(known, rng.integers(0, 3, n), -1),
        "class_ids": (1, 2, 3),
        "inclusion_p": np.where(known, 0.25, np.nan),
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
    """What each strategy owes; `label_errors` asks about labelled seeds, fewer where less is wrong."""

    @pytest.mark.parametrize("with_model", [True, False])
    @pytest.mark.parametrize("n", [0, 1, 7, 10, 40])
    def test_gives_that_many_askable_seeds_once(self, strategy, n, with_model, opinions):
        pool = make_pool(with_model=with_model, **opinions())
        seeds = [s.seed for s in suggest(pool, n, strategy)]
        assert len(seeds) == len(set(seeds))
        if strategy in ASKS_AGAIN:
            assert len(seeds) == min(n, len(suggest(pool, 99, strategy)))
            assert set(seeds) <= set(pool.seeds[pool.answered].tolist())
        else:
            assert len(seeds) == n
            assert set(seeds) <= set(pool.seeds[pool.askable].tolist())

    def test_is_deterministic_and_follows_its_random_state(self, strategy, opinions):
        one, two = (suggest(make_pool(**opinions()), 10, strategy, 5) for _ in range(2))
        assert one == two
        if strategy in ("random", "check", "default", "badge"):
            assert [s.seed for s in one] != [
                s.seed for s in suggest(make_pool(**opinions()), 10, strategy, 6)
            ]

    def test_gives_what_is_left(self, strategy, opinions):
        if strategy not in ASKS_AGAIN:
            assert len(suggest(make_pool(**opinions()), 10_000, strategy)) == make_pool().askable.sum()
            assert suggest(make_pool(askable=np.zeros(120, bool), **opinions()), 10, strategy) == []

    def test_says_why_and_with_what_chance(self, strategy, opinions):
        asked = suggest(make_pool(**opinions()), 20, strategy)
        assert asked
        for s in asked:
            assert s.reason and s.strategy in STRATEGIES and s.uuid and s.model_id == "head-3"
            by_chance = s.strategy in ("random", "check", "label_errors")  # the last keeps its first draw
            assert (s.inclusion_p < 1.0) == by_chance
            assert 0.0 < s.inclusion_p <= 1.0 and np.isfinite(s.score)

    def test_shows_the_two_labelled_seeds_most_like_it(self, strategy, opinions):
        pool = make_pool(**opinions())
        s = suggest(pool, 10, strategy)[-1]
        row = int(np.flatnonzero(pool.seeds == s.seed)[0])
        others = np.setdiff1d(np.flatnonzero(pool.answered), [row])
        far = np.sqrt(np.square(pool.vectors[others] - pool.vectors[row]).mean(1))
        near = others[np.argsort(far)[:2]]
        assert [e.seed for e in s.evidence] == pool.seeds[near].tolist()
        assert [e.class_id for e in s.evidence] == (pool.said[near] + 1).tolist()
        assert [e.distance for e in s.evidence] == pytest.approx(np.sort(far)[:2], rel=1e-4)

    @pytest.mark.parametrize("classes", [1, 3])
    def test_a_hopeless_pool_is_no_trouble(self, strategy, classes, opinions):
        facts = {"anomaly": np.full(120, np.nan), "vectors": np.zeros((120, 8)), **opinions()}
        if classes == 1:
            said = np.where(make_pool().answered, 0, -1)
            facts |= {"said": said, "class_ids": (4,), "probabilities": np.ones((120, 1))}
        asked = suggest(make_pool(**facts), 10, strategy)
        assert len(asked) == 10 or strategy in ASKS_AGAIN
        scores = np.where(np.arange(120) % 2, np.nan, 1.0)
        assert len(suggest(make_pool(**{**facts, "anomaly": scores}), 10, strategy)) in (10, len(asked))

    @pytest.mark.parametrize("labelled", [0, 1])
    def test_two_seeds_are_enough(self, strategy, labelled, opinions):
        known = np.arange(2) < labelled
        p = np.full((2, 3), 1 / 3) if labelled else None
        said = np.where(known, 0, -1)
        pool = Pool(np.arange(2), np.eye(2), ~known, known, p, said=said, class_ids=(1, 2, 3), **opinions(2))
        assert len(suggest(pool, 2, strategy)) == (0 if strategy in ASKS_AGAIN else 2 - labelled)


def twice(pool, n, rng):
    return at_random(pool, 1, rng) * n


def one_short(pool, n, rng):
    return at_random(pool, n - 1, rng)


def labelled_ones(pool, n, rng):
    return at_random(replace(pool, askable=pool.answered), n, rng)


def unseeded(pool, n, rng):
    return at_random(pool, n, np.random.default_rng())


@pytest.mark.parametrize(
    ("stub", "broken"),
    [(twice, r"len\(\{"), (one_short, "6 == 7"), (labelled_ones, r"<= \{"), (unseeded, r"== \[Sugg")],
    ids=["duplicates", "too few", "labelled ones", "by luck"],
)
def test_the_contract_refuses(stub, broken, monkeypatch):
    monkeypatch.setitem(STRATEGIES, "random", stub)
    with pytest.raises(AssertionError, match=broken):
        TestContract().test_gives_that_many_askable_seeds_once("random", n=7, with_model=True, opinions=dict)
        TestContract().test_is_deterministic_and_follows_its_random_state("random", dict)


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
    assert counts == {"margin_kmeans": 10, "anomaly": 2, "k_center": 6, "random": 2}


def test_the_share_of_unlike_seeds_shrinks_as_answers_come():
    few, many = (suggest(make_pool(n=300, answered=k, probabilities=P300), 20, "default") for k in (15, 120))
    assert [sum(s.strategy == "k_center" for s in batch) for batch in (few, many)] == [6, 2]


def test_scores_of_oddness_double_the_odd_share():
    scored = suggest(make_pool(anomaly=np.arange(120.0)), 20, "default")
    assert sum(s.strategy == "anomaly" for s in scored) == 4
    nothing = suggest(make_pool(anomaly=np.full(120, np.nan)), 20, "default")
    assert sum(s.strategy == "anomaly" for s in nothing) == 2


def test_odd_seeds_are_asked_about_where_the_model_takes_them_for_usual_ones():
    p = np.tile([0.8, 0.1, 0.1], (120, 1))
    p[60:90], p[90:] = [0.1, 0.5, 0.4], [0.1, 0.4, 0.5]
    lonely = {"vectors": np.eye(120)[:, 60:] * 40.0}  # the last 60 are like none, the others are alike
    for facts, n in (({"anomaly": np.arange(120.0)}, 4), (two_opinions(), 4), (lonely, 2)):
        asked = suggest(make_pool(probabilities=p, **facts), 20, "default")
        odd = [s.seed - 1000 for s in asked if s.strategy in ("anomaly", "disagreement")]
        assert len(odd) == n and max(odd) < 60
        reasons = [s.reason for s in asked if s.strategy in ("anomaly", "disagreement")]
        assert all(r.startswith("predicted normal, yet ") and "oddest" in r for r in reasons), reasons


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


@pytest.mark.parametrize("strategy", ["least_confidence", "margin", "entropy", "badge", "margin_kmeans"])
def test_a_sure_seed_is_not_called_doubtful(strategy):
    p = np.tile([0.998, 0.002, 0.0], (120, 1))
    asked = suggest(make_pool(probabilities=p), 1, strategy)
    assert asked[0].reason == "the model is sure: normal (100 %)"


def test_margin_spreads_over_the_groups():
    rng = np.random.default_rng(0)
    group = np.arange(120) % 4
    vectors = 30 * np.eye(8)[group] + rng.normal(size=(120, 8))
    p = np.tile([0.5, 0.5, 0.0], (120, 1))
    asked = suggest(make_pool(vectors=vectors, probabilities=p), 4, "margin_kmeans")
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


def test_half_of_the_odd_share_asks_where_methods_disagree():
    one, two = suggest(make_pool(), 20, "default"), suggest(make_pool(**two_opinions()), 20, "default")
    counts = {}
    for s in two:
        counts[s.strategy] = counts.get(s.strategy, 0) + 1
    assert counts == {"margin_kmeans": 8, "disagreement": 2, "anomaly": 2, "k_center": 6, "random": 2}
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


def test_k_center_asks_about_the_group_without_answers():
    pool = make_pool()
    group = np.flatnonzero(pool.askable)[:20]
    pool.vectors[group] += 8.0
    rows = [p.row for p in k_center(pool, 2, np.random.default_rng(0))]
    assert rows[0] in group


def test_nearest_first_keeps_the_batch():
    plain, chain = (suggest(make_pool(), 12, "default", 0, near) for near in (False, True))
    assert {s.seed for s in plain} == {s.seed for s in chain}
    vectors = make_pool().vectors

    def length(batch):
        x = vectors[[s.seed - 1000 for s in batch]]
        return np.linalg.norm(np.diff(x, axis=0), axis=1).sum()

    assert length(chain) < length(plain)


@pytest.mark.parametrize("strategy", ["anomaly", "margin_kmeans", "k_center", "disagreement"])
def test_a_wish_for_the_most_comes_in_the_order_of_its_score(strategy):
    places = np.c_[np.ones(120), np.random.default_rng(1).uniform(0, 99, (120, 3))]
    facts = {"anomaly": np.random.default_rng(2).normal(size=120), "places": places, **two_opinions()}
    asked = suggest(make_pool(**facts), 12, strategy, 0, nearest_first=True)
    scores = [s.score for s in asked]
    assert len(set(scores)) > 5 and scores == sorted(scores, reverse=True)
    assert {s.seed for s in asked} == {s.seed for s in suggest(make_pool(**facts), 12, strategy)}


def test_neighbour_distance_is_that_of_a_plain_loop():
    x = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    d = np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1))
    plain = np.sort(d, axis=1)[:, 1:11].mean(1)
    np.testing.assert_allclose(neighbour_distance(x, 10, block=16), plain, rtol=1e-3)


def test_new_answers_change_the_uuids():
    first = suggest(make_pool(answered=15), 5, "random")
    second = suggest(make_pool(answered=16), 5, "random")
    assert not {s.uuid for s in first} & {s.uuid for s in second}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_five_thousand_seeds_take_a_second(strategy, opinions):
    rng = np.random.default_rng(0)
    n = 5000
    known = np.arange(n) < 60
    vectors = rng.normal(size=(n, 384)).astype(np.float32)
    said = np.where(known, np.arange(n) % 4, -1)
    p = rng.dirichlet(np.ones(4), n)
    pool = Pool(np.arange(n), vectors, ~known, known, p, said=said, class_ids=(1, 2, 3, 4), **opinions(n))
    suggest(make_pool(**opinions()), 3, strategy)
    best = np.inf
    for _ in range(2):
        start = time.process_time()
        suggest(pool, 10, strategy)
        best = min(best, time.process_time() - start)
    assert best <= 1.0


def test_names_of_earlier_versions_are_understood():
    old, new = (suggest(make_pool(), 5, name) for name in ("novelty", "k_center"))
    assert old == new and old[0].strategy == "k_center"


def test_plain_uncertainty_takes_the_extreme_seeds():
    p = np.tile([0.9, 0.08, 0.02], (120, 1))
    here = np.flatnonzero(make_pool().askable)
    p[here[3]] = [0.40, 0.31, 0.29]  # least p1, largest entropy
    p[here[5]] = [0.495, 0.490, 0.015]  # least margin
    pool = make_pool(probabilities=p)
    first = {
        name: suggest(pool, 1, name)[0].seed - 1000 for name in ("least_confidence", "margin", "entropy")
    }
    assert first == {"least_confidence": here[3], "margin": here[5], "entropy": here[3]}


def test_entropy_is_the_plain_formula():
    p = np.random.default_rng(0).dirichlet([1, 1, 1], (4, 5))
    np.testing.assert_allclose(entropy_of(p), -(p * np.log(p)).sum(-1), rtol=1e-6)


def separated(n=120, gap=4.0):
    """A pool of two groups, ten labels in each, and a group of 20 seeds halfway; the model knows the two."""
    rng = np.random.default_rng(1)
    side = np.arange(n) % 2
    vectors = rng.normal(size=(n, 6)) + gap * np.where(side, 1, -1)[:, None] * np.eye(6)[0]
    vectors[100:, 0] = rng.normal(0, 0.2, n - 100)
    known = np.arange(n) < 20
    p = 1 / (1 + np.exp(-3 * vectors[:, 0]))
    said = np.where(known, side, -1)
    facts = {"vectors": vectors, "answered": known, "askable": ~known, "said": said, "class_ids": (1, 2)}
    return replace(make_pool(), **facts, probabilities=np.stack([1 - p, p], 1), inclusion_p=None)


def test_bald_asks_where_resampled_models_disagree():
    asked = suggest(separated(), 5, "bald")
    assert all(s.seed - 1000 >= 100 for s in asked)
    assert asked[0].reason.startswith("models of resampled answers say")
    assert asked[0].score >= asked[-1].score > 0


def test_badge_is_the_plain_k_means_on_gradients():
    """With the same draws the factored distances choose what the written-out gradients choose."""
    pool = make_pool()
    rows = pool.candidates
    a = pool.probabilities[rows].copy()
    a[np.arange(len(a)), a.argmax(1)] -= 1
    gradient = (a[:, :, None] * pool.vectors[rows][:, None]).reshape(len(rows), -1)
    rng = np.random.default_rng(2)
    chosen = [int((gradient**2).sum(1).argmax())]
    gap = (gradient**2).sum(1)
    while len(chosen) < 8:
        gap = np.minimum(gap, ((gradient - gradient[chosen[-1]]) ** 2).sum(1))
        gap[chosen] = 0
        chosen.append(int(np.searchsorted(np.cumsum(gap), rng.random() * gap.sum(), "right")))
    assert [p.row for p in badge(pool, 8, np.random.default_rng(2))] == rows[chosen].tolist()


def test_neighbours_asks_where_labelled_seeds_contradict_the_prediction():
    pool = separated()
    p = pool.probabilities.copy()
    p[50] = p[50, ::-1]  # the model is sure of the wrong side
    asked = suggest(replace(pool, probabilities=p), 1, "neighbours")[0]
    assert asked.seed == 1050
    assert asked.reason.startswith("predicted abnormal (")
    assert asked.reason.endswith("but 5 of the 5 labelled seeds most like it are normal")


def test_label_errors_finds_wrong_labels_and_leaves_confirmed_ones_in_peace():
    pool = separated()
    pool.said[[4, 7]] = 1 - pool.said[[4, 7]]
    asked = suggest(pool, 10, "label_errors")
    assert {s.seed for s in asked} == {1004, 1007}
    assert asked[0].reason.startswith("labelled ") and "the other answers say" in asked[0].reason
    twice = replace(pool, confirmed=np.arange(120) == 4, inclusion_p=np.full(120, 0.2))
    assert [(s.seed, s.inclusion_p) for s in suggest(twice, 10, "label_errors")] == [(1007, 0.2)]


class TestCheck:
    """The honest check."""

    def pool(self):
        p = np.tile([0.8, 0.1, 0.1], (120, 1))
        p[::10] = [0.1, 0.8, 0.1]
        p[::30] = [0.1, 0.1, 0.8]
        return make_pool(probabilities=p)

    def test_every_predicted_class_is_drawn_with_its_own_chance(self):
        pool = self.pool()
        predicted = pool.probabilities.argmax(1)
        asked = suggest(pool, 30, "check")
        for c in range(3):
            members = [s for s in asked if predicted[s.seed - 1000] == c]
            assert len(members) >= 2
            assert {s.inclusion_p for s in members} == {
                len(members) / (pool.askable & (predicted == c)).sum()
            }

    def test_a_weighted_count_is_unbiased(self):
        """Σ 1 / p over the draws of one property has the property's count for its mean."""
        pool = self.pool()
        property_ = pool.vectors[:, 0] > 0.5
        truth = int((property_ & pool.askable).sum())
        guesses = [
            sum(1 / s.inclusion_p for s in suggest(pool, 30, "check", state) if property_[s.seed - 1000])
            for state in range(300)
        ]
        assert np.mean(guesses) == pytest.approx(truth, abs=3 * np.std(guesses) / np.sqrt(300))

    def test_too_few_draws_are_plain_random(self):
        assert {s.strategy for s in suggest(self.pool(), 4, "check")} == {"random"}

    def test_allocation_spends_all_and_never_more_than_there_are(self):
        size = np.asarray([1, 40, 9000])
        assert allocation(size, 30).sum() == 30
        assert (allocation(size, 5000) <= size).all()


def test_seeds_of_one_scan_are_asked_in_a_short_walk():
    rng = np.random.default_rng(0)
    places = np.column_stack([np.arange(120) % 2, rng.uniform(0, 100, (120, 3))])
    asked = suggest(make_pool(places=places), 12, "margin", 0, True)
    rows = np.asarray([s.seed - 1000 for s in asked])
    assert (np.diff(places[rows, 0]) != 0).sum() == 1

    def length(order):
        return np.linalg.norm(np.diff(places[order, 1:], axis=0), axis=1).sum()

    plain = [s.seed - 1000 for s in suggest(make_pool(), 12, "margin")]
    assert rows[0] == plain[0] and set(rows) == set(plain)
    assert length(rows) < 0.8 * length(sorted(plain, key=lambda r: places[r, 0]))
    unknown = make_pool(places=np.full((120, 4), np.nan))
    assert suggest(unknown, 12, "margin", 0, True) == suggest(make_pool(), 12, "margin", 0, True)
