"""The next batch comes before the present one is empty."""

import threading
import time

from napari_seedlab.core import Label, LabelState, Suggestion
from napari_seedlab.session.labelling import N_AHEAD, N_BACK, N_ENOUGH
from tests.session.conftest import is_hollow, settle


def until(session, is_so):
    """Wait until something holds that comes with another queue."""
    came = threading.Event()
    session.queue_changed.connect(came.set, check_nargs=False)
    while not is_so():
        assert came.wait(60), "no batch came"
        came.clear()
    session.queue_changed.disconnect(came.set)


def test_the_card_is_never_empty_and_no_seed_is_asked_twice(split_session):
    session = split_session
    session.draw(6).wait(60)
    seen = []
    for _ in range(20):
        assert session.current_seed is not None, f"nothing on the card after {len(seen)} answers"
        seen.append(session.current_seed)
        session.answer(2 if is_hollow(session, session.current_seed) else 1)
        n_open = len(session.seeds) - len(seen)
        if n_open > N_AHEAD:  # the person takes longer than the draw
            until(session, lambda: session.labelling.n_left > N_AHEAD)
    assert len(set(seen)) == 20
    settle(session)
    assert {s for s, label in session.labels.items() if label.class_id} == set(seen)
    assert all(session.label_origin(s)[1] > 0 for s in seen), "each answer keeps how its seed was drawn"


def test_what_was_answered_last_stays_in_reach(split_session):
    session = split_session
    session.draw(6).wait(60)
    for _ in range(3):
        session.answer(1)
    until(session, lambda: len(session.queue) > 6)
    last = session.current_seed
    session.previous()
    assert session.label(session.current_seed).class_id == 1
    session.skip()
    assert session.current_seed == last


def test_a_batch_that_was_asked_for_takes_the_place_of_the_one_under_way(split_session):
    session = split_session
    session.draw(6).wait(60)
    drawn = session.draw(4, "random").wait(60)["suggestions"]
    assert [s.seed for s in session.queue] == [s.seed for s in drawn]


def test_another_batch_without_new_answers_is_another_draw(split_session):
    first, second = ([s.seed for s in split_session.draw(6, "random").wait(60)["suggestions"]] for _ in "ab")
    assert set(first) != set(second)


def test_a_batch_that_comes_while_the_last_seed_is_answered_is_shown(split_session):
    session = split_session
    drawn = session.draw(6).wait(60)["suggestions"]
    labelling, first = session.labelling, drawn[0].seed
    labelling.queue, labelling.current_seed = (drawn[0],), first
    is_looking, look = threading.Event(), labelling._is_open

    def slow(seed):  # whether something is left, while the batch comes
        found = look(seed)
        if threading.current_thread() is answering:
            is_looking.set()
            time.sleep(0.2)
        return found

    labelling._is_open = slow
    answering = threading.Thread(target=session.answer, args=(1,))
    answering.start()
    assert is_looking.wait(10)
    labelling.offer(drawn[1:], "ct", ahead=True)
    answering.join(10)
    assert session.current_seed in [s.seed for s in drawn[1:]]


def test_a_batch_that_comes_while_an_answer_is_taken_skips_no_seed(split_session):
    session, labelling = split_session, split_session.labelling
    drawn = session.draw(6).wait(60)["suggestions"]
    labelling.queue, labelling.current_seed = tuple(drawn[:4]), drawn[0].seed
    commit = labelling._commit

    def and_a_batch(*given, **facts):
        commit(*given, **facts)
        labelling.offer(drawn[4:], "ct", ahead=True)

    labelling._commit = and_a_batch
    shown = []
    for _ in drawn:
        shown.append(session.current_seed)
        session.answer(1)
    assert shown == [s.seed for s in drawn]


def test_a_seed_left_for_later_does_not_let_the_batch_grow(split_session, monkeypatch):
    labelling = split_session.labelling
    monkeypatch.setattr(split_session, "draw", None)  # batches are made here
    first, *others = split_session.seeds_of("ct")
    labelling.offer([Suggestion(str(first), first, 0.5, "margin", "because", 1.0)], "ct")
    for seed in others:
        labelling.offer([Suggestion(str(seed), seed, 0.5, "margin", "because", 1.0)], "ct", ahead=True)
        split_session.set_labels({seed: Label(seed, LabelState.LABELLED, 1)})
    labelling.offer([Suggestion("again", first, 0.5, "margin", "because", 1.0)], "ct", ahead=True)
    assert [s.seed for s in labelling.queue] == [first, *others[-N_BACK:]]


def test_what_to_ask_by_is_chosen_without_looking_at_every_seed(split_session, monkeypatch):
    session, looked = split_session, []
    real = session.label
    monkeypatch.setattr(session, "label", lambda seed: looked.append(seed) or real(seed))
    seeds = session.seeds_of("ct")
    assert session.labelling.strategy("ct") == "typiclust"
    session.set_labels({s: Label(s, LabelState.LABELLED, 1) for s in seeds[:N_ENOUGH]})
    session.set_labels({seeds[0]: Label(seeds[0], LabelState.CONFLICT)})
    session.set_labels({999: Label(999, LabelState.LABELLED, 1)})  # of no scan of this pool
    assert session.labelling.strategy("ct") == "typiclust"
    session.set_labels({seeds[0]: Label(seeds[0], LabelState.UNSURE)})
    assert session.labelling.strategy("ct") == "default"
    assert not looked
