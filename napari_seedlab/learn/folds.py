"""Folds that keep seeds of one scan, or of one lot, together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_seedlab.learn.head import N_FOLDS, fold_of
from napari_seedlab.learn.spreading import fit_taught

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_seedlab.learn.head import Head
    from napari_seedlab.learn.spreading import LookAlikes

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]


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


def out_of_fold(
    vectors: Floats,
    rows: Ints,
    class_of: Ints,
    class_ids: Sequence[int],
    scaler: tuple[Floats, Floats],
    fold: Ints,
    start: tuple[Head | None, float] = (None, 1.0),
    alike: LookAlikes | None = None,
) -> npt.NDArray[np.float64]:
    """Scores (m, C) of each answered row of the vectors (n, d) by a head that did not see those of its fold.

    The other parameters are those of :func:`~napari_seedlab.learn.spreading.fit_taught`.
    """
    logits = np.zeros((len(class_of), len(class_ids)))
    for k in np.unique(fold):
        out = fold == k
        head = fit_taught(vectors, rows, class_of, class_ids, scaler, start, alike, ~out)
        logits[out] = head.logits(vectors[rows[out]])
    return logits


def read_groups(folder: Path, seeds: Ints) -> dict[str, npt.NDArray[np.int64]]:
    """Lot and scan (n,) of each seed by ``groups.npz`` (seed, lot, scan), −1 where unknown; lots first.

    Empty without the file.
    """
    from napari_seedlab.files import load_arrays

    if not (folder / "groups.npz").is_file():
        return {}
    table = load_arrays(folder / "groups.npz")
    row = {int(s): i for i, s in enumerate(table["seed"])}
    place = np.asarray([row.get(int(s), -1) for s in seeds], np.int64)
    known = {kind: np.append(np.asarray(table[kind], np.int64), -1) for kind in ("lot", "scan")}
    return {kind: column[place] for kind, column in known.items()}
