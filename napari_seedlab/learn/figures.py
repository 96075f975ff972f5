"""Honest figures: what the answers so far say about the live model, about going on, and about the data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_seedlab.core import CHANCE, JobRequest, JobResult, NotReady, Progress
from napari_seedlab.learn import sampling
from napari_seedlab.learn.batch_gauge import batch_gauge
from napari_seedlab.learn.calibration import (
    MIN_RANDOM_ANSWERS,
    balanced_accuracy,
    calibration_error,
    softmax,
)
from napari_seedlab.learn.folds import Folds, folds_of, out_of_fold, read_groups
from napari_seedlab.learn.head import Head, columns_of, fit_calibrated, fold_of, pool_scaler, scaled
from napari_seedlab.learn.learning_curve import LEVEL, StopLight, forecast, grow, stop_light
from napari_seedlab.learn.nearest import nearest_votes
from napari_seedlab.learn.reject import SURE, TARGET, is_far, reject_curve
from napari_seedlab.learn.spreading import LookAlikes, fit_taught
from napari_seedlab.learn.transfer import held, read_prior

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

    from napari_seedlab.learn.calibration import Estimate

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]

LEAST_PER_CLASS = 2  # answers that a class needs to count
MAX_SCANS = 12  # that are each held out alone
MAX_ALONE = 60  # drawn seeds that are each held out alone
N_FOLDS = 10  # of the other answers
N_BINS = 15  # of the calibration error
N_SHOWN = 20  # answers that the model contradicts most
N_STEPS = 5
SAME = 1e-6  # width below which an interval is a point
MOST_PLACES = 6  # of a per cent, in which two ends further apart than this differ


@dataclass(frozen=True)
class Known:
    """Answers beside the vectors of the pool, in the order in which they came.

    Attributes
    ----------
    row : (m,) int64
        Row of each answered seed in the pool.
    class_id : (m,) int32
    sequence : (m,) int64
        Order of the first answer about it.
    inclusion_p : (m,) float64
        Chance with which it was drawn, where it was.
    batch : (m,) int64
        Which batch asked; −1 where none did.
    by_chance : (m,) bool
        Whether a strategy that draws by chance asked.
    """

    row: npt.NDArray[np.int64]
    class_id: npt.NDArray[np.int32]
    sequence: npt.NDArray[np.int64]
    inclusion_p: npt.NDArray[np.float64]
    batch: npt.NDArray[np.int64]
    by_chance: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, seeds: Ints, table: Mapping[str, npt.NDArray[Any]]) -> Known:
        """The columns of a ``labels.npz``, without answers about seeds that are not among `seeds` (n,)."""
        place = {int(s): i for i, s in enumerate(seeds)}
        row = np.asarray([place.get(int(s), -1) for s in table["seed"]], np.int64)
        sequence = np.asarray(table["sequence"], np.int64)
        order = np.argsort(sequence, kind="stable")
        use = order[row[order] >= 0]
        n = len(row)
        strategy = np.asarray(table.get("strategy", np.full(n, "")))
        return cls(
            row[use],
            np.asarray(table["class_id"], np.int32)[use],
            sequence[use],
            np.asarray(table["inclusion_p"], np.float64)[use],
            np.asarray(table.get("batch", np.full(n, -1)), np.int64)[use],
            np.isin(strategy, CHANCE)[use],
        )


def alone_folds(columns: Ints, drawn: npt.NDArray[np.bool_], random_state: int) -> npt.NDArray[np.int64]:
    """Folds in which drawn rows are held out alone, as long as they are few, and others ten at a time.

    A drawn seed stands for seeds without an answer, which the present model predicts knowing all answers:
    it has to be predicted by a model that lacks that one answer alone.
    """
    fold = fold_of(columns, random_state, N_FOLDS)
    alone = np.flatnonzero(drawn)
    number = (
        np.arange(len(alone)) if len(alone) <= MAX_ALONE else fold_of(columns[alone], random_state, MAX_ALONE)
    )
    fold[alone] = N_FOLDS + number
    return fold


def in_words(told: Estimate) -> str:
    """Such as ``88 % (75-96 %)``.

    The interval of a recall is a point where, say, all seeds that are predicted as another class are
    answered: those of the class that have no answer are all found.
    """
    if told.high - told.low < SAME:
        return f"{100 * told.value:.0f} % (the seeds left cannot change it)"
    low, high = 100 * told.low, 100 * told.high
    places = next((p for p in range(MOST_PLACES) if f"{low:.{p}f}" != f"{high:.{p}f}"), 0)
    return f"{100 * told.value:.{places}f} % ({low:.{places}f}-{high:.{places}f} %)"


@dataclass(frozen=True)
class Settings:
    """What the figures are about.

    Attributes
    ----------
    class_ids : tuple of int
        The scheme, in the order of the probability columns.
    class_names : tuple of str
    target : float
        Accuracy wanted of predictions that are not rejected.
    level : float
        Mean kappa from which predictions count as settled.
    random_state : int
    semi_supervised : bool
        Whether look-alikes teach the live model as well.
    """

    class_ids: tuple[int, ...]
    class_names: tuple[str, ...]
    target: float = TARGET
    level: float = LEVEL
    random_state: int = 0
    semi_supervised: bool = False


class Figures:
    """The figures of one pool, computed step by step.

    Parameters
    ----------
    vectors : (n, d) float
        Of all seeds of the pool.
    known : Known
    settings : Settings
    prior : Head, optional
        What an earlier project brought, as in the labelling round.
    widths : (b,) int, optional
        Columns of each encoder's block.
    untold : Known, optional
        Seeds that were asked about and got no class; their class ids mean nothing.

    Raises
    ------
    NotReady
        Fewer than two classes have two answers each.
    """

    def __init__(
        self,
        vectors: Floats,
        known: Known,
        settings: Settings,
        prior: Head | None = None,
        widths: Ints | None = None,
        untold: Known | None = None,
    ) -> None:
        self.vectors, self.known, self.settings = vectors, known, settings
        ids = self.ids = settings.class_ids
        self.columns = columns_of(known.class_id, ids)
        counts = np.bincount(self.columns, minlength=len(ids))
        n_ready = int((counts >= LEAST_PER_CLASS).sum())
        if n_ready < 2:
            cause = f"need {LEAST_PER_CLASS} answers of two classes each, {n_ready} of the classes have them"
            raise NotReady("figures", cause, "Label some more seeds")
        self.scaler, self.x = pool_scaler(vectors, widths), vectors[known.row]
        state = settings.random_state
        self.start = held(self.x, known.class_id, ids, self.scaler, prior, state)
        drawn_p = np.where(known.by_chance, known.inclusion_p, 1.0)
        self.head, self.report = fit_calibrated(
            self.x, known.class_id, drawn_p, ids, self.scaler, state, *self.start
        )
        self.alike = None
        if settings.semi_supervised:
            self.alike = LookAlikes(scaled(vectors, *self.scaler).astype(np.float32), known.row)
            more = fit_taught(vectors, known.row, known.class_id, ids, self.scaler, self.start, self.alike)
            self.head = replace(self.head, weight=more.weight, bias=more.bias)
        self.p = self.head.probabilities(vectors)
        self.draws, self.untold = _drawn(known, untold, len(vectors))
        fold = alone_folds(self.columns, self.draws.drawn, state)
        self.logits = self._out_of_fold(fold)
        self.own_p = softmax(self.logits / self.head.temperature)
        predicted = self.p.argmax(1).astype(np.int64)
        shown = predicted[known.row]
        predicted[known.row] = self.logits.argmax(1)
        self.judged = sampling.Judged(predicted, known.row, self.columns, shown, self.draws, self.untold)

    def _out_of_fold(self, fold: Ints) -> npt.NDArray[np.float64]:
        """Scores (m, C) of the answers by models like the live one that lack those of a fold."""
        row, said = self.known.row, self.known.class_id
        return out_of_fold(self.vectors, row, said, self.ids, self.scaler, fold, self.start, self.alike)

    @property
    def left(self) -> npt.NDArray[np.int64]:
        """Rows that nobody was asked about."""
        asked = [self.known.row] if self.untold is None else [self.known.row, self.untold.row]
        return np.setdiff1d(np.arange(len(self.vectors)), np.concatenate(asked))

    @property
    def is_counted(self) -> bool:
        """Whether every seed that can be told has an answer: nothing is estimated then."""
        return not len(self.left)

    @property
    def is_honest(self) -> bool:
        """Whether all seeds, or enough random ones, have answers to speak of all seeds."""
        return self.is_counted or self.draws.n >= MIN_RANDOM_ANSWERS

    @property
    def weight(self) -> npt.NDArray[np.float64]:
        """How many seeds each answer stands for; all alike while too few were drawn."""
        if self.is_counted or not self.is_honest:
            return np.ones(len(self.columns))
        return self.draws.weight + self.draws.known

    def overall(self) -> dict[str, Any]:
        """Accuracy, recall, confusion, and what guessing and neighbours would reach."""
        right = self.judged.own == self.columns
        counts = np.bincount(self.columns, minlength=len(self.ids))
        recalls = []
        for column in np.flatnonzero(counts).tolist():
            told = None if self.is_counted else sampling.recall(self.judged, column)
            entry = self._told(told, right[self.columns == column]) | {
                "class_id": self.ids[column],
                "n_answers": int(counts[column]),
            }
            recalls.append(entry)
        confusion = partial(sampling.confusion, self.judged, len(self.ids))
        return {
            "n_seeds": len(self.vectors),
            "n_labels": len(self.columns),
            "n_random": self.draws.n,
            "is_counted": self.is_counted,
            "untold": self._untold(),
            "accuracy": self._told(None if self.is_counted else sampling.accuracy(self.judged), right),
            "recall": recalls,
            "confusion": confusion(weighted=False),
            "confusion_pool": confusion(weighted=not self.is_counted) if self.is_honest else None,
            "is_better_than_guessing": self._beats_guessing(counts),
            "baselines": {
                "majority": float(counts.max() / counts.sum()),
                "neighbours": self._neighbours(),
                "live_model": float(right.mean()),
            },
        }

    def _untold(self) -> dict[str, Any]:
        """Of whom the figures do not speak: seeds that were asked about and got no class."""
        if self.untold is None or not len(self.untold.row):
            return {"n_asked": 0, "n_drawn": 0, "n_seeds": 0, "text": ""}
        asked, drawn = len(self.untold.row), self.untold.draws.n
        n = max(asked, round(self.judged.n_untold)) if self.is_honest and not self.is_counted else asked
        about = f"about {n:,} of {len(self.vectors):,} seeds cannot be told" if n > asked else ""
        were = f"{asked:,} {'was' if asked == 1 else 'were'} asked about and got no class"
        text = f"{about} ({were})" if about else were
        return {"n_asked": asked, "n_drawn": drawn, "n_seeds": n, "text": f"not counted: {text}"}

    def _beats_guessing(self, counts: Ints) -> bool:
        """Whether the mean recall over the answers lies two standard errors of guessing above chance."""
        n = counts[counts > 0]
        chance = 1 / len(n)
        error = float(np.sqrt((chance * (1 - chance) / n).sum()) / len(n))
        return balanced_accuracy(self.columns, self.judged.own) > chance + 2 * error

    def _told(self, told: Estimate | None, right: npt.NDArray[np.bool_]) -> dict[str, Any]:
        """What is estimated, or a count of the answers that are `right` where it is None."""
        if told is None:
            share, n = float(right.mean()), len(right)
            text = f"{100 * share:.0f} % ({int(right.sum()):,} of {n:,}, counted)"
            return {"value": share, "low": share, "high": share, "n": n, "text": text}
        few = f"too few to say ({self.draws.n} of {MIN_RANDOM_ANSWERS})"
        text = in_words(told) if self.is_honest else few
        return {"value": told.value, "low": told.low, "high": told.high, "n": told.n, "text": text}

    def _neighbours(self) -> float:
        """Accuracy over the answers of taking the class of the most similar other one."""
        alone = np.arange(len(self.columns))
        found = nearest_votes(scaled(self.x, *self.scaler), self.columns, alone, n=1)
        return float((found == self.columns).mean())

    def calibration(self) -> dict[str, Any]:
        """Temperature, calibration error before and after it, and the curve behind it."""
        use = self.draws.drawn if self.is_honest and not self.is_counted else np.ones(len(self.columns), bool)
        p, said = self.own_p[use], self.columns[use]
        confidence, right = p.max(1), p.argmax(1) == said
        place = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
        bins = [
            {
                "n": int(here.sum()),
                "confidence": float(confidence[here].mean()),
                "accuracy": float(right[here].mean()),
            }
            for here in (place == b for b in np.unique(place))
        ]
        few = (
            ""
            if self.is_honest
            else f"too few answers drawn by chance to be sure ({self.draws.n} of {MIN_RANDOM_ANSWERS})"
        )
        return {
            "temperature": self.head.temperature,
            "from": self.report.temperature_from,
            "ece_before": calibration_error(softmax(self.logits[use]), said, N_BINS),
            "ece": calibration_error(p, said, N_BINS),
            "bins": bins,
            "text": few,
        }

    def reject(self) -> tuple[dict[str, Any], npt.NDArray[np.bool_]]:
        """The coverage-accuracy curve and the default p0; and which seeds (n,) lie too far off."""
        z = scaled(self.vectors, *self.scaler)
        far = is_far(z, z[self.known.row])
        far[self.known.row] = False
        top = self.own_p.max(1)
        right = self.own_p.argmax(1) == self.columns
        curve = reject_curve(self.p.max(1), ~far, top, right, self.weight, self.settings.target)
        return {
            **asdict(curve),
            "target": self.settings.target,
            "n_far": int(far.sum()),
            "is_provisional": not self.is_honest,
        }, far

    def most_wrong(self) -> list[dict[str, Any]]:
        """Answers with the largest loss, by models that did not see them: wrong labels, or hard seeds."""
        own = self.own_p[np.arange(len(self.columns)), self.columns]
        return [
            {
                "row": int(self.known.row[i]),
                "said": int(self.known.class_id[i]),
                "predicted": int(self.ids[int(self.own_p[i].argmax())]),
                "p": float(own[i]),
            }
            for i in np.argsort(own, kind="stable")[:N_SHOWN]
            if self.own_p[i].argmax() != self.columns[i]
        ]

    def growth(self) -> dict[str, Any]:
        """The learning curve, its forecast and the stop light."""
        rest = np.setdiff1d(np.arange(len(self.vectors)), self.known.row)
        state = self.settings.random_state
        given = self.known.row, self.known.class_id, self.ids, self.scaler
        grown = grow(self.vectors, *given, state, self.start, self.alike)
        told = forecast(grown, self.weight, state, len(self.left))
        unsure = float((self.p[rest].max(1) < SURE).mean()) if len(rest) else 0.0
        light = stop_light(grown, told.slope, unsure, self.settings.level)
        if self.is_counted:
            whom = "seed that can be told" if len(rest) else "seed"
            light = StopLight("green", f"Every {whom} has an answer.", light.kappa)
        return {
            "curve": {
                "n": grown.n.tolist(),
                "accuracy": told.accuracy,
                "fitted": told.fitted,
                "kappa": grown.kappa,
                "gain": told.gain,
                "low": told.low,
                "high": told.high,
                "can_say": told.can_say,
                "text": told.text,
                "is_provisional": not self.is_honest,
            },
            "stop": {"colour": light.colour, "text": light.text, "kappa": light.kappa},
        }

    def across(self, groups: Mapping[str, Ints]) -> dict[str, Any]:
        """Balanced accuracy with whole scans (or lots) held out, beside random folds, and the batch gauge.

        Parameters
        ----------
        groups : mapping of str to (n,) int
            Number of each seed's lot and scan; −1 where it has none.
        """
        state, known = self.settings.random_state, self.known
        of_answers = {kind: np.asarray(column)[known.row] for kind, column in groups.items()}
        whole = folds_of(self.columns, of_answers, state, MAX_SCANS)
        random = Folds(fold_of(self.columns, state), "seed")
        scores = [
            balanced_accuracy(
                self.columns,
                self._out_of_fold(f.fold).argmax(1),
            )
            for f in ((random,) if whole.by == "seed" else (random, whole))
        ]
        gauge = batch_gauge(self.vectors, np.asarray(groups["scan"]), state)
        return {
            "folds": {
                "by": whole.by,
                "random": scores[0],
                "held_out": scores[1] if len(scores) > 1 else None,
                "chance": 1 / len(np.unique(self.columns)),
            },
            "gauge": {
                "accuracy": gauge.accuracy,
                "chance": gauge.chance,
                "n_scans": gauge.n_scans,
                "text": gauge.text,
            },
        }


def _drawn(known: Known, untold: Known | None, n_seeds: int) -> tuple[sampling.Draws, sampling.Untold | None]:
    """How the answers, and the questions that got none, came to be asked."""
    parts = [known] if untold is None else [known, untold]
    names = ("sequence", "inclusion_p", "batch", "by_chance")
    sequence, p, batch, chance = (np.concatenate([getattr(part, n) for part in parts]) for n in names)
    answered, others = sampling.draws_of(sequence, p, batch, n_seeds, chance).split(len(known.row))
    return answered, None if untold is None else sampling.Untold(untold.row, others)


def _plain(value: Any) -> Any:
    """A value for JSON: lists for arrays, None for NaN."""
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def run(folder: Path) -> Generator[Progress, None, JobResult]:
    """Job: the figures of a pool from ``embedding.npz``, ``labels.npz`` and ``groups.npz`` in `folder`.

    ``labels.npz`` has seed, class_id, sequence, inclusion_p, strategy and batch; ``groups.npz`` seed, scan
    and lot; optional ``prior.npz`` as in the labelling round, and ``untold.npz``, with the same columns, of
    seeds that were asked about and got no class. Parameters: `class_ids`, `class_names`,
    `target`, `level`, `semi_supervised`. Writes ``figures.npz``: of the pool seed, predicted (column), p and
    is_far; of the answers answered, said and told (columns) and loss.
    """
    from napari_seedlab.files import load_arrays, read_json, save_arrays

    request = JobRequest.from_json(read_json(folder / "request.json"))
    yield Progress(0, N_STEPS, "reading")
    table = load_arrays(folder / "embedding.npz")
    seeds, vectors = np.asarray(table["seed"], np.int64), np.asarray(table["vector"])
    settings = _settings(request)
    known = Known.of(seeds, load_arrays(folder / "labels.npz"))
    given = folder / "untold.npz"
    untold = Known.of(seeds, load_arrays(given)) if given.is_file() else None
    widths = table.get("widths")
    prior = read_prior(folder / "prior.npz", settings.class_ids, settings.class_names, vectors, widths)
    yield Progress(1, N_STEPS, "judging")
    figures = Figures(vectors, known, settings, prior, widths, untold)
    values = {**figures.overall(), "calibration": figures.calibration()}
    yield Progress(2, N_STEPS, "looking for unsure seeds")
    values["reject"], far = figures.reject()
    wrong = figures.most_wrong()
    values["most_wrong"] = [{"seed": int(seeds[w.pop("row")]), **w} for w in wrong]
    yield Progress(3, N_STEPS, "comparing scans")
    values |= figures.across(read_groups(folder, seeds))
    yield Progress(4, N_STEPS, "looking back")
    values |= figures.growth()
    own = figures.own_p[np.arange(len(known.row)), figures.columns]
    save_arrays(
        folder / "figures.npz",
        seed=seeds,
        predicted=figures.p.argmax(1).astype(np.int32),
        p=figures.p.max(1).astype(np.float32),
        is_far=far,
        answered=seeds[known.row],
        said=figures.columns.astype(np.int32),
        told=figures.judged.own.astype(np.int32),
        loss=-np.log(np.maximum(own, 1e-12)).astype(np.float32),
    )
    return JobResult(_plain(values), ("figures.npz",))


def _settings(request: JobRequest) -> Settings:
    params = request.params
    return Settings(
        tuple(int(c) for c in params["class_ids"]),
        tuple(str(n) for n in params["class_names"]),
        float(params.get("target", TARGET)),
        float(params.get("level", LEVEL)),
        request.random_state,
        bool(params.get("semi_supervised", False)),
    )
