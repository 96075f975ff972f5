"""A job's folder: what its files are called, and who holds it.

========================= =========================================================================
``request.json``          the :class:`JobRequest`; arrays of the request lie beside it
``running.lock``          locked by the process that computes the job, for as long as it lives
``progress.json``         last progress, written by a process that finishes a job alone
``cancel``                exists once a user cancelled the job; read at every step
``handover``              the app that closes leaves the job to a process that is about to start
``result.json``           written last: values, and the sha256 of each result file
``failure.json``          kind and parts of the line that the user sees
``job.log``               the traceback of a foreign exception
========================= =========================================================================
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from napari_seedlab import core
from napari_seedlab.core import InputError, JobCancelled, JobError, JobRequest, JobResult, SeedlabError
from napari_seedlab.files import file_hash, read_json, tree_hash, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

REQUEST, RESULT, FAILURE = "request.json", "result.json", "failure.json"
PROGRESS, CANCEL, LOG, LOCK = "progress.json", "cancel", "job.log", "running.lock"
HANDOVER = "handover"
HANDOVER_S = 30.0  # seconds within which a job that was handed over is taken up
LOCK_PATIENCE = 6.0  # seconds; a worker of a killed app lives up to 5 s
_LOCK_POLL = 0.05


def prepare(request: JobRequest, folder: Path) -> None:
    """Make `folder` ready to be computed: write the request, remove what an earlier run left.

    Checkpoints and result arrays stay: the job may go on from them.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    clear_traces(folder)
    if not _holds(folder, request):
        write_json(folder / REQUEST, request.to_json())


def _holds(folder: Path, request: JobRequest) -> bool:
    try:
        return read_request(folder) == request
    except SeedlabError:
        return False


def clear_traces(folder: Path) -> None:
    """Remove result, failure, progress, log and the marks of an earlier run."""
    for name in (RESULT, FAILURE, PROGRESS, CANCEL, LOG, HANDOVER):
        (folder / name).unlink(missing_ok=True)


def read_request(folder: Path) -> JobRequest:
    """The request of a job folder.

    Raises
    ------
    InputError
        There is none, or it lacks a field.
    """
    if not (folder / REQUEST).exists():
        raise InputError(folder / REQUEST, "is missing", "Submit the job first")
    try:
        return JobRequest.from_json(read_json(folder / REQUEST))
    except (KeyError, TypeError) as error:
        raise InputError(folder / REQUEST, f"lacks a field ({error})", "Submit the job again") from None


def _hash(path: Path) -> str:
    return tree_hash(path) if path.is_dir() else file_hash(path)


def publish_result(folder: Path, request: JobRequest, result: JobResult, seconds: float) -> None:
    """Write ``result.json`` atomically, with the sha256 of each named file or folder of files."""
    hashes = {name: _hash(_inside(folder, name)) for name in result.files}
    value = {"number": request.number, "seconds": seconds, "values": dict(result.values), "files": hashes}
    write_json(folder / RESULT, value)


def _inside(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise JobError(name, "lies outside the job's folder", "Report this as a bug")
    if not path.exists():
        raise JobError(name, "was promised by the job and is not there", "Report this as a bug")
    return path


def read_result(folder: Path, verify: bool = True) -> JobResult:
    """The result in a folder.

    Parameters
    ----------
    folder : Path
        The job folder.
    verify : bool
        Compare each file with its sha256.

    Raises
    ------
    JobError
        A file is missing, or not what the job wrote.
    ProjectDamaged
        There is no ``result.json``, or it is not readable.
    """
    value = read_json(folder / RESULT)
    if verify:
        for name, expected in value["files"].items():
            found = _hash(_inside(folder, name))
            if found != expected:
                cause = f"has sha256 {found[:12]}…, the job wrote {expected[:12]}…"
                raise JobError(folder / name, cause, "Run the job again")
    return JobResult(value["values"], tuple(value["files"]))


def log_path(folder: Path) -> str:
    """Path of the folder's log, empty when there is none."""
    path = folder / LOG
    return str(path) if path.exists() else ""


def failure_json(error: JobError, log_path: str = "") -> dict[str, str]:
    """Plain dict of an error, for a file or a pipe."""
    parts = {"subject": error.subject, "cause": error.cause, "remedy": error.remedy}
    return {"kind": type(error).__name__, **parts, "log_path": log_path}


def error_from_json(value: dict[str, Any]) -> JobError:
    """The error of :func:`failure_json`."""
    kind = getattr(core, value["kind"], JobError)
    kind = kind if isinstance(kind, type) and issubclass(kind, JobError) else JobError
    error: JobError = kind(value["subject"], value["cause"], value["remedy"])
    return error


def request_cancel(folder: Path) -> None:
    """Ask whatever process computes this folder to stop at its next step."""
    if folder.is_dir():
        (folder / CANCEL).touch(mode=0o600)


def is_cancel_requested(folder: Path) -> bool:
    """Whether :func:`request_cancel` was called since the job was submitted."""
    return (folder / CANCEL).exists()


def hand_over(folder: Path) -> None:
    """Note that a process of its own is about to take this folder up."""
    if folder.is_dir():
        (folder / HANDOVER).touch(mode=0o600)


def is_handed_over(folder: Path) -> bool:
    """Whether :func:`hand_over` was called a moment ago and nobody has taken the folder up yet."""
    try:
        age = time.time() - (folder / HANDOVER).stat().st_mtime
    except FileNotFoundError:
        return False
    return abs(age) < HANDOVER_S


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def open_lock(folder: Path) -> int | None:
    """Lock a job folder; returns a descriptor to close, or None when another one holds it.

    The lock ends when every copy of the descriptor is closed, so it passes to a child that inherits it
    and never outlives a killed process.
    """
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    if _lock(descriptor):
        return descriptor
    os.close(descriptor)
    return None


def is_running(folder: Path) -> bool:
    """Whether a process computes this folder now."""
    if not (folder / LOCK).exists():
        return False
    descriptor = open_lock(folder)
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is None


@contextmanager
def running_lock(
    folder: Path, give_up: Callable[[], bool], patience: float = LOCK_PATIENCE
) -> Iterator[None]:
    """Hold a job folder; waits up to `patience` seconds for its last holder to go.

    Raises
    ------
    JobError
        Another process still computes it.
    JobCancelled
        `give_up` became true while waiting.
    """
    deadline = time.monotonic() + patience
    while (descriptor := open_lock(folder)) is None:
        if give_up():
            raise JobCancelled(f"job {folder.name}", "was cancelled")
        if time.monotonic() > deadline:
            raise JobError(f"job {folder.name}", "is being computed by another process", "Wait for it")
        time.sleep(_LOCK_POLL)
    try:
        yield
    finally:
        os.close(descriptor)
