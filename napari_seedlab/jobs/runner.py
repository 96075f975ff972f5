"""What every job runner offers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from psygnal import Signal

from napari_seedlab.core import JobRequest, JobResult, JobStatus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class JobEvents:
    """Signals of a runner, emitted from any thread."""

    changed = Signal(JobStatus)


class Runner(Protocol):
    """Runs jobs that are folders, one at a time per lane, and tells their states.

    All methods return at once, except :meth:`wait`, and :meth:`close` within its timeout.
    """

    @property
    def events(self) -> JobEvents:
        """The signals; connect ``events.changed``."""

    def start(self) -> None:
        """Get ready in the background."""

    def submit(self, request: JobRequest, folder: Path) -> None:
        """Queue a job; ``request.json`` is written into `folder` if missing."""

    def cancel(self, job_id: str) -> None:
        """Ask a job to stop at its next step; a second call does nothing."""

    def status(self, job_id: str) -> JobStatus:
        """The present state; InputError for an unknown job."""

    def result(self, job_id: str) -> JobResult:
        """The result of a completed job; raises like :meth:`wait` otherwise."""

    def wait(self, job_id: str, timeout: float | None = None) -> JobResult:
        """Block until the job ends.

        Raises
        ------
        JobError
            The job failed; `JobCancelled` or `WorkerLost` where that is the reason.
        TimeoutError
            It has not ended within `timeout` seconds.
        """

    def is_stale(self, job_id: str) -> bool:
        """Whether a later request for the same function was submitted."""

    def close(self, finish_in_background: Sequence[str] = (), timeout: float = 2.0) -> None:
        """Stop everything; the named jobs go on from their checkpoint in a process of their own."""
