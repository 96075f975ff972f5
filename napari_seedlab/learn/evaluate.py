"""How well scores tell odd things from usual ones, with its uncertainty."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_seedlab.core import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

    Counts = npt.NDArray[np.int64]

MAX_BOOTSTRAP = 20_000  # values; above, DeLong's variance takes the place of the bootstrap
COVERED = (2.5, 97.5)  # percentiles of an interval of 95 %
Z = 1.959964  # the same of the normal distribution


def roc_auc(scores: npt.ArrayLike, is_odd: npt.ArrayLike) -> float:
    """Area under the ROC curve: the chance that an odd value scores above a usual one, ties half.

    Parameters
    ----------
    scores : (n,) float
        Larger is odder; any shape that `is_odd` has too.
    is_odd : (n,) bool
        The truth.

    Raises
    ------
    InputError
        The two differ in shape, a score is not finite, or only one class is there.

    Examples
    --------
    >>> roc_auc([0.1, 0.4, 0.4, 0.8], [False, False, True, True])
    0.875
    """
    return _area(*_tally(scores, is_odd))


def auc_interval(
    scores: npt.ArrayLike, is_odd: npt.ArrayLike, random_state: int, n: int = 1000
) -> tuple[float, float]:
    """95 % interval of :func:`roc_auc` for another sample of as many odd and as many usual values.

    Up to 20,000 values: percentiles of a bootstrap stratified by class (Efron and Tibshirani 1993,
    ch. 13). Above: the area ± 1.96 standard errors after DeLong, DeLong and Clarke-Pearson 1988,
    cut to 0-1; the random state is not used then. Values count as independent, which neighbouring
    pixels are not: of pixels the true interval is wider. A perfect area, of which no sample differs, has the
    exact interval of as many pairs as the smaller class has values, all won (Clopper and Pearson 1934).

    Parameters
    ----------
    scores, is_odd
        As for :func:`roc_auc`.
    random_state : int
        The same state gives the same interval.
    n : int
        Bootstrap samples.

    Returns
    -------
    low, high : float

    Raises
    ------
    InputError
        As :func:`roc_auc`; or `n` is below 1.
    """
    odd, usual = _tally(scores, is_odd)
    if n < 1:
        raise InputError("n", f"is {n} bootstrap samples, at least 1 is needed", "Use 1000")
    area, n_pairs = _area(odd, usual), int(min(odd.sum(), usual.sum()))
    if area in (0.0, 1.0):
        bound = (COVERED[0] / 100) ** (1 / n_pairs)
        return (bound, 1.0) if area else (0.0, 1.0 - bound)
    if odd.sum() + usual.sum() > MAX_BOOTSTRAP:
        error = _delong_error(odd, usual)
        return max(0.0, area - Z * error), min(1.0, area + Z * error)
    rng = np.random.default_rng(random_state)
    areas = [_area(_resampled(odd, rng), _resampled(usual, rng)) for _ in range(n)]
    low, high = np.percentile(areas, COVERED)
    return float(low), float(high)


def average_precision(scores: npt.ArrayLike, is_odd: npt.ArrayLike) -> float:
    """Mean precision over the steps of recall, from the highest score down; tied scores are one step.

    Parameters and errors are those of :func:`roc_auc`. A random score has the share of odd values.

    Examples
    --------
    >>> round(average_precision([0.1, 0.4, 0.4, 0.8], [False, False, True, True]), 4)
    0.8333
    """
    odd, usual = _tally(scores, is_odd)
    steps, found, seen = odd[::-1], np.cumsum(odd[::-1]), np.cumsum((odd + usual)[::-1])
    return float((steps * (found / seen)).sum() / found[-1])


def _tally(scores: npt.ArrayLike, is_odd: npt.ArrayLike) -> tuple[Counts, Counts]:
    """Odd and usual values at each distinct score, from the lowest score up."""
    values, truth = np.asarray(scores), np.asarray(is_odd)
    if values.shape != truth.shape:
        cause = f"have shape {values.shape}, the truth {truth.shape}"
        raise InputError("scores", cause, "Give one score for each value")
    if values.dtype.kind not in "biuf" or not np.isfinite(values).all():
        raise InputError("scores", _not_finite(values), "Leave such values out")
    if truth.dtype.kind != "b" and not np.isin(truth, (0, 1)).all():
        raise InputError(
            "truth", "has other values than true and false", "Mark odd values with 1, others with 0"
        )
    distinct, place = np.unique(values.ravel(), return_inverse=True)
    odd = np.bincount(place, weights=truth.ravel(), minlength=len(distinct)).astype(np.int64)
    usual = np.bincount(place, minlength=len(distinct)).astype(np.int64) - odd
    if not odd.sum() or not usual.sum():
        cause = f"has {odd.sum():,} odd and {usual.sum():,} usual values, some of both are needed"
        raise InputError("truth", cause, "Use a truth with both classes")
    return odd, usual


def _not_finite(values: npt.NDArray[Any]) -> str:
    if values.dtype.kind not in "biuf":
        return f"are of type {values.dtype.name}, not real numbers"
    return f"have {np.count_nonzero(~np.isfinite(values)):,} NaN or infinite values"


def _area(odd: Counts, usual: Counts) -> float:
    """The area from counts at ascending scores, in whole numbers up to the last division."""
    below = np.cumsum(usual) - usual
    return float((odd * (2 * below + usual)).sum() / (2 * int(odd.sum()) * int(usual.sum())))


def _resampled(counts: Counts, rng: np.random.Generator) -> Counts:
    """As many values, drawn with replacement."""
    n = int(counts.sum())
    places = np.repeat(np.arange(len(counts)), counts)
    return np.bincount(places[rng.integers(0, n, n)], minlength=len(counts)).astype(np.int64)


def _delong_error(odd: Counts, usual: Counts) -> float:
    """Standard error of the area from the placements of each class among the other (DeLong, eq. 5)."""
    n_odd, n_usual = int(odd.sum()), int(usual.sum())
    over = (np.cumsum(usual) - usual / 2) / n_usual  # usual values below each odd one
    under = 1 - (np.cumsum(odd) - odd / 2) / n_odd  # odd values above each usual one
    return float(np.sqrt(_variance(over, odd) / n_odd + _variance(under, usual) / n_usual))


def _variance(values: npt.NDArray[np.float64], counts: Counts) -> float:
    n = int(counts.sum())
    mean = float((values * counts).sum()) / n
    return float((counts * (values - mean) ** 2).sum()) / max(n - 1, 1)
