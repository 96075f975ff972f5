"""What asking saves: replay of labelling rounds on seeds whose classes are known, by every strategy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_seedlab.core import ASKS_AGAIN, InputError, JobRequest, JobResult, NotReady, Progress
from napari_seedlab.learn.calibration import balanced_accuracy
from napari_seedlab.learn.queries import today
from napari_seedlab.learn.round import Answers, RoundSettings, known_of, labelling_round

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterator, Sequence
    from pathlib import Path

Floats = npt.NDArray[np.floating]

TEST_SHARE = 0.3  # of each class, never asked about, where there are no fresh seeds
MIN_SEEDS = 20  # with a known class
MEASURES = ("accuracy", "balanced_accuracy")


@dataclass(frozen=True)
class Truth:
    """Seeds of known class.

    Attributes
    ----------
    vectors : (n, d) float
        Embedding.
    class_id : (n,) int
        True class of each row.
    anomaly : (n,) float, optional
        Oddness, larger is odder; NaN where unknown.
    ranks : (n, m) float, optional
        Ranks by several methods of oddness, NaN where one did not score.
    widths : (b,) int, optional
        Columns of each encoder's block, where there are several.
    """

    vectors: Floats
    class_id: npt.NDArray[np.integer]
    anomaly: Floats | None = None
    ranks: Floats | None = None
    widths: npt.NDArray[np.integer] | None = None

    def at(self, rows: npt.NDArray[np.int64]) -> Truth:
        """Some of the rows."""
        anomaly = None if self.anomaly is None else self.anomaly[rows]
        ranks = None if self.ranks is None else self.ranks[rows]
        return Truth(self.vectors[rows], self.class_id[rows], anomaly, ranks, self.widths)


@dataclass(frozen=True)
class Plan:
    """How to replay: strategy, number of answers, and how many are asked at a time."""

    strategy: str = "default"
    budget: int = 120
    batch: int = 10


@dataclass(frozen=True)
class Replay:
    """One simulated annotator.

    Attributes
    ----------
    budgets : (r,) int64
        Answers given after each round.
    accuracy, balanced_accuracy : (r,) float64
        On the seeds that judge, then.
    asked : (budget,) int64
        Pool rows in the order in which they were asked.
    """

    budgets: npt.NDArray[np.int64]
    accuracy: npt.NDArray[np.float64]
    balanced_accuracy: npt.NDArray[np.float64]
    asked: npt.NDArray[np.int64]


def replay(pool: Truth, judges: Truth, plan: Plan, random_state: int) -> Replay:
    """Answer suggestions with the truth until the budget is spent; judge on seeds never asked.

    The pool alone is seen by the round, which is that of the app: its scaler, its suggestions, its answers.
    """
    return _collected(list(_rounds(pool, judges, plan, random_state)))


def _collected(steps: Sequence[tuple[int, float, float, npt.NDArray[np.int64]]]) -> Replay:
    asked = steps[-1][3] if steps else np.zeros(0, np.int64)
    columns = np.asarray([step[:3] for step in steps], np.float64).reshape(-1, 3).T
    return Replay(columns[0].astype(np.int64), columns[1], columns[2], asked)


def _rounds(
    pool: Truth, judges: Truth, plan: Plan, random_state: int
) -> Iterator[tuple[int, float, float, npt.NDArray[np.int64]]]:
    """After each batch of answers: how many there are, the two accuracies, and what was asked so far."""
    ids = tuple(int(c) for c in np.unique(np.concatenate([pool.class_id, judges.class_id])))
    seeds = np.arange(len(pool.class_id), dtype=np.int64)
    answers, target = Answers.none(), min(plan.budget, len(seeds))
    while True:
        n = min(target - len(answers.seed), plan.batch)
        settings = RoundSettings(ids, n=n, strategy=plan.strategy, random_state=random_state)
        found = labelling_round(
            seeds, pool.vectors, answers, settings, anomaly=pool.anomaly, ranks=pool.ranks, widths=pool.widths
        )
        if found.head is not None:
            said = np.asarray(ids)[found.head.probabilities(judges.vectors).argmax(1)]
            right = float((said == judges.class_id).mean())
            yield len(answers.seed), right, balanced_accuracy(judges.class_id, said), answers.seed
        if n == 0 or not found.suggestions:
            return
        answers = _answered(answers, found.suggestions, pool)


def _answered(answers: Answers, asked: Sequence[Any], pool: Truth) -> Answers:
    rows = np.asarray([s.seed for s in asked], np.int64)
    p = np.asarray([s.inclusion_p for s in asked], np.float64)
    return Answers(
        np.concatenate([answers.seed, rows]),
        np.concatenate([answers.class_id, pool.class_id[rows]]).astype(np.int32),
        np.concatenate([answers.inclusion_p, p]),
    )


def held_rows(class_id: npt.NDArray[np.integer], random_state: int) -> npt.NDArray[np.int64]:
    """Rows of a test share: ``TEST_SHARE`` of each class, at least one where the class has two or more."""
    rng = np.random.default_rng([random_state, 7])
    chosen = []
    for c in np.unique(class_id):
        members = rng.permutation(np.flatnonzero(class_id == c))
        n = min(max(1, round(TEST_SHARE * len(members))), len(members) - 1)
        chosen.append(members[:n])
    return np.sort(np.concatenate(chosen))


@dataclass
class Curves:
    """Mean accuracy of every strategy against answers given.

    Attributes
    ----------
    budgets : list of int
        Answers given after each round, the same for all.
    runs : dict of str to dict of str to list
        By measure and strategy, one curve (r,) for each repeat.
    """

    budgets: list[int] = field(default_factory=list)
    runs: dict[str, dict[str, list[npt.NDArray[np.float64]]]] = field(
        default_factory=lambda: {measure: {} for measure in MEASURES}
    )

    def add(self, strategy: str, found: Replay) -> None:
        """Take one repeat; curves are cut to the shortest."""
        budgets = found.budgets.tolist()
        self.budgets = budgets if not self.budgets or len(budgets) < len(self.budgets) else self.budgets
        for measure in MEASURES:
            self.runs[measure].setdefault(strategy, []).append(getattr(found, measure))

    def table(self, measure: str, strategy: str) -> npt.NDArray[np.float64]:
        """(repeats, r) of one strategy."""
        return np.stack([curve[: len(self.budgets)] for curve in self.runs[measure][strategy]])

    def needed(self, measure: str, strategy: str) -> int | None:
        """Answers after which the mean reaches that of random asking at the full budget; None if never."""
        target = self.table(measure, "random").mean(0)[-1]
        reached = np.flatnonzero(self.table(measure, strategy).mean(0) >= target - 1e-9)
        return int(self.budgets[reached[0]]) if reached.size else None

    def values(self, judged_by: str) -> dict[str, Any]:
        """Plain JSON facts: mean curves, and the answers that each strategy needs, by `judged_by`."""
        known = list(self.runs[judged_by])
        told: dict[str, Any] = {"budget": list(self.budgets)}
        for measure in MEASURES:
            told[measure] = {s: _plain(self.table(measure, s).mean(0)) for s in known}
        told["labels_to_random"] = {s: self.needed(judged_by, s) for s in known}
        told["judged_by"] = judged_by
        told["labels_to_random_by"] = {m: {s: self.needed(m, s) for s in known} for m in MEASURES}
        told["standard_error"] = {
            m: {s: _plain(self.table(m, s).std(0) / np.sqrt(len(self.runs[m][s]))) for s in known}
            for m in MEASURES
        }
        return told


def _plain(values: npt.NDArray[np.float64]) -> list[float]:
    return [round(float(v), 5) for v in values]


def compare(
    pool: Truth, judges: Truth, strategies: Sequence[str], plan: Plan, random_states: Sequence[int]
) -> Curves:
    """Replay each strategy, and random asking, for each random state; the same seeds judge all."""
    curves = Curves()
    for strategy in dict.fromkeys([*strategies, "random"]):
        for state in random_states:
            curves.add(strategy, replay(pool, judges, Plan(strategy, plan.budget, plan.batch), state))
    return curves


# -- the job ----------------------------------------------------------------------------------
def run(folder: Path) -> Generator[Progress, None, JobResult]:
    """Job: replay strategies on ``embedding.npz`` (seed, vector) with ``truth.npz`` (seed, class_id).

    Optional inputs: ``anomaly.npz`` (seed, score), ``ranks.npz`` (seed, rank by each method), ``fresh.npz``
    (vector, class_id) whose seeds judge, by balanced accuracy; without them each repeat sets a stratified
    test share of its own aside, which judges by accuracy. Parameters: `strategies`, `budget`, `batch`,
    `n_repeats`, `judged_by`. Values: see :meth:`Curves.values`. What is done stays in the folder, so that
    a job that was interrupted goes on with the next repeat.
    """
    from napari_seedlab.files import load_arrays, read_json

    request = JobRequest.from_json(read_json(folder / "request.json"))
    params, state = request.params, request.random_state
    known = _known(folder)
    fresh = None
    if (folder / "fresh.npz").exists():
        table = load_arrays(folder / "fresh.npz")
        fresh = Truth(np.asarray(table["vector"]), np.asarray(table["class_id"]))
    n_repeats, batch = int(params.get("n_repeats", 8)), int(params.get("batch", 10))
    splits = [_split(known, fresh, state + k) for k in range(n_repeats)]
    budget = min(int(params.get("budget", 150)), *(len(pool.class_id) for pool, _ in splits))
    wanted = [today(s) for s in params.get("strategies", ("default",))]
    wanted = list(dict.fromkeys([*wanted, "random"]))
    refused = {s: why for s in wanted if (why := _refusal(s, [pool for pool, _ in splits], budget))}
    wanted = [s for s in wanted if s not in refused]
    curves, n_rounds = Curves(), -(-budget // batch)
    total = n_repeats * len(wanted) * n_rounds
    for k, (pool, judges) in enumerate(splits):
        for i, strategy in enumerate(wanted):
            at = (k * len(wanted) + i) * n_rounds
            plan = Plan(strategy, budget, batch)
            found = yield from _one(folder, plan, pool, judges, (state + k, k), (at, total))
            curves.add(strategy, found)
    judged_by = str(params.get("judged_by") or ("accuracy" if fresh is None else "balanced_accuracy"))
    facts = {"n_seeds": len(known.class_id), "n_repeats": n_repeats, "refused": refused}
    n_judges = len(splits[0][1].class_id)
    return JobResult({**curves.values(judged_by), **facts, "n_judges": n_judges})


def _one(
    folder: Path, plan: Plan, pool: Truth, judges: Truth, which: tuple[int, int], where: tuple[int, int]
) -> Generator[Progress, None, Replay]:
    """One repeat of one strategy, or what the folder holds of it."""
    from napari_seedlab.files import load_arrays, save_arrays

    (state, k), (at, total) = which, where
    path = folder / f"replay-{plan.strategy}-{k}.npz"
    if path.exists():
        a = load_arrays(path)
        return Replay(a["budgets"], a["accuracy"], a["balanced_accuracy"], a["asked"])
    yield Progress(at, total, f"replaying {plan.strategy}, repeat {k + 1}")
    steps = []
    for step in _rounds(pool, judges, plan, state):
        steps.append(step)
        yield Progress(at + len(steps), total, f"replaying {plan.strategy}, repeat {k + 1}")
    found = _collected(steps)
    save_arrays(path, **vars(found))
    return found


def _split(known: Truth, fresh: Truth | None, random_state: int) -> tuple[Truth, Truth]:
    if fresh is not None:
        return known, fresh
    held = held_rows(known.class_id, random_state)
    return known.at(np.setdiff1d(np.arange(len(known.class_id)), held)), known.at(held)


def _refusal(strategy: str, pools: Sequence[Truth], budget: int) -> str:
    """Why a strategy cannot be replayed to the end; empty where it can."""
    if strategy in ASKS_AGAIN:
        return "asks about labelled seeds only"
    if strategy != "disagreement":
        return ""
    ranks = [pool.ranks for pool in pools if pool.ranks is not None]
    n = min((int((np.isfinite(r).sum(1) > 1).sum()) for r in ranks), default=0)
    if not n:
        return "needs scores of oddness by two methods"
    return "" if n >= budget else f"two methods scored {n} of the {budget} seeds that are asked about"


def refuse_little(classes: Collection[object]) -> None:
    """Refuse a truth that nothing can be replayed on, by the class of each seed that it names.

    Raises
    ------
    InputError
        Fewer than 20 seeds.
    NotReady
        All are of one class.
    """
    n = len(classes)
    if n < MIN_SEEDS:
        cause = f"names {n} seed{'' if n == 1 else 's'} of the project"
        raise InputError("the truth", cause, f"Give at least {MIN_SEEDS}")
    if len(set(classes)) < 2:
        raise NotReady("the replay", "needs seeds of two classes, all are of one", "Give another truth")


def _known(folder: Path) -> Truth:
    """The seeds with a vector and a true class, in the order of the vectors."""
    from napari_seedlab.files import load_arrays

    table, truth = load_arrays(folder / "embedding.npz"), load_arrays(folder / "truth.npz")
    class_of = dict(zip(truth["seed"].tolist(), truth["class_id"].tolist(), strict=True))
    rows = [i for i, s in enumerate(table["seed"].tolist()) if s in class_of]
    seeds = np.asarray(table["seed"])[rows]
    class_id = np.asarray([class_of[int(s)] for s in seeds], np.int32)
    refuse_little(class_id.tolist())
    anomaly, ranks = (
        known_of(folder / f"{a}.npz", b, seeds) for a, b in (("anomaly", "score"), ("ranks", "rank"))
    )
    return Truth(np.asarray(table["vector"])[rows], class_id, anomaly, ranks, table.get("widths"))
