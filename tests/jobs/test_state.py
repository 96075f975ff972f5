import itertools

import pytest

from napari_seedlab.core import TRANSITIONS, JobState
from napari_seedlab.jobs.state import is_allowed, route


@pytest.mark.parametrize(("old", "new"), list(itertools.product(JobState, JobState)))
def test_every_route_is_made_of_legal_steps_to_the_asked_state(old, new):
    steps = route(old, new)
    for a, b in itertools.pairwise((old, *steps)):
        assert b in TRANSITIONS[a]
    assert not steps or steps[-1] is new


@pytest.mark.parametrize("final", [s for s in JobState if s.is_final])
def test_nothing_follows_a_final_state(final):
    assert all(route(final, new) == () for new in JobState)


def test_a_bundled_report_passes_the_states_between():
    assert route(JobState.QUEUED, JobState.COMPLETED) == (
        JobState.STARTING,
        JobState.RUNNING,
        JobState.COMPLETED,
    )
    assert route(JobState.RUNNING, JobState.CANCELLED) == (JobState.CANCELLING, JobState.CANCELLED)
    assert route(JobState.RUNNING, JobState.STARTING) == ()


def test_is_allowed_reads_the_table():
    assert is_allowed(JobState.QUEUED, JobState.STARTING)
    assert not is_allowed(JobState.QUEUED, JobState.RUNNING)
