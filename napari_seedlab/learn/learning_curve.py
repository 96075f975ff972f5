"""How the model grew with the answers, what more of them would bring, and when to stop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_seedlab.learn.calibration import agreement
from napari_seedlab.learn.head import fold_of
from napari_seedlab.learn.spreading import fit_taught

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_seedlab.learn.head import Head
    from napari_seedlab.learn.spreading import LookAlikes

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]
Bools = npt.NDArray[np.bool_]

BATCH = 10  # answers between two points
N_RECENT = 6  # points at whole batches; older ones lie further apart
N_POINTS = 16
MORE = 50  # answers that the forecast is about
EXPONENTS = np.geomspace(0.2, 1.5, 20)
LEAST_POINTS = 5  # that a curve is fitted to
N_RESAMPLES = 60
WIDEST = 0.06  # interval of a gain beyond which it cannot be said
N_STOP = 5000  # seeds at most on which successive models are compared
LEVEL = 0.98  # mean kappa of models that have settled; 0.95 is daring, 0.99 safe
N_ROUNDS = 3
FLAT = 0.005  # gain of accuracy by one more batch that is no longer worth it
UNSURE_SHARE = 0.125  # of the seeds without an answer; digits: the light comes 2-3 batches later at 0.1


@dataclass(frozen=True)
class Growth:
    """Models fitted to the first answers only.

    Attributes
    ----------
    n : (k,) int64
        Answers that each model knew.
    right : (k, m) bool
        Whether it is right about each of all m answers, without having seen that one.
    kappa : (k,) float64
        Agreement with the model one batch before about seeds that had no answer; NaN for the first of a
        pair that is not one batch apart.
    """

    n: npt.NDArray[np.int64]
    right: npt.NDArray[np.bool_]
    kappa: npt.NDArray[np.float64]


def sizes(n_answers: int) -> npt.NDArray[np.int64]:
    """Numbers of answers at which the curve is drawn: whole batches lately, fewer before, the last one."""
    whole = np.arange(BATCH, n_answers + 1, BATCH)
    old, new = whole[:-N_RECENT], whole[-N_RECENT:]
    n_old = N_POINTS - N_RECENT
    if len(old) > n_old:
        old = old[np.unique(np.geomspace(1, len(old), n_old).round().astype(int) - 1)]
    return np.asarray(np.concatenate([old, new]), np.int64)


def grow(
    vectors: Floats,
    rows: Ints,
    class_of: Ints,
    class_ids: Sequence[int],
    scaler: tuple[Floats, Floats],
    random_state: int,
    start: tuple[Head | None, float] = (None, 1.0),
    alike: LookAlikes | None = None,
) -> Growth:
    """Fit a model to the first answers for each of :func:`sizes`, the newest answer last.

    Answers that a model did not get are predicted by it, the others by models of five folds. Agreement is
    taken on answers that came later and on seeds without one (Bloodgood & Vijay-Shanker 2009).

    Parameters
    ----------
    vectors : (n, d) float
        Of all seeds; of those without an answer at most ``N_STOP``, evenly spaced, are compared.
    rows, class_of : (m,) int
        Answered rows in the order of the answers, and their class ids.
    class_ids : sequence of int
        The scheme.
    scaler : (center, scale)
        Of the whole pool.
    random_state : int
        Of the folds.
    start, alike
        As in :func:`~napari_seedlab.learn.spreading.fit_taught`.
    """
    unlabelled = np.setdiff1d(np.arange(len(vectors)), rows)
    step = max(1, -(-len(unlabelled) // N_STOP))
    every = vectors[np.concatenate([rows, unlabelled[::step]])]
    ids, place = np.asarray(class_ids), np.arange(len(class_of))
    points, rights, kappas = [], [], []
    before: tuple[int, npt.NDArray[np.int64]] | None = None
    for n in sizes(len(class_of)).tolist():
        if len(np.unique(class_of[:n])) < 2:
            continue
        head = fit_taught(vectors, rows, class_of, class_ids, scaler, start, alike, place < n)
        said = ids[head.logits(every).argmax(1)]
        one_before = before is not None and before[0] == n - BATCH and len(every) > n
        kappas.append(agreement(before[1][n:], said[n:]) if before is not None and one_before else np.nan)
        before = n, said
        right = said[: len(class_of)] == class_of
        folds = np.full(len(class_of), -1)
        folds[:n] = fold_of(class_of[:n], random_state)
        for k in np.unique(folds[:n]).tolist():
            held, kept = folds == k, (folds != k) & (place < n)
            part = fit_taught(vectors, rows, class_of, class_ids, scaler, start, alike, kept)
            right[held] = ids[part.logits(vectors[rows[held]]).argmax(1)] == class_of[held]
        points.append(n)
        rights.append(right)
    shape = (len(rights), len(class_of))
    return Growth(
        np.asarray(points, np.int64), np.asarray(rights, bool).reshape(shape), np.asarray(kappas, float)
    )


@dataclass(frozen=True)
class Forecast:
    """A fitted curve a − b·n^(−c), and what more answers would bring.

    Attributes
    ----------
    accuracy : (k,) float64
        At each point of the growth.
    fitted : (k,) float64
    gain : float
        Of accuracy by `more` answers, with its 95 % interval `low` to `high`.
    slope : float
        Of accuracy by one more batch.
    can_say : bool
        Whether the curve is long and clear enough, and a seed is left to ask about.
    more : int
        Answers that the gain is about: ``MORE``, or as many as there are seeds left.
    """

    accuracy: npt.NDArray[np.float64]
    fitted: npt.NDArray[np.float64]
    gain: float
    low: float
    high: float
    slope: float
    can_say: bool
    more: int = MORE

    @property
    def text(self) -> str:
        """Such as ``about +2 points for 50 more answers``; empty where no seed is left to ask about."""
        if not self.more:
            return ""
        if not self.can_say:
            return "cannot say yet"
        points, answers = 100 * self.gain, f"{self.more} more {'answer' if self.more == 1 else 'answers'}"
        if points < 0.5:
            return f"less than a point for {answers}"
        return f"about +{points:.0f} {'point' if points < 1.5 else 'points'} for {answers}"


def forecast(growth: Growth, weight: Floats, random_state: int, n_left: int = MORE) -> Forecast:
    """Fit the curve of accuracy over the number of answers, and look ahead.

    Parameters
    ----------
    growth : Growth
        Of :func:`grow`.
    weight : (m,) float
        How many seeds each answer stands for; all points are judged by the same answers.
    random_state : int
        Of the bootstrap over these answers.
    n_left : int
        Seeds that may still be asked about: nothing is said of more answers than these.
    """
    more = min(MORE, n_left)
    w = np.asarray(weight, np.float64)
    n, right = growth.n, growth.right.astype(np.float64)
    if len(n) < LEAST_POINTS or w.sum() <= 0:
        none = np.full(len(n), np.nan)
        level = right @ w / w.sum() if w.sum() > 0 else none
        return Forecast(level, none, *(float("nan"),) * 4, can_say=False, more=more)
    level = right @ w / w.sum()
    curve = _fit(n, level)
    now = int(n[-1])
    missing = 1.0 - float(level[-1])  # no more than this can be gained, wherever the curve lies
    gain = min(float(curve(now + more) - curve(now)), missing)
    slope = min(float(curve(now + BATCH) - curve(now)), missing)
    rng, used = np.random.default_rng(random_state), np.flatnonzero(w > 0)
    gains = []
    for _ in range(N_RESAMPLES):
        drawn = rng.choice(used, len(used))
        levels = right[:, drawn] @ w[drawn] / w[drawn].sum()
        again = _fit(n, levels, may_fall=True)
        gains.append(min(float(again(now + more) - again(now)), 1.0 - float(levels[-1])))
    low, high = np.percentile(gains, (2.5, 97.5))
    can_say = more > 0 and bool(high - low <= WIDEST)
    return Forecast(level, curve(n), gain, float(low), float(high), slope, can_say, more)


class _Curve:
    """a − b·n^(−c)."""

    def __init__(self, a: float, b: float, c: float) -> None:
        self._a, self._b, self._c = a, b, c

    def __call__(self, n: object) -> npt.NDArray[np.float64]:
        return np.asarray(self._a - self._b * np.asarray(n, np.float64) ** -self._c)


def _fit(n: Ints, accuracy: Floats, may_fall: bool = False) -> _Curve:
    """The curve with the least squared error; a ≤ 1, and b ≥ 0 unless it `may_fall`."""
    best, least = _Curve(float(np.mean(accuracy)), 0.0, 1.0), np.inf
    for c in EXPONENTS.tolist():
        x = np.asarray(n, np.float64) ** -c
        away, level = x - x.mean(), float(np.mean(accuracy))
        b = -float((away * (accuracy - level)).sum() / max((away**2).sum(), 1e-12))
        b = b if may_fall else max(0.0, b)
        a = level + b * float(x.mean())
        if a > 1:
            a, b = 1.0, max(0.0, float(((1 - accuracy) * x).sum() / (x * x).sum()))
        error = float(np.square(a - b * x - accuracy).sum())
        if error < least:
            best, least = _Curve(a, b, c), error
    return best


@dataclass(frozen=True)
class StopLight:
    """Whether to go on: ``green`` (may stop), ``amber`` (nearly) or ``red``, and why in words."""

    colour: str
    text: str
    kappa: float


def stop_light(growth: Growth, slope: float, unsure_share: float, level: float = LEVEL) -> StopLight:
    """Advice after the last batch.

    Green where successive models agree (mean kappa of the last three batches ≥ `level`, Bloodgood &
    Vijay-Shanker 2009), one more batch gains less than half a point, and at most an eighth of the seeds
    without an answer is predicted below ``SURE``; amber where the models agree and one of the others is
    missing. Never green before three pairs of models could be compared.
    """
    last = growth.kappa[-N_ROUNDS:]
    if len(last) < N_ROUNDS or not np.isfinite(last).all():
        return StopLight("red", f"Label on: {N_ROUNDS} batches in a row are compared first.", float("nan"))
    kappa = float(last.mean())
    if kappa < level:
        text = (
            "Label on: each batch still changes predictions "
            f"(agreement from batch to batch {100 * kappa:.0f} %, settled from {100 * level:.0f} %)."
        )
        return StopLight("red", text, kappa)
    if not slope < FLAT:
        gain = (
            "it is not known what a batch gains"
            if np.isnan(slope)
            else f"a batch gains {100 * slope:.1f} points"
        )
        return StopLight("amber", f"Nearly: the predictions have settled, but {gain}.", kappa)
    if unsure_share > UNSURE_SHARE:
        text = (
            f"Nearly: the predictions have settled, but {100 * unsure_share:.0f} % of the seeds stay unsure."
        )
        return StopLight("amber", text, kappa)
    return StopLight("green", "You may stop: more answers would change little.", kappa)
