"""What is asked beside the usual mix: evidence, second questions, spread labels, replays."""

import numpy as np
import pytest

from napari_seedlab.core import Evidence, NotReady, Suggestion
from napari_seedlab.session.replay import sentence
from tests.session.conftest import is_hollow, settle


def label_by_truth(session, n):
    """Label `n` seeds with their true class: 1 full, 2 hollow."""
    seeds = session.seeds_of("ct")[:n]
    for class_id in (1, 2):
        chosen = [s for s in seeds if is_hollow(session, s) == (class_id == 2)]
        session.answer(class_id, chosen)
    settle(session)
    session.train("head").wait(60)
    return seeds


def test_evidence_is_stored_with_the_answer_and_read_again(split_session, make_session):
    known = label_by_truth(split_session, 12)
    split_session.draw(4).wait(60)
    asked = split_session.current
    assert len(asked.evidence) == 2 and {e.seed for e in asked.evidence} <= set(known)
    for e in asked.evidence:
        assert e.class_id == split_session.label(e.seed).class_id and e.distance >= 0
    split_session.answer(1)
    settle(split_session)
    split_session.close()
    again = make_session(split_session.path)
    fact = dict(again.facts[asked.seed]["suggestion"])
    fact.pop("shown_model")
    assert Suggestion(**fact) == asked
    assert all(isinstance(e, Evidence) for s in again.queue for e in s.evidence)
    assert again.queue == split_session.queue


def test_places_and_wishes_of_earlier_versions_are_understood(split_session, make_session):
    split_session.draw(3).wait(60)
    settle(split_session)
    place = split_session.desk.do(lambda project: project.get_state("place")).result()
    for entry in place["queue"]:
        del entry["evidence"]
        entry["strategy"] = "novelty"
    old = {"queue": place["queue"], "current_seed": place["current_seed"], "wishes": {"ct": "margin"}}
    split_session.desk.do(lambda project: project.set_state("place", old)).result()
    split_session.close()
    again = make_session(split_session.path)
    assert len(again.queue) == 3 and again.queue[0].evidence == ()
    assert again.labelling.strategy("ct") == "margin_kmeans"
    assert len(again.draw(3, "novelty").wait(60)["suggestions"]) == 3


def test_a_likely_label_error_is_asked_again_once(split_session, make_session):
    known = label_by_truth(split_session, 20)
    wrong = known[1]
    split_session.answer(2 if split_session.label(wrong).class_id == 1 else 1, [wrong])
    settle(split_session)
    drawn = split_session.draw(5, "label_errors").wait(60)["suggestions"]
    assert wrong in {s.seed for s in drawn} <= set(known)
    n = len(drawn)
    assert split_session.labelling.n_left == n and split_session.current_seed in {s.seed for s in drawn}
    first = split_session.current_seed
    split_session.close()
    again = make_session(split_session.path)
    assert again.labelling.n_left == n and again.current_seed == first
    again.answer(again.label(first).class_id)  # it was right
    assert again.labelling.n_left == n - 1 and again.current_seed != first
    settle(again)
    drawn = again.draw(9, "label_errors").wait(60)["suggestions"]
    assert first not in {s.seed for s in drawn}


def test_the_batch_is_a_short_walk_through_the_scan(split_session):
    drawn = split_session.draw(8).wait(60)["suggestions"]
    seeds, places = split_session.labelling.places("ct")
    assert sorted(seeds) == sorted(split_session.seeds_of("ct"))
    at = dict(zip(seeds.tolist(), places[:, 1:], strict=True))
    walk = [at[s.seed] for s in drawn]
    left = [np.linalg.norm(np.asarray(walk[i + 1 :]) - walk[i], axis=1) for i in range(7)]
    assert all(gaps[0] == gaps.min() for gaps in left)


def test_labels_spread_where_that_is_asked_for(split_session, make_session):
    label_by_truth(split_session, 8)
    plain = split_session.predictions
    assert split_session.labelling.spreads == frozenset()
    split_session.labelling.spread_labels(True).wait(60)
    spread = split_session.predictions
    assert spread.model_id == f"{plain.model_id}s" and not np.array_equal(spread.p, plain.p)
    settle(split_session)
    split_session.close()
    again = make_session(split_session.path)
    assert again.labelling.spreads == {"ct"}
    again.labelling.spread_labels(False).wait(60)
    assert again.predictions.model_id == plain.model_id
    np.testing.assert_array_equal(again.predictions.p, plain.p)


def test_my_labels_are_replayed(split_session):
    label_by_truth(split_session, 12)
    assert split_session.replay.lacks("ct") == "wants 20 labels, there are 12"
    with pytest.raises(NotReady, match="wants 20 labels"):
        split_session.replay.my_labels()
    label_by_truth(split_session, 25)
    assert split_session.replay.lacks("ct") == ""
    told = split_session.replay.my_labels().wait(120)
    assert set(told["accuracy"]) == {"default", "random"} and told["budget"][0] == 5
    assert told["n_seeds"] == 25 and told["n_judges"] > 0
    assert split_session.counts() == split_session.counts() and len(split_session.labels) == 25


@pytest.mark.parametrize(
    ("needed", "words"),
    [(30, "30 answers would have reached what 60 random"), (60, "nothing saved"), (None, "would not have")],
)
def test_a_replay_is_one_sentence(needed, words):
    told = {"labels_to_random": {"default": needed, "random": 60}, "budget": [10, 80]}
    assert words in sentence(told)
