"""Labels that spread to look-alikes: the semi-supervised option of a round, off unless asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_seedlab.learn.head import Head, columns_of, fit_head
from napari_seedlab.learn.strategies.pool import group_space

if TYPE_CHECKING:
    from collections.abc import Sequence

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]

N_NEIGHBOURS = 7
CLAMPING = 0.2  # share of a seed's class that its neighbours decide (alpha of scikit-learn)
THRESHOLD = 0.95  # certainty from which on a seed teaches as if it were labelled
MAX_ROWS = 20_000  # of the graph; a larger pool is thinned evenly
MAX_TEACHERS = (
    1_000  # look-alikes that may teach: those of 2,000 took twice the time, for 0.2 points on digits
)
GOLDEN = (np.sqrt(5) - 1) / 2


class LookAlikes:
    """Seeds that teach as if they were labelled, by the labels of others; their graph is made once.

    Parameters
    ----------
    vectors : (n, d) float
        Standardised embedding of all seeds.
    rows : (m,) int
        All labelled rows.
    """

    def __init__(self, vectors: Floats, rows: Ints) -> None:
        from sklearn.neighbors import NearestNeighbors

        self.n, self.rows = len(vectors), np.asarray(rows, np.int64)
        self._order = np.argsort(np.arange(self.n) * GOLDEN % 1.0)  # its first k lie evenly among all
        self._some = np.union1d(np.arange(0, self.n, -(-self.n // MAX_ROWS)), self.rows)
        x = group_space(vectors)[self._some]
        k = min(N_NEIGHBOURS, len(self._some) - 1)
        self._graph = NearestNeighbors(n_neighbors=k).fit(x).kneighbors_graph(x, k, mode="connectivity")

    def spread(self, use: npt.NDArray[np.bool_], columns: Ints, n_classes: int) -> npt.NDArray[np.float64]:
        """As :func:`spread`, by those labelled rows (m,) that `use` marks; columns of these alone."""
        from sklearn.semi_supervised import LabelSpreading

        out = np.full((self.n, n_classes), 1.0 / n_classes)
        said = np.full(self.n, -1, np.int64)
        said[self.rows[use]] = columns
        graph = LabelSpreading(kernel=lambda *_: self._graph, alpha=CLAMPING, max_iter=100, tol=1e-3)
        with np.errstate(invalid="ignore", divide="ignore"):
            graph.fit(np.zeros((len(self._some), 1)), said[self._some])
        p = np.asarray(graph.label_distributions_)
        reached = np.isfinite(p).all(axis=1) & (p.sum(axis=1) > 0)
        full = np.zeros((int(reached.sum()), n_classes))
        full[:, graph.classes_] = p[reached]
        out[self._some[reached]] = full
        return out

    def found(
        self, use: npt.NDArray[np.bool_], columns: Ints, n_classes: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """As :func:`look_alikes`, by those labelled rows (m,) that `use` marks.

        Where there are too many, evenly spaced ones teach, nearly the same whichever labels are left out:
        else models that differ in one answer would differ in half of their teachers.
        """
        if len(np.unique(columns)) < 2:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        p = self.spread(use, columns, n_classes)
        sure = p.max(axis=1) >= THRESHOLD
        sure[self.rows[use]] = False
        found = self._order[sure[self._order]][:MAX_TEACHERS]
        return found, np.asarray(p[found].argmax(axis=1), np.int64)


def fit_taught(
    vectors: Floats,
    rows: Ints,
    class_of: Ints,
    class_ids: Sequence[int],
    scaler: tuple[Floats, Floats],
    start: tuple[Head | None, float] = (None, 1.0),
    alike: LookAlikes | None = None,
    use: npt.NDArray[np.bool_] | None = None,
) -> Head:
    """A head of answers, and of the seeds that look like them where those teach as well.

    Parameters
    ----------
    vectors : (n, d) float
        Of all seeds.
    rows, class_of : (m,) int
        Answered rows and their class ids.
    class_ids, scaler
        As in :func:`~napari_seedlab.learn.head.fit_head`.
    start
        `prior` and `hold` of it.
    alike : LookAlikes, optional
        Of the same rows.
    use : (m,) bool, optional
        Answers that the head may know; all by default.
    """
    use = np.ones(len(rows), np.bool_) if use is None else use
    known, taught = np.asarray(rows)[use], np.asarray(class_of)[use]
    if alike is not None:
        more, columns = alike.found(use, columns_of(taught, class_ids), len(class_ids))
        known = np.concatenate([known, more])
        taught = np.concatenate([taught, np.asarray(class_ids, np.int64)[columns]])
    return fit_head(vectors[known], taught, class_ids, scaler, prior=start[0], hold=start[1])


def spread(vectors: Floats, rows: Ints, columns: Ints, n_classes: int) -> npt.NDArray[np.float64]:
    """Class probabilities (n, n_classes) of all seeds from few labels, along a graph of neighbours.

    Zhou et al. 2004, "Learning with Local and Global Consistency", on the graph of the seven nearest in the
    principal axes of the embedding. Seeds that no label reaches get equal probabilities.

    Parameters
    ----------
    vectors : (n, d) float
        Standardised embedding.
    rows, columns : (m,) int64
        Labelled rows and their class columns.
    n_classes : int
        Columns of the result.
    """
    if len(np.unique(columns)) < 2:
        out = np.full((len(vectors), n_classes), 1.0 / n_classes)
        if len(columns):
            out[:] = np.eye(n_classes)[columns[0]]
        return out
    return LookAlikes(vectors, rows).spread(np.ones(len(rows), np.bool_), columns, n_classes)


def look_alikes(
    vectors: Floats, rows: Ints, columns: Ints, n_classes: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows without a label that spreading is sure of, and the class columns that it gives them.

    Sure is p ≥ ``THRESHOLD`` (Sohn et al. 2020, "FixMatch"); shapes as in :func:`spread`.
    """
    return LookAlikes(vectors, rows).found(np.ones(len(rows), np.bool_), columns, n_classes)
