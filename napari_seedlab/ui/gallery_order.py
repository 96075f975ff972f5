"""Which seeds the gallery shows, and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_seedlab.core import LabelState
from napari_seedlab.imaging.ids import lookup

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_seedlab.session.session import Session

Ids = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]
SORTS = {  # what the seeds can be sorted by, and what comes first
    "cluster": "Cluster",
    "uncertainty": "Least sure",
    "anomaly": "Oddest",
    "disagreement": "Disputed",
    "similarity": "Most alike",
    "exceptions": "Exceptions",
    "seed": "Number",
}
MISSING = {  # what to do before there is anything to sort by
    "exceptions": "Press a cluster first: its exceptions are those that lie nearest another one.",
    "cluster": "There is no map yet.",
    "uncertainty": "There are no predictions yet: label seeds of two classes.",
    "anomaly": "There are no scores yet: press Find odd ones in the Train dock.",
    "disagreement": "Find odd ones by two methods first.",
}
LAST = np.inf  # of seeds without a value


def seeds_in(session: Session, show: tuple[str, int], picked: Ids) -> Ids:
    """Seeds of the current pool that a filter lets through, ascending.

    Parameters
    ----------
    session : Session
        What there is.
    show : (str, int)
        ``all``, ``open`` (no label yet), ``picked``, ``cluster``, ``labelled`` or ``predicted``, and
        the number of the cluster or class.
    picked : (n,) int64
        The seeds of ``picked``.
    """
    kind, number = show
    here = seeds_of_pool(session)
    keep = np.ones(len(here), bool)
    if kind == "picked":
        keep = np.isin(here, picked)
    elif kind == "open":
        keep = _states(session, here) == 0
    elif kind == "labelled":
        keep = _states(session, here) == number
    elif kind == "cluster":
        layout = session.layout
        keep = np.isin(here, () if layout is None else layout.seeds[layout.cluster == number])
    elif kind == "predicted":
        said = session.predictions
        keep = np.isin(here, () if said is None else said.seeds[said.best == number])
    return np.asarray(here[keep], np.int64)


def seeds_of_pool(session: Session) -> Ids:
    """Seeds that the scans of the current pool show, ascending."""
    scans = [s for s in session.scans.values() if str(s.facts.modality) == session.pool]
    columns = [t.seed for s in scans if (t := session.regions(s.id)) is not None and len(t)]
    if not columns:
        return np.zeros(0, np.int64)
    seeds = np.sort(np.concatenate(columns))  # np.unique of 50,000 takes 15 ms, this 0.3
    return np.asarray(seeds[np.append(True, np.diff(seeds) > 0)], np.int64)


def _states(session: Session, seeds: Ids) -> Ids:
    """Class id of each seed, 0 without an answer, -1 for other answers."""
    said = [x for x in session.labels.values() if x.state is not LabelState.NONE]
    ids = np.asarray([x.seed for x in said], np.int64)
    codes = [x.class_id if x.state is LabelState.LABELLED else -1 for x in said]
    return lookup(ids, np.asarray(codes, np.int64), seeds)


def sort_values(session: Session, by: str, seeds: Ids) -> Values | None:
    """What to sort `seeds` (n,) by, ascending; None where there is nothing to sort by."""
    if by == "cluster" and session.layout is not None:
        return _column(session.layout.seeds, session.layout.cluster, seeds)
    if by == "uncertainty" and session.predictions is not None:
        p = np.sort(session.predictions.p, axis=1)
        margin = p[:, -1] - (p[:, -2] if p.shape[1] > 1 else 0)
        return _column(session.predictions.seeds, margin, seeds)
    if by == "anomaly" and session.anomaly is not None:
        return _column(session.anomaly.seeds, -session.anomaly.score, seeds)
    apart = session.opinions.disagreement(session.pool) if by == "disagreement" else None
    if apart is not None:
        return _column(apart.seeds, -apart.spread, seeds)
    return seeds.astype(np.float64) if by == "seed" else None


def _column(keys: Ids, values: npt.NDArray[np.generic], seeds: Ids) -> Values:
    """Values of `seeds` among unordered `keys`, ``LAST`` where absent."""
    known = lookup(keys, np.ones(len(keys), bool), seeds)
    return np.where(known, lookup(keys, np.asarray(values, np.float64), seeds), LAST)


def in_order(seeds: Ids, values: Values) -> Ids:
    """`seeds`, given by number, by ascending values; equal ones stay by number."""
    return seeds[np.argsort(values, kind="stable")]


def from_ranks(seeds: Ids, ranked: Mapping[int, float]) -> Values:
    """Values that put seeds in a given order."""
    return np.asarray([ranked.get(s, LAST) for s in seeds.tolist()], np.float64)
