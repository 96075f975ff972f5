"""Tissue classes of the visible slice from a few brush strokes, within one stroke of the pen."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.optimize import minimize
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from napari_seedlab import files
from napari_seedlab.core import InputError, JobResult, NotReady, Progress
from napari_seedlab.learn import crops_io

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import numpy.typing as npt

    Floats = npt.NDArray[np.floating]

UNKNOWN = -1  # not painted: never background
SIGMAS = (0.7, 1.0, 1.6, 3.5, 6.0)  # voxels
BAND_SIGMAS = (1.0, 3.5)  # of the principal components of a cube
N_COMPONENTS = 3
N_SAMPLED = 1 << 14  # spectra that the components are found from
N_HIDDEN = 24
MAX_POINTS = 3000  # painted voxels that are learnt from; more are thinned per class
N_ITERATIONS = 40  # of the fit; a warm start needs fewer
BLOCK = 16384  # voxels predicted at a time, to stay within the cache
N_CACHED = 6  # slices whose features are kept
DECAY = 1e-3  # weight of |W|²


@dataclass(frozen=True)
class SliceFeatures:
    """Standardised features (n_features, y · x) float16 of a slice of `shape` (y, x)."""

    values: npt.NDArray[np.float16]
    shape: tuple[int, int]


@dataclass(frozen=True)
class StrokeHead:
    """One hidden layer on the features of a voxel.

    Attributes
    ----------
    classes : tuple of int
        Class id of each output.
    hidden : (n_features + 1, n_hidden) float64
        Weights, the bias in the last row.
    output : (n_hidden + 1, n_classes) float64
        Likewise.
    """

    classes: tuple[int, ...]
    hidden: npt.NDArray[np.float64]
    output: npt.NDArray[np.float64]


_features: OrderedDict[str, SliceFeatures] = OrderedDict()  # in the worker, by source and slice
_heads: OrderedDict[str, StrokeHead] = OrderedDict()  # last head of a source, for the warm start
_blas = ThreadpoolController()


def slice_features(image: Floats, sigmas: Sequence[float] = SIGMAS) -> SliceFeatures:
    """Multiscale features of a slice (y, x): grey value; per scale smooth, band, edge and spot.

    Sigmas in voxels; each feature has mean 0 and standard deviation 1.
    """
    grey = np.nan_to_num(np.asarray(image, np.float32))
    grey = (grey - grey.mean()) / max(float(grey.std()), 1e-6)
    columns, before = [grey], grey
    for sigma in sigmas:
        smooth = gaussian_filter(grey, sigma, mode="nearest", truncate=3)
        padded = np.pad(smooth, 1, mode="edge")
        up, down, left, right = padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]
        edge = np.sqrt((down - up) ** 2 + (right - left) ** 2)
        spot = up + down + left + right - 4 * smooth
        columns += [smooth, before - smooth, edge, spot]
        before = smooth
    stack = np.stack([_standard(c) for c in columns])  # (n_features, y, x)
    return SliceFeatures(stack.reshape(len(stack), -1).astype(np.float16), grey.shape)


def _standard(feature: Floats) -> Floats:
    spread = float(feature.std())
    out: Floats = (feature - feature.mean()) / np.float32(spread if spread > 1e-9 else 1.0)
    return out


def band_images(cube: files.LazyArray) -> npt.NDArray[np.float32]:
    """Mean over the bands and the first principal components of the spectra of a cube.

    Parameters
    ----------
    cube : (band, y, x) array
        Read band by band, twice; never held whole.

    Returns
    -------
    (1 + n, 1, y, x) float32
        `n` is at most three; the sign of a component is such that its largest weight is positive.
    """
    n_bands, height, width = cube.shape
    step = max(1, int(np.sqrt(height * width / N_SAMPLED)))
    sample = np.stack([_band(cube, b)[::step, ::step].ravel() for b in range(n_bands)]).astype(np.float64)
    centre = sample.mean(1)
    spread = sample - centre[:, None]
    _, vectors = np.linalg.eigh(spread @ spread.T)
    weights = vectors[:, ::-1][:, :N_COMPONENTS].T  # (n, band), the largest variance first
    weights = weights * np.sign(weights[np.arange(len(weights)), np.abs(weights).argmax(1)])[:, None]
    all_weights = np.vstack([np.full((1, n_bands), 1 / n_bands), weights]).astype(np.float32)
    out = np.zeros((len(all_weights), height, width), np.float32)
    for b in range(n_bands):
        out += all_weights[:, b, None, None] * (_band(cube, b) - np.float32(centre[b]))
    return out[:, None]


def _band(cube: files.LazyArray, band: int) -> npt.NDArray[np.float32]:
    return np.nan_to_num(np.asarray(cube[band], np.float32))


def _features_of(image: files.LazyArray, is_cube: bool, axis: int, index: int) -> SliceFeatures:
    """Features of a slice of a volume, or of a cube seen as one plane thick."""
    cut = tuple(slice(index, index + 1) if a == axis else slice(None) for a in range(3))
    if not is_cube:
        return slice_features(np.asarray(image[cut]).squeeze(axis))
    mean, *components = (view[cut].squeeze(axis) for view in band_images(image))
    parts = [slice_features(mean), *(slice_features(c, BAND_SIGMAS) for c in components)]
    return SliceFeatures(np.concatenate([part.values for part in parts]), parts[0].shape)


def class_loss(logits: Floats, targets: npt.NDArray[np.integer]) -> tuple[float, npt.NDArray[np.float64]]:
    """Cross-entropy over the known rows, each class with equal weight, and its gradient.

    Parameters
    ----------
    logits : (n, C) float
        Scores of the classes.
    targets : (n,) int
        Column of each row's class, or −1 for unknown, whose gradient is exactly 0.

    Returns
    -------
    loss : float
    gradient : (n, C) float64
        By the logits.
    """
    known = targets >= 0
    column = np.where(known, targets, 0)
    counts = np.bincount(targets[known], minlength=logits.shape[1])
    weight = known / (np.maximum(counts, 1)[column] * max(int((counts > 0).sum()), 1))  # (n,)
    top = logits.max(1, keepdims=True)
    e = np.exp(logits - top)
    total = e.sum(1, keepdims=True)
    rows = np.arange(len(logits))
    each = np.log(total[:, 0]) + top[:, 0] - logits[rows, column]
    gradient = e / total
    gradient[rows, column] -= 1
    return float((weight * each).sum()), np.asarray(gradient * weight[:, None], np.float64)


def fit_head(
    points: Floats, classes: npt.NDArray[np.integer], random_state: int = 0, start: StrokeHead | None = None
) -> StrokeHead:
    """Fit the head on painted voxels.

    Parameters
    ----------
    points : (n, n_features) float
        Features of the voxels.
    classes : (n,) int
        Class id of each, 0 = background, −1 = unknown.
    random_state : int
        Of the first weights.
    start : StrokeHead, optional
        Where to start from, when it has the same classes and features.

    Raises
    ------
    NotReady
        Fewer than two classes are painted.
    """
    ids = np.unique(classes[classes != UNKNOWN])
    if len(ids) < 2:
        raise NotReady(
            "tissues", f"{len(ids)} class is painted, 2 are needed", "Paint a stroke of another class"
        )
    targets = np.where(classes == UNKNOWN, -1, np.searchsorted(ids, classes))
    x = np.column_stack([points, np.ones(len(points))]).astype(np.float64)
    first = _warm(start, tuple(ids.tolist()), x.shape[1]) or _cold(ids, x.shape[1], random_state)
    split = first.hidden.size

    def objective(flat: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        hidden, output = flat[:split].reshape(first.hidden.shape), flat[split:].reshape(first.output.shape)
        inner = np.tanh(x @ hidden)  # (n, n_hidden)
        loss, by_logits = class_loss(inner @ output[:-1] + output[-1], targets)
        by_output = np.vstack([inner.T @ by_logits, by_logits.sum(0)])
        by_hidden = x.T @ ((by_logits @ output[:-1].T) * (1 - inner * inner))
        gradient = np.concatenate([by_hidden.ravel(), by_output.ravel()]) + 2 * DECAY * flat
        return loss + DECAY * float(flat @ flat), gradient

    begin = np.concatenate([first.hidden.ravel(), first.output.ravel()])
    found = minimize(objective, begin, jac=True, method="L-BFGS-B", options={"maxiter": N_ITERATIONS}).x
    return StrokeHead(
        first.classes, found[:split].reshape(first.hidden.shape), found[split:].reshape(first.output.shape)
    )


def _warm(start: StrokeHead | None, classes: tuple[int, ...], n_inputs: int) -> StrokeHead | None:
    fits = start is not None and start.classes == classes and len(start.hidden) == n_inputs
    return start if fits else None


def _cold(ids: npt.NDArray[np.integer], n_inputs: int, random_state: int) -> StrokeHead:
    rng = np.random.default_rng(random_state)
    hidden = rng.normal(0, n_inputs**-0.5, (n_inputs, N_HIDDEN))
    return StrokeHead(tuple(ids.tolist()), hidden, np.zeros((N_HIDDEN + 1, len(ids))))


def predict_slice(
    head: StrokeHead, features: SliceFeatures
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Class ids (y, x) uint8 of every voxel and the confidence (y, x) uint8, 255 = certain."""
    n = features.values.shape[1]
    classes, confidence = np.empty(n, np.uint8), np.empty(n, np.uint8)
    hidden, output = head.hidden.astype(np.float32), head.output.astype(np.float32)
    names = np.asarray(head.classes, np.uint8)
    for first in range(0, n, BLOCK):
        part = slice(first, first + BLOCK)
        inner = np.tanh(hidden[:-1].T @ features.values[:, part].astype(np.float32) + hidden[-1][:, None])
        logits = output[:-1].T @ inner + output[-1][:, None]  # (C, block)
        best = logits.argmax(0)
        classes[part] = names[best]
        confidence[part] = 255 / np.exp(logits - logits.max(0)).sum(0) + 0.5
    return classes.reshape(features.shape), confidence.reshape(features.shape)


def thinned(classes: npt.NDArray[np.integer], limit: int = MAX_POINTS) -> npt.NDArray[np.int64]:
    """Positions of at most `limit` known voxels, evenly spread within each class."""
    ids = np.unique(classes[classes != UNKNOWN])
    share = max(1, limit // max(len(ids), 1))
    kept = []
    for class_id in ids:
        places = np.flatnonzero(classes == class_id)
        chosen = np.linspace(0, len(places) - 1, min(share, len(places))).astype(np.int64)
        kept.append(places[chosen])
    return np.concatenate(kept) if kept else np.zeros(0, np.int64)


def _remember(store: OrderedDict[str, Any], key: str, value: object) -> None:
    store[key] = value
    store.move_to_end(key)
    while len(store) > N_CACHED:
        store.popitem(last=False)


def _cached_features(source: dict[str, Any], axis: int, index: int) -> tuple[SliceFeatures, str]:
    """Features of a slice, from memory where they are known, and the name of its source."""
    path = Path(source["path"])
    touched = path.stat().st_mtime_ns if path.exists() else 0
    name = json.dumps([source, touched, axis], sort_keys=True)
    key = f"{name} {index}"
    if key not in _features:
        image = files.open_array(files.ArraySource.from_json(source))
        is_cube = source["axes"][0] == "band"
        length = (1, *image.shape[1:])[axis] if is_cube else image.shape[axis]
        if not 0 <= index < length:
            raise InputError("slice", f"{index} is not in 0–{length - 1}", "Choose another slice")
        _remember(_features, key, _features_of(image, is_cube, axis, index))
    _features.move_to_end(key)
    return _features[key], name


def run(folder: Path) -> Generator[Progress, None, JobResult]:
    """Job: classes of one slice from the strokes on it.

    Reads ``request.json`` (params ``image``, ``axis``, ``index``) and ``strokes.npz`` (``points`` (m, 2)
    int32 y, x in the slice; ``class_id`` or ``class`` (m,) int: −1 unknown, 0 background, 1.. tissues;
    later strokes win); writes ``slice.npz`` (``classes``, ``p`` uint8 (y, x)). Runs on one thread.

    Raises
    ------
    NotReady
        Fewer than two classes are painted.
    InputError
        A stroke or the slice lies outside the scan.
    """
    folder, start = Path(folder), time.perf_counter()
    request = crops_io.read_request(folder)
    params = request.params
    yield Progress(0, 3, "Looking at the slice")
    with _blas.limit(limits=1):
        features, name = _cached_features(params["image"], int(params["axis"]), int(params["index"]))
    yield Progress(1, 3, "Learning from the strokes")
    places, classes = _painted(folder, features.shape)
    kept = thinned(classes)
    with _blas.limit(limits=1):
        points = features.values[:, places[kept]].T.astype(np.float32)
        head = fit_head(points, classes[kept], request.random_state, _heads.get(name))
    _remember(_heads, name, head)
    yield Progress(2, 3, "Classifying the slice")
    with _blas.limit(limits=1):
        predicted, confidence = predict_slice(head, features)
    files.save_arrays(folder / "slice.npz", classes=predicted, p=confidence)
    values = {"seconds": time.perf_counter() - start, "classes": list(head.classes)}
    return JobResult(values, ("slice.npz",))


def _painted(folder: Path, shape: tuple[int, int]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Flat places and class ids of the painted voxels, the last stroke on a voxel winning."""
    arrays = files.load_arrays(folder / "strokes.npz")
    points = np.asarray(arrays["points"], np.int64).reshape(-1, 2)
    if len(points) and (points.min() < 0 or (points >= shape).any()):
        raise InputError(
            "strokes", f"a point lies outside the slice of {shape[0]} × {shape[1]}", "Paint again"
        )
    flat = points[:, 0] * shape[1] + points[:, 1]
    places, last = np.unique(flat[::-1], return_index=True)
    classes = arrays["class_id"] if "class_id" in arrays else arrays["class"]
    return places, np.asarray(classes, np.int64)[::-1][last]
