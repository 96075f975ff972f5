"""The live model: multinomial logistic regression on frozen embeddings, with a temperature."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_seedlab.core import InputError
from napari_seedlab.imaging.scaling import pool_scaler as pool_scaler
from napari_seedlab.imaging.scaling import scaled as scaled
from napari_seedlab.learn.calibration import (
    MIN_RANDOM_ANSWERS,
    balanced_accuracy,
    fit_temperature,
    softmax,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]

STRENGTH = 0.1  # inverse penalty of the standardised weights (C of scikit-learn)
BLOCK = 2048  # rows read at a time
MAX_CLASS_WEIGHT = 10.0
N_FOLDS = 5
UNSEEN_MASS = 0.5  # pseudo-answers given to each class that nobody has named yet


@dataclass(frozen=True)
class Head:
    """A fitted head.

    Attributes
    ----------
    class_ids : tuple of int
        Order of the probability columns, C of them.
    center, scale : (d,) float64
        Standardisation of the embedding, from the whole pool.
    weight, bias : (d, C) and (C,) float64
        Of the classes that were seen; columns of unseen classes are zero.
    n_labels : tuple of int
        Answers per class.
    temperature : float
    n_prior : tuple of int
        Answers per class behind the head that this one started from; empty where it started from nothing.
    """

    class_ids: tuple[int, ...]
    center: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64]
    weight: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]
    n_labels: tuple[int, ...]
    temperature: float = 1.0
    n_prior: tuple[int, ...] = ()

    @property
    def n_behind(self) -> npt.NDArray[np.int64]:
        """Answers (C,) that each class is known from, those of an earlier head included."""
        own = np.asarray(self.n_labels, np.int64)
        return own + np.asarray(self.n_prior, np.int64) if self.n_prior else own

    def logits(self, vectors: Floats, is_scaled: bool = False) -> npt.NDArray[np.float64]:
        """Scores (n, C) before the temperature; −inf-like (−30) for classes never named.

        With `is_scaled` the rows are those of :func:`scaled` already.
        """
        self._check(vectors)
        z = np.empty((len(self.class_ids), len(vectors)))
        for rows, block in self._scores(vectors, is_scaled):
            z[:, rows] = block
        return z.T

    def probabilities(self, vectors: Floats, is_scaled: bool = False) -> npt.NDArray[np.float32]:
        """Class probabilities (n, C) of embedding rows (n, d); see :meth:`logits`.

        Classes that nobody has named yet share ``UNSEEN_MASS`` pseudo-answers each, so that one
        answer never makes the model certain.
        """
        self._check(vectors)
        counts = self.n_behind
        unseen = counts == 0
        if unseen.all():
            return np.full((len(vectors), len(counts)), 1 / len(counts), np.float32)
        mass = UNSEEN_MASS * unseen.sum()
        share = float(mass / (counts.sum() + mass + UNSEEN_MASS * (~unseen).sum()))
        p = np.empty((len(counts), len(vectors)), np.float32)
        for rows, z in self._scores(vectors, is_scaled):
            z /= self.temperature
            z -= z.max(axis=0)
            np.exp(z, out=z)
            z[unseen] = 0.0
            z *= (1 - share) / z.sum(axis=0)
            z[unseen] = share / max(int(unseen.sum()), 1)
            p[:, rows] = z
        return p.T

    def _scores(self, vectors: Floats, is_scaled: bool) -> Iterator[tuple[slice, npt.NDArray[Any]]]:
        """Rows, and their scores (C, rows), a block after the other.

        So that no second copy of all rows is made; a class to a line, which takes half the time of
        ``rows @ weight``.
        """
        kind: Any = np.float32 if vectors.dtype == np.float32 else np.float64
        center, shrink, bias = (np.asarray(v, kind) for v in (self.center, 1 / self.scale, self.bias))
        weight = np.ascontiguousarray(self.weight.T, kind)
        unseen = self.n_behind == 0
        for start in range(0, len(vectors), BLOCK):
            block = vectors[start : start + BLOCK]
            if not is_scaled:
                block = np.subtract(block, center, dtype=kind)
                block *= shrink
                np.clip(block, -6.0, 6.0, out=block)
            z = weight @ block.T
            z += bias[:, None]
            z[unseen] = -30.0
            yield slice(start, start + BLOCK), z

    def _check(self, vectors: Floats) -> None:
        if vectors.ndim != 2 or vectors.shape[1] != len(self.center):
            raise InputError(
                "embedding",
                f"has shape {vectors.shape}, the model wants {len(self.center)} columns",
                "Compute the embedding anew or train the model again",
            )


def class_weights(columns: Ints, n_classes: int) -> npt.NDArray[np.float64]:
    """Weight of each row, n / (classes seen · n_class), at most ``MAX_CLASS_WEIGHT``."""
    counts = np.bincount(columns, minlength=n_classes)
    per_class = len(columns) / (max(int((counts > 0).sum()), 1) * np.maximum(counts, 1))
    return np.asarray(np.minimum(per_class, MAX_CLASS_WEIGHT)[columns])


def _solve(
    x: npt.NDArray[np.float64],
    columns: Ints,
    n_classes: int,
    strength: float,
    start: npt.NDArray[np.float64] | None = None,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Weights (d, C) and bias (C,) of ``Σ w·CE + |W − start|² / (2·strength)`` by L-BFGS.

    `start` (d + 1, C) is the weights, the bias last, that are held on to; zeros where None.
    """
    from scipy.optimize import minimize

    n, d = x.shape
    hot = np.zeros((n, n_classes))
    hot[np.arange(n), columns] = 1.0
    w = class_weights(columns, n_classes)[:, None]
    x1 = np.column_stack([x, np.ones(n)])
    penalty = np.full((d + 1, 1), 1.0 / strength)
    penalty[-1] = 1e-3 / strength  # the bias is nearly free
    held = np.zeros((d + 1, n_classes)) if start is None else start
    if start is not None:
        penalty[-1] = 1.0 / strength  # else classes that are not answered yet would be forgotten

    def loss(flat: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        theta = flat.reshape(d + 1, n_classes)
        z = x1 @ theta
        top = z.max(axis=1, keepdims=True)
        e = np.exp(z - top)
        total = e.sum(axis=1, keepdims=True)
        value = float((w * (np.log(total) + top - (hot * z).sum(axis=1, keepdims=True))).sum())
        away = theta - held
        gradient = x1.T @ (w * (e / total - hot)) + penalty * away
        return value + 0.5 * float((penalty * away * away).sum()), gradient.ravel()

    options = {"maxiter": 200, "maxcor": 8, "ftol": 1e-7, "gtol": 1e-3}
    found = minimize(loss, held.ravel(), jac=True, method="L-BFGS-B", options=options)
    theta = found.x.reshape(d + 1, n_classes)
    return theta[:-1], theta[-1]


def fit_head(
    vectors: Floats,
    class_of: Ints,
    class_ids: Sequence[int],
    scaler: tuple[Floats, Floats] | None = None,
    strength: float = STRENGTH,
    prior: Head | None = None,
    hold: float = 1.0,
) -> Head:
    """Fit a head on labelled rows.

    Parameters
    ----------
    vectors : (n, d) float
        Embedding of the labelled seeds; n may be 0.
    class_of : (n,) int
        Class id of each.
    class_ids : sequence of int
        All classes of the scheme, in the order of the probability columns.
    scaler : (center, scale), optional
        From :func:`pool_scaler` over all seeds; from `vectors` where left out.
    strength : float
        Inverse penalty.
    prior : Head, optional
        An earlier head over the same columns, classes and scaler (see ``transfer.mapped``): its weights are
        what the penalty holds on to, in place of zero, and the classes that it knows stay known.
    hold : float
        How much stronger the penalty is then.
    """
    columns = columns_of(class_of, class_ids)
    center, scale = scaler if scaler is not None else pool_scaler(vectors)
    counts = np.bincount(columns, minlength=len(class_ids))
    behind = np.zeros(len(class_ids), np.int64) if prior is None else prior.n_behind
    seen = np.flatnonzero(counts + behind)
    weight, bias = np.zeros((vectors.shape[1], len(class_ids))), np.zeros(len(class_ids))
    if prior is not None:
        weight, bias = prior.weight.copy(), prior.bias.copy()
    if len(seen) > 1 and len(columns):
        x = scaled(vectors, center, scale)
        start = None if prior is None else np.vstack([weight[:, seen], bias[seen]])
        strength = strength if prior is None else strength / hold
        w, b = _solve(x, np.searchsorted(seen, columns), len(seen), strength, start)
        weight[:, seen], bias[seen] = w, b
    return Head(
        tuple(int(c) for c in class_ids),
        np.asarray(center, np.float64),
        np.asarray(scale, np.float64),
        weight,
        bias,
        tuple(int(c) for c in counts),
        1.0 if prior is None else prior.temperature,
        () if prior is None else tuple(behind.tolist()),
    )


def columns_of(class_of: Ints, class_ids: Sequence[int]) -> npt.NDArray[np.int64]:
    """Column of each class id; InputError for an id that is not in the scheme."""
    place = {int(c): i for i, c in enumerate(class_ids)}
    unknown = sorted({int(c) for c in class_of} - set(place))
    if unknown:
        known = ", ".join(map(str, class_ids))
        raise InputError(f"class {unknown[0]}", "is not in the class scheme", f"Use one of {known}")
    return np.asarray([place[int(c)] for c in class_of], np.int64)


def fold_of(columns: Ints, random_state: int, n_folds: int = N_FOLDS) -> npt.NDArray[np.int64]:
    """Fold 0..n_folds−1 of each row, classes spread evenly over the folds."""
    rng = np.random.default_rng(random_state)
    order = rng.permutation(len(columns))
    order = order[np.argsort(np.asarray(columns)[order], kind="stable")]
    folds = np.empty(len(columns), np.int64)
    folds[order] = np.arange(len(columns)) % n_folds
    return folds


def out_of_fold_logits(
    vectors: Floats,
    class_of: Ints,
    class_ids: Sequence[int],
    scaler: tuple[Floats, Floats],
    random_state: int,
    prior: Head | None = None,
    hold: float = 1.0,
) -> npt.NDArray[np.float64]:
    """Scores (n, C) of each labelled row by a head that did not see it."""
    columns = columns_of(class_of, class_ids)
    folds = fold_of(columns, random_state)
    logits = np.zeros((len(vectors), len(class_ids)))
    for k in np.unique(folds):
        held = folds == k
        if held.all():
            continue
        head = fit_head(vectors[~held], class_of[~held], class_ids, scaler, prior=prior, hold=hold)
        logits[held] = head.logits(vectors[held])
    return logits


@dataclass(frozen=True)
class HeadReport:
    """What is known of a head from out-of-fold predictions.

    Attributes
    ----------
    balanced_accuracy, chance : float
        Over the classes answered so far, by cross-validation (provisional); and that of guessing.
    temperature_from : str
        ``random answers``, ``cross-validation`` or ``none``.
    """

    balanced_accuracy: float
    chance: float
    temperature_from: str


def fit_calibrated(
    vectors: Floats,
    class_of: Ints,
    inclusion_p: Floats,
    class_ids: Sequence[int],
    scaler: tuple[Floats, Floats],
    random_state: int,
    prior: Head | None = None,
    hold: float = 1.0,
) -> tuple[Head, HeadReport]:
    """Fit a head on all answers and judge it out of fold.

    The temperature comes from the random answers (``0 < inclusion_p < 1``) once there are
    ``MIN_RANDOM_ANSWERS`` of them, else from all out-of-fold scores, since queried answers are the
    hard ones. Shapes as in :func:`fit_head`; `inclusion_p` (n,).
    """
    head = fit_head(vectors, class_of, class_ids, scaler, prior=prior, hold=hold)
    columns = columns_of(class_of, class_ids)
    counts = np.asarray(head.n_labels)
    if (counts > 1).sum() < 2:
        return head, _empty_report(columns)
    logits = out_of_fold_logits(vectors, class_of, class_ids, scaler, random_state, prior, hold)
    drawn = np.isfinite(inclusion_p) & (inclusion_p > 0) & (inclusion_p < 1)
    use = drawn if drawn.sum() >= MIN_RANDOM_ANSWERS else counts[columns] > 1
    head = replace(head, temperature=fit_temperature(logits[use], columns[use]))
    p = softmax(logits / head.temperature)
    report = HeadReport(
        balanced_accuracy(columns, p.argmax(1)),
        1.0 / int((counts > 0).sum()),
        "random answers" if use is drawn else "cross-validation",
    )
    return head, report


def _empty_report(columns: Ints) -> HeadReport:
    chance = 1.0 / max(len(np.unique(columns)), 1)
    return HeadReport(float("nan"), chance, "none")


def save_head(head: Head, path: Path) -> None:
    """Write a head as safetensors: tensors plus class ids, counts and temperature as metadata."""
    from safetensors.numpy import save

    from napari_seedlab.files import atomic_write

    tensors = {k: np.ascontiguousarray(getattr(head, k)) for k in ("center", "scale", "weight", "bias")}
    facts = {"class_ids": head.class_ids, "n_labels": head.n_labels, "temperature": head.temperature}
    facts |= {"n_prior": head.n_prior} if head.n_prior else {}
    atomic_write(path, save(tensors, metadata={"seedlab_head": json.dumps(facts)}))


def load_head(path: Path) -> Head:
    """The head of :func:`save_head`; InputError when the file is something else."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            facts = json.loads((file.metadata() or {})["seedlab_head"])
            tensors = {k: file.get_tensor(k) for k in ("center", "scale", "weight", "bias")}
    except (SafetensorError, KeyError, ValueError) as error:
        raise InputError(path, "is no saved head", "Train the model again") from error
    return Head(
        class_ids=tuple(facts["class_ids"]),
        n_labels=tuple(facts["n_labels"]),
        temperature=float(facts["temperature"]),
        n_prior=tuple(facts.get("n_prior", ())),
        **tensors,
    )
