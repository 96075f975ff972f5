"""The runner's book: one entry per job, changed by any thread, announced in order."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from napari_seedlab.core import (
    InputError,
    JobCancelled,
    JobError,
    JobRequest,
    JobResult,
    JobState,
    JobStatus,
    NotReady,
    Progress,
    one_line,
)
from napari_seedlab.jobs.progress import TimeLeft
from napari_seedlab.jobs.state import route

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_logger = logging.getLogger(__name__)


@dataclass
class _Entry:
    request: JobRequest
    folder: Path
    status: JobStatus
    begun: float
    error: JobError | None = None
    result: JobResult | None = None
    time_left: TimeLeft = field(default_factory=TimeLeft)
    announced: threading.Event = field(default_factory=threading.Event)


class JobBook:
    """States and results of all jobs of one runner.

    The lock is never held while a listener runs; changes are announced in the order in which they
    were made, by whichever thread finds the outbox free.

    Parameters
    ----------
    announce : callable
        Receives each new :class:`JobStatus`.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self, announce: Callable[[JobStatus], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._announce, self._clock = announce, clock
        self._entries: dict[str, _Entry] = {}
        self._newest: dict[str, int] = {}
        self._lock = threading.Lock()
        self._outbox: deque[JobStatus] = deque()
        self._emitting = threading.Lock()
        self._emitter = 0

    def add(self, request: JobRequest, folder: Path) -> None:
        """Enter a queued job; one that has ended may be entered again.

        Raises
        ------
        InputError
            A job of this id has not ended.
        """
        with self._lock:
            old = self._entries.get(request.id)
            if old is not None and not old.status.state.is_final:
                raise InputError(f"job {request.id}", "is already running", "Wait for it or cancel it")
            status = JobStatus(request.id, request.function, request.number, JobState.QUEUED)
            self._entries[request.id] = _Entry(request, folder, status, self._clock())
            newest = self._newest.get(request.function, request.number)
            self._newest[request.function] = max(newest, request.number)
            self._outbox.append(status)
        self._drain()

    def move(self, job_id: str, state: JobState, device: str = "") -> bool:
        """Bring a job to `state`; False, and nothing happens, when its state forbids it."""
        with self._lock:
            moved = self._step(self._entry(job_id), state, device=device)
        self._drain()
        return moved

    def progress(self, job_id: str, progress: Progress) -> None:
        """Note the progress of a job that has not ended; it is running then, unless it is cancelling."""
        with self._lock:
            entry = self._entry(job_id)
            if entry.status.state in (JobState.QUEUED, JobState.STARTING):
                self._step(entry, JobState.RUNNING)
            if not entry.status.state.is_final:
                seconds = self._clock() - entry.begun
                left = entry.time_left(seconds, progress.done, progress.total)
                self._set(entry, replace(entry.status, progress=progress, seconds=seconds, seconds_left=left))
        self._drain()

    def complete(self, job_id: str, result: JobResult) -> None:
        """End a job with a result."""
        with self._lock:
            entry = self._entry(job_id)
            if not entry.status.state.is_final:
                entry.result = result
                self._step(entry, JobState.COMPLETED)
        self._drain()

    def fail(self, job_id: str, error: JobError, log_path: str = "") -> None:
        """End a job with an error; :class:`JobCancelled` makes it cancelled."""
        with self._lock:
            entry = self._entry(job_id)
            if not entry.status.state.is_final:
                entry.error = error
                if isinstance(error, JobCancelled):
                    self._step(entry, JobState.CANCELLED)
                else:
                    self._step(entry, JobState.FAILED, error=str(error), log_path=log_path)
        self._drain()

    def status(self, job_id: str) -> JobStatus:
        """The present snapshot."""
        with self._lock:
            return self._entry(job_id).status

    def folder(self, job_id: str) -> Path:
        """Folder of a job."""
        with self._lock:
            return self._entry(job_id).folder

    def result(self, job_id: str) -> JobResult:
        """The result; raises the job's error, or NotReady before the end."""
        with self._lock:
            entry = self._entry(job_id)
            if entry.error is not None:
                raise entry.error
            if entry.result is None:
                raise NotReady(f"job {job_id}", "has not ended", "Wait for it")
            return entry.result

    def wait(self, job_id: str, timeout: float | None) -> JobResult:
        """Block until the end of a job was announced, then return as :meth:`result` does."""
        with self._lock:
            entry = self._entry(job_id)
        told_here = self._emitter == threading.get_ident() and entry.status.state.is_final
        if not told_here and not entry.announced.wait(timeout):
            raise TimeoutError(f"job {job_id} has not ended after {timeout} s")
        return self.result(job_id)

    def unfinished(self) -> tuple[str, ...]:
        """Ids of the jobs that have not ended, in order of entry."""
        with self._lock:
            return tuple(i for i, e in self._entries.items() if not e.status.state.is_final)

    def is_stale(self, job_id: str) -> bool:
        """Whether a later request for the same function was entered."""
        with self._lock:
            request = self._entry(job_id).request
            return request.number < self._newest[request.function]

    def _entry(self, job_id: str) -> _Entry:
        if job_id not in self._entries:
            raise InputError(f"job {job_id}", "is not known here", "Submit it first")
        return self._entries[job_id]

    def _step(
        self, entry: _Entry, state: JobState, error: str = "", log_path: str = "", device: str = ""
    ) -> bool:
        steps = route(entry.status.state, state)
        for step in steps:
            self._set(
                entry,
                replace(
                    entry.status,
                    state=step,
                    seconds=self._clock() - entry.begun,
                    seconds_left=None if step.is_final else entry.status.seconds_left,
                    error=error,
                    log_path=log_path,
                    device=device or entry.status.device,
                ),
            )
        return bool(steps)

    def _set(self, entry: _Entry, status: JobStatus) -> None:
        entry.status = status
        self._outbox.append(status)

    def _drain(self) -> None:
        while self._outbox and self._emitting.acquire(blocking=False):
            self._emitter = threading.get_ident()
            try:
                self._tell_all()
            finally:
                self._emitter = 0
                self._emitting.release()

    def _tell_all(self) -> None:
        while self._outbox:
            status = self._outbox.popleft()
            try:
                self._announce(status)
            except Exception as error:  # a listener's fault must not end the runner's thread
                _logger.warning("A listener failed on job %s: %s", status.id, one_line(error))
            if status.state.is_final:
                self._entries[status.id].announced.set()
