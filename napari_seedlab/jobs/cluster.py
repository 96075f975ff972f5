"""The runner of the app: dask.distributed in processes beside it."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from napari_seedlab.core import (
    JobError,
    JobRequest,
    JobResult,
    JobState,
    JobStatus,
    NotReady,
    SeedlabError,
    Settings,
    WorkerLost,
    one_line,
)
from napari_seedlab.jobs import folder as job_folder
from napari_seedlab.jobs import progress as job_progress
from napari_seedlab.jobs.book import JobBook
from napari_seedlab.jobs.link import Link, Message
from napari_seedlab.jobs.runner import JobEvents
from napari_seedlab.jobs.warm import WARM_UP

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class ClusterRunner:
    """Runs jobs in a warm worker process, or on a running scheduler that the settings name.

    Three processes: this one, a host with scheduler and client, and the worker with three threads, one for
    each of the lanes ``live``, ``background`` and ``export``. The host ends with this process, however
    this one ends, and the worker ends with the host.

    Parameters
    ----------
    settings : Settings, optional
        ``scheduler`` and ``memory_limit_gb`` are used.
    warm_up : sequence of str
        Modules and functions that the worker loads before they are needed.

    Notes
    -----
    ``events.changed`` is emitted from a thread of the runner. No method waits, except :meth:`wait`,
    :meth:`wait_ready` and :meth:`close`.
    """

    def __init__(self, settings: Settings | None = None, warm_up: Sequence[str] = WARM_UP) -> None:
        self._settings = settings or Settings()
        self._warm_up = tuple(warm_up)
        self.events = JobEvents()
        self._book = JobBook(self.events.changed.emit)
        self._lock = threading.Lock()
        self._link: Link | None = None
        self._ready = threading.Event()
        self._warm = threading.Event()
        self._facts: dict[str, Any] = {}
        self._is_closed = False

    def start(self) -> None:
        """Start the processes in the background; returns at once."""
        with self._lock:
            self._linked()

    def submit(self, request: JobRequest, folder: Path) -> None:
        """Queue a job; the folder is prepared by the host."""
        with self._lock:
            link = self._linked()
            self._book.add(request, folder)
            link.send({"op": "submit", "request": request.to_json(), "folder": str(folder.resolve())})

    def cancel(self, job_id: str) -> None:
        """Ask a job to stop at its next step."""
        if self._book.move(job_id, JobState.CANCELLING) and self._link is not None:
            self._link.send({"op": "cancel", "id": job_id})

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

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Block until the scheduler runs (its worker may still be warming up)."""
        return self._ready.wait(timeout)

    def wait_warm(self, timeout: float | None = None) -> bool:
        """Block until the worker has loaded what it needs."""
        return self._warm.wait(timeout)

    @property
    def facts(self) -> Mapping[str, Any]:
        """Device, precision, threads and load times that the worker found; empty before."""
        return dict(self._facts)

    @property
    def host_pid(self) -> int:
        """Process id of the host, 0 while there is none."""
        link = self._link
        return link.process.pid if link is not None and link.process is not None else 0

    def close(self, finish_in_background: Sequence[str] = (), timeout: float = 2.0) -> None:
        """Stop all jobs at their next step and end the processes.

        Parameters
        ----------
        finish_in_background : sequence of str
            Jobs that go on from their checkpoint in a process of their own; see
            :func:`~napari_seedlab.jobs.adopt`.
        timeout : float
            Seconds to wait. With 0 the call returns at once and the host ends by itself, within
            some seconds; use that from a window.
        """
        with self._lock:
            self._is_closed = True
            link, self._link = self._link, None
        if link is None:
            return
        for job_id in set(finish_in_background).intersection(self._book.unfinished()):
            with suppress(OSError):  # a full disk must not hold the window open
                job_folder.hand_over(self._book.folder(job_id))
        link.send({"op": "close", "finish": list(finish_in_background)})
        link.end()
        if timeout > 0:
            link.join(timeout)

    def _linked(self) -> Link:
        """The link to a living host; the caller holds the lock."""
        if self._is_closed:
            raise NotReady("job runner", "is closed", "Open the project again")
        if self._link is None:
            config = {
                "scheduler": self._settings.scheduler,
                "memory_limit": int(self._settings.memory_limit_gb * 1e9),
                "warm_up": list(self._warm_up),
            }
            self._ready.clear()
            self._link = Link(config, self._on_message, self._on_end)
            self._link.start()
        return self._link

    def _on_message(self, message: Message) -> None:
        op, job_id = message["op"], message.get("id", "")
        if op == "progress":
            self._book.progress(job_id, job_progress.from_json(message["progress"]))
        elif op == "started":
            self._book.move(job_id, JobState.STARTING, message["device"])
        elif op == "completed":
            self._complete(job_id)
        elif op == "failed":
            error = job_folder.error_from_json(message["error"])
            self._book.fail(job_id, error, message["error"]["log_path"])
        elif op == "warm":
            self._facts = message["facts"]
            self._warm.set()
        elif op == "ready":
            self._ready.set()

    def _complete(self, job_id: str) -> None:
        try:  # the host has compared the hashes
            self._book.complete(job_id, job_folder.read_result(self._book.folder(job_id), verify=False))
        except (SeedlabError, OSError) as error:
            self._book.fail(job_id, JobError(f"job {job_id}", one_line(error), "Run the job again"))

    def _on_end(self, line: str) -> None:
        """Fail what the host left open; the next submit starts a new one."""
        with self._lock:
            is_expected = self._is_closed
            self._link = None
        cause = "the app closed it" if is_expected else f"the job process ended ({line or 'no reason given'})"
        for job_id in self._book.unfinished():
            remedy = "Start it again: it goes on from its last checkpoint"
            self._book.fail(job_id, WorkerLost(f"job {job_id}", cause[:110], remedy))
