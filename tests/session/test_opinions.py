"""Second opinions side by side: kept by method, shown when chosen, judged by labels."""

import threading

import numpy as np
import pytest

from napari_seedlab.core import GRAIN_SCHEME, InputError, ModelCard, NotReady, SeedlabError
from napari_seedlab.session.anomaly import METHODS
from napari_seedlab.session.opinions import METHOD_NAMES
from napari_seedlab.session.results import AnomalyScores, disagreement_of
from napari_seedlab.session.trainings import what_lacks
from napari_seedlab.session.verdicts import sample_text, verdicts
from tests.session.conftest import is_hollow, settle

SMALL = {"size": 12, "n_steps": 2, "n_fits": 1, "batch": 4, "width": 4, "device": "cpu"}


def scored(session, method, score, number=1, heat=None, pool="ct"):
    """As a job of a method leaves its scores."""
    seeds = np.asarray(session.seeds_of(pool), np.int64)
    found = AnomalyScores(seeds, np.asarray(score, np.float32), (0.0, 1.0), f"{method}-{number}", heat or {})
    session.desk.do(lambda project: session.opinions.take(project, pool, found)).result()
    return found


@pytest.fixture
def two_methods(split_session):
    """Opposite scores by two methods; the second is shown."""
    n = len(split_session.seeds)
    scored(split_session, "fcdd", np.arange(n))
    scored(split_session, "vae", -np.arange(n))
    return split_session


def test_each_method_has_a_name_in_a_sentence():
    assert set(METHOD_NAMES) == set(METHODS)


def test_two_methods_in_the_real_job_keep_their_scores_heat_and_settings(split_session, make_session):
    first = split_session.find_odd(SMALL, normal_class=2).wait(60)
    of_first = split_session.anomaly
    second = split_session.find_odd(SMALL, "distance").wait(60)
    assert [f.method for f in split_session.opinions.of("ct")] == ["distance", "fcdd"]
    assert split_session.anomaly.model_id == second["model"]
    assert split_session.opinions.show("fcdd", "ct")
    assert split_session.anomaly == of_first
    card = next(m for m in split_session.models if m.id == first["model"])
    assert card.config["normal_class"] == 2
    heats = [f.heat[1].path for f in split_session.opinions.of("ct")]
    assert len(set(heats)) == 2
    split_session.close()
    again = make_session(split_session.path)
    assert again.anomaly.model_id == first["model"]  # the shown one
    np.testing.assert_array_equal(again.anomaly.score, of_first.score)
    assert again.anomaly.heat == of_first.heat
    assert [f.heat[1].path for f in again.opinions.of("ct")] == heats
    again.activate(second["model"]).wait(60)
    assert again.anomaly.model_id == second["model"]


def test_scores_of_an_older_project_belong_to_the_method_of_their_model(split_session, make_session):
    seeds = np.asarray(split_session.seeds_of("ct"))
    old = {"seed": seeds, "score": np.ones(len(seeds), "f4"), "scale": np.asarray([0.0, 1.0])}
    put = lambda project: project.put_arrays("anomaly-ct", **old, model=np.asarray("vae-3"))  # noqa: E731
    split_session.desk.do(put).result()
    split_session.close()
    again = make_session(split_session.path)
    assert again.anomaly.model_id == "vae-3"
    assert [found.method for found in again.opinions.of("ct")] == ["vae"]
    scored(again, "vae", np.zeros(len(seeds)), number=4)
    again.close()
    assert make_session(split_session.path).anomaly.model_id == "vae-4"


def test_a_method_without_scores_leaves_the_shown_ones(two_methods):
    told = []
    two_methods.anomaly_changed.connect(lambda: told.append(two_methods.anomaly.method))
    assert not two_methods.opinions.show("distance", "ct")
    assert two_methods.anomaly.method == "vae" and told == []
    assert two_methods.opinions.show("fcdd", "ct")
    assert told == ["fcdd"]


def test_a_model_whose_scores_were_replaced_says_by_which(split_session):
    first = split_session.find_odd(SMALL).wait(60)["model"]
    second = split_session.find_odd(SMALL).wait(60)["model"]
    with pytest.raises(InputError, match=f"{first}: gave way to {second}"):
        split_session.activate(first).wait(60)


def test_a_choice_of_method_ranks_nothing_anew_and_keeps_scores_that_come_at_the_same_time(
    two_methods, monkeypatch
):
    apart = two_methods.opinions.disagreement("ct")
    counted = "napari_seedlab.session.opinions.disagreement_of"
    with monkeypatch.context() as patch:
        patch.setattr(counted, lambda found: pytest.fail("ranked on the window's thread"))
        assert two_methods.opinions.show("fcdd", "ct")
    assert two_methods.anomaly.method == "fcdd" and two_methods.opinions.disagreement("ct") is apart
    shown = two_methods.opinions.shown
    two_methods.opinions.show("vae", "ct")
    assert shown["ct"].method == "fcdd"  # replaced, not edited


def test_a_method_is_not_chosen_while_its_scores_are_replaced(two_methods):
    is_asked, done = threading.Event(), threading.Event()

    def choose():
        is_asked.set()
        two_methods.opinions.show("fcdd", "ct")
        done.set()

    with two_methods.lock:  # as while a job's scores are taken over
        threading.Thread(target=choose).start()
        is_asked.wait(60)
        assert not done.wait(0.2)
        assert two_methods.anomaly.method == "vae"
    assert done.wait(60) and two_methods.anomaly.method == "fcdd"


def test_a_model_that_found_pixels_alone_is_shown_and_not_called_older(two_methods):
    none = np.zeros(0)
    two_methods.regions = lambda scan: None  # a cube that is not split
    pixels = AnomalyScores(none.astype("i8"), none.astype("f4"), (0, 1), "fcdd-2", {7: "heat of fcdd-2"})
    two_methods.desk.do(lambda project: two_methods.opinions.take(project, "ct", pixels)).result()
    two_methods.opinions.show("vae", "ct")
    cards = [ModelCard(f"fcdd-{n}", "fcdd", "", (), "", config={"pool": "ct"}) for n in (1, 2)]
    for card in cards:
        assert two_methods.opinions.show_model(card) == {"model": card.id}
    assert two_methods.anomaly.heat == {7: "heat of fcdd-2"}
    scored(two_methods, "fcdd", np.arange(len(two_methods.seeds)), number=3)
    with pytest.raises(InputError, match="fcdd-2: gave way to fcdd-3"):
        two_methods.opinions.show_model(cards[1])


def test_disagreement_is_the_range_of_the_ranks():
    seeds = np.arange(4)
    first = AnomalyScores(seeds, np.asarray([1, 2, 3, 4], "f4"), (0, 1), "fcdd-1")
    second = AnomalyScores(seeds[:3], np.asarray([3, 2, 1], "f4"), (0, 1), "vae-1")
    apart = disagreement_of([first, second])
    assert apart.seeds.tolist() == [0, 1, 2] and apart.methods == ("fcdd", "vae")
    np.testing.assert_allclose(
        apart.spread, [abs(1 / 4 - 3 / 3), abs(2 / 4 - 2 / 3), abs(3 / 4 - 1 / 3)], rtol=1e-5
    )
    assert disagreement_of([first]) is None


def test_the_queue_by_disagreement_says_why_and_is_refused_with_one_method(split_session):
    n = len(split_session.seeds)
    scored(split_session, "fcdd", np.arange(n))
    with pytest.raises(NotReady, match=r"1 method scored the ct seeds, two are needed.*another method"):
        split_session.draw(3, "disagreement").wait(60)
    with pytest.raises(NotReady, match="two are needed"):
        split_session.labelling.ask_by("disagreement")
    score = np.arange(n, dtype=float)
    score[4] = 1000
    scored(split_session, "vae", score)
    split_session.labelling.ask_by("disagreement").wait(60)
    assert split_session.current_seed == split_session.opinions.of("ct")[0].seeds[4]
    reason = split_session.current.reason
    assert "oddest by the autoencoder, only among the" in reason and reason.endswith("by pasted defects")


def test_the_wish_of_the_user_orders_the_queue_and_is_there_again(split_session, make_session):
    n = len(split_session.seeds)
    scored(split_session, "fcdd", np.arange(n))
    asked = split_session.labelling.ask_by("anomaly").wait(60)["suggestions"]
    odd = split_session.anomaly.seeds[::-1][:10].tolist()
    assert asked[0].seed == odd[0] and sorted(s.seed for s in asked) == sorted(odd)
    assert split_session.current_seed == asked[0].seed
    split_session.skip()
    settle(split_session)
    split_session.close()
    again = make_session(split_session.path)
    assert again.labelling.strategy("ct") == "anomaly"
    again.labelling.ask_by("default").wait(60)
    assert again.labelling.strategy("ct") == "typiclust"


def test_a_wish_for_disagreement_that_cannot_be_met_draws_the_mixture_and_fits_the_head(split_session):
    session, seeds = split_session, split_session.seeds_of("ct")
    said = []
    session.message.connect(lambda level, text: said.append((level, text)))
    for method in ("fcdd", "vae"):
        some = np.asarray(seeds[:4])
        found = AnomalyScores(some, np.arange(4, dtype="f4"), (0.0, 1.0), f"{method}-1")
        session.desk.do(lambda project, f=found: session.opinions.take(project, "ct", f)).result()
    drawn = session.labelling.ask_by("disagreement").wait(60)["suggestions"]
    assert {s.seed for s in drawn[:4]} == set(seeds[:4]) and not said
    label_by_truth(session, seeds[:6])
    assert session.train("head").wait(60)["n_labels"] == 6
    drawn = session.draw(3).wait(60)["suggestions"]
    assert len(drawn) == 3 and not any(s.strategy == "disagreement" for s in drawn)
    assert set(said) == {("info", "Two methods scored no seed that is left; the usual mixture is asked.")}
    with pytest.raises(SeedlabError, match="disagreement: 0 methods scored the seeds, two are needed"):
        session.draw(3, "disagreement").wait(60)


def test_a_second_press_is_refused_while_the_desk_is_still_busy(split_session):
    is_free = threading.Event()
    split_session.desk.do(lambda _: is_free.wait(60))
    task = split_session.find_odd(SMALL)
    assert not split_session.desk.active  # nothing was begun yet
    for method in ("", "vae"):
        with pytest.raises(NotReady, match="is already running"):
            split_session.find_odd(SMALL, method)
    is_free.set()
    task.wait(60)
    assert sum(m.kind == "fcdd" for m in split_session.models) == 1
    assert split_session.find_odd(SMALL).wait(60)["model"] == "fcdd-2"


def test_a_deleted_seed_that_comes_back_has_its_vector_prediction_and_score_at_once(two_methods):
    session, seeds = two_methods, two_methods.seeds_of("ct")
    label_by_truth(session, seeds[:8])
    session.draw(0).wait(60)
    seed = seeds[12]
    vector, p = session.embeddings["ct"].vectors[12], session.predictions.of(seed)
    session.delete([seed]).wait(60)
    session.embed().wait(60)
    session.draw(0).wait(60)
    assert seed not in session.embeddings["ct"].row and session.predictions.of(seed) == {}
    is_free = threading.Event()
    undone = session.undo()
    undone.then(lambda _: is_free.wait(60))  # no fit comes in between
    undone.wait(60)
    np.testing.assert_array_equal(session.embeddings["ct"].vectors[12], vector)
    assert session.embeddings["ct"].seeds.tolist() == seeds
    assert session.predictions.of(seed) == p
    assert session.anomaly.of(seed) is not None
    is_free.set()
    assert session.embed().wait(60)["n_new"] == 0


def label_by_truth(session, seeds):
    for seed in seeds:
        session.answer(3 if is_hollow(session, seed) else 1, [seed])
    settle(session)


def test_labels_judge_every_method(two_methods):
    seeds = two_methods.seeds_of("ct")
    odd = [s for s in seeds if is_hollow(two_methods, s)]
    usual = [s for s in seeds if s not in odd]
    scored(two_methods, "distance", [float(s in odd) for s in seeds])
    label_by_truth(two_methods, [*odd[:2], usual[0]])
    two_methods.answer("not_whole", [usual[1]])
    settle(two_methods)
    first = verdicts(two_methods, "ct")[0]
    assert (first.n_normal, first.n_odd, first.auc) == (1, 2, None)
    label_by_truth(two_methods, usual[2:5])
    shown, fcdd, vae = verdicts(two_methods, "ct")
    assert (shown.method, shown.auc, shown.average_precision) == ("distance", 1.0, 1.0)
    assert fcdd.auc == pytest.approx(1 - vae.auc)
    plain = np.mean([[o > u for u in (usual[0], *usual[2:5])] for o in odd[:2]])
    assert fcdd.auc == plain and fcdd.interval[0] <= fcdd.auc <= fcdd.interval[1]
    assert sample_text(fcdd) == "6 labelled seeds, chosen not at random"


def test_many_seeds_that_were_drawn_at_random_judge_alone(two_methods, monkeypatch):
    seeds = two_methods.seeds_of("ct")
    label_by_truth(two_methods, seeds)
    drawn = set(seeds[::2])
    origin = lambda seed: (1, 0.1, "random") if seed in drawn else (1, 1.0, "margin")  # noqa: E731
    monkeypatch.setattr(two_methods, "label_origin", origin)
    assert not verdicts(two_methods, "ct")[0].is_random
    monkeypatch.setattr("napari_seedlab.session.verdicts.MANY_DRAWN", len(drawn))
    found = verdicts(two_methods, "ct")[0]
    assert found.is_random and found.n_normal + found.n_odd == len(drawn)
    assert sample_text(found) == f"{len(drawn)} labelled seeds, drawn at random"


def test_labels_that_taught_the_scores_are_counted(split_session):
    seeds = split_session.seeds_of("ct")
    label_by_truth(split_session, seeds[:6])
    split_session.find_odd(SMALL).wait(60)
    label_by_truth(split_session, seeds[6:8])
    found = verdicts(split_session, "ct")[0]
    assert found.n_taught == 6
    assert sample_text(found) == "8 labelled seeds, chosen not at random; 6 of them taught it"


@pytest.mark.parametrize(
    ("counts", "line"),
    [
        ({}, "Label two seeds of two classes, such as normal and abnormal."),
        ({1: 5}, "Label two seeds of abnormal or dead or foreign."),
        ({1: 5, 3: 1}, "Label one more seed of dead."),
        ({1: 1, 3: 1, 4: 2}, "Label one more seed of normal and one of dead."),
        ({1: 2, 4: 2}, ""),
    ],
)
def test_what_a_training_waits_for_names_the_class(counts, line):
    assert what_lacks(GRAIN_SCHEME, counts) == line
