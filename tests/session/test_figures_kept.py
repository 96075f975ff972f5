import csv
import threading

import numpy as np
import pytest

from napari_seedlab.core import InputError, NotReady, Suggestion
from napari_seedlab.session.figures import _Journal
from napari_seedlab.session.results import Predictions
from tests.jobs.tools import until
from tests.session.conftest import is_hollow, settle


@pytest.fixture
def labelled(split_session):
    """A session in which chance had no part in eight answers, four of each class."""
    session = split_session
    for hollow in (False, True):
        seeds = [s for s in session.seeds if is_hollow(session, s) is np.bool_(hollow)]
        for seed in seeds[:4]:
            session.answer(1 + hollow, [seed])
    settle(session)
    return session


def test_without_answers_it_says_what_to_do(split_session):
    figures = split_session.figures
    assert "Label two seeds" in figures.lacks()
    with pytest.raises(NotReady, match="Label two seeds each of two classes"):
        figures.ask()
    assert figures.of() is None
    assert figures.rejected() == frozenset()


def test_an_honest_check_is_drawn_by_chance_and_counted(labelled):
    session, told = labelled, []
    session.figures_changed.connect(told.append)
    session.figures.check(6).wait(60)
    assert {s.strategy for s in session.queue} == {"check"}
    assert all(0 < s.inclusion_p <= 1 for s in session.queue)
    for suggestion in session.queue:
        session.answer(2 if is_hollow(session, suggestion.seed) else 1, [suggestion.seed])
    values = session.figures.ask().wait(60)
    assert told == ["ct"]
    assert values["n_random"] == 6
    assert values["accuracy"]["text"] == "too few to say (6 of 30)"
    assert values["n_labels"] == len(session.figures.of().answered) == 14
    assert values["n_actions"] == 14
    cells = [session.figures.of().cell(i, j) for i in range(4) for j in range(4)]
    assert sum(map(len, cells)) == 14


def test_the_last_answer_of_a_check_counts_it_and_tells(labelled):
    session, said = labelled, []
    session.message.connect(lambda level, text: said.append(text))
    drawn = [s.seed for s in session.figures.check(3).wait(60)["suggestions"]]
    session.follow_up = True
    for i, seed in enumerate(drawn):
        assert session.figures.check_place() == (i + 1, 3)
        session.answer(1, [seed])
    until(lambda: said)
    assert session.figures.check_place() == (0, 0)
    assert session.figures.of().values["n_random"] == 3
    assert [line for line in said if "honest check is done: too few to say (3 of 30)" in line]


def test_figures_and_p0_are_there_after_a_restart(labelled, make_session):
    labelled.figures.ask().wait(60)
    labelled.figures.choose_p0(0.7)
    before, path = labelled.figures.of(), labelled.path
    settle(labelled)
    labelled.close()
    again = make_session(path).figures
    assert again.p0() == 0.7
    assert again.of().values == before.values
    np.testing.assert_array_equal(again.of().p, before.p)


def test_unsure_seeds_are_queued_the_least_sure_first_and_exported_as_such(labelled, tmp_path):
    figures = labelled.figures
    figures.ask().wait(60)
    figures.choose_p0(1.0)
    figures.label_unsure(5).wait(60)
    report = figures.of()
    row = {int(s): i for i, s in enumerate(report.seeds)}
    sure = [float(report.p[row[s.seed]]) for s in labelled.queue]
    assert len(sure) == 5
    assert sure == sorted(sure)
    assert all(s.inclusion_p == 1 and s.reason for s in labelled.queue)
    labelled.export(tmp_path / "out").wait(60)
    with (tmp_path / "out" / "labels.csv").open(newline="") as stream:
        rejected = {int(row["seed"]): row["rejected"] for row in csv.DictReader(stream)}
    assert set(rejected.values()) == {"1"}  # nothing is sure enough for a p0 of 1
    figures.choose_p0(0.0)
    if not report.is_far.any():
        with pytest.raises(NotReady, match="there are none"):
            figures.label_unsure()


def test_what_a_network_predicts_is_not_rejected_by_the_figures_of_another_model(labelled, tmp_path):
    labelled.figures.ask().wait(60)
    labelled.figures.choose_p0(1.0)
    live = labelled.heads["ct"]
    labelled.nets["ct"] = Predictions(live.seeds[:20], live.p[:20, ::-1], live.class_ids, "net-1")
    labelled.export(tmp_path / "out").wait(60)
    with (tmp_path / "out" / "labels.csv").open(newline="") as stream:
        rejected = {int(row["seed"]): row["rejected"] for row in csv.DictReader(stream)}
    assert {rejected[s] for s in live.seeds[:20].tolist()} == {""}
    assert {rejected[s] for s in live.seeds[20:].tolist()} == {"1"}


def test_p0_is_a_probability(labelled):
    with pytest.raises(InputError, match="no probability"):
        labelled.figures.choose_p0(1.2)


def test_a_corrected_answer_stays_in_the_sample(labelled):
    labelled.figures.check(5).wait(60)
    drawn = [s.seed for s in labelled.queue]
    for seed in drawn:
        labelled.answer(1, [seed])
    labelled.draw(3).wait(60)  # the check is no longer in the queue
    labelled.answer(2, drawn[:2])
    settle(labelled)
    assert labelled.figures.ask().wait(60)["n_random"] == 5


def test_an_answer_that_was_taken_back_is_no_longer_in_the_sample(labelled):
    labelled.figures.check(5).wait(60)
    for suggestion in labelled.queue:
        labelled.answer(1, [suggestion.seed])
    settle(labelled)
    labelled.undo().wait(60)
    assert labelled.figures.ask().wait(60)["n_random"] == 4
    labelled.redo().wait(60)
    assert labelled.figures.ask().wait(60)["n_random"] == 5


def test_pauses_are_no_work():
    from types import SimpleNamespace

    minutes = ("10:00:00", "10:00:05", "10:00:12", "10:30:00", "10:31:00", "10:33:00")
    events = [SimpleNamespace(annotator="ada", utc=f"2026-11-20T{m}+00:00") for m in minutes]
    assert _Journal(events=events).spent() == (72.0, 6)


def test_figures_follow_each_batch_in_the_window(labelled):
    came = threading.Event()
    labelled.figures_changed.connect(lambda pool: came.set())
    labelled.follow_up = True
    labelled.draw(4).wait(60)
    assert came.wait(60)
    first = labelled.figures.of()
    assert first.values["n_labels"] == 8
    labelled.draw(4).wait(60)  # nothing new was answered
    for _ in range(5):
        settle(labelled)
    assert labelled.figures.of() is first


def test_drawn_seeds_that_nobody_could_tell_are_told_of_and_not_counted(labelled):
    session = labelled
    session.figures.check(8).wait(60)
    drawn = [s.seed for s in session.queue]
    for i, seed in enumerate(drawn):
        assert session.current_seed == seed
        if i == 2:
            session.skip()
        else:
            session.answer("unsure" if i in (1, 4) else 2 if is_hollow(session, seed) else 1)
    assert [s.seed for s in session.labelling.passed_over()] == [drawn[2]]
    told = session.figures.ask().wait(60)
    assert told["n_random"] == 5 and told["untold"]["n_asked"] == told["untold"]["n_drawn"] == 3
    assert told["untold"]["text"] == "not counted: 3 were asked about and got no class"
    session.answer(1, [drawn[1]])  # a doubt that was settled is an answer that chance drew
    told = session.figures.ask().wait(60)
    assert told["n_random"] == 6 and told["untold"]["n_drawn"] == 2


def test_a_skip_waits_for_a_batch_that_is_being_taken_over(split_session):
    session, seeds = split_session, split_session.seeds_of("ct")
    asked = [Suggestion(f"u{s}", s, 0.5, "random", "r", 0.1, "m") for s in seeds[:4]]
    session.labelling.offer(asked, "ct")
    skip = threading.Thread(target=session.skip)
    with session.lock:  # as while a batch comes on the desk's thread
        skip.start()
        skip.join(0.3)
        assert session.labelling.passed_over() == ()
    skip.join(60)
    assert [s.seed for s in session.labelling.passed_over()] == [seeds[0]]


def test_what_was_never_on_the_card_was_not_passed_over(split_session, make_session):
    session, seeds = split_session, split_session.seeds_of("ct")
    asked = [Suggestion(f"u{s}", s, 0.5, "random", "r", 0.1, "m") for s in seeds[:4]]
    session.labelling.offer(asked, "ct")
    session.answer(1, [seeds[3], *seeds[10:15]])  # such as a lasso, while the first is on the card
    assert session.labelling.passed_over() == ()
    session.skip()
    session.previous()  # a look back leaves nothing
    session.skip()
    session.close()
    labelling = make_session(session.path).labelling
    assert [s.seed for s in labelling.passed_over()] == [seeds[0]]
    labelling.offer(asked, "ct")  # drawn again, it was not shown yet
    assert labelling.passed_over() == ()
