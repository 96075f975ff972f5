"""What runs in a worker process; imported there and in the cluster host, never in the app."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distributed import Scheduler, Worker, WorkerPlugin, get_worker

from napari_seedlab.core import JobError, one_line
from napari_seedlab.jobs import folder as job_folder
from napari_seedlab.jobs import progress as job_progress
from napari_seedlab.jobs.execute import execute
from napari_seedlab.jobs.warm import warm_up

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_stopped: set[str] = set()
_facts: dict[str, Any] = {}


class SilentScheduler(Scheduler):
    """A scheduler without the HTTP server: nobody can ask it anything without its certificate."""

    def start_http_server(self, *args: object, **kwargs: object) -> None:
        """Open no port."""


class SilentWorker(Worker):
    """A worker without the HTTP server."""

    def start_http_server(self, *args: object, **kwargs: object) -> None:
        """Open no port."""


class WarmUp(WorkerPlugin):
    """Warms each new worker in a thread of its own, so that no lane waits for it.

    Parameters
    ----------
    names : sequence of str
        See :func:`~napari_seedlab.jobs.warm.warm_up`.
    topic : str
        Where the facts are reported.
    """

    name = "seedlab-warm-up"

    def __init__(self, names: Sequence[str], topic: str) -> None:
        self._names, self._topic = tuple(names), topic

    def setup(self, worker: Worker) -> None:
        """Start the thread."""
        threading.Thread(target=self._warm, args=(worker,), name="seedlab-warm-up", daemon=True).start()

    def _warm(self, worker: Worker) -> None:
        begun = time.perf_counter()
        _facts.update(warm_up(self._names), total_seconds=round(time.perf_counter() - begun, 2))
        worker.log_event(self._topic, {"op": "warm", "facts": dict(_facts)})


def run_job(folder: str, token: str, topic: str) -> dict[str, Any]:
    """Compute a job folder in a worker's thread and report it under `topic`.

    Parameters
    ----------
    folder : str
        The job folder, on a path that this worker sees.
    token : str
        Names this submission; :func:`stop` uses it.
    topic : str
        Events: ``started`` with the device, ``progress`` at most ten times a second.

    Returns
    -------
    dict
        ``{"op": "completed"}``, or ``failed`` with the parts of the error. Nothing foreign passes
        through the scheduler's pickles.
    """
    report = _reporter(token, topic)
    report("started", device=device_line())
    path = Path(folder)
    try:
        execute(
            path, lambda p: report("progress", progress=job_progress.to_json(p)), lambda: token in _stopped
        )
    except JobError as error:
        return {"op": "failed", "error": job_folder.failure_json(error, job_folder.log_path(path))}
    except OSError as error:  # the folder itself is out of reach
        lost = JobError(f"job {path.name}", one_line(error), "Check the project's drive")
        return {"op": "failed", "error": job_folder.failure_json(lost)}
    finally:
        _stopped.discard(token)
    return {"op": "completed"}


def _reporter(token: str, topic: str) -> Callable[..., None]:
    worker = get_worker()

    def report(op: str, **parts: object) -> None:
        worker.log_event(topic, {"op": op, "token": token, **parts})

    return report


def device_line() -> str:
    """Device and precision for showing; ``cpu`` until the probe has run."""
    name = _facts.get("device_name", "")
    precision = _facts.get("precision", "")
    return ", ".join(t for t in (_facts.get("device", "cpu"), name, precision) if t)


def stop(tokens: Sequence[str]) -> None:
    """Make the named submissions stop at their next step; called on each worker."""
    _stopped.update(tokens)


def sees(folder: str, name: str, content: str) -> bool:
    """Whether this worker reads `content` in a file of the job folder: is the path really shared."""
    try:
        return (Path(folder) / name).read_text() == content
    except OSError:
        return False
