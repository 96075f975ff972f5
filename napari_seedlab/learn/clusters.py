"""Groups of seeds that look alike, with a proposed number of groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_seedlab.core import JobRequest, JobResult, Progress
from napari_seedlab.imaging.groups import by_size, cut_tree
from napari_seedlab.learn.layout import principal

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

MAX_WARD = 4000  # rows; above it k-means, whose memory does not grow with the square
MAX_SILHOUETTE = 1500  # rows of the sample that the number of groups is judged on
N_COMPONENTS = 20
K_RANGE = (2, 30)
NEARLY = 0.95  # of the best silhouette: more groups that come so close are proposed instead

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


@dataclass(frozen=True)
class Grouping:
    """Groups of rows, and what another number of groups can be cut from.

    Attributes
    ----------
    group : (n,) int32
        Group of each row, the largest group 0.
    merges : (n - 1, 2) int32
        The tree, as :func:`~napari_seedlab.imaging.groups.cut_tree` takes it; empty above ``MAX_WARD`` rows.
    heights : (n - 1,) float32
        Ward distance at which each pair was merged.
    proposed : int
        The number of groups with the best silhouette; 0 where a number was wished for.
    """

    group: Groups
    merges: npt.NDArray[np.int32]
    heights: npt.NDArray[np.float32]
    proposed: int


def cluster(vectors: Floats, n_clusters: int | None = None, random_state: int = 0) -> Groups:
    """The groups alone, see :func:`grouped`."""
    return grouped(vectors, n_clusters, random_state).group


def grouped(vectors: Floats, n_clusters: int | None = None, random_state: int = 0) -> Grouping:
    """Rows of an embedding in groups.

    Ward linkage on the leading principal components, each row at the root of its length (k-means for more
    than ``MAX_WARD`` rows), cut at `n_clusters` or at a number of groups from ``K_RANGE``: the largest
    whose silhouette, with all rows at length one, is nearly the best. At their full lengths a few strange
    seeds, far from all others, are all that the silhouette sees. Use a general embedding: in the space of
    a trained classifier unknown classes collapse.

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
        return Grouping(np.zeros(n, np.int32), np.zeros((0, 2), np.int32), np.zeros(0, np.float32), min(n, 1))
    x = _shortened(principal(vectors, min(N_COMPONENTS, vectors.shape[1], n - 1)), 0.5)
    tree = _ward(x) if n <= MAX_WARD else np.zeros((0, 4))
    merges, heights = tree[:, :2].astype(np.int32), tree[:, 2].astype(np.float32)
    if n_clusters:
        group = _cut(x, merges, min(int(n_clusters), n), random_state)
        return Grouping(by_size(group), merges, heights, 0)
    k, group = _proposal(x, merges, random_state)
    return Grouping(by_size(group), merges, heights, k)


def _proposal(
    x: Floats, merges: npt.NDArray[np.int32], random_state: int
) -> tuple[int, npt.NDArray[np.int64]]:
    n = len(x)
    rows = np.random.default_rng(random_state).permutation(n)[:MAX_SILHOUETTE]
    y = _shortened(x[rows], 1.0)
    square = (y * y).sum(1)
    d = np.sqrt(np.maximum(square[:, None] + square[None] - 2 * y @ y.T, 0.0))
    np.fill_diagonal(d, 0.0)
    tried: list[tuple[float, int, npt.NDArray[np.int64]]] = []
    for k in range(K_RANGE[0], min(K_RANGE[1], n - 1) + 1):
        group = _cut(x, merges, k, random_state)
        place = np.unique(group[rows], return_inverse=True)[1]
        tried.append((_silhouette_of(d, place) if place.max() > 0 else -1.0, k, group))
    best = max(score for score, _, _ in tried)
    least = best - (1 - NEARLY) * abs(best)
    _, wanted, found = next(entry for entry in reversed(tried) if entry[0] >= least)
    return wanted, found


def _shortened(x: Floats, power: float) -> npt.NDArray[np.float32]:
    """Rows (n, d) over their length to this power: how unusual a seed is counts less than in what way."""
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(x / np.maximum(length, 1e-9) ** power, np.float32)


def _ward(x: Floats) -> Floats:
    from scipy.cluster.hierarchy import linkage

    return np.asarray(linkage(np.asarray(x, np.float64), "ward"))


def _cut(x: Floats, merges: npt.NDArray[np.int32], k: int, random_state: int) -> npt.NDArray[np.int64]:
    if len(merges):
        return cut_tree(merges, k)
    from sklearn.cluster import KMeans

    fit = KMeans(k, n_init=1, max_iter=50, random_state=random_state).fit(x)
    return np.asarray(fit.labels_, np.int64)


def run(folder: Path) -> Generator[Progress, None, JobResult]:
    """Job: ``embedding.npz`` (seed, vector) in ``n_clusters`` groups; 0 proposes a number.

    Writes ``clusters.npz``: seed (n,), cluster (n,) int32. Values: n_clusters, proposed.
    """
    from napari_seedlab.files import load_arrays, read_json, save_arrays
    from napari_seedlab.learn.head import pool_scaler, scaled

    request = JobRequest.from_json(read_json(folder / "request.json"))
    yield Progress(0, 1, "grouping")
    table = load_arrays(folder / "embedding.npz")
    raw = np.asarray(table["vector"])
    x = scaled(raw, *pool_scaler(raw, table.get("widths"))).astype(np.float32) if len(raw) else raw
    found = grouped(x, int(request.params.get("n_clusters") or 0), request.random_state)
    save_arrays(folder / "clusters.npz", seed=np.asarray(table["seed"], np.int64), cluster=found.group)
    n = int(found.group.max()) + 1 if len(found.group) else 0
    return JobResult({"n_clusters": n, "proposed": found.proposed}, ("clusters.npz",))
