"""One thread that owns the project, and the jobs that are under way.

Everything that touches the project runs on the desk's thread, in the order in which it was asked
for: commits never wait on the window, and the window never waits on a commit. A job's folder is
prepared there, and its result adopted there.
"""

from __future__ import annotations

import itertools
import logging
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from psygnal import Signal

from napari_seedlab.core import (
    JobCancelled,
    JobError,
    JobRequest,
    JobStatus,
    SeedlabError,
    one_line,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_seedlab.core import JobResult, JobStatus
    from napari_seedlab.jobs import Runner
    from napari_seedlab.store import Project

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Task:
    """Something the user asked for that goes on in the background; `wait` gives its values."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.job_id = ""
        self.future: Future[dict[str, Any]] = Future()

    def wait(self, timeout: float | None = None) -> dict[str, Any]:
        """Block until done and return plain values; raises the one-line error of a failure."""
        return self.future.result(timeout)

    def then(self, follow: Callable[[dict[str, Any]], object]) -> Task:
        """Call `follow(values)` on the desk's thread when the task succeeds."""

        def done(future: Future[dict[str, Any]]) -> None:
            if future.exception() is None:
                follow(future.result())

        self.future.add_done_callback(done)
        return self


@dataclass(frozen=True)
class Step:
    """How one kind of job is prepared and adopted.

    Attributes
    ----------
    kind : str
        First part of the job's id; the key under which results are adopted, also after a restart.
    function : str
        ``module:function`` of the job.
    prepare : callable
        ``(project, folder) -> params``: writes the input arrays; runs on the desk's thread.
    adopt : callable
        ``(project, folder, request, result) -> values``: takes the result over; the same thread.
    lane : str
        ``live`` or ``background``.
    latest_only : bool
        Keep at most one job of this kind under way and one waiting; a newer request takes the
        place of the waiting one.
    resumable : bool
        Whether the folder of a job that was interrupted can be taken up again.
    """

    kind: str
    function: str
    prepare: Callable[[Project, Path], dict[str, Any]]
    adopt: Callable[[Project, Path, JobRequest, JobResult], dict[str, Any]]
    lane: str = "live"
    latest_only: bool = False
    resumable: bool = False


@dataclass
class _Running:
    step: Step
    request: JobRequest
    folder: Path
    task: Task


class Desk:
    """The project's thread and the jobs under way.

    Parameters
    ----------
    project : Project
        Opened by the caller; used on the desk's thread only from now on.
    runner : Runner
    random_state : int
        Handed to every job.

    Signals
    -------
    status : JobStatus
        Of every job, on any thread.
    failed : str
        One line for each action that failed, on the desk's thread.
    interrupted : str, str
        Kind and folder of a job that ended too early and can be taken up again.
    """

    status = Signal(object)
    failed = Signal(str)
    interrupted = Signal(str, str)

    def __init__(self, project: Project, runner: Runner, random_state: int = 0) -> None:
        self._project, self.runner = project, runner
        self._random_state = random_state
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="seedlab-store")
        self._numbers = itertools.count(1)
        self._running: dict[str, _Running] = {}
        self._waiting: dict[str, tuple[Step, Task]] = {}
        self._closed = False
        runner.events.changed.connect(self._job_changed)

    def do(self, work: Callable[[Project], T]) -> Future[T]:
        """Run `work(project)` on the desk's thread, after what was asked before."""
        return self._thread.submit(work, self._project)

    def do_task(self, kind: str, work: Callable[[Project], dict[str, Any]]) -> Task:
        """As :meth:`do`, as a task whose failure is shown in one line."""
        task = Task(kind)
        self._thread.submit(self._guarded, task, lambda project: task.future.set_result(work(project)))
        return task

    def start(self, step: Step, folder: Path | None = None, request: JobRequest | None = None) -> Task:
        """Prepare and submit one job; `folder` and `request` take up one that was interrupted."""
        task = Task(step.kind)
        self._thread.submit(self._guarded, task, lambda p: self._submit(p, step, task, folder, request))
        return task

    def _submit(
        self, project: Project, step: Step, task: Task, folder: Path | None, request: JobRequest | None
    ) -> None:
        if step.latest_only and any(r.step.kind == step.kind for r in self._running.values()):
            _, older = self._waiting.pop(step.kind, (step, None))
            self._waiting[step.kind] = (step, task)
            if older is not None:
                older.future.set_exception(JobCancelled(step.kind, "a newer request took its place"))
            return
        number = next(self._numbers)
        if folder is None or request is None:
            job_id = f"{step.kind}-{number:06d}-{uuid.uuid4().hex[:8]}"
            folder = project.job_folder(job_id)
            params = step.prepare(project, folder)
            request = JobRequest(job_id, step.function, params, number, step.lane, self._random_state)
        else:
            request = replace(request, number=number)
        task.job_id = request.id
        self._running[request.id] = _Running(step, request, folder, task)
        self.runner.submit(request, folder)

    def _guarded(self, task: Task, work: Callable[[Project], None]) -> None:
        """Run `work`; a failure ends the task and is told in one line."""
        try:
            work(self._project)
        except SeedlabError as error:
            self._fail(task, error)
        except Exception as error:  # the boundary between the window and background work
            logger.exception("%s failed", task.kind)
            self._fail(task, JobError(task.kind, one_line(f"{type(error).__name__}: {error}")))

    def _fail(self, task: Task, error: SeedlabError) -> None:
        if not task.future.done():
            task.future.set_exception(error)
        if not isinstance(error, JobCancelled):
            self.failed.emit(str(error))

    def _job_changed(self, status: JobStatus) -> None:
        if status.state.is_final and not self._closed and status.id in self._running:
            self._thread.submit(self._finish, status)
        else:
            self.status.emit(status)

    def _finish(self, status: JobStatus) -> None:
        run = self._running.pop(status.id, None)
        if run is None:
            return
        self._guarded(run.task, lambda project: self._adopt(project, run, status))
        self.status.emit(status)
        waiting = self._waiting.pop(run.step.kind, None)
        if waiting is not None:
            step, task = waiting
            self._guarded(task, lambda project: self._submit(project, step, task, None, None))

    def _adopt(self, project: Project, run: _Running, status: JobStatus) -> None:
        try:
            result = self.runner.wait(status.id, 60)  # final already: returns or raises at once
        except JobCancelled:
            project.drop_job(run.request.id)
            raise
        except JobError:
            if run.step.resumable:
                self.interrupted.emit(run.step.kind, str(run.folder))
            raise
        self._take_over(project, run.step, run.folder, run.request, result, run.task)

    @staticmethod
    def _take_over(
        project: Project, step: Step, folder: Path, request: JobRequest, result: JobResult, task: Task
    ) -> None:
        values = step.adopt(project, folder, request, result)
        project.drop_job(request.id)
        task.future.set_result(values)

    def adopt_finished(self, step: Step, folder: Path, request: JobRequest, result: JobResult) -> Task:
        """Take over the result of a job that ended without us."""
        task = Task(step.kind)
        self._thread.submit(
            self._guarded, task, lambda p: self._take_over(p, step, folder, request, result, task)
        )
        return task

    @property
    def active(self) -> tuple[JobRequest, ...]:
        """Requests that have not ended."""
        return tuple(run.request for run in list(self._running.values()))

    def cancel(self, job_id: str) -> None:
        """Ask a job to stop at its next step."""
        self.runner.cancel(job_id)

    def close(self, finish_in_background: tuple[str, ...] = ()) -> None:
        """Let commits finish, stop or hand over the jobs, close the project."""
        if self._closed:
            return
        self._closed = True
        self.runner.close(finish_in_background)
        for run in list(self._running.values()):
            if not run.task.future.done():
                run.task.future.set_exception(JobCancelled(run.step.kind, "the project was closed"))
        self._thread.submit(self._project.close)
        self._thread.shutdown(wait=True)
