"""What asking would have saved: labelling replayed on seeds whose classes are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_seedlab import files
from napari_seedlab.core import LabelState, NotReady
from napari_seedlab.session.desk import Step

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from napari_seedlab.core import JobRequest, JobResult
    from napari_seedlab.session.desk import Task
    from napari_seedlab.session.results import Embedding
    from napari_seedlab.session.session import Session
    from napari_seedlab.store import Project

LEAST_LABELS, LEAST_CLASSES = 20, 2
N_REPEATS = 8
BATCH = 5


@dataclass(frozen=True)
class Wanted:
    """What shall be replayed.

    Attributes
    ----------
    strategies : tuple of str
        Names of :data:`napari_seedlab.learn.queries.STRATEGIES`; random asking always comes along.
    budget, batch, n_repeats : int
        Answers, how many are asked at a time, and how often all is repeated.
    fresh : tuple of arrays, optional
        Vectors (m, d) and true class ids (m,) of seeds that judge; a share of the seeds where None.
    """

    strategies: tuple[str, ...] = ("default",)
    budget: int = 150
    batch: int = 10
    n_repeats: int = 8
    fresh: tuple[Any, Any] | None = None


class Replaying:
    """Replays of labelling; see :mod:`napari_seedlab.learn.simulate`.

    Attributes
    ----------
    last : dict of str to dict
        By pool, the values of the newest replay of the labels so far.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.last: dict[str, dict[str, Any]] = {}

    def lacks(self, pool: str) -> str:
        """Why the labels so far cannot be replayed yet, in one line; empty where they can."""
        session, n = self._session, 0
        classes: set[int] = set()
        known = session.embeddings.get(pool)
        rows = {} if known is None else known.row
        for label in session.labels.values():
            if label.state is LabelState.LABELLED and label.seed in rows:
                n += 1
                classes.add(label.class_id)
                if n >= LEAST_LABELS and len(classes) >= LEAST_CLASSES:
                    return ""
        if n < LEAST_LABELS:
            return f"wants {LEAST_LABELS} labels, there are {n}"
        return "wants labels of two classes, all are of one"

    def my_labels(self, pool: str | None = None) -> Task:
        """Replay the labels so far: the usual mix against random asking, judged on shares set aside.

        The task's values are those of :meth:`~napari_seedlab.learn.simulate.Curves.values`.

        Raises
        ------
        NotReady
            Fewer than 20 labels, or all of one class.
        """
        session = self._session
        pool = pool or session.pool
        if why := self.lacks(pool):
            raise NotReady("the replay", why, "")
        truth = self._labels(pool)
        wanted = Wanted(budget=len(truth), batch=BATCH, n_repeats=N_REPEATS)
        return session.desk.start(replay_step(session, pool, truth, wanted, keep=True))

    def _labels(self, pool: str) -> dict[int, int]:
        """Class id of each labelled seed that has a vector."""
        session = self._session
        known = session.embeddings.get(pool)
        rows = {} if known is None else known.row
        labels = session.labels.values()
        return {x.seed: x.class_id for x in labels if x.state is LabelState.LABELLED and x.seed in rows}


def replay_step(
    session: Session,
    pool: str,
    truth: Mapping[int, int],
    wanted: Wanted,
    vectors: Embedding | None = None,
    keep: bool = False,
) -> Step:
    """Replay strategies with the class ids of `truth` for answers, on `vectors` or those in use.

    With `keep` the session remembers the result as that of its labels.
    """

    def prepare(project: Project, folder: Path) -> dict[str, Any]:
        known = session.embeddings.get(pool) if vectors is None else vectors
        if known is None or not len(known.seeds):
            raise NotReady(f"the {pool} seeds", "have no embedding yet", "Split a scan first")
        files.save_arrays(folder / "embedding.npz", **known.columns())
        seeds, ids = np.fromiter(truth, np.int64), np.fromiter(truth.values(), np.int32)
        files.save_arrays(folder / "truth.npz", seed=seeds, class_id=ids)
        if (odd := session.anomalies.get(pool)) is not None and len(odd.seeds):
            files.save_arrays(folder / "anomaly.npz", seed=odd.seeds, score=odd.score)
        if (apart := session.opinions.disagreement(pool)) is not None:
            files.save_arrays(folder / "ranks.npz", seed=apart.seeds, rank=apart.ranks)
        if wanted.fresh is not None:
            files.save_arrays(folder / "fresh.npz", vector=wanted.fresh[0], class_id=wanted.fresh[1])
        return {
            "strategies": list(wanted.strategies),
            "budget": wanted.budget,
            "batch": wanted.batch,
            "n_repeats": wanted.n_repeats,
        }

    def adopt(project: Project, folder: Path, request: JobRequest, result: JobResult) -> dict[str, Any]:
        if keep:
            session.replay.last = {**session.replay.last, pool: dict(result.values)}
        return dict(result.values)

    return Step("replay", "napari_seedlab.learn.simulate:run", prepare, adopt, lane="background")


def sentence(values: Mapping[str, Any]) -> str:
    """What a replay of the usual mix says, such as "Asking this way, 15 answers …".

    Random asking is credited with the fewest answers after which it was as good as at its end.
    """
    needed, most = values["labels_to_random"].get("default"), values["budget"][-1]
    by_chance = values["labels_to_random"].get("random") or most
    if needed is None:
        return (
            f"Asking this way, {most} answers would not have reached what {by_chance} random answers reach."
        )
    words = f"Asking this way, {needed} answers would have reached what {by_chance} random answers reach"
    return (
        f"{words}, measured on labels set aside." if needed < by_chance else f"{words}: nothing saved so far."
    )
