"""What an earlier project brings to a new one: its head as a start, and how far the new seeds lie off."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_seedlab.core import InputError, JobRequest, JobResult, Progress
from napari_seedlab.learn.calibration import softmax
from napari_seedlab.learn.head import (
    Head,
    class_weights,
    columns_of,
    fit_calibrated,
    fold_of,
    out_of_fold_logits,
    pool_scaler,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from pathlib import Path

    from napari_seedlab.learn.head import Floats, Ints

HOLDS = (10.0, 1.0, 0.0)  # how firmly the earlier weights are held on to; 0 drops them
LEAST_P = 0.01  # one answer that a head did not expect weighs no more than this
FAR_QUANTILE = 0.97  # of the earlier seeds' distances: what lies beyond is outside. Stones and chaff, a few
# percent of a real lot, are the farthest of it: at 0.99 they set the bar, and a third of inverted seeds pass
N_FOLDS = 5  # in which no seed's distance is measured by itself
LEAST_SEEDS = 20  # that tell what the earlier ones look like


def mapped(
    head: Head,
    names: Mapping[int, str],
    class_ids: Sequence[int],
    new_names: Mapping[int, str],
    scaler: tuple[Floats, Floats],
) -> Head:
    """The same function of raw vectors, with the classes of another scheme and another standardisation.

    Parameters
    ----------
    head : Head
        Of the earlier project.
    names : mapping of int to str
        Its class names by id.
    class_ids, new_names
        Order of the probability columns wanted, and the class names by id; classes meet by name.
    scaler : (center, scale), each (d,)
        Of the new pool.

    Returns
    -------
    Head
        Whose `n_prior` are the answers of the earlier project, and whose `n_labels` are zero.

    Raises
    ------
    InputError
        The vectors have another width, or fewer than two classes have the same name.
    """
    center, scale = (np.asarray(column, np.float64) for column in scaler)
    if len(center) != len(head.center):
        cause = f"tells vectors of {len(head.center)} entries, these have {len(center)}"
        raise InputError("the model", cause, "Choose the encoder that it was made with")
    place = {names[c]: i for i, c in enumerate(head.class_ids) if head.n_behind[i] and c in names}
    columns = [place.get(new_names[c], -1) for c in class_ids]
    known = np.asarray(columns) >= 0
    if known.sum() < 2:
        theirs = ", ".join(place) or "none"
        raise InputError("the model", f"knows other classes ({theirs})", "Name the classes alike")
    weight = head.weight[:, columns] * (scale / head.scale)[:, None]
    bias = head.bias[columns] + ((center - head.center) / head.scale) @ head.weight[:, columns]
    weight[:, ~known], bias[~known] = 0.0, bias[known].min()
    behind = np.where(known, head.n_behind[columns], 0)
    return Head(
        tuple(int(c) for c in class_ids),
        center,
        scale,
        weight,
        bias,
        (0,) * len(columns),
        head.temperature,
        tuple(behind.tolist()),
    )


def choose_hold(
    vectors: Floats,
    class_of: Ints,
    class_ids: Sequence[int],
    scaler: tuple[Floats, Floats],
    prior: Head,
    random_state: int,
) -> float:
    """How firmly to hold on to an earlier head, from the answers so far; 0 drops it.

    The one of ``HOLDS`` with the least cross-validated log loss in which each class counts alike. One
    answer is judged by the earlier head alone.
    """
    columns = columns_of(class_of, class_ids)
    if not len(columns):
        return HOLDS[0]
    weight = class_weights(columns, len(class_ids))
    losses = []
    for hold in HOLDS:
        given = prior if hold else None
        logits = out_of_fold_logits(vectors, class_of, class_ids, scaler, random_state, given, hold or 1.0)
        own = softmax(logits)[np.arange(len(columns)), columns]
        losses.append(float(-(weight * np.log(np.maximum(own, LEAST_P))).mean()))
    return HOLDS[int(np.argmin(losses))]


def held(
    vectors: Floats,
    class_of: Ints,
    class_ids: Sequence[int],
    scaler: tuple[Floats, Floats],
    prior: Head | None,
    random_state: int,
) -> tuple[Head | None, float]:
    """`prior` and `hold` of :func:`~napari_seedlab.learn.head.fit_head`; (None, 1) where it is dropped."""
    if prior is None:
        return None, 1.0
    hold = choose_hold(vectors, class_of, class_ids, scaler, prior, random_state)
    return (prior, hold) if hold else (None, 1.0)


@dataclass(frozen=True)
class Domain:
    """What the seeds of a project look like, so that others can be told from them.

    Attributes
    ----------
    middle, spread : (d,) float64
        Median and half the distance between the 16th and 84th percentile of each column; columns are counted
        from one in units of the other, and large values are drawn in by asinh.
    mean : (d,) float64
    precision : (d, d) float64
        Inverse of the shrunk covariance (Ledoit & Wolf 2004).
    cut : float
        Squared Mahalanobis distance beyond which a seed lies outside.
    """

    middle: npt.NDArray[np.float64]
    spread: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]
    precision: npt.NDArray[np.float64]
    cut: float

    def distance(self, vectors: Floats) -> npt.NDArray[np.float64]:
        """Squared Mahalanobis distance (n,) of rows (n, d)."""
        away = np.arcsinh((vectors - self.middle) / self.spread) - self.mean
        return np.asarray(((away @ self.precision) * away).sum(1))

    def is_outside(self, vectors: Floats) -> npt.NDArray[np.bool_]:
        """Whether each row (n, d) lies beyond the cut."""
        return np.asarray(self.distance(vectors) > self.cut)


def domain_of(vectors: Floats, random_state: int = 0) -> Domain:
    """What seeds with these vectors (n, d) look like; the cut is a quantile of cross-fitted distances.

    Raises
    ------
    InputError
        There are fewer than ``LEAST_SEEDS``.
    """
    x = np.asarray(vectors, np.float64)
    if len(x) < LEAST_SEEDS:
        raise InputError(
            "the earlier project",
            f"has {len(x)} seed{'' if len(x) == 1 else 's'}",
            f"Take one with {LEAST_SEEDS}",
        )
    low, middle, high = np.percentile(x, (16, 50, 84), axis=0)
    spread = np.maximum((high - low) / 2, 0.05 * x.std(axis=0) + 1e-6)
    folds = fold_of(np.zeros(len(x), np.int64), random_state, N_FOLDS)
    distances = np.empty(len(x))
    for k in range(N_FOLDS):
        distances[folds == k] = _domain(x[folds != k], middle, spread).distance(x[folds == k])
    whole = _domain(x, middle, spread)
    return Domain(middle, spread, whole.mean, whole.precision, float(np.quantile(distances, FAR_QUANTILE)))


def _domain(x: Floats, middle: npt.NDArray[np.float64], spread: npt.NDArray[np.float64]) -> Domain:
    from sklearn.covariance import ledoit_wolf

    drawn_in = np.arcsinh((x - middle) / spread)
    mean = drawn_in.mean(axis=0)
    precision = np.linalg.inv(ledoit_wolf(drawn_in)[0])
    return Domain(middle, spread, mean, precision, np.inf)


def run(folder: Path) -> Generator[Progress, None, JobResult]:
    """Job: what an earlier project brings, one pool after the other.

    Parameters of the request: ``pools``, a list of ``pool``, ``class_ids`` and ``classes``, their names.
    Reads ``embedding-{pool}.npz`` (vector, widths of the encoders' blocks), ``labels-{pool}.npz`` (row of the
    embedding, class_id, inclusion_p) and, where that project started from another one itself,
    ``start-{pool}.npz`` as :func:`read_prior` does. Writes ``prior-{pool}.npz`` (a head as plain columns) and
    ``domain-{pool}.npz`` for those pools that have what it takes.
    """
    from napari_seedlab.files import load_arrays, read_json, save_arrays

    request = JobRequest.from_json(read_json(folder / "request.json"))
    pools = request.params["pools"]
    written: list[str] = []
    for i, entry in enumerate(pools):
        pool = str(entry["pool"])
        yield Progress(i, len(pools), f"reading the {pool} seeds")
        path = folder / f"embedding-{pool}.npz"
        table = load_arrays(path) if path.exists() else {"vector": np.zeros((0, 0))}
        vectors = table["vector"]
        head = _head_of(folder, table, entry, request.random_state)
        if head is not None:
            save_arrays(folder / f"prior-{pool}.npz", **head_columns(head))
            written.append(f"prior-{pool}.npz")
        net = folder / f"net-{pool}.safetensors"
        if net.exists():
            save_arrays(folder / f"net-{pool}.npz", **net_columns(net))
            written.append(f"net-{pool}.npz")
        if len(vectors) >= LEAST_SEEDS:
            domain = domain_of(vectors, request.random_state)
            save_arrays(
                folder / f"domain-{pool}.npz", **{f.name: getattr(domain, f.name) for f in fields(domain)}
            )
            written.append(f"domain-{pool}.npz")
    yield Progress(len(pools), len(pools), "done")
    return JobResult({"files": written}, tuple(written))


def _head_of(
    folder: Path, table: Mapping[str, Any], entry: Mapping[str, Any], random_state: int
) -> Head | None:
    """A head of the labels, on the vectors in use now; None without two classes that it could know.

    It is always fitted anew: a stored one may be of other encoders, or of answers that were corrected since.
    """
    from napari_seedlab.files import load_arrays

    pool, ids, vectors = str(entry["pool"]), entry["class_ids"], table["vector"]
    names, widths = entry.get("classes") or [str(c) for c in ids], table.get("widths")
    try:
        prior = read_prior(folder / f"start-{pool}.npz", ids, names, vectors, widths)
    except InputError:  # of other classes than the project has now
        prior = None
    labels = load_arrays(folder / f"labels-{pool}.npz")
    if not len(vectors) or (prior is None and len(np.unique(labels["class_id"])) < 2):
        return None
    x, y, drawn = vectors[labels["row"]], labels["class_id"], labels["inclusion_p"]
    scaler = pool_scaler(vectors, widths)
    if not len(y):
        return prior
    start = held(x, y, ids, scaler, prior, random_state)
    head = fit_calibrated(x, y, drawn, ids, scaler, random_state, *start)[0]
    return head if (head.n_behind > 0).sum() > 1 else None


def head_columns(head: Head) -> dict[str, npt.NDArray[Any]]:
    """A head as plain columns; `n_behind` are all answers that it is known from."""
    columns = {key: getattr(head, key) for key in ("center", "scale", "weight", "bias", "n_behind")}
    facts = {"class_ids": np.asarray(head.class_ids), "temperature": np.asarray(head.temperature)}
    return {**columns, **facts}


def net_columns(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The weights of a saved network under ``weight.NAME``, and its class ids."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        facts = json.loads((file.metadata() or {}).get("facts", "{}"))
        weights = {f"weight.{name}": file.get_tensor(name) for name in file.keys()}
    return {**weights, "class_ids": np.asarray(facts["class_ids"])}


def read_prior(
    path: Path,
    class_ids: Sequence[int],
    class_names: Sequence[str],
    vectors: Floats,
    widths: npt.NDArray[np.integer] | None = None,
) -> Head | None:
    """The head in a file such as ``prior.npz`` of a job (its columns and class names), for this pool."""
    from napari_seedlab.files import load_arrays

    if not path.exists() or not len(vectors):
        return None
    a = load_arrays(path)
    ids = tuple(int(c) for c in a["class_ids"])
    head = Head(
        ids, a["center"], a["scale"], a["weight"], a["bias"],
        tuple(int(n) for n in a["n_behind"]), float(a["temperature"]),
    )  # fmt: skip
    names, wanted = (
        dict(zip(ids, a["names"].tolist(), strict=True)),
        dict(zip(class_ids, class_names, strict=True)),
    )
    return mapped(head, names, class_ids, wanted, pool_scaler(vectors, widths))


def shift(folder: Path, vectors: Floats) -> dict[str, int]:
    """How many of the vectors (n, d) lie outside what ``domain.npz`` of a job describes, if there is one."""
    from napari_seedlab.files import load_arrays

    if not (folder / "domain.npz").exists() or not len(vectors):
        return {}
    a = load_arrays(folder / "domain.npz")
    domain = Domain(a["middle"], a["spread"], a["mean"], a["precision"], float(a["cut"]))
    return {"n_far": int(domain.is_outside(vectors).sum()), "n_seen": len(vectors)}
