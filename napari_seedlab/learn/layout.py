"""The map: seeds that look alike lie close, and points stay where the user saw them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_seedlab.core import InputError, JobRequest, JobResult, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

METHODS = ("pca", "umap", "tsne", "place")
N_NEIGHBOURS = 15
MAX_TSNE = 5000  # rows that t-SNE lays out itself; the others are placed beside them
PERPLEXITY = 30.0  # at most; a fifth of the rows where they are few
MIN_DIST = 0.1
N_COMPONENTS = 50  # of the space in which neighbours are looked for
BLOCK = 2048
MAX_AXES_ROWS = 4096  # rows that tell the axes of a map

Floats = npt.NDArray[np.floating]
Points = npt.NDArray[np.float32]


def principal(vectors: Floats, n: int) -> npt.NDArray[np.float32]:
    """The leading `n` principal components (rows, n) float32, by eigenvectors of the covariance.

    Over 4,096 rows, the covariance is that of as many spread evenly. Signs are fixed so that the largest
    entry of each axis is positive.
    """
    x = np.asarray(vectors, np.float32)
    x = x - x.mean(axis=0)
    some = x[np.linspace(0, len(x) - 1, min(len(x), MAX_AXES_ROWS)).astype(np.int64)]
    _, axes = np.linalg.eigh(some.T @ some)
    axes = axes[:, : -n - 1 : -1]
    sign = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    return np.asarray(x @ (axes * np.where(sign == 0, 1, sign)), np.float32)


def pca_layout(vectors: Floats) -> Points:
    """The first two principal components, scaled to a spread of one: (n, 2) float32."""
    if len(vectors) == 0:
        return np.zeros((0, 2), np.float32)
    xy = principal(vectors, min(2, vectors.shape[1]))
    xy = np.pad(xy, ((0, 0), (0, 2 - xy.shape[1])))
    return np.asarray(xy / max(float(xy.std()), 1e-6), np.float32)


def nearest(
    queries: Floats, base: Floats, k: int, same: bool = False
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Exact `k` nearest rows of `base` to each query: indices and distances (q, k), nearest first.

    Blockwise products, so that memory grows with the rows and not with their square. With `same`
    the queries are `base` itself and each row comes first, at distance 0.
    """
    import torch

    x = torch.from_numpy(np.ascontiguousarray(queries, np.float32))
    y = x if same else torch.from_numpy(np.ascontiguousarray(base, np.float32))
    k = min(k, len(y))
    square = (y * y).sum(1)
    index, distance = [], []
    for start in range(0, len(x), BLOCK):
        part = x[start : start + BLOCK]
        d = torch.addmm(square[None] + (part * part).sum(1)[:, None], part, y.T, alpha=-2.0)
        if same:
            rows = torch.arange(len(part))
            d[rows, rows + start] = -1.0
        found = torch.topk(d, k, largest=False, sorted=True)
        index.append(found.indices.numpy())
        distance.append(found.values.clamp_(min=0.0).sqrt_().numpy())
    if not index:
        return np.zeros((0, k), np.int64), np.zeros((0, k), np.float32)
    return np.concatenate(index), np.concatenate(distance)


def umap_layout(vectors: Floats, start: Points, random_state: int = 0) -> Points:
    """UMAP (McInnes et al. 2018) from exact neighbours, begun at `start`: (n, 2) float32.

    Parameters
    ----------
    vectors : (n, d) float
        Standardised embedding.
    start : (n, 2) float
        Layout to begin from; the result is turned, mirrored and scaled onto it.
    random_state : int
        Fixes the result.
    """
    if len(vectors) < 4:
        return np.asarray(start, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about tensorflow, the missing index and one thread
        import umap

        x = principal(vectors, min(N_COMPONENTS, vectors.shape[1]))
        k = min(N_NEIGHBOURS, len(x) - 1)
        index, distance = nearest(x, x, k, same=True)
        spread = np.asarray(start, np.float32)
        spread = (spread - spread.mean(0)) / max(float(spread.std()), 1e-6)
        noise = np.random.default_rng(random_state).normal(0, 1e-4, spread.shape)
        model = umap.UMAP(
            n_neighbors=k,
            min_dist=MIN_DIST,
            init=(spread + noise).astype(np.float32),
            random_state=random_state,
            precomputed_knn=(index, distance, None),
            n_jobs=1,
            force_approximation_algorithm=True,
        )
        xy = np.asarray(model.fit_transform(x), np.float32)
    xy = np.where(np.isfinite(xy), xy, spread)
    return align(xy, np.asarray(start, np.float32))


def tsne_layout(vectors: Floats, start: Points, random_state: int = 0) -> Points:
    """t-SNE (van der Maaten & Hinton 2008) begun at the first two principal components: (n, 2) float32.

    Its time grows faster than its rows: of more than ``MAX_TSNE`` it lays out as many, drawn at random, and
    places the others by their neighbours among them.

    Parameters
    ----------
    vectors : (n, d) float
        Standardised embedding.
    start : (n, 2) float
        Layout onto which the result is turned, mirrored and scaled.
    random_state : int
        Fixes the result.
    """
    n = len(vectors)
    if n < 4:
        return np.asarray(start, np.float32)
    from sklearn.manifold import TSNE

    x = principal(vectors, min(N_COMPONENTS, vectors.shape[1]))
    rows = np.sort(np.random.default_rng(random_state).permutation(n)[:MAX_TSNE])
    some = x[rows]
    first = np.pad(some, ((0, 0), (0, max(0, 2 - some.shape[1]))))[:, :2]
    model = TSNE(
        perplexity=min(PERPLEXITY, len(some) / 5),
        init=(first / max(float(first[:, 0].std()), 1e-6) * 1e-4).astype(np.float32),
        random_state=random_state,
        n_jobs=1,
    )
    laid = np.asarray(model.fit_transform(some), np.float32)
    xy = np.zeros((n, 2), np.float32)
    others = np.setdiff1d(np.arange(n), rows)
    xy[rows] = laid
    xy[others] = place_new(some, laid, x[others])
    return align(xy, np.asarray(start, np.float32))


@dataclass(frozen=True)
class Similarity:
    """A turn or mirroring, a scale and two centres: ``(xy − center) @ turn · scale + target``."""

    center: Floats
    turn: Floats
    scale: float
    target: Floats

    def __call__(self, xy: Points) -> Points:
        """Move points (n, 2)."""
        return np.asarray((xy - self.center) @ self.turn * self.scale + self.target, np.float32)


def similarity(moving: Points, fixed: Points) -> Similarity:
    """The similarity that brings `moving` (n, 2) closest to `fixed` (n, 2): Procrustes."""
    a, b = np.asarray(moving, np.float64), np.asarray(fixed, np.float64)
    ca, cb = a.mean(axis=0), b.mean(axis=0)
    u, s, vt = np.linalg.svd((a - ca).T @ (b - cb))
    spread = float(np.square(a - ca).sum())
    scale = float(s.sum()) / spread if spread > 0 else 1.0
    wanted = float(np.square(b - cb).sum())
    own = np.sqrt(wanted / spread) if spread > 0 and wanted > 0 else 1.0
    return Similarity(ca, u @ vt, max(scale, 0.5 * own), cb)


def align(xy: Points, fixed: Points) -> Points:
    """`xy` turned, mirrored, scaled and moved onto `fixed`, row by row."""
    return similarity(xy, fixed)(xy) if len(xy) else xy


def place_new(old_vectors: Floats, old_xy: Points, new_vectors: Floats, k: int = 5) -> Points:
    """Positions (m, 2) of new seeds: mean of their `k` nearest old ones, nearer ones weighing more."""
    if len(old_vectors) == 0:
        return np.zeros((len(new_vectors), 2), np.float32)
    index, distance = nearest(new_vectors, old_vectors, k)
    weight = 1.0 / (distance + 1e-3 * (1.0 + distance[:, :1]))
    weight /= weight.sum(axis=1, keepdims=True)
    return np.asarray((weight[:, :, None] * old_xy[index]).sum(axis=1), np.float32)


def start_from(
    seeds: npt.NDArray[np.int64], vectors: Floats, old_seeds: npt.NDArray[np.int64], old_xy: Points
) -> tuple[Points, npt.NDArray[np.bool_]]:
    """Old positions where there are some, kNN averages elsewhere; and which rows are old."""
    place = {int(s): i for i, s in enumerate(old_seeds)}
    row = np.asarray([place.get(int(s), -1) for s in seeds], np.int64)
    old = row >= 0
    xy = np.zeros((len(seeds), 2), np.float32)
    xy[old] = old_xy[row[old]]
    xy[~old] = place_new(vectors[old], xy[old], vectors[~old])
    return xy, old


def run(folder: Path) -> Generator[Progress, None, JobResult]:
    """Job: map and groups of ``embedding.npz``.

    Parameters: ``method`` (``pca``, ``umap``, ``tsne``, or ``place``: old points stay, new ones are placed by
    their neighbours), ``n_clusters`` (0 or None proposes a number). ``previous.npz`` (seed, xy), where
    given, is what the user sees now: the new map begins there and is aligned to it.
    Writes ``layout.npz``: seed (n,), xy (n, 2) float32, cluster (n,) int32, and the tree of the clusters:
    merges, heights (see :class:`~napari_seedlab.learn.clusters.Grouping`).
    """
    from napari_seedlab.files import load_arrays, read_json, save_arrays
    from napari_seedlab.learn.clusters import grouped
    from napari_seedlab.learn.head import pool_scaler, scaled

    request = JobRequest.from_json(read_json(folder / "request.json"))
    method = str(request.params.get("method", "pca"))
    if method not in METHODS:
        raise InputError(f"map method {method!r}", "is unknown", f"Use one of {', '.join(METHODS)}")
    yield Progress(0, 3, "reading")
    table = load_arrays(folder / "embedding.npz")
    seeds, raw = np.asarray(table["seed"], np.int64), np.asarray(table["vector"])
    x = scaled(raw, *pool_scaler(raw, table.get("widths"))).astype(np.float32) if len(raw) else raw
    before = load_arrays(folder / "previous.npz") if (folder / "previous.npz").exists() else None
    yield Progress(1, 3, _line(method, len(seeds)))
    xy = _positions(method, seeds, x, before, request.random_state)
    yield Progress(2, 3, "clustering")
    wanted = request.params.get("n_clusters")
    found = grouped(x, int(wanted) if wanted else None, request.random_state)
    group, tree = found.group, {"merges": found.merges, "heights": found.heights}
    save_arrays(folder / "layout.npz", seed=seeds, xy=xy, cluster=group, **tree)
    yield Progress(3, 3, "done")
    n = int(group.max()) + 1 if len(group) else 0
    return JobResult({"method": method, "n_clusters": n, "proposed": found.proposed}, ("layout.npz",))


def _line(method: str, n: int) -> str:
    if method == "tsne" and n > MAX_TSNE:
        return f"t-SNE of {MAX_TSNE:,} of {n:,} seeds, the others beside them"
    return {"tsne": "t-SNE", "umap": "UMAP", "pca": "principal components"}.get(method, "placing new seeds")


def _positions(
    method: str,
    seeds: npt.NDArray[np.int64],
    x: Floats,
    before: dict[str, npt.NDArray[np.generic]] | None,
    random_state: int,
) -> Points:
    if before is None or len(x) == 0:
        xy = pca_layout(x)
        return _SLOW[method](x, xy, random_state) if method in _SLOW else xy
    start, old = start_from(seeds, x, np.asarray(before["seed"]), np.asarray(before["xy"], np.float32))
    if method == "place" and old.any():
        return start
    if method in _SLOW:
        return _SLOW[method](x, start if old.any() else pca_layout(x), random_state)
    xy = pca_layout(x)
    return similarity(xy[old], start[old])(xy) if old.sum() > 2 else xy


_SLOW: dict[str, Callable[[Floats, Points, int], Points]] = {"umap": umap_layout, "tsne": tsne_layout}
