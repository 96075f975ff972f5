"""How well the embedding tells from which scan a seed is: what differs between scans may mislead a model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_seedlab.learn.calibration import balanced_accuracy
from napari_seedlab.learn.head import fit_head, fold_of

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]

N_MOST = 1200  # seeds that are looked at
N_FOLDS = 3
LEAST = 10  # seeds that a scan needs
STRENGTH = 0.01  # inverse penalty: few seeds of many entries must not be learnt by heart
ALIKE, DIFFERENT = 0.15, 0.5  # of the way from chance to certainty


@dataclass(frozen=True)
class BatchGauge:
    """Balanced accuracy of guessing the scan, beside that of chance.

    `text` is what the user reads; empty where fewer than two scans have seeds.
    """

    accuracy: float
    chance: float
    n_scans: int

    @property
    def text(self) -> str:
        """In words, with the figures."""
        if self.n_scans < 2:
            return ""
        excess = (self.accuracy - self.chance) / (1 - self.chance)
        words = "look alike" if excess < ALIKE else ("differ" if excess < DIFFERENT else "differ strongly")
        return (
            f"The {self.n_scans} scans {words}: seeds tell their scan in {100 * self.accuracy:.0f} % "
            f"of the cases (by chance {100 * self.chance:.0f} %)."
        )


def batch_gauge(x: Floats, scan: Ints, random_state: int) -> BatchGauge:
    """How well a logistic model tells the scan, cross-validated over seeds.

    Parameters
    ----------
    x : (n, d) float
        Vectors of the pool.
    scan : (n,) int
        First scan that shows each seed; scans with fewer than ten seeds are left out.
    random_state : int
        Of the sample and the folds.
    """
    names, count = np.unique(scan, return_counts=True)
    names = names[count >= LEAST]
    if len(names) < 2:
        return BatchGauge(float("nan"), float("nan"), len(names))
    rng = np.random.default_rng(random_state)
    each = max(LEAST, N_MOST // len(names))
    rows = np.concatenate([rng.permutation(np.flatnonzero(scan == s))[:each] for s in names])
    part, of = np.asarray(x)[rows], np.asarray(scan)[rows]
    folds = fold_of(of, random_state, N_FOLDS)
    told = np.zeros(len(rows), np.int64)
    for k in range(N_FOLDS):
        held = folds == k
        head = fit_head(part[~held], of[~held], names.tolist(), strength=STRENGTH)
        told[held] = names[head.logits(part[held]).argmax(1)]
    return BatchGauge(balanced_accuracy(of, told), 1 / len(names), len(names))
