"""Tools for the tests of jobs."""

from __future__ import annotations

import time
from collections.abc import Callable

from napari_seedlab.core import JobRequest, JobStatus


def request(job_id: str, function: str, lane: str = "live", number: int = 0, **params: object) -> JobRequest:
    """A request for a function of ``tests/jobs/toy.py``."""
    return JobRequest(job_id, f"tests.jobs.toy:{function}", params, number, lane)


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Return when a condition holds; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not after {seconds} s"
        time.sleep(0.005)


class Watch:
    """Collects the states that a runner announces."""

    def __init__(self, runner) -> None:
        self.seen: list[JobStatus] = []
        runner.events.changed.connect(self.seen.append)

    def of(self, job_id: str) -> list[JobStatus]:
        """Announcements of one job."""
        return [s for s in self.seen if s.id == job_id]

    def states(self, job_id: str) -> list[str]:
        """States of one job, repetitions left out."""
        states = [str(s.state) for s in self.of(job_id)]
        return [s for i, s in enumerate(states) if i == 0 or states[i - 1] != s]
