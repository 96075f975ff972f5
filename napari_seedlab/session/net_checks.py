"""What shows a mistake in a training: the batch, one batch by heart, the answers with the largest loss."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_seedlab import files
from napari_seedlab.core import NotReady
from napari_seedlab.session import steps
from napari_seedlab.session.desk import Step

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from napari_seedlab.core import JobRequest, JobResult
    from napari_seedlab.session.desk import Task
    from napari_seedlab.session.session import Session
    from napari_seedlab.store import Project

N_WRONG = 20  # answers that are listed
BASELINES = ("majority", "knn", "head", "balanced_accuracy")  # of a card, the plainest first, the net last


@dataclass(frozen=True)
class Batch:
    """A batch as a network gets it.

    Attributes
    ----------
    pool : str
    values : (n, c, y, x) or (n, c, z, y, x) float32
        The last channel is the mask of the seed.
    seeds, class_ids : (n,) int64
    axes : tuple of str
        Names of the axes of `values`.
    low, high : float
        Smallest and largest value of all channels but the mask.
    memory_gib : float
        That the crops of all labelled seeds take in a training.
    """

    pool: str
    values: npt.NDArray[np.float32] = field(repr=False)
    seeds: npt.NDArray[np.int64]
    class_ids: npt.NDArray[np.int64]
    axes: tuple[str, ...]
    low: float
    high: float
    memory_gib: float


@dataclass(frozen=True)
class WrongAnswer:
    """An answer, and what a network that did not see it says.

    `predicted` is a class id, `p` the probability of what was said, `loss` −ln of it.
    """

    seed: int
    said: int
    predicted: int
    p: float
    loss: float


class NetChecks:
    """Runs the checks, and keeps what they found.

    Parameters
    ----------
    session : Session

    Attributes
    ----------
    batch : Batch or None
        The newest one that was asked for.
    by_heart : dict of str to (bool, str)
        By pool, whether one batch was learnt by heart, and what is to be said about it.
    wrong : dict of str to tuple of WrongAnswer
        By pool, the answers with the largest loss by its newest network.
    """

    changed = Signal(str)  # batch, by_heart or wrong

    def __init__(self, session: Session) -> None:
        self._session = session
        self.batch: Batch | None = None
        self.by_heart: dict[str, tuple[bool, str]] = {}
        self.wrong: dict[str, tuple[WrongAnswer, ...]] = {}

    def preview(self, settings: Mapping[str, Any] | None = None) -> Task:
        """Get the batch of the first step of a training with these settings."""

        def adopt(project: Project, folder: Path, request: JobRequest, result: JobResult) -> dict[str, Any]:
            a, told = files.load_arrays(folder / "batch.npz"), result.values
            self.batch = Batch(
                str(request.params["pool"]), a["batch"], a["seed"], a["class_id"], tuple(told["axes"]),
                float(told["low"]), float(told["high"]), float(told["memory_gib"]),
            )  # fmt: skip
            self.changed.emit("batch")
            return dict(told)

        return self._start("batch", "preview", settings, adopt)

    def learn_by_heart(self, settings: Mapping[str, Any] | None = None) -> Task:
        """See whether a network learns one batch by heart."""

        def adopt(project: Project, folder: Path, request: JobRequest, result: JobResult) -> dict[str, Any]:
            found = bool(result.values["passed"]), str(result.values["line"])
            self.by_heart = {**self.by_heart, str(request.params["pool"]): found}
            self.changed.emit("by_heart")
            return dict(result.values)

        return self._start("overfit", "overfit", settings, adopt)

    def _start(self, kind: str, function: str, settings: Mapping[str, Any] | None, adopt: Any) -> Task:
        session = self._session
        if session.blocked_because:
            why = session.blocked_because.rstrip(".")
            raise NotReady("this check", f"{why[:1].lower()}{why[1:]}", "")
        pool, wanted = session.pool, dict(settings or {})

        def prepare(project: Project, folder: Path) -> dict[str, Any]:
            scans = steps.scan_params(session, project, folder, pool)
            steps.write_labels(session, folder, pool)
            ids = [c.id for c in session.scheme.active]
            return {"scans": scans, "class_ids": ids, "settings": wanted, "pool": pool}

        job = f"napari_seedlab.learn.debugging:{function}"
        return session.desk.start(Step(kind, job, prepare, adopt, lane="background"))

    # -- what a training leaves ---------------------------------------------------------------
    def take_losses(self, project: Project, folder: Path, pool: str) -> None:
        """Keep the losses that a training left in its folder."""
        if (folder / "losses.npz").is_file():
            project.put_arrays(f"losses-{pool}", **files.load_arrays(folder / "losses.npz"))
            self.load(project, pool)
            self.changed.emit("wrong")

    def load(self, project: Project, pool: str) -> None:
        """Read the losses of the newest network of a pool, where there are some."""
        a = project.get_arrays(f"losses-{pool}")
        if a is not None:
            columns = zip(*(a[k][:N_WRONG].tolist() for k in ("seed", "said", "predicted", "p", "loss")),
                          strict=True)  # fmt: skip
            self.wrong = {**self.wrong, pool: tuple(WrongAnswer(*row) for row in columns)}

    def figures(self, pool: str) -> dict[str, float]:
        """Balanced accuracy of the newest network of a pool and of what is simpler, on the same folds."""
        for card in reversed(self._session.models):
            if card.kind == "net" and card.config.get("pool") == pool:
                metrics = ((name, card.metrics.get(name)) for name in BASELINES)
                return {name: float(value) for name, value in metrics if isinstance(value, int | float)}
        return {}
