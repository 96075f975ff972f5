"""A runner in this process: one thread per lane."""

from __future__ import annotations

import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING

from napari_seedlab.core import (
    JobCancelled,
    JobError,
    JobRequest,
    JobResult,
    JobState,
    JobStatus,
    NotReady,
    SeedlabError,
    one_line,
)
from napari_seedlab.jobs import folder as job_folder
from napari_seedlab.jobs.book import JobBook
from napari_seedlab.jobs.detached import run_detached
from napari_seedlab.jobs.execute import execute
from napari_seedlab.jobs.runner import JobEvents

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_DEVICE = "this process"


class InlineRunner:
    """Runs jobs in threads of this process, for the command and for tests.

    Heavy modules are loaded here, so a program with a window uses
    :class:`~napari_seedlab.jobs.ClusterRunner`.

    Examples
    --------
    >>> import tempfile
    >>> from napari_seedlab.core import JobRequest
    >>> runner = InlineRunner()
    >>> runner.submit(JobRequest("1", "napari_seedlab.jobs.echo:run", {"a": 2}), Path(tempfile.mkdtemp()))
    >>> runner.wait("1", timeout=10).values
    {'a': 2}
    >>> runner.close()
    """

    def __init__(self) -> None:
        self.events = JobEvents()
        self._book = JobBook(self.events.changed.emit)
        self._lanes: dict[str, SimpleQueue[str | None]] = {}
        self._threads: list[threading.Thread] = []
        self._stops: dict[str, threading.Event] = {}
        self._lock = threading.Lock()
        self._is_closed = False

    def start(self) -> None:
        """Nothing to prepare."""

    def submit(self, request: JobRequest, folder: Path) -> None:
        """Queue a job in its lane."""
        with self._lock:
            if self._is_closed:
                raise NotReady("job runner", "is closed", "Open the project again")
            self._book.add(request, folder)
            self._stops[request.id] = threading.Event()
            try:
                job_folder.prepare(request, folder)
            except (SeedlabError, OSError) as error:  # a full disk, a drive that is gone
                cause = one_line(error)
                self._book.fail(request.id, JobError(f"job {request.id}", cause, "Check the project's drive"))
                return
            self._lane(request.lane).put(request.id)

    def cancel(self, job_id: str) -> None:
        """Stop a job at its next step; a queued one at once."""
        if self._book.status(job_id).state is JobState.QUEUED:
            self._book.fail(job_id, JobCancelled(f"job {job_id}", "was cancelled"))
        elif self._book.move(job_id, JobState.CANCELLING):
            job_folder.request_cancel(self._book.folder(job_id))
        self._stops[job_id].set()

    def status(self, job_id: str) -> JobStatus:
        """The present state of a job."""
        return self._book.status(job_id)

    def result(self, job_id: str) -> JobResult:
        """The result of a completed job."""
        return self._book.result(job_id)

    def wait(self, job_id: str, timeout: float | None = None) -> JobResult:
        """Block until the job ends."""
        return self._book.wait(job_id, timeout)

    def is_stale(self, job_id: str) -> bool:
        """Whether a later request for the same function was submitted."""
        return self._book.is_stale(job_id)

    def close(self, finish_in_background: Sequence[str] = (), timeout: float = 2.0) -> None:
        """Stop all jobs at their next step and end the threads."""
        with self._lock:
            self._is_closed = True
            left = self._book.unfinished()
            for job_id in left:
                self._stops[job_id].set()
            for lane in self._lanes.values():
                lane.put(None)
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        for job_id in left:
            if job_id in finish_in_background and self._book.status(job_id).state is JobState.CANCELLED:
                run_detached(self._book.folder(job_id))

    def _lane(self, name: str) -> SimpleQueue[str | None]:
        if name not in self._lanes:
            self._lanes[name] = SimpleQueue()
            thread = threading.Thread(
                target=self._serve, args=(self._lanes[name],), name=f"seedlab-{name}", daemon=True
            )
            self._threads.append(thread)
            thread.start()
        return self._lanes[name]

    def _serve(self, lane: SimpleQueue[str | None]) -> None:
        while (job_id := lane.get()) is not None:
            self._run(job_id)

    def _run(self, job_id: str) -> None:
        if not self._book.move(job_id, JobState.STARTING, _DEVICE):
            return  # cancelled while queued
        folder = self._book.folder(job_id)
        self._book.move(job_id, JobState.RUNNING)
        try:
            result = execute(folder, lambda p: self._book.progress(job_id, p), self._stops[job_id].is_set)
        except JobError as error:
            self._book.fail(job_id, error, job_folder.log_path(folder))
        except (SeedlabError, OSError) as error:  # the folder itself is out of reach
            self._book.fail(job_id, JobError(f"job {job_id}", str(error), "Check the project's drive"))
        else:
            self._book.complete(job_id, result)
