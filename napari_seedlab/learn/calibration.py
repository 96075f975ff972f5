"""How far a probability can be trusted: temperature, calibration error, intervals, reject and stop rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]

MIN_RANDOM_ANSWERS = 30  # below this an accuracy from random answers is "too few to say"
TEMPERATURE_RANGE = (0.2, 10.0)


def softmax(logits: Floats) -> npt.NDArray[np.float64]:
    """Probabilities (n, C) of `logits` (n, C), each row summing to one."""
    z = np.asarray(logits, np.float64)
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def fit_temperature(logits: Floats, rows_class: Ints) -> float:
    """The T > 0 that minimises the log loss of ``softmax(logits / T)``.

    Guo et al. 2017, "On Calibration of Modern Neural Networks", eq. 9. The order of the classes
    never changes, so accuracy does not either.

    Parameters
    ----------
    logits : (n, C) float
        Scores of samples that the model was not fitted on.
    rows_class : (n,) int
        Column of the true class of each row.

    Returns
    -------
    float
        T within ``TEMPERATURE_RANGE``; 1.0 for no samples.
    """
    from scipy.optimize import minimize_scalar

    z = np.asarray(logits, np.float64)
    if len(z) == 0:
        return 1.0
    rows = np.arange(len(z))

    def log_loss(log_t: float) -> float:
        p = softmax(z / np.exp(log_t))[rows, rows_class]
        return float(-np.log(np.maximum(p, 1e-12)).mean())

    low, high = np.log(TEMPERATURE_RANGE)
    found = minimize_scalar(log_loss, bounds=(low, high), method="bounded", options={"xatol": 1e-3})
    return float(np.exp(found.x))


def calibration_error(p: Floats, rows_class: Ints, n_bins: int = 15) -> float:
    """Expected calibration error: Σ n_b / n · |accuracy_b − confidence_b| over confidence bins."""
    confidence, hit = p.max(axis=1), p.argmax(axis=1) == rows_class
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    gaps = [abs(hit[bins == b].sum() - confidence[bins == b].sum()) for b in np.unique(bins)]
    return float(sum(gaps) / max(len(p), 1))


def balanced_accuracy(said: Ints, predicted: Ints) -> float:
    """Mean recall over the classes that occur in `said`; NaN for no samples."""
    recalls = [float(np.mean(predicted[said == c] == c)) for c in np.unique(said)]
    return float(np.mean(recalls)) if recalls else float("nan")


@dataclass(frozen=True)
class Estimate:
    """An accuracy with its 95 % interval; `text` is what the user reads."""

    value: float
    low: float
    high: float
    n: int

    @property
    def text(self) -> str:
        """Such as ``91 % (82-96 %, from 43 random answers)`` or ``too few to say``."""
        if self.n < MIN_RANDOM_ANSWERS:
            return f"too few to say ({self.n} of {MIN_RANDOM_ANSWERS} random answers)"
        return (
            f"{100 * self.value:.0f} % ({100 * self.low:.0f}-{100 * self.high:.0f} %, "
            f"from {self.n} random answers)"
        )


def wilson_interval(share: float, n: float, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's score interval of a share seen in `n` (effective) trials; (0, 1) for n = 0."""
    if n <= 0:
        return 0.0, 1.0
    middle = share + z * z / (2 * n)
    half = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, float((middle - half) / scale)), min(1.0, float((middle + half) / scale))


def agreement(first: Ints, second: Ints) -> float:
    """Cohen's kappa of two predictions of the same seeds; 1.0 when both are one and the same class."""
    classes = np.union1d(first, second)
    seen = float(np.mean(first == second))
    chance = float(sum(np.mean(first == c) * np.mean(second == c) for c in classes))
    return 1.0 if chance >= 1.0 else (seen - chance) / (1.0 - chance)


def may_stop(kappas: Sequence[float], level: float = 0.98, rounds: int = 3) -> bool:
    """Whether predictions have settled: mean kappa of the last `rounds` rounds ≥ `level`.

    Bloodgood & Vijay-Shanker 2009; kappa of each round's predictions with the round before.
    """
    return len(kappas) >= rounds and float(np.mean(kappas[-rounds:])) >= level
