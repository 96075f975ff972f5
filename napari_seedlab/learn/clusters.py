"""Groups of seeds that look alike, with a proposed number of groups."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_seedlab.learn.layout import principal

MAX_WARD = 4000  # rows; above it k-means, whose memory does not grow with the square
MAX_SILHOUETTE = 1500  # rows of the sample that the number of groups is judged on
N_COMPONENTS = 20
K_RANGE = (2, 30)

Floats = npt.NDArray[np.floating]
Groups = npt.NDArray[np.int32]


def silhouette(x: Floats, group: npt.NDArray[np.integer]) -> float:
    """Mean silhouette (Rousseeuw 1987) of rows (n, d) in groups (n,); −1 for a single group."""
    labels, place = np.unique(group, return_inverse=True)
    if len(labels) < 2:
        return -1.0
    x = np.asarray(x, np.float32)
    square = (x * x).sum(1)
    d = np.sqrt(np.maximum(square[:, None] + square[None] - 2 * x @ x.T, 0.0))
    np.fill_diagonal(d, 0.0)
    return _silhouette_of(d, place)


def _silhouette_of(d: Floats, place: npt.NDArray[np.integer]) -> float:
    n = len(place)
    hot = np.zeros((n, int(place.max()) + 1), np.float32)
    hot[np.arange(n), place] = 1.0
    sums, size = d @ hot, hot.sum(0)
    own = sums[np.arange(n), place] / np.maximum(size[place] - 1, 1)
    mean = sums / size
    mean[np.arange(n), place] = np.inf
    other = mean.min(axis=1)
    s = (other - own) / np.maximum(np.maximum(other, own), 1e-12)
    return float(np.where(size[place] > 1, s, 0.0).mean())


def cluster(vectors: Floats, n_clusters: int | None = None, random_state: int = 0) -> Groups:
    """Group number (n,) int32 of each row of an embedding, largest group 0.

    Ward linkage on the leading principal components (k-means for more than ``MAX_WARD`` rows), cut
    at `n_clusters` or at the number of groups from ``K_RANGE`` with the best silhouette. Use a
    general embedding: in the space of a trained classifier unknown classes collapse.

    Parameters
    ----------
    vectors : (n, d) float
        Standardised embedding.
    n_clusters : int, optional
        Wanted number; proposed by the silhouette where None or 0.
    random_state : int
        Of k-means and of the sample for the silhouette.
    """
    n = len(vectors)
    if n < 4:
        return np.zeros(n, np.int32)
    x = principal(vectors, min(N_COMPONENTS, vectors.shape[1], n - 1))
    tree = _ward(x) if n <= MAX_WARD else None
    if n_clusters:
        return _by_size(_cut(x, tree, min(int(n_clusters), n), random_state))
    rows = np.random.default_rng(random_state).permutation(n)[:MAX_SILHOUETTE]
    y = np.asarray(x[rows], np.float32)
    square = (y * y).sum(1)
    d = np.sqrt(np.maximum(square[:, None] + square[None] - 2 * y @ y.T, 0.0))
    np.fill_diagonal(d, 0.0)
    best, found = -2.0, np.zeros(n, np.int64)
    for k in range(K_RANGE[0], min(K_RANGE[1], n - 1) + 1):
        group = _cut(x, tree, k, random_state)
        place = np.unique(group[rows], return_inverse=True)[1]
        score = _silhouette_of(d, place) if place.max() > 0 else -1.0
        if score > best + 1e-9:
            best, found = score, group
    return _by_size(found)


def _ward(x: Floats) -> Floats:
    from scipy.cluster.hierarchy import linkage

    return np.asarray(linkage(np.asarray(x, np.float64), "ward"))


def _cut(x: Floats, tree: Floats | None, k: int, random_state: int) -> npt.NDArray[np.int64]:
    if tree is not None:
        from scipy.cluster.hierarchy import fcluster

        return np.asarray(fcluster(tree, k, "maxclust"), np.int64) - 1
    from sklearn.cluster import KMeans

    fit = KMeans(k, n_init=1, max_iter=50, random_state=random_state).fit(x)
    return np.asarray(fit.labels_, np.int64)


def _by_size(group: npt.NDArray[np.int64]) -> Groups:
    """Groups renumbered from the largest down, ties by first row."""
    labels, first, size = np.unique(group, return_index=True, return_counts=True)
    order = np.lexsort((first, -size))
    rank = np.empty(len(labels), np.int32)
    rank[order] = np.arange(len(labels), dtype=np.int32)
    return rank[np.searchsorted(labels, group)]
