"""Jobs that an earlier session left behind: taken over, watched, or kept to be taken up again."""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from napari_seedlab.core import JobState, SeedlabError
from napari_seedlab.session import anomaly, encoding, steps

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_seedlab.core import JobRequest, JobStatus
    from napari_seedlab.session.desk import Step
    from napari_seedlab.session.session import Session
    from napari_seedlab.store import Project

LOOK_EVERY_S = 1.0
BROKEN = (SeedlabError, OSError, LookupError, TypeError, ValueError)  # a folder that is not what was written


class Leftovers:
    """Looks through the job folders of a project once, and watches those that still run.

    Parameters
    ----------
    session : Session
        Its `interrupted` gets the folders that can be taken up again.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._watched: dict[str, Path] = {}
        self._kept: dict[str, Path] = {}  # by kind
        self._untold: list[tuple[str, str]] = []
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._thread: threading.Thread | None = None

    def look(self, project: Project) -> None:
        """Go through all job folders; on the desk's thread. Results are adopted after the opening."""
        for folder in project.job_folders():
            self._take(folder, project)

    def _take(self, folder: Path, project: Project) -> None:
        from napari_seedlab.jobs.folder import RESULT, read_request

        try:
            request = read_request(folder)
            step = self._step(request)
            if step is None:
                if request.id.startswith("export-") and not (folder / RESULT).exists():
                    line = f"The export to {request.params['to']} was not finished: export again."
                    self._tell("warning", line)
                project.drop_job(folder.name)
            elif (folder / RESULT).exists():  # hashing it may take long
                self._session.desk.do(partial(self._take_result, step, request, folder))
            else:
                self._take_unfinished(step, request, folder, project)
        except BROKEN:
            project.drop_job(folder.name)

    def _take_unfinished(self, step: Step, request: JobRequest, folder: Path, project: Project) -> None:
        from napari_seedlab.jobs import adopt

        status = adopt(folder)
        if status.state is JobState.RUNNING:
            self._watch_one(request, folder)
        elif status.state is JobState.QUEUED and step.kind not in anomaly.DETECTORS:
            self._keep(step.kind, folder, project)
        else:
            self._drop(status, folder, project)
        self._show(status)

    def _show(self, status: JobStatus) -> None:
        """Tell the state of a job that is shown, or now to be shown."""
        if status.state is JobState.RUNNING or status.id in self._session.jobs:
            self._session.desk.status.emit(status)

    def _keep(self, kind: str, folder: Path, project: Project) -> None:
        """Note a folder that can be taken up again; of several of one kind, the newest."""
        older = self._kept.pop(kind, None)
        if older not in (None, folder) and older.name not in {r.id for r in self._session.desk.active}:
            project.drop_job(older.name)
        self._kept[kind] = folder
        self._session.desk.interrupted.emit(kind, str(folder))

    def _drop(self, status: JobStatus, folder: Path, project: Project) -> None:
        from napari_seedlab.jobs.folder import PROGRESS

        if status.state is JobState.FAILED and (folder / PROGRESS).exists():  # nobody was told
            self._tell("error", status.error)
        project.drop_job(folder.name)

    def _take_result(self, step: Step, request: JobRequest, folder: Path, project: Project) -> None:
        from napari_seedlab.jobs import adopt
        from napari_seedlab.jobs.folder import read_result

        try:
            status = adopt(folder)  # compares the hashes
            result = read_result(folder, verify=False) if status.state is JobState.COMPLETED else None
        except BROKEN:
            project.drop_job(folder.name)
            return
        if result is None:
            self._drop(status, folder, project)
        else:
            self._session.desk.adopt_finished(step, folder, request, result).then(self._taken)
        self._show(status)

    def _taken(self, values: dict[str, object]) -> None:
        self._tell("success", f"Took over {values['model']}, whose training ended in the background.")

    def _step(self, request: JobRequest) -> Step | None:
        kind, params = request.id.split("-")[0], request.params
        make: dict[str, Callable[..., Step]] = {"net": steps.net_step, "own": encoding.own_step}
        make |= {method: partial(anomaly.anomaly_step, method=method) for method in anomaly.METHODS}
        if kind not in make:
            return None
        return make[kind](self._session, params["pool"], dict(params["settings"]))

    # -- those that still run -----------------------------------------------------------------
    def _watch_one(self, request: JobRequest, folder: Path) -> None:
        from napari_seedlab.jobs.folder import request_cancel

        self._watched[request.id] = folder
        self._session.desk.watch_elsewhere(request, partial(request_cancel, folder))
        self._watch_on()

    def _watch_on(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="seedlab-leftovers", daemon=True)
                self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_EVERY_S):
            self._tell_now()
            for job_id, folder in list(self._watched.items()):
                with suppress(*BROKEN):  # the project was closed meanwhile, or the drive is away
                    self._look_again(job_id, folder)
            with self._lock:
                if not (self._watched or self._untold):
                    self._thread = None
                    return

    def _look_again(self, job_id: str, folder: Path) -> None:
        from napari_seedlab.jobs import adopt
        from napari_seedlab.jobs import folder as job_folder

        is_going = job_folder.is_running(folder) or job_folder.is_handed_over(folder)
        if (folder / job_folder.RESULT).exists() or not is_going:
            self._session.desk.do(partial(self._ended, job_id, folder)).result()
        else:
            self._session.desk.status.emit(adopt(folder))

    def _ended(self, job_id: str, folder: Path, project: Project) -> None:
        del self._watched[job_id]
        self._session.desk.forget_elsewhere(job_id)
        self._take(folder, project)

    # -- lines for a window that may not be there yet -------------------------------------------
    def _tell(self, level: str, line: str) -> None:
        self._untold.append((level, line))
        self._tell_now()
        if self._untold:
            self._watch_on()

    def _tell_now(self) -> None:
        while self._untold and len(self._session.message):
            self._session.message.emit(*self._untold.pop(0))

    def close(self) -> None:
        """Stop watching; what runs goes on."""
        self._stop.set()
        thread = self._thread
        if thread is not None:
            thread.join(LOOK_EVERY_S)
