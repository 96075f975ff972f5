"""Labels that spread to look-alikes: the semi-supervised option of a round, off unless asked for."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_seedlab.learn.strategies.pool import group_space

N_NEIGHBOURS = 7
CLAMPING = 0.2  # share of a seed's class that its neighbours decide (alpha of scikit-learn)
THRESHOLD = 0.95  # certainty from which on a seed teaches as if it were labelled
MAX_ROWS = 20_000  # of the graph; a larger pool is thinned evenly
MAX_TEACHERS = 2_000  # look-alikes that may teach, evenly spaced among all


def spread(
    vectors: npt.NDArray[np.floating],
    rows: npt.NDArray[np.int64],
    columns: npt.NDArray[np.int64],
    n_classes: int,
) -> npt.NDArray[np.float64]:
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
    from sklearn.semi_supervised import LabelSpreading

    n = len(vectors)
    out = np.full((n, n_classes), 1.0 / n_classes)
    if len(np.unique(columns)) < 2:
        if len(columns):
            out[:] = np.eye(n_classes)[columns[0]]
        return out
    said = np.full(n, -1, np.int64)
    said[rows] = columns
    some = np.union1d(np.arange(0, n, -(-n // MAX_ROWS)), rows)
    k = min(N_NEIGHBOURS, len(some) - 1)
    x = group_space(vectors)
    graph = LabelSpreading(kernel="knn", n_neighbors=k, alpha=CLAMPING, max_iter=100, tol=1e-3)
    with np.errstate(invalid="ignore", divide="ignore"):
        graph.fit(x[some], said[some])
    p = np.asarray(graph.label_distributions_)
    reached = np.isfinite(p).all(axis=1) & (p.sum(axis=1) > 0)
    full = np.zeros((int(reached.sum()), n_classes))
    full[:, graph.classes_] = p[reached]
    out[some[reached]] = full
    return out


def look_alikes(
    vectors: npt.NDArray[np.floating],
    rows: npt.NDArray[np.int64],
    columns: npt.NDArray[np.int64],
    n_classes: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows without a label that spreading is sure of, and the class columns that it gives them.

    Sure is p ≥ ``THRESHOLD`` (Sohn et al. 2020, "FixMatch"); shapes as in :func:`spread`.
    """
    p = spread(vectors, rows, columns, n_classes)
    sure = p.max(axis=1) >= THRESHOLD
    sure[rows] = False
    found = np.flatnonzero(sure)
    found = found[:: -(-len(found) // MAX_TEACHERS) or 1]
    return found, np.asarray(p[found].argmax(axis=1), np.int64)
