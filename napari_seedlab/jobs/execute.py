"""Computes one job folder in whatever process calls it."""

from __future__ import annotations

import importlib
import inspect
import time
import traceback
from collections.abc import Callable, Generator
from contextlib import nullcontext, suppress
from pathlib import Path

from napari_seedlab.core import (
    InputError,
    JobCancelled,
    JobError,
    JobRequest,
    JobResult,
    Progress,
    SeedlabError,
    one_line,
)
from napari_seedlab.files import atomic_write, write_json
from napari_seedlab.jobs import folder as job_folder
from napari_seedlab.jobs.progress import Coalescer

JobFunction = Callable[[Path], Generator[Progress, None, JobResult]]
_CAUSE = 110  # characters of a foreign message, so that the remedy stays on the line


def resolve(function: str) -> JobFunction:
    """The generator function named ``module:function``.

    Raises
    ------
    InputError
        The name has another form, or what it names is not a generator function.
    """
    module_name, _, name = function.partition(":")
    if not module_name or not name:
        raise InputError(f"job function {function!r}", "is not 'module:function'", "Report this as a bug")
    found = getattr(importlib.import_module(module_name), name, None)
    if not inspect.isgeneratorfunction(found):
        raise InputError(f"job function {function!r}", "is not a generator", "Report this as a bug")
    return found


def execute(
    folder: Path,
    on_progress: Callable[[Progress], None],
    is_cancelled: Callable[[], bool],
    has_lock: bool = False,
) -> JobResult:
    """Compute a job folder and publish its result there, ``result.json`` last.

    Cancelling is looked for at every step: the generator is closed, so that it may write a checkpoint
    while ``GeneratorExit`` passes through it. A folder that already holds a valid result is not computed
    again.

    Parameters
    ----------
    folder : Path
        The job folder.
    on_progress : callable
        Receives at most ten reports a second.
    is_cancelled : callable
        Asked at every step; the folder's own cancel mark is asked too.
    has_lock : bool
        The caller holds the folder's lock.

    Returns
    -------
    JobResult

    Raises
    ------
    JobError
        One line; the details of a foreign exception stand in ``job.log`` alone. `JobCancelled` when
        `is_cancelled` became true.
    """

    def is_over() -> bool:
        return is_cancelled() or job_folder.is_cancel_requested(folder)

    guard = nullcontext() if has_lock else job_folder.running_lock(folder, is_over)
    with guard:
        try:
            return _result_of_before(folder) or _compute(folder, on_progress, is_over)
        except JobCancelled:
            raise
        except SeedlabError as error:
            raise _recorded(folder, JobError(error.subject, error.cause, error.remedy)) from None
        except (Exception, SystemExit) as error:  # the boundary: everything foreign becomes one line
            raise _recorded(folder, _foreign(folder, error), job_folder.LOG) from None


def _result_of_before(folder: Path) -> JobResult | None:
    if not (folder / job_folder.RESULT).exists():
        return None
    try:
        return job_folder.read_result(folder)
    except SeedlabError:  # damaged: computed again
        return None


def _compute(folder: Path, on_progress: Callable[[Progress], None], is_over: Callable[[], bool]) -> JobResult:
    begun = time.monotonic()
    request = job_folder.read_request(folder)
    result = _drive(request, folder, Coalescer(on_progress), is_over)
    if not isinstance(result, JobResult):
        cause = f"returned {type(result).__name__} instead of a result"
        raise JobError(f"job {request.id}", cause, "Report this as a bug")
    job_folder.publish_result(folder, request, result, time.monotonic() - begun)
    return result


def _drive(request: JobRequest, folder: Path, steps: Coalescer, is_over: Callable[[], bool]) -> JobResult:
    generator = resolve(request.function)(folder)
    try:
        while not is_over():
            steps(next(generator))
    except StopIteration as stop:
        result: JobResult = stop.value
        return result
    finally:
        generator.close()
        steps.flush()
    raise JobCancelled(f"job {request.id}", "was cancelled")


def _foreign(folder: Path, error: BaseException) -> JobError:
    text = "".join(traceback.format_exception(error))
    with suppress(SeedlabError):  # a full disk: the line still reaches the user
        atomic_write(folder / job_folder.LOG, text.encode())
    cause = one_line(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
    cause = cause if len(cause) <= _CAUSE else cause[: _CAUSE - 1] + "…"
    return JobError(f"job {folder.name}", cause, "See its job.log for details")


def _recorded(folder: Path, error: JobError, log: str = "") -> JobError:
    log_path = str(folder / log) if log else ""
    with suppress(SeedlabError):  # as above
        write_json(folder / job_folder.FAILURE, job_folder.failure_json(error, log_path))
    return error
