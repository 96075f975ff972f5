"""Jobs that outlive the app, and what became of a job folder that nobody watches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from napari_seedlab.core import (
    JobCancelled,
    JobError,
    JobResult,
    JobState,
    JobStatus,
    Progress,
    SeedlabError,
)
from napari_seedlab.files import read_json, write_json
from napari_seedlab.jobs import folder as job_folder
from napari_seedlab.jobs import progress as job_progress
from napari_seedlab.jobs.execute import execute

if TYPE_CHECKING:
    from pathlib import Path

NOTE_PERIOD = 1.0  # seconds between two writes of progress.json
_LOCK_PATIENCE, _LOCK_POLL = 0.3, 0.02  # seconds

# Starts the real process in a session of its own and leaves at once, so that init adopts it: no zombie,
# no tie to the terminal or to the caller.
_STARTER = """
import json, os, subprocess, sys
fds = json.loads(sys.argv[1])
options = {"pass_fds": fds, "start_new_session": True} if os.name == "posix" else {"creationflags": 0x208}
null = subprocess.DEVNULL
subprocess.Popen(sys.argv[2:], stdin=null, stdout=null, stderr=null, close_fds=True, **options)
os._exit(0)
"""
# The import path of the caller is handed over, so that the same modules are found.
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); from {0} import main; sys.exit(main())"
)


def program(module: str) -> list[str]:
    """Command line that calls ``main`` of a module with the import path of this process.

    With ``-c`` the new process has no ``__main__`` file, so that neither it nor its children import the
    caller's script or napari.
    """
    return [sys.executable, "-c", _PROGRAM.format(module), json.dumps(sys.path)]


def run_detached(folder: Path) -> None:
    """Finish a job in a process of its own that survives this one.

    The process holds the folder's lock from its first moment on, so :func:`adopt` sees it running as soon
    as this function returns.

    Parameters
    ----------
    folder : Path
        A job folder with ``request.json``; a checkpoint in it is used.

    Raises
    ------
    JobError
        Another process computes the folder already.
    """
    folder = folder.resolve()
    request = job_folder.read_request(folder)
    lock = _lock(folder, request.id)
    try:
        job_folder.clear_traces(folder)
        inherited = [lock] if os.name == "posix" else []
        command = [*program("napari_seedlab.jobs.__main__"), str(folder), *map(str, inherited)]
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", _STARTER, json.dumps(inherited), *command],
            pass_fds=tuple(inherited),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
    finally:
        os.close(lock)


def _lock(folder: Path, job_id: str) -> int:
    """The folder's lock; somebody who only asks whether it is held has it for a moment."""
    deadline = time.monotonic() + _LOCK_PATIENCE
    while (lock := job_folder.open_lock(folder)) is None:
        if time.monotonic() > deadline:
            raise JobError(f"job {job_id}", "is being computed by another process", "Wait for it")
        time.sleep(_LOCK_POLL)
    return lock


class _Note:
    """Writes ``progress.json`` once a second."""

    def __init__(self, folder: Path) -> None:
        self._path, self._begun = folder / job_folder.PROGRESS, time.monotonic()
        self._left = job_progress.TimeLeft()
        self._last = float("-inf")

    def __call__(self, progress: Progress) -> None:
        seconds = time.monotonic() - self._begun
        left = self._left(seconds, progress.done, progress.total)
        if seconds - self._last >= NOTE_PERIOD:
            self._last = seconds
            value = {**job_progress.to_json(progress), "seconds": seconds, "seconds_left": left}
            write_json(self._path, value)


def finish(folder: Path, has_lock: bool = False) -> JobResult:
    """Compute a job folder in this process and note the progress in it, for :func:`adopt`."""
    return execute(folder, _Note(folder), lambda: False, has_lock)


def adopt(folder: Path) -> JobStatus:
    """What became of a job folder.

    Returns
    -------
    JobStatus
        ``completed`` (the result was verified), ``running`` in some process or about to, ``failed``,
        ``cancelled``;
        or ``queued`` when it was interrupted or never begun: submit it again, or call
        :func:`run_detached`, and it goes on from its checkpoint.

    Raises
    ------
    InputError
        The folder holds no request.
    """
    request = job_folder.read_request(folder)
    status = JobStatus(request.id, request.function, request.number, JobState.QUEUED)
    if (folder / job_folder.RESULT).exists():
        return _completed(folder, status)
    if job_folder.is_running(folder):
        return _running(folder, status)
    if (folder / job_folder.FAILURE).exists():
        return _failed(folder, status)
    if job_folder.is_cancel_requested(folder):
        return replace(status, state=JobState.CANCELLED)
    if job_folder.is_handed_over(folder):
        return replace(status, state=JobState.RUNNING)
    return status


def is_resumable(folder: Path) -> bool:
    """Whether nobody computes the folder and it has no outcome yet."""
    return adopt(folder).state is JobState.QUEUED


def _completed(folder: Path, status: JobStatus) -> JobStatus:
    try:
        job_folder.read_result(folder)
    except SeedlabError as error:
        return replace(status, state=JobState.FAILED, error=str(error))
    return replace(status, state=JobState.COMPLETED)


def _running(folder: Path, status: JobStatus) -> JobStatus:
    status = replace(status, state=JobState.RUNNING)
    if not (folder / job_folder.PROGRESS).exists():
        return status
    note = read_json(folder / job_folder.PROGRESS)
    progress = job_progress.from_json(note)
    return replace(status, progress=progress, seconds=note["seconds"], seconds_left=note["seconds_left"])


def _failed(folder: Path, status: JobStatus) -> JobStatus:
    failure = read_json(folder / job_folder.FAILURE)
    error = job_folder.error_from_json(failure)
    if isinstance(error, JobCancelled):
        return replace(status, state=JobState.CANCELLED)
    return replace(status, state=JobState.FAILED, error=str(error), log_path=failure["log_path"])
