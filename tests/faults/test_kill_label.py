import pytest
from kill_label import CONTROLS, make_project, run_session_trials, run_trials
from session_driver import make_project as make_session_project


def check(tmp_path, trials, random_state):
    make_project(tmp_path / "P.seedlab")
    tally = run_trials(tmp_path / "P.seedlab", trials, random_state)
    assert tally.acks > trials, "the driver acknowledged too little for the trials to mean anything"
    assert tally.is_clean, tally


def check_session(tmp_path, trials, random_state):
    make_session_project(tmp_path / "P.seedlab")
    tally = run_session_trials(tmp_path / "P.seedlab", trials, random_state)
    assert tally.acks > trials and tally.trainings >= trials // 2, "too little was under way"
    assert tally.is_clean, tally
    return tally


def test_nothing_acknowledged_is_lost_in_6_kills(tmp_path):
    check(tmp_path, 6, random_state=0)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_acknowledged_is_lost_in_40_kills(tmp_path):
    check(tmp_path, 40, random_state=1)


def test_4_kills_of_a_session_that_trains_lose_nothing_and_leave_no_process(tmp_path):
    check_session(tmp_path, 4, random_state=0)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_40_kills_of_a_session_that_trains_lose_nothing_and_leave_no_process(tmp_path):
    assert check_session(tmp_path, 40, random_state=1).adopted > 0


@pytest.mark.parametrize("kind", CONTROLS)
def test_saving_in_place_is_caught(tmp_path, kind):
    tally = run_trials(tmp_path, 4, random_state=0, control=kind)
    assert tally.lost + tally.unreadable > 0


def test_a_process_that_is_left_is_caught(tmp_path):
    make_session_project(tmp_path / "P.seedlab")
    tally = run_session_trials(tmp_path / "P.seedlab", 1, random_state=0, control="orphan")
    assert tally.orphans == 1 and not tally.is_clean
