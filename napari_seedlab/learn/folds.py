"""Folds that keep seeds of one scan, or of one lot, together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_seedlab.learn.head import N_FOLDS, fold_of

if TYPE_CHECKING:
    from collections.abc import Mapping

Ints = npt.NDArray[np.integer]
LEAST_GROUP = 5  # answers of a scan that can stand for it


@dataclass(frozen=True)
class Folds:
    """Which rows are held out together.

    Attributes
    ----------
    fold : (m,) int64
        0..k−1 of each row.
    by : str
        ``lot``, ``scan`` or ``seed``: what is never on both sides.
    """

    fold: npt.NDArray[np.int64]
    by: str


def folds_of(columns: Ints, groups: Mapping[str, Ints], random_state: int, n_folds: int = N_FOLDS) -> Folds:
    """Folds by the first kind of group that can be held out, else by seed.

    A group is held out whole. That can be where several groups have answers and every class that was
    answered twice has answers outside of each fold.

    Parameters
    ----------
    columns : (m,) int
        Class of each row.
    groups : mapping of str to (m,) int
        Group of each row, by kind, the most wanted first; −1 where it has none.
    random_state : int
        Of the folds by seed.
    n_folds : int
        At most so many.
    """
    for kind, group in groups.items():
        fold = by_group(group, n_folds)
        if fold is not None and _is_fair(columns, fold):
            return Folds(fold, kind)
    return Folds(fold_of(columns, random_state, n_folds), "seed")


def by_group(group: Ints, n_folds: int = N_FOLDS) -> npt.NDArray[np.int64] | None:
    """Whole groups spread over at most `n_folds` folds, the largest first; None for fewer than two."""
    names, place, count = np.unique(group, return_inverse=True, return_counts=True)
    if len(names) < 2 or names[0] < 0:
        return None
    size = np.zeros(min(n_folds, len(names)), np.int64)
    fold_of_group = np.zeros(len(names), np.int64)
    for g in np.argsort(-count, kind="stable").tolist():
        fold_of_group[g] = int(size.argmin())
        size[fold_of_group[g]] += count[g]
    return np.asarray(fold_of_group[place], np.int64)


def _is_fair(columns: Ints, fold: Ints) -> bool:
    """Whether each class with two answers is in two folds."""
    shared = [len(np.unique(fold[columns == c])) > 1 for c in np.unique(columns) if (columns == c).sum() > 1]
    return bool(shared) and all(shared)
