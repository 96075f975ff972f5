import pytest
from kill_label import CONTROLS, make_project, run_trials


def check(tmp_path, trials, random_state):
    make_project(tmp_path / "P.seedlab")
    tally = run_trials(tmp_path / "P.seedlab", trials, random_state)
    assert tally.acks > trials, "the driver acknowledged too little for the trials to mean anything"
    assert tally.is_clean, tally


def test_nothing_acknowledged_is_lost_in_6_kills(tmp_path):
    check(tmp_path, 6, random_state=0)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_acknowledged_is_lost_in_40_kills(tmp_path):
    check(tmp_path, 40, random_state=1)


@pytest.mark.parametrize("kind", CONTROLS)
def test_saving_in_place_is_caught(tmp_path, kind):
    tally = run_trials(tmp_path, 4, random_state=0, control=kind)
    assert tally.lost + tally.unreadable > 0
