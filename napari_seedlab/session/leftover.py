"""Jobs that an earlier session left behind: taken over, watched, or kept to be taken up again."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

from napari_seedlab.core import JobRequest, JobState, SeedlabError
from napari_seedlab.files import read_json
from napari_seedlab.session import steps

if TYPE_CHECKING:
    from pathlib import Path

    from napari_seedlab.session.desk import Step
    from napari_seedlab.session.session import Session
    from napari_seedlab.store import Project

LOOK_EVERY_S = 1.0


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
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def look(self, project: Project) -> None:
        """Go through all job folders; on the desk's thread."""
        for folder in project.job_folders():
            try:
                self._take(project, folder)
            except SeedlabError:
                project.drop_job(folder.name)
        if self._watched:
            self._thread = threading.Thread(target=self._watch, name="seedlab-leftovers", daemon=True)
            self._thread.start()

    def _take(self, project: Project, folder: Path) -> None:
        from napari_seedlab.jobs import adopt
        from napari_seedlab.jobs.folder import read_result

        request = JobRequest.from_json(read_json(folder / "request.json"))
        step = self._step(request)
        status = adopt(folder)
        if step is None:
            project.drop_job(request.id)
        elif status.state is JobState.COMPLETED:
            self._session.message.emit("success", "Taking over a training that ended in the background.")
            self._session.desk.adopt_finished(step, folder, request, read_result(folder))
        elif status.state is JobState.RUNNING:
            self._watched[request.id] = folder
            self._session.desk.status.emit(status)
        elif status.state is JobState.QUEUED:
            self._session.desk.interrupted.emit(step.kind, str(folder))
        else:
            project.drop_job(request.id)

    def _step(self, request: JobRequest) -> Step | None:
        kind, params = request.id.split("-")[0], request.params
        if kind == "net":
            return steps.net_step(self._session, params["pool"], dict(params["settings"]))
        if kind == "fcdd":
            return steps.anomaly_step(self._session, params["pool"], dict(params["settings"]))
        return None

    def _take_folder(self, folder: Path, project: Project) -> None:
        self._take(project, folder)

    def _watch(self) -> None:
        from napari_seedlab.jobs import adopt

        while self._watched and not self._stop.wait(LOOK_EVERY_S):
            for job_id, folder in list(self._watched.items()):
                status = adopt(folder)
                self._session.desk.status.emit(status)
                if status.state is not JobState.RUNNING:
                    del self._watched[job_id]
                    self._session.desk.do(partial(self._take_folder, folder))

    def close(self) -> None:
        """Stop watching; what runs goes on."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(2 * LOOK_EVERY_S)
