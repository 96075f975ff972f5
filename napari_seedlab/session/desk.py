"""One thread that owns the project, and the jobs that are under way.

Everything that touches the project runs on the desk's thread, in the order in which it was asked
for: commits never wait on the window, and the window never waits on a commit. A job's folder is
prepared there, and its result adopted there.
"""

from __future__ import annotations

import atexit
import itertools
import logging
import threading
import uuid
from concurrent.futures import Future
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from psygnal import Signal

from napari_seedlab.core import (
    JobCancelled,
    JobError,
    JobRequest,
    JobStatus,
    ProjectError,
    SeedlabError,
    WorkerLost,
    one_line,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_seedlab.core import JobResult
    from napari_seedlab.jobs import Runner
    from napari_seedlab.store import Project

T = TypeVar("T")
logger = logging.getLogger(__name__)
PATIENCE_S = 30.0  # for commits on a slow drive, when the project is closed
RUNNER_S = 1.5  # for the jobs to stop, when the project is closed; their processes end by themselves


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

    def follow(self, future: Future[dict[str, Any]]) -> None:
        """End as another task did."""
        if (error := future.exception()) is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(future.result())


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
        ``live``, ``background`` or ``export``.
    latest_only : bool
        Keep at most one job of this kind under way and one waiting; a newer request takes the
        place of the waiting one.
    about : str
        What a `latest_only` job is about (a pool, a slice): requests about something else do not
        take its place.
    resumable : bool
        Whether the folder of a job that was interrupted can be taken up again.
    shared : bool
        Whether a request with the same parameter ``reads`` as the newest one under way about the same is
        answered by that one.
    """

    kind: str
    function: str
    prepare: Callable[[Project, Path], dict[str, Any]]
    adopt: Callable[[Project, Path, JobRequest, JobResult], dict[str, Any]]
    lane: str = "live"
    latest_only: bool = False
    about: str = ""
    resumable: bool = False
    shared: bool = False

    @property
    def topic(self) -> str:
        """Kind, and the pool or slice that it is about."""
        return f"{self.kind} {self.about}"


class _Thread:
    """A thread that does one piece of work after the other until it is ended.

    It is a daemon, so that it also works while the interpreter ends, when executors refuse: whoever
    makes one has to end it at exit.
    """

    def __init__(self, name: str) -> None:
        self._queue: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._is_over = False
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], T]) -> Future[T] | None:
        """Queue `work`; the future tells its value or its error. None once the thread was ended."""
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(work())
            except BaseException as error:  # whoever asks the future is told
                future.set_exception(error)

        with self._lock:
            if self._is_over:
                return None
            self._queue.put(run)
        return future

    @property
    def is_here(self) -> bool:
        """Whether the caller runs on this thread."""
        return threading.current_thread() is self._thread

    def end(self, last: Callable[[], object], timeout: float) -> bool:
        """Do what is queued and what that work queues, then `last`; False when it takes longer."""

        def finish() -> None:
            with self._lock:
                self._is_over = self._queue.empty()
                self._queue.put(None if self._is_over else finish)
            if self._is_over:
                last()

        self._queue.put(finish)
        if self.is_here:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _serve(self) -> None:
        while (work := self._queue.get()) is not None:
            work()


@dataclass
class _Running:
    step: Step
    request: JobRequest
    folder: Path
    task: Task
    n_lost: int = 0  # workers that died over it
    is_cancelled: bool = False  # asked to stop, whether it did or not


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
        self._thread = _Thread("seedlab-store")
        self._numbers = itertools.count(1)
        self._running: dict[str, _Running] = {}
        self._waiting: dict[str, tuple[Step, Task]] = {}
        self._newest: dict[str, int] = {}
        self._elsewhere: dict[str, tuple[JobRequest, Callable[[], object]]] = {}
        self._closed = False
        atexit.register(self.close)
        runner.events.changed.connect(self._job_changed)

    def do(self, work: Callable[[Project], T]) -> Future[T]:
        """Run `work(project)` on the desk's thread, after what was asked before.

        Raises
        ------
        ProjectError
            The project was closed.
        """
        refused = self._closed and not self._thread.is_here
        future = None if refused else self._thread.submit(lambda: work(self._project))
        if future is None:
            raise self._is_closed()
        return future

    def _is_closed(self) -> ProjectError:
        return ProjectError(self._project.path.name, "is closed", "Open it again")

    def do_task(self, kind: str, work: Callable[[Project], dict[str, Any]]) -> Task:
        """As :meth:`do`, as a task whose failure is shown in one line."""
        task = Task(kind)
        return self._ask(task, lambda project: task.future.set_result(work(project)))

    def start(self, step: Step, folder: Path | None = None, request: JobRequest | None = None) -> Task:
        """Prepare and submit one job; `folder` and `request` take up one that was interrupted."""
        task = Task(step.kind)
        return self._ask(task, lambda p: self._submit(p, step, task, folder, request))

    def _ask(self, task: Task, work: Callable[[Project], None]) -> Task:
        refused = self._closed and not self._thread.is_here
        if refused or self._thread.submit(lambda: self._guarded(task, work)) is None:
            self._fail(task, self._is_closed())
        return task

    def _submit(
        self, project: Project, step: Step, task: Task, folder: Path | None, request: JobRequest | None
    ) -> None:
        if self._closed:
            raise JobCancelled(step.kind, "the project was closed")
        if step.latest_only and any(r.step.topic == step.topic for r in self._running.values()):
            _, older = self._waiting.pop(step.topic, (step, None))
            self._waiting[step.topic] = (step, task)
            if older is not None:
                older.future.set_exception(JobCancelled(step.kind, "a newer request took its place"))
            return
        number = next(self._numbers)
        if folder is None or request is None:
            request, folder = self._prepare(project, step, number)
            if step.shared and (twin := self._twin(step, request)) is not None:
                project.drop_job(request.id)
                task.job_id = twin.request.id
                twin.task.future.add_done_callback(task.follow)
                return
        else:
            request = replace(request, number=number)
        self._send(_Running(step, request, folder, task))
        task.job_id = request.id  # from now on the runner knows it

    def _prepare(self, project: Project, step: Step, number: int) -> tuple[JobRequest, Path]:
        job_id = f"{step.kind}-{number:06d}-{uuid.uuid4().hex[:8]}"
        folder = project.job_folder(job_id)
        try:
            params = step.prepare(project, folder)
        except BaseException:
            project.drop_job(job_id)
            raise
        return JobRequest(job_id, step.function, params, number, step.lane, self._random_state), folder

    def _twin(self, step: Step, request: JobRequest) -> _Running | None:
        """The newest job under way about the same, where it does the same: one before it may be overruled."""
        runs = [r for r in self._running.values() if r.step.topic == step.topic and not r.is_cancelled]
        is_same = bool(runs) and runs[-1].request.params["reads"] == request.params["reads"]
        return runs[-1] if is_same else None

    def _send(self, run: _Running) -> None:
        self._running[run.request.id] = run
        try:
            self.runner.submit(run.request, run.folder)
        except BaseException:
            self._running.pop(run.request.id, None)
            raise

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
            self._thread.submit(lambda: self._finish(status))
        else:
            self.status.emit(status)

    def _finish(self, status: JobStatus) -> None:
        run = self._running.pop(status.id, None)
        if run is None:
            return
        self._guarded(run.task, lambda project: self._adopt(project, run, status))
        if status.id not in self._running:  # unless it was sent once more
            self.status.emit(status)
        waiting = self._waiting.pop(run.step.topic, None)
        if waiting is not None:
            step, task = waiting
            self._guarded(task, lambda project: self._submit(project, step, task, None, None))

    def _adopt(self, project: Project, run: _Running, status: JobStatus) -> None:
        try:
            result = self.runner.wait(status.id, 60)  # final already: returns or raises at once
        except JobCancelled:
            project.drop_job(run.request.id)
            raise
        except WorkerLost:
            if run.step.topic in self._waiting:
                raise JobCancelled(run.step.kind, "a newer request took its place") from None
            if self._try_again(run):
                return
            if run.step.resumable:
                self.interrupted.emit(run.step.kind, str(run.folder))
            raise
        self._take_over(project, run.step, run.folder, run.request, result, run.task)

    def _try_again(self, run: _Running) -> bool:
        """Send a job whose newest result is wanted once more, where its worker died of another job."""
        if self._closed or not run.step.latest_only or run.n_lost:
            return False
        self._send(replace(run, n_lost=1))
        return True

    @staticmethod
    def _take_over(
        project: Project, step: Step, folder: Path, request: JobRequest, result: JobResult, task: Task
    ) -> None:
        values = step.adopt(project, folder, request, result)
        project.drop_job(request.id)
        task.future.set_result(values)

    def is_newest(self, what: str, request: JobRequest) -> bool:
        """Whether no result of a later request was taken over as `what`; asked when one is adopted."""
        if request.number < self._newest.get(what, 0):
            return False
        self._newest[what] = request.number
        return True

    def adopt_finished(self, step: Step, folder: Path, request: JobRequest, result: JobResult) -> Task:
        """Take over the result of a job that ended without us."""
        task = Task(step.kind)
        return self._ask(task, lambda p: self._take_over(p, step, folder, request, result, task))

    def watch_elsewhere(self, request: JobRequest, cancel: Callable[[], object]) -> None:
        """Count a job that another process computes as active; `cancel` asks that process to stop."""
        self._elsewhere[request.id] = (request, cancel)

    def forget_elsewhere(self, job_id: str) -> None:
        """No longer count a job of another process."""
        self._elsewhere.pop(job_id, None)

    @property
    def active(self) -> tuple[JobRequest, ...]:
        """Requests that have not ended, those that another process computes included."""
        here = [run.request for run in list(self._running.values())]
        return (*here, *(request for request, _ in list(self._elsewhere.values())))

    def cancel(self, job_id: str) -> None:
        """Ask a job to stop at its next step."""
        if job_id in self._elsewhere:
            self._elsewhere[job_id][1]()
            return
        if (run := self._running.get(job_id)) is not None:
            run.is_cancelled = True
        self.runner.cancel(job_id)

    def close(self, finish_in_background: tuple[str, ...] = ()) -> None:
        """Let commits finish, stop or hand over the jobs, close the project.

        May be called twice, on any thread, and while the interpreter ends. Of `finish_in_background`,
        those jobs go on that can be adopted later.
        """
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        running = list(self._running.values())
        keep = [r.request.id for r in running if r.step.resumable and r.request.id in finish_in_background]
        try:
            self.runner.close(keep, RUNNER_S)
        except Exception:  # the project is closed whatever the runner says
            logger.exception("the job runner did not close")
        if not self._thread.end(self._last, PATIENCE_S):
            logger.warning("%s is still being written", self._project.path.name)

    def _last(self) -> None:
        """End what is still open; on the desk's thread."""
        tasks = [*(run.task for run in self._running.values()), *(task for _, task in self._waiting.values())]
        for task in tasks:
            if not task.future.done():
                task.future.set_exception(JobCancelled(task.kind, "the project was closed"))
        try:
            self._project.close()
        except (SeedlabError, OSError):
            logger.exception("%s did not close", self._project.path.name)
