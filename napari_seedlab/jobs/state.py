"""The one place where a job's state may change.

The states and their arrows are drawn in :mod:`napari_seedlab.core.job`; this module alone decides
whether a step is allowed, and which steps lie between two states when reports arrive bundled.
"""

from __future__ import annotations

from napari_seedlab.core import TRANSITIONS, JobState

_ORDER = (JobState.QUEUED, JobState.STARTING, JobState.RUNNING, JobState.COMPLETED)


def is_allowed(old: JobState, new: JobState) -> bool:
    """Whether `new` may follow `old` directly."""
    return new in TRANSITIONS[old]


def route(old: JobState, new: JobState) -> tuple[JobState, ...]:
    """The states to pass after `old` to arrive at `new`; empty when there is no way.

    A worker that starts, runs and ends a job between two reports is heard of only once: the
    states in between are then passed in order, so that every listener sees legal steps only.

    Parameters
    ----------
    old : JobState
        Present state.
    new : JobState
        State that was reported.

    Returns
    -------
    tuple of JobState
        Each one allowed after the one before; the last is `new`.

    Examples
    --------
    >>> [str(s) for s in route(JobState.QUEUED, JobState.COMPLETED)]
    ['starting', 'running', 'completed']
    """
    if is_allowed(old, new):
        return (new,)
    if old in _ORDER and new in _ORDER and _ORDER.index(old) < _ORDER.index(new):
        return _ORDER[_ORDER.index(old) + 1 : _ORDER.index(new) + 1]
    if new is JobState.CANCELLED and not old.is_final:
        return (JobState.CANCELLING, JobState.CANCELLED)
    return ()
