import functools
import itertools

import numpy as np
import pytest

from napari_seedlab import files
from napari_seedlab.core import JobRequest, NotReady
from napari_seedlab.learn import figures
from napari_seedlab.learn.batch_gauge import batch_gauge
from napari_seedlab.learn.calibration import Estimate, calibration_error, fit_temperature, softmax
from napari_seedlab.learn.figures import Figures, Known, Settings
from napari_seedlab.learn.folds import folds_of
from napari_seedlab.learn.head import columns_of, fit_head, out_of_fold_logits, pool_scaler, scaled
from napari_seedlab.learn.learning_curve import Growth, forecast, grow, sizes, stop_light
from napari_seedlab.learn.reject import GRID, is_far, reject_curve
from napari_seedlab.learn.round import Answers, RoundSettings, labelling_round

IDS = tuple(range(10))


@functools.cache
def digits():
    from sklearn.datasets import load_digits

    return load_digits(return_X_y=True)


@functools.cache
def taught(random_state, without=None):
    """A head on 150 digits with its temperature from folds, and the rows that it did not see."""
    x, y = digits()
    order = np.random.default_rng(random_state).permutation(len(y))
    known, fresh = order[:150], order[150:]
    known = known[y[known] != without]
    ids = tuple(c for c in IDS if c != without)
    scaler = pool_scaler(x)
    head = fit_head(x[known], y[known], ids, scaler)
    own = out_of_fold_logits(x[known], y[known], ids, scaler, random_state)
    temperature = fit_temperature(own, columns_of(y[known], ids))
    return head, temperature, known, fresh


def known_of(rows, class_id, **columns):
    m = len(rows)
    table = {"inclusion_p": np.zeros(m), "batch": np.full(m, -1), "by_chance": np.zeros(m, bool)} | columns
    return Known(np.asarray(rows), np.asarray(class_id, np.int32), np.arange(m), *table.values())


# -- what is rejected ---------------------------------------------------------------------------
def rejected(confidence):
    """Of five models: by how much the error falls at p0 = 0.85, what is kept there, and the curves."""
    x, y = digits()
    at = int(np.flatnonzero(GRID == 0.85)[0])
    falls, kept, curves = [], [], []
    for random_state in range(5):
        head, temperature, _, fresh = taught(random_state)
        p = softmax(head.logits(x[fresh]) / temperature)
        right, sure = p.argmax(1) == y[fresh], confidence(p)
        every = np.ones(len(fresh), bool)
        curves.append(reject_curve(sure, every, sure, right, np.ones(len(fresh))))
        falls.append((1 - right.mean()) / (1 - curves[-1].accuracy[at]))
        kept.append(curves[-1].coverage[at])
    return falls, kept, curves


def test_rejecting_below_p0_cuts_the_error_to_a_third():
    falls, kept, curves = rejected(lambda p: p.max(1))
    assert min(falls) >= 3
    assert np.mean(kept) >= 0.75
    for curve in curves:
        assert np.nanmin(np.diff(curve.accuracy)) >= -0.01
        assert np.all(np.diff(curve.coverage) <= 0)


@pytest.mark.parametrize(
    "confidence",
    [lambda p: np.full(len(p), 0.9), lambda p: np.random.default_rng(0).permutation(p.max(1))],
    ids=["constant", "shuffled"],
)
def test_a_confidence_that_means_nothing_cuts_no_error(confidence):
    assert max(rejected(confidence)[0]) < 1.5


def test_without_a_temperature_p0_keeps_next_to_nothing():
    x, _ = digits()
    head, _, _, fresh = taught(0)
    assert (softmax(head.logits(x[fresh])).max(1) >= 0.85).mean() < 0.5  # what the gate above would refuse


def test_an_unseen_class_is_rejected():
    x, y = digits()
    by_p0, by_both = [], []
    for random_state, digit in itertools.product(range(5), IDS):
        head, temperature, known, fresh = taught(random_state, digit)
        strange = fresh[y[fresh] == digit]
        unsure = softmax(head.logits(x[strange]) / temperature).max(1) < 0.85
        far = is_far(scaled(x[strange], head.center, head.scale), scaled(x[known], head.center, head.scale))
        by_p0.append(unsure.mean())
        by_both.append((unsure | far).mean())
    assert np.mean(by_p0) < 0.8 <= np.mean(by_both)


def test_the_distance_rule_sees_what_the_probabilities_are_sure_of():
    x, _ = digits()
    head, temperature, known, fresh = taught(0)
    stripes = np.tile([16.0, 0, 0, 16], (20, 16)) + np.random.default_rng(0).normal(0, 0.5, (20, 64))
    z, near = scaled(stripes, head.center, head.scale), scaled(x[known], head.center, head.scale)
    assert (softmax(head.logits(stripes) / temperature).max(1) > 0.85).mean() >= 0.9
    assert is_far(z, near).all()
    assert is_far(scaled(x[fresh], head.center, head.scale), near).mean() <= 0.06


def test_p0_is_the_smallest_that_is_proven_else_the_smallest_that_seems_right():
    p = np.repeat([0.6, 0.9], 300)
    right = np.repeat([False, True], 300)
    always = np.ones(600, bool)
    proven = reject_curve(p, always, p, right, np.ones(600))
    assert (proven.chosen, proven.is_proven) == (0.61, True)
    few = np.arange(0, 600, 20)
    seems = reject_curve(p, always, p[few], right[few], np.ones(30))
    assert (seems.chosen, seems.is_proven) == (0.61, False)
    never = reject_curve(p, always, p, np.zeros(600, bool), np.ones(600))
    assert (never.chosen, never.is_proven) == (0.85, False)


# -- calibration --------------------------------------------------------------------------------
@pytest.mark.parametrize("random_state", range(3))
def test_the_temperature_calibrates_and_changes_no_class(random_state):
    x, y = digits()
    head, temperature, _, fresh = taught(random_state)
    logits = head.logits(x[fresh])
    before, after = softmax(logits), softmax(logits / temperature)
    ratio = calibration_error(after, y[fresh]) / calibration_error(before, y[fresh])
    assert temperature > 0
    assert ratio <= 0.6
    np.testing.assert_array_equal(before.argmax(1), after.argmax(1))


# -- wrong labels -------------------------------------------------------------------------------
def test_wrong_labels_are_among_the_most_wrong():
    x, y = digits()
    rng = np.random.default_rng(0)
    rows = rng.choice(len(y), 400, replace=False)
    said, flipped = y[rows].copy(), rng.choice(400, 20, replace=False)
    said[flipped] = (said[flipped] + rng.integers(1, 10, 20)) % 10
    found = Figures(x, known_of(rows, said), Settings(IDS, ()))
    loss = -np.log(found.own_p[np.arange(400), found.columns])
    assert np.isin(flipped, np.argsort(-loss)[:40]).mean() >= 0.7
    seen = -np.log(found.p[rows][np.arange(400), found.columns])  # by the model that learnt them
    assert loss[flipped].mean() > 2 * seen[flipped].mean()
    shown = [entry["row"] for entry in found.most_wrong()]
    assert np.isin(shown, rows[flipped]).mean() >= 0.7


# -- folds and scans ----------------------------------------------------------------------------
def test_seeds_of_a_scan_are_held_out_together():
    columns, scan = np.tile([0, 1], 60), np.repeat(np.arange(12), 10)
    folds = folds_of(columns, {"lot": np.full(120, -1), "scan": scan}, 0)
    assert folds.by == "scan"
    assert all(len(np.unique(folds.fold[scan == s])) == 1 for s in range(12))
    assert len(np.unique(folds.fold)) == 5
    assert folds_of(columns, {"lot": scan // 6, "scan": scan}, 0).by == "lot"


def test_where_a_class_lies_in_one_scan_alone_seeds_are_held_out():
    columns = scan = np.repeat([0, 1], 20)
    assert folds_of(columns, {"scan": scan}, 0).by == "seed"
    assert folds_of(columns, {"scan": np.zeros(40, int)}, 0).by == "seed"


def test_the_gauge_tells_scans_that_look_alike_from_those_that_do_not():
    rng = np.random.default_rng(0)
    x, scan = rng.normal(size=(300, 20)), np.arange(300) % 3
    alike = batch_gauge(x, scan, 0)
    differ = batch_gauge(x + 3 * (scan == 1)[:, None], scan, 0)
    assert alike.accuracy < 0.5
    assert "look alike" in alike.text
    assert differ.accuracy > 0.6
    assert "differ" in differ.text
    assert batch_gauge(x, np.zeros(300, int), 0).text == ""


def test_a_scan_without_labels_is_harder_where_the_class_looks_different_in_each():
    rng = np.random.default_rng(1)
    y, scan = np.arange(240) % 2, np.repeat(np.arange(4), 60)
    x = rng.normal(size=(240, 12)) * 0.3
    x[np.arange(240), 2 * scan + y] += 3  # each scan shows its classes in entries of its own
    told = Figures(x, known_of(np.arange(240), y), Settings((0, 1), ()))
    folds = told.across({"lot": np.full(240, -1), "scan": scan})["folds"]
    assert folds["random"] >= 0.95
    assert folds["held_out"] <= 0.7


def test_shuffled_labels_are_no_better_than_guessing():
    x, y = digits()
    for state in range(5):
        rng = np.random.default_rng(state)
        rows = rng.choice(len(y), 150, replace=False)
        for said, is_real in ((y[rows], True), (rng.permutation(y[rows]), False)):
            told = Figures(x, known_of(rows, said), Settings(IDS, (), random_state=state)).overall()
            assert told["is_better_than_guessing"] is is_real


# -- growth -------------------------------------------------------------------------------------
def growth_of(accuracy, m=400, kappa=1.0):
    """Models that are right about the first share of `m` answers, in a fixed order."""
    n = np.arange(10, 10 * len(accuracy) + 1, 10)
    rank = np.arange(m) / m
    return Growth(n, np.asarray([rank < a for a in accuracy]), np.full(len(n), kappa))


def test_a_rising_curve_promises_more_and_a_flat_one_does_not():
    n = np.arange(10, 101, 10)
    rising = forecast(growth_of(0.95 - 2 * n**-0.8), np.ones(400), 0)
    assert rising.can_say
    truth = 2 * 100**-0.8 - 2 * 150**-0.8
    assert rising.gain == pytest.approx(truth, abs=0.006)
    assert rising.text == "about +1 point for 50 more answers"
    flat = forecast(growth_of(np.full(10, 0.9)), np.ones(400), 0)
    assert flat.text == "less than a point for 50 more answers"
    assert forecast(growth_of([0.5, 0.7, 0.8]), np.ones(400), 0).text == "cannot say yet"
    noisy = np.random.default_rng(0).random((10, 12)) < 0.8
    assert forecast(Growth(n, noisy, np.ones(10)), np.ones(12), 0).text == "cannot say yet"


@pytest.mark.parametrize("n_left", [0, 1, 20])
def test_no_more_is_promised_than_there_are_seeds_left(n_left):
    n = np.arange(10, 101, 10)
    told = forecast(growth_of(0.95 - 2 * n**-0.8), np.ones(400), 0, n_left)
    assert told.gain == pytest.approx(2 * 100**-0.8 - 2 * (100.0 + n_left) ** -0.8, abs=0.006)
    assert told.can_say is (n_left > 0)
    end = {0: "", 1: "less than a point for 1 more answer", 20: "about +1 point for 20 more answers"}
    assert told.text == end[n_left]


def test_what_is_right_already_cannot_be_gained():
    late = np.repeat([0.65, 1.0], [8, 4])  # a class came late: the curve lies far below the last points
    told = forecast(growth_of(late), np.ones(400), 0)
    assert (told.gain, told.slope) == (0.0, 0.0)
    assert told.text == "less than a point for 50 more answers"


def test_the_light_is_green_only_when_all_is_settled():
    settled = growth_of(np.full(6, 0.9))
    assert stop_light(settled, 0.001, 0.05).colour == "green"
    assert stop_light(settled, 0.02, 0.05).colour == "amber"
    assert stop_light(settled, float("nan"), 0.05).colour == "amber"
    assert stop_light(settled, 0.001, 0.3).colour == "amber"
    assert stop_light(growth_of(np.full(6, 0.9), kappa=0.9), 0.001, 0.05).colour == "red"
    for n_rounds in (1, 2):
        assert stop_light(growth_of(np.full(n_rounds, 0.9)), 0.0, 0.0).colour == "red"


def test_a_curve_has_few_points_however_many_answers_there_are():
    assert sizes(45).tolist() == [10, 20, 30, 40]
    assert len(sizes(3000)) <= 16
    assert sizes(3000)[-6:].tolist() == [2950, 2960, 2970, 2980, 2990, 3000]


def test_a_pool_that_is_answered_whole_and_looks_alike_is_judged_too():
    same, said = np.ones((30, 4)), np.arange(30) % 2
    p, by_chance = np.full(30, 1.0), np.arange(30) < 3
    known = known_of(np.arange(30), said, inclusion_p=p, by_chance=by_chance)
    found = Figures(same, known, Settings((0, 1), ("a", "b")))
    assert found.growth()["stop"] == {
        "colour": "green",
        "text": "Every seed has an answer.",
        "kappa": pytest.approx(np.nan, nan_ok=True),
    }
    far = found.reject()[1]
    assert not far.any()
    assert found.growth()["curve"]["text"] == ""
    assert not found.overall()["is_better_than_guessing"]
    assert found.across({"scan": np.zeros(30, int)})["gauge"]["text"] == ""


def test_it_is_the_live_model_that_is_judged_also_where_look_alikes_teach():
    rng = np.random.default_rng(1)
    y = np.repeat([1, 2], 150)
    x = rng.normal(size=(300, 12))
    x[:, 0] += 1.6 * (y == 2)
    x[:, 1] += 4 * np.sin(np.arange(300))
    rows = np.r_[0:4, 150:154, 290:294]
    answers = Answers(rows, y[rows].astype(np.int32), np.zeros(12))
    found = {}
    for spreads in (False, True):
        live = labelling_round(
            np.arange(300), x, answers, RoundSettings((1, 2), n=0, semi_supervised=spreads)
        )
        settings = Settings((1, 2), ("a", "b"), semi_supervised=spreads)
        found[spreads] = Figures(x, known_of(rows, y[rows]), settings)
        np.testing.assert_allclose(found[spreads].p, live.probabilities, atol=1e-5)
    assert not np.allclose(found[True].logits, found[False].logits)


def test_the_light_looks_back_on_models_that_began_with_the_earlier_one():
    x, y = digits()
    rows = np.random.default_rng(0).choice(len(y), 40, replace=False)
    given = rows, y[rows], IDS, pool_scaler(x)
    earlier = fit_head(x, y, IDS, pool_scaler(x))
    alone, begun = grow(x, *given, 0), grow(x, *given, 0, (earlier, 10.0))
    assert begun.right[0].mean() > 0.9 > alone.right[0].mean()


# -- in words -----------------------------------------------------------------------------------
def test_of_a_pool_that_is_answered_whole_the_figures_are_counts():
    x, y = digits()
    rows = np.arange(200)
    by_chance = rows >= 190
    known = known_of(rows[:-1], y[:199], inclusion_p=np.full(199, 0.5), by_chance=by_chance[:-1])
    untold = known_of([199], [0], inclusion_p=np.ones(1), by_chance=np.ones(1, bool))
    asked, not_asked = (Figures(x[:200], known, Settings(IDS, ()), untold=u) for u in (untold, None))
    told, right = asked.overall(), asked.judged.own == asked.columns
    n, n_zeros = int(right.sum()), int((y[:199] == 0).sum())
    assert told["accuracy"]["text"] == f"{100 * n / 199:.0f} % ({n} of 199, counted)"
    found = int(right[y[:199] == 0].sum())
    assert told["recall"][0]["text"] == f"{100 * found / n_zeros:.0f} % ({found} of {n_zeros}, counted)"
    assert told["confusion_pool"].sum() == pytest.approx(199)
    assert told["untold"]["n_seeds"] == 1
    light = asked.growth()["stop"]
    assert (light["colour"], light["text"]) == ("green", "Every seed that can be told has an answer.")
    assert not_asked.overall()["accuracy"]["text"] == "too few to say (9 of 30)"


@pytest.mark.parametrize(
    ("told", "text"),
    [
        ((0.88, 0.75, 0.96), "88 % (75-96 %)"),
        ((1.0, 0.996, 1.0), "100.0 % (99.6-100.0 %)"),
        ((0.98, 0.97998, 0.98), "98.000 % (97.998-98.000 %)"),
        ((1.0, 1.0, 1.0), "100 % (the seeds left cannot change it)"),
    ],
)
def test_an_interval_is_never_told_as_a_point(told, text):
    assert figures.in_words(Estimate(*told, 40)) == text


# -- the job ------------------------------------------------------------------------------------
@pytest.fixture
def job(tmp_path):
    def make(n_labels, n_drawn, **params):
        x, y = digits()
        rng = np.random.default_rng(0)
        rows = rng.choice(len(y), n_labels, replace=False)
        drawn = np.arange(n_labels) < n_drawn
        seeds = 100 + np.arange(len(y))
        files.save_arrays(tmp_path / "embedding.npz", seed=seeds, vector=x.astype(np.float32))
        files.save_arrays(
            tmp_path / "labels.npz",
            seed=seeds[rows],
            class_id=y[rows].astype(np.int32),
            sequence=np.arange(n_labels),
            inclusion_p=np.where(drawn, n_drawn / len(y), 1.0),
            strategy=np.where(drawn, "random", "margin_kmeans"),
            batch=np.where(drawn, 0, 1),
        )
        lot = np.full(len(y), -1)
        files.save_arrays(tmp_path / "groups.npz", seed=seeds, scan=1 + np.arange(len(y)) % 2, lot=lot)
        names = [str(c) for c in IDS]
        params = {"class_ids": list(IDS), "class_names": names, **params}
        files.write_json(tmp_path / "request.json", JobRequest("f-1", "", params).to_json())
        return tmp_path

    return make


def finish(generator):
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value


def test_the_job_tells_everything_and_only_what_json_holds(job):
    import json

    folder = job(80, 40)
    result = finish(figures.run(folder))
    values = json.loads(json.dumps(result.values, allow_nan=False))
    assert values["n_random"] == 40
    assert values["accuracy"]["text"].endswith("%)")
    assert np.sum(values["confusion"]) == 80
    assert np.sum(values["confusion_pool"]) == pytest.approx(values["n_seeds"])
    assert len(values["recall"]) == 10
    assert values["folds"]["by"] == "scan"
    assert values["stop"]["colour"] in ("red", "amber", "green")
    out = files.load_arrays(folder / "figures.npz")
    assert out["seed"].shape == out["p"].shape == out["is_far"].shape == out["predicted"].shape
    assert out["answered"].shape == out["said"].shape == out["told"].shape == (80,)


def test_too_few_random_answers_claim_nothing(job):
    values = finish(figures.run(job(80, 12))).values
    assert values["accuracy"]["text"] == "too few to say (12 of 30)"
    assert {r["text"] for r in values["recall"]} == {"too few to say (12 of 30)"}
    assert values["confusion_pool"] is None
    assert values["reject"]["is_provisional"]
    assert values["calibration"]["text"].startswith("too few answers drawn by chance")


def test_two_answers_are_too_few(job):
    with pytest.raises(NotReady, match="need 2 answers of two classes"):
        finish(figures.run(job(2, 0)))
