"""Which encoder tells the classes apart best, by the labels so far: out-of-fold figures with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_seedlab.core import JobRequest, JobResult, NotReady, Progress
from napari_seedlab.learn.folds import folds_of, read_groups
from napari_seedlab.learn.head import columns_of, fit_head, pool_scaler, scaled
from napari_seedlab.learn.nearest import nearest_votes

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from pathlib import Path

    Floats = npt.NDArray[np.floating]
    Ints = npt.NDArray[np.integer]
    Bools = npt.NDArray[np.bool_]

LEAST_LABELS = 20  # under which nothing is recommended
WHAT = {"lot": "lots", "scan": "scans", "seed": "classes spread evenly"}  # what is held out together
N_DRAWS = 4000
LEVEL = 0.95
PRIOR = 0.5  # pseudo-answers of each outcome (Jeffreys): three right of three is not certainty


@dataclass(frozen=True)
class Candidate:
    """Vectors that are compared.

    Attributes
    ----------
    encoders : tuple of str
        Whose they are; several stand side by side.
    vectors : (n, d) float
        Of all seeds of the pool.
    widths : tuple of int
        Columns of each encoder.
    """

    encoders: tuple[str, ...]
    vectors: Floats
    widths: tuple[int, ...]

    @property
    def name(self) -> str:
        """As a table shows it."""
        return " + ".join(self.encoders)


@dataclass(frozen=True)
class Share:
    """A balanced accuracy, or a difference of two, with its interval."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """Rounded to a thousandth."""
        return {"value": round(self.value, 3), "low": round(self.low, 3), "high": round(self.high, 3)}


@dataclass(frozen=True)
class Row:
    """What is known of one candidate: accuracies, and which labelled seeds its head got right out of fold."""

    encoders: tuple[str, ...]
    n_columns: int
    knn: Share
    linear: Share
    right: Bools

    @property
    def name(self) -> str:
        """As a table shows it."""
        return " + ".join(self.encoders)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        figures = {"knn": self.knn.to_json(), "linear": self.linear.to_json()}
        return {"name": self.name, "encoders": list(self.encoders), "n_columns": self.n_columns, **figures}


def judge(candidate: Candidate, rows: Ints, columns: Ints, folds: Ints, random_state: int) -> Row:
    """Out-of-fold accuracies of one candidate.

    Parameters
    ----------
    candidate : Candidate
        Whose vectors they are.
    rows : (m,) int
        Rows of the labelled seeds.
    columns : (m,) int
        Class of each, 0 to C − 1.
    folds : (m,) int
        From :func:`~napari_seedlab.learn.folds.folds_of`.
    random_state : int
        Of the draws that the intervals are made of.
    """
    scaler = pool_scaler(candidate.vectors, candidate.widths)
    x = candidate.vectors[rows]
    z = scaled(x, *scaler)
    near, linear = nearest_votes(z, columns, folds) == columns, np.zeros(len(rows), bool)
    ids = range(int(columns.max()) + 1)
    for k in np.unique(folds):
        held = folds == k
        head = fit_head(x[~held], columns[~held], ids, scaler)
        linear[held] = head.logits(x[held]).argmax(1) == columns[held]
    shares = [balanced(right, columns, random_state) for right in (near, linear)]
    return Row(candidate.encoders, int(candidate.vectors.shape[1]), shares[0], shares[1], linear)


def balanced(right: Bools, columns: Ints, random_state: int) -> Share:
    """Mean over classes of the share that is right.

    The interval is that of the mean of Beta(k + ½, n − k + ½) of each class.
    """
    rng = np.random.default_rng(random_state)
    recalls, draws = [], []
    for c in np.unique(columns):
        own = right[columns == c]
        recalls.append(own.mean())
        draws.append(rng.beta(own.sum() + PRIOR, (~own).sum() + PRIOR, N_DRAWS))
    return _share(float(np.mean(recalls)), np.mean(draws, 0), LEVEL)


def ahead(a: Bools, b: Bools, columns: Ints, random_state: int, n_looks: int = 1) -> Share:
    """By how much `a` is right more often than `b` about the same seeds, balanced over classes.

    Parameters
    ----------
    a, b : (m,) bool
        What each got right.
    columns : (m,) int
        Classes.
    random_state : int
        Of the draws that the interval is made of.
    n_looks : int
        Comparisons made: the interval is wider for more of them (Bonferroni).
    """
    rng = np.random.default_rng(random_state)
    differences, draws = [], []
    for c in np.unique(columns):
        own = a[columns == c].astype(int) - b[columns == c]
        counts = np.asarray([(own < 0).sum(), (own == 0).sum(), (own > 0).sum()])
        p = rng.dirichlet(counts + PRIOR, N_DRAWS)
        differences.append(own.mean())
        draws.append(p[:, 2] - p[:, 0])
    return _share(float(np.mean(differences)), np.mean(draws, 0), 1 - (1 - LEVEL) / max(n_looks, 1))


def _share(value: float, draws: Floats, level: float) -> Share:
    low, high = np.quantile(draws, ((1 - level) / 2, (1 + level) / 2))
    return Share(value, float(min(low, value)), float(max(high, value)))


def recommended(
    rows: Sequence[Row], columns: Ints, in_use: Sequence[str], random_state: int = 0
) -> tuple[Row | None, str]:
    """The candidate to use, where one is ahead by its interval, and one line about it.

    Parameters
    ----------
    rows : sequence of Row
        What is known of each.
    columns : (m,) int
        Classes of the labelled seeds.
    in_use : sequence of str
        Encoders in use: another one must be ahead of these, these of all others.
    random_state : int
        Of the draws that the intervals are made of.
    """
    n = len(columns)
    if n < LEAST_LABELS:
        return None, f"Too few labels to tell: {n}, {LEAST_LABELS} are needed."
    if len(rows) < 2:
        return None, "One encoder alone has vectors: nothing to compare."
    best = max(rows, key=lambda row: row.linear.value)
    own = next((row for row in rows if set(row.encoders) == set(in_use)), None)
    rivals = [own] if own is not None and own is not best else [row for row in rows if row is not best]
    n_looks = len(rows) - 1
    leads = [ahead(best.right, row.right, columns, random_state, n_looks) for row in rivals]
    least = min(range(len(rivals)), key=lambda i: leads[i].low)
    lead, rival = leads[least], rivals[least]
    points = f"{100 * lead.value:.1f} points ({100 * lead.low:.1f} to {100 * lead.high:.1f})"
    if lead.low <= 0:
        keep = f": keep {own.name}" if own is not None else ""
        return None, f"No clear winner{keep}."
    if own is best:
        return best, f"{best.name}, in use, is ahead of {rival.name} by {points}."
    return best, f"{best.name} is ahead of {rival.name} by {points}."


def run(folder: Path) -> Generator[Progress, None, JobResult]:
    """Job: compare encoders on the labels so far.

    Reads ``vectors-NAME.npz`` (seed, vector) of each encoder, ``labels.npz`` (seed, class_id) and
    ``groups.npz`` (seed, scan, lot). Parameters: ``encoders``, names; ``in_use``, those in use, whose mixture
    is one more row where they are several, else the mixture of all. Values: rows, recommended (name or ""),
    line, n_labels, folds.
    """
    from napari_seedlab.files import read_json

    request = JobRequest.from_json(read_json(folder / "request.json"))
    names, in_use = list(request.params["encoders"]), list(request.params.get("in_use", ()))
    yield Progress(0, len(names) + 1, "reading")
    seeds, candidates = _candidates(folder, names, in_use)
    rows, columns = _labelled(folder, seeds)
    if len(np.unique(columns)) < 2 or np.bincount(columns).max() < 2:
        raise NotReady("comparing encoders", "needs labels of two classes", "Label some seeds first")
    groups = read_groups(folder, seeds[rows])
    folds = folds_of(columns, groups, request.random_state)
    found = []
    for done, candidate in enumerate(candidates):
        yield Progress(done, len(candidates), f"judging {candidate.name}")
        found.append(judge(candidate, rows, columns, folds.fold, request.random_state))
    best, line = recommended(found, columns, in_use, request.random_state)
    values = {
        "rows": [row.to_json() for row in found],
        "recommended": best.name if best is not None else "",
        "line": line,
        "n_labels": len(rows),
        "folds": WHAT[folds.by],
    }
    return JobResult(values)


def _candidates(
    folder: Path, names: Sequence[str], in_use: Sequence[str]
) -> tuple[npt.NDArray[np.int64], list[Candidate]]:
    """The seeds that all encoders know, and their vectors by each encoder and by the mixture."""
    from napari_seedlab.files import load_arrays

    tables = {name: load_arrays(folder / f"vectors-{name}.npz") for name in names}
    seeds = next(iter(tables.values()))["seed"]
    for table in tables.values():
        seeds = np.intersect1d(seeds, table["seed"])
    found = {n: t["vector"][np.searchsorted(t["seed"], seeds)] for n, t in tables.items()}
    single = [Candidate((name,), found[name], (found[name].shape[1],)) for name in names]
    mix = [name for name in (in_use if len(in_use) > 1 else names) if name in found]
    if len(mix) > 1:
        widths = tuple(int(found[name].shape[1]) for name in mix)
        single.append(Candidate(tuple(mix), np.hstack([found[name] for name in mix]), widths))
    return seeds, single


def _labelled(folder: Path, seeds: npt.NDArray[np.int64]) -> tuple[Ints, Ints]:
    """Row and column of the class of each labelled seed that has vectors."""
    from napari_seedlab.files import load_arrays

    labels: Mapping[str, Any] = load_arrays(folder / "labels.npz")
    there = np.isin(labels["seed"], seeds)
    ids, said = labels["seed"][there], labels["class_id"][there]
    if not len(ids):
        raise NotReady("comparing encoders", "needs labels", "Label some seeds first")
    columns = columns_of(said, sorted(set(said.tolist())))
    return np.searchsorted(seeds, ids), columns
