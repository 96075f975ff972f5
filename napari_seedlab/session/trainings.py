"""Trainings that the user asks for: begun once at a time, and taken up again where one was interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_seedlab.core import NotReady, SeedlabError
from napari_seedlab.session import anomaly, encoding, steps

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from napari_seedlab.core import ClassScheme
    from napari_seedlab.session.desk import Step, Task
    from napari_seedlab.session.session import Session


class Trainings:
    """Begins trainings, and knows which ones are under way.

    Parameters
    ----------
    session : Session
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._asked: dict[str, Task] = {}  # the newest of each kind, from the moment it was asked for
        self._interrupted: dict[str, str] = {}
        session.desk.interrupted.connect(self._interrupted.__setitem__)

    def train(self, settings: Mapping[str, Any]) -> Task:
        """Train the network of the shown pool."""
        session = self._session
        self._refuse_double(("net",))
        wanted = {"pool": session.pool, "kind": settings.get("kind", "seed")}
        return self._begin(steps.net_step(session, session.pool, dict(settings)), wanted)

    def teach(self, pool: str, settings: Mapping[str, Any]) -> Task:
        """Teach the bundled encoder by the seeds of a pool."""
        self._refuse_double(("own",))
        return self._begin(encoding.own_step(self._session, pool, dict(settings)), {"pool": pool})

    def find_odd(
        self,
        settings: Mapping[str, Any],
        method: str,
        normal_class: int,
        teachers: Sequence[int] | None = None,
    ) -> Task:
        """Score the seeds of the shown pool by a method; `teachers`: only these teach it."""
        session = self._session
        step = anomaly.anomaly_step(session, session.pool, dict(settings), method, normal_class, teachers)
        self._refuse_double(anomaly.METHODS)
        asked = anomaly.what_is_asked(session, session.pool, normal_class, teachers, session.current_scan)
        return self._begin(step, {"teachers": None, **asked})

    def _refuse_double(self, kinds: Iterable[str]) -> None:
        for kind in kinds:
            asked = self._asked.get(kind)
            is_waiting = asked is not None and not asked.future.done()
            if is_waiting or any(r.id.startswith(f"{kind}-") for r in self._session.desk.active):
                raise NotReady("this training", "is already running", "Wait or cancel it")

    def _begin(self, step: Step, wanted: Mapping[str, Any]) -> Task:
        """Take up an interrupted job of this kind where it is about what is `wanted`, else begin anew."""
        self._asked[step.kind] = task = self._resume_or_start(step, wanted)
        return task

    def _resume_or_start(self, step: Step, wanted: Mapping[str, Any]) -> Task:
        from napari_seedlab.jobs.folder import read_request

        desk = self._session.desk
        folder = self._interrupted.pop(step.kind, None)
        if folder is None or step.kind in anomaly.DETECTORS:
            return desk.start(step)
        try:
            request = read_request(Path(folder))
        except SeedlabError:
            self._session.message.emit("info", "The interrupted training is not there any more; begun anew.")
            return desk.start(step)
        found = {"kind": "seed", **request.params}
        if any(found.get(key) != value for key, value in wanted.items()):
            self._interrupted[step.kind] = folder
            return desk.start(step)
        self._session.message.emit("info", "Taking up the training where it stopped.")
        return desk.start(step, Path(folder), request)


def what_lacks(scheme: ClassScheme, counts: Mapping[int, int]) -> str:
    """What is missing for a training, in one line that names the classes; empty where nothing is.

    Parameters
    ----------
    scheme : ClassScheme
        The classes there are.
    counts : mapping of int to int
        Labelled seeds per class id that is in use.
    """
    names = {c.id: c.name for c in scheme.active}
    used = [c for c in names if counts.get(c)]
    if len(used) < 2:
        others = [names[c] for c in names if c not in used]
        which = " or ".join(others) if used else "two classes, such as " + " and ".join(others[:2])
        return f"Label two seeds of {which}."
    few = [names[c] for c in used if counts[c] < 2]
    return f"Label one more seed of {' and one of '.join(few)}." if few else ""
