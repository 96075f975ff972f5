"""One labelling round: fit on the answers, predict all seeds, say what to ask next."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_seedlab.core import ASKS_AGAIN, InputError, JobRequest, JobResult, Progress, Suggestion
from napari_seedlab.learn.head import (
    Head,
    HeadReport,
    columns_of,
    fit_calibrated,
    pool_scaler,
    save_head,
    scaled,
)
from napari_seedlab.learn.queries import Pool, suggest
from napari_seedlab.learn.spreading import LookAlikes, fit_taught
from napari_seedlab.learn.transfer import held, read_prior, shift

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Answers:
    """What people said, one row per labelled seed.

    Attributes
    ----------
    seed : (m,) int64
    class_id : (m,) int32
    inclusion_p : (m,) float64
        Chance with which the suggestion was drawn; 1 for a chosen seed, NaN or 0 where nobody
        suggested it.
    strategy : (m,) str, optional
        What asked; empty where nobody did.
    """

    seed: npt.NDArray[np.int64]
    class_id: npt.NDArray[np.int32]
    inclusion_p: npt.NDArray[np.float64]
    strategy: npt.NDArray[np.str_] | None = None

    @classmethod
    def none(cls) -> Answers:
        """Nothing answered yet."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0))


@dataclass(frozen=True)
class RoundSettings:
    """What to ask for.

    Attributes
    ----------
    class_ids : tuple of int
        The scheme, in the order of the probability columns.
    class_names : tuple of str
        For the reasons; empty gives "class 1", ….
    n : int
        Suggestions wanted; 0 fits only.
    strategy : str
        A key of ``queries.STRATEGIES``.
    random_state : int
    model_id : str
        Name that the fitted head will carry.
    nearest_first : bool
        Order the batch for the eye, or by score where the strategy promises that.
    draw : int
        Batches drawn before: another one without new answers is another draw.
    method_names : tuple of str
        What the methods of oddness are called in a sentence, where several were run.
    semi_supervised : bool
        Whether seeds that labels spread to teach the head as well, see :mod:`.spreading`.
    """

    class_ids: tuple[int, ...]
    class_names: tuple[str, ...] = ()
    n: int = 10
    strategy: str = "default"
    random_state: int = 0
    model_id: str = ""
    nearest_first: bool = False
    draw: int = 0
    method_names: tuple[str, ...] = ()
    semi_supervised: bool = False


@dataclass(frozen=True)
class RoundResult:
    """The outcome of a round; `head`, `report` and `probabilities` (n, C) are None without answers."""

    suggestions: list[Suggestion]
    head: Head | None = None
    report: HeadReport | None = None
    probabilities: npt.NDArray[np.float32] | None = None
    values: Mapping[str, Any] = field(default_factory=dict)


def labelling_round(
    seeds: npt.NDArray[np.int64],
    vectors: npt.NDArray[np.floating],
    answers: Answers,
    settings: RoundSettings,
    skip: npt.NDArray[np.int64] | None = None,
    anomaly: npt.NDArray[np.floating] | None = None,
    ranks: npt.NDArray[np.floating] | None = None,
    places: npt.NDArray[np.floating] | None = None,
    prior: Head | None = None,
    widths: npt.NDArray[np.integer] | None = None,
) -> RoundResult:
    """Fit the head on the answers, predict every seed and choose the next suggestions.

    Pure: the same arguments give the same result. Answers about seeds without an embedding row
    are left out of the fit.

    Parameters
    ----------
    seeds : (n,) int64
        Seeds with an embedding.
    vectors : (n, d) float
        Their embedding.
    answers : Answers
        What is known.
    settings : RoundSettings
        What to ask for.
    skip : (k,) int64, optional
        Seeds not to ask (unsure, not whole, skipped, in the queue already).
    anomaly : (n,) float, optional
        Anomaly scores, larger is odder; NaN where unknown.
    ranks : (n, m) float, optional
        Ranks by the m methods of ``settings.method_names``, in (0, 1]; NaN where unknown.
    places : (n, 4) float, optional
        Scan and centre (z, y, x) of each seed; NaN where unknown.
    prior : Head, optional
        Of an earlier project, for this pool (see :func:`~napari_seedlab.learn.transfer.mapped`): it predicts
        before the first answer, and is held on to as far as the answers agree with it.
    widths : sequence of int, optional
        Columns of each encoder's block, where there are several.
    """
    scaler = pool_scaler(vectors, widths)
    rows, said = _match(seeds, answers)
    known = _Known(len(seeds), rows, answers, said, settings.class_ids)
    askable = ~known.answered & ~np.isin(seeds, answers.seed)
    if skip is not None:
        askable &= ~np.isin(seeds, skip)
    z = scaled(vectors, *scaler).astype(np.float32)
    head, report = _fitted(vectors, z, known, settings, scaler, prior)
    own = head is not prior  # of this pool's scaler
    p = None if head is None else head.probabilities(z if own else vectors, own)
    pool = Pool(
        seeds, z, askable, known.answered, p, anomaly, _names(settings), settings.model_id if head else "",
        ranks, settings.method_names, known.column, settings.class_ids, known.inclusion_p, known.confirmed,
        places,
    )  # fmt: skip
    state = settings.random_state + 7919 * settings.draw
    asked = suggest(pool, settings.n, settings.strategy, state, settings.nearest_first)
    return RoundResult(asked, head, report, p, _values(rows, head, report))


class _Known:
    """What was answered, as columns (n,) over the seeds."""

    def __init__(self, n: int, rows: Any, answers: Answers, said: Any, class_ids: Sequence[int]) -> None:
        self.rows = rows
        self.class_id, self.drawn = answers.class_id[said], answers.inclusion_p[said]
        self.answered = np.isin(np.arange(n), rows)
        self.column, self.inclusion_p = np.full(n, -1, np.int64), np.full(n, np.nan)
        self.column[rows] = columns_of(self.class_id, class_ids)
        self.inclusion_p[rows] = self.drawn
        self.confirmed = np.zeros(n, bool)
        if answers.strategy is not None:
            self.confirmed[rows] = np.isin(answers.strategy[said], list(ASKS_AGAIN))


def _fitted(
    vectors: npt.NDArray[np.floating],
    z: Any,
    known: _Known,
    settings: RoundSettings,
    scaler: Any,
    prior: Head | None,
) -> tuple[Head | None, HeadReport | None]:
    """The head of all answers and what is known of it; where asked for, look-alikes teach as well.

    The report and the temperature are those of the answers alone. Without answers it is `prior`.
    """
    rows, ids, state = known.rows, settings.class_ids, settings.random_state
    if not len(rows):
        return prior, None
    x, y = vectors[rows], known.class_id
    start = held(x, y, ids, scaler, prior, state)
    head, report = fit_calibrated(x, y, known.drawn, ids, scaler, state, *start)
    if settings.semi_supervised:
        more = fit_taught(vectors, rows, y, ids, scaler, start, LookAlikes(z, rows))
        head = replace(head, weight=more.weight, bias=more.bias)
    return head, report


def _names(settings: RoundSettings) -> tuple[str, ...]:
    return settings.class_names or tuple(f"class {c}" for c in settings.class_ids)


def _match(seeds: npt.NDArray[np.int64], answers: Answers) -> tuple[Any, Any]:
    """Embedding rows and answer rows that belong to one another."""
    place = {int(s): i for i, s in enumerate(seeds)}
    pairs = [(place[int(s)], j) for j, s in enumerate(answers.seed) if int(s) in place]
    table = np.asarray(pairs, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _values(rows: npt.NDArray[np.int64], head: Head | None, report: HeadReport | None) -> dict[str, Any]:
    """Plain JSON facts of the round."""
    if head is None or report is None:
        return {"n_labels": 0, "n_per_class": [], "from_origin": head is not None}
    known = report.balanced_accuracy
    return {
        "n_labels": len(rows),
        "n_per_class": list(head.n_labels),
        "from_origin": bool(head.n_prior),
        "temperature": head.temperature,
        "temperature_from": report.temperature_from,
        "cv_balanced_accuracy": None if np.isnan(known) else known,
        "chance": report.chance,
    }


def run(folder: Path) -> Generator[Progress, None, JobResult]:
    """Job: one round from ``embedding.npz`` and ``labels.npz`` in `folder`.

    Optional inputs: ``anomaly.npz`` (seed, score), ``ranks.npz`` (seed, rank by each of several methods),
    ``prior.npz`` and ``domain.npz`` (what an earlier project brings, see :mod:`.transfer`),
    ``skip.npz`` (seed), ``places.npz`` (seed, place: scan, z, y, x). Parameters: `class_ids`, `class_names`,
    `n`, `strategy`, `model_id`, `nearest_first`, `method_names`, `round` (batches drawn before),
    `semi_supervised`; `random_state` of the request.
    Writes ``suggestions.json`` and, once something is labelled, ``head.safetensors`` and
    ``probabilities.npz`` (seed, p).
    """
    from napari_seedlab.files import load_arrays, read_json, save_arrays, write_json

    request = JobRequest.from_json(read_json(folder / "request.json"))
    yield Progress(0, 2, "reading")
    table = load_arrays(folder / "embedding.npz")
    seeds, vectors = np.asarray(table["seed"], np.int64), np.asarray(table["vector"])
    settings = _settings(request)
    yield Progress(1, 2, "fitting")
    result = labelling_round(
        seeds,
        vectors,
        _read_answers(folder),
        settings,
        _optional(folder / "skip.npz", "seed"),
        known_of(folder / "anomaly.npz", "score", seeds),
        known_of(folder / "ranks.npz", "rank", seeds),
        known_of(folder / "places.npz", "place", seeds),
        read_prior(folder / "prior.npz", settings.class_ids, _names(settings), vectors, table.get("widths")),
        table.get("widths"),
    )
    files = ["suggestions.json"]
    write_json(folder / "suggestions.json", [asdict(s) for s in result.suggestions])
    if result.head is not None and result.probabilities is not None:
        save_head(result.head, folder / "head.safetensors")
        save_arrays(folder / "probabilities.npz", seed=seeds, p=result.probabilities)
        files += ["head.safetensors", "probabilities.npz"]
    yield Progress(2, 2, "done")
    values = {**result.values, **shift(folder, vectors), "n_suggestions": len(result.suggestions)}
    return JobResult(values, tuple(files))


def _settings(request: JobRequest) -> RoundSettings:
    params = request.params
    ids: Sequence[int] = params.get("class_ids", ())
    if not ids:
        raise InputError("labelling round", "no classes given", "Set up the class scheme first")
    return RoundSettings(
        tuple(int(c) for c in ids),
        tuple(str(n) for n in params.get("class_names", ())),
        int(params.get("n", 10)),
        str(params.get("strategy", "default")),
        int(params.get("random_state", request.random_state)),
        str(params.get("model_id", "")),
        bool(params.get("nearest_first", False)),
        int(params.get("round", 0)),
        tuple(str(n) for n in params.get("method_names", ())),
        bool(params.get("semi_supervised", False)),
    )


def _read_answers(folder: Path) -> Answers:
    from napari_seedlab.files import load_arrays

    if not (folder / "labels.npz").exists():
        return Answers.none()
    columns = load_arrays(folder / "labels.npz")
    seed = np.asarray(columns["seed"], np.int64)
    p = np.asarray(columns.get("inclusion_p", np.full(len(seed), np.nan)), np.float64)
    strategy = np.asarray(columns["strategy"], np.str_) if "strategy" in columns else None
    return Answers(seed, np.asarray(columns["class_id"], np.int32), p, strategy)


def _optional(path: Path, name: str) -> npt.NDArray[Any] | None:
    from napari_seedlab.files import load_arrays

    return np.asarray(load_arrays(path)[name]) if path.exists() else None


def known_of(path: Path, name: str, seeds: npt.NDArray[np.int64]) -> npt.NDArray[np.float64] | None:
    """A column of an optional table in the order of `seeds`, NaN where there is no value."""
    ids, column = _optional(path, "seed"), _optional(path, name)
    if ids is None or column is None:
        return None
    out = np.full((len(seeds), *column.shape[1:]), np.nan)
    row_of = {int(s): i for i, s in enumerate(ids)}
    rows = np.asarray([row_of.get(int(s), -1) for s in seeds], np.int64)
    out[rows >= 0] = column[rows[rows >= 0]]
    return out
