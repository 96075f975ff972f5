"""What active asking would have saved: replay of labelling rounds on data whose classes are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_seedlab.core import InputError, JobRequest, JobResult, Progress
from napari_seedlab.learn.calibration import balanced_accuracy
from napari_seedlab.learn.round import Answers, RoundSettings, labelling_round

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Truth:
    """Embedding rows (n, d) with their true class ids (n,)."""

    vectors: npt.NDArray[np.floating]
    class_id: npt.NDArray[np.integer]


@dataclass(frozen=True)
class Replay:
    """One simulated annotator.

    Attributes
    ----------
    budgets : (r,) int64
        Answers given after each round.
    accuracy : (r,) float64
        Balanced accuracy on the fresh seeds then.
    asked : (budget,) int64
        Pool rows in the order in which they were asked.
    """

    budgets: npt.NDArray[np.int64]
    accuracy: npt.NDArray[np.float64]
    asked: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Plan:
    """How to replay: batch size, number of answers, strategy, and the first batch's size."""

    strategy: str = "default"
    budget: int = 120
    batch: int = 10
    first: int = 10


def replay(
    pool: Truth,
    fresh: Truth,
    plan: Plan,
    random_state: int,
    anomaly: npt.NDArray[np.floating] | None = None,
) -> Replay:
    """Answer suggestions with the truth until the budget is spent; judge on seeds never asked.

    The pool alone is seen by the round: its scaler, its suggestions and its answers.
    """
    ids = tuple(int(c) for c in np.unique(np.concatenate([pool.class_id, fresh.class_id])))
    seeds = np.arange(len(pool.class_id), dtype=np.int64)
    answers, budgets, scores = Answers.none(), [], []
    target = min(plan.budget, len(seeds))
    while True:
        left = target - len(answers.seed)
        n = min(left, plan.batch if len(answers.seed) else plan.first)
        settings = RoundSettings(ids, n=n, strategy=plan.strategy, random_state=random_state)
        result = labelling_round(seeds, pool.vectors, answers, settings, anomaly=anomaly)
        if result.head is not None:
            predicted = np.asarray(ids)[result.head.probabilities(fresh.vectors).argmax(1)]
            budgets.append(len(answers.seed))
            scores.append(balanced_accuracy(fresh.class_id, predicted))
        if n == 0 or not result.suggestions:
            return Replay(np.asarray(budgets), np.asarray(scores), answers.seed)
        answers = _answered(answers, result.suggestions, pool)


def _answered(answers: Answers, asked: Sequence[Any], pool: Truth) -> Answers:
    rows = np.asarray([s.seed for s in asked], np.int64)
    p = np.asarray([s.inclusion_p for s in asked], np.float64)
    return Answers(
        np.concatenate([answers.seed, rows]),
        np.concatenate([answers.class_id, pool.class_id[rows]]).astype(np.int32),
        np.concatenate([answers.inclusion_p, p]),
    )


@dataclass(frozen=True)
class Comparison:
    """Mean curves of a strategy and of random asking over the same random states.

    Attributes
    ----------
    budgets : (r,) int64
    strategy, random : (states, r) float64
        Balanced accuracy on fresh seeds.
    found : dict
        Share of each class among the first fifth of the pool shown by the strategy, mean over
        states, by class id; and by ``random``.
    """

    budgets: npt.NDArray[np.int64]
    strategy: npt.NDArray[np.float64]
    random: npt.NDArray[np.float64]

    def needed(self, random_budget: int) -> int | None:
        """First budget at which the strategy's mean reaches random's mean at `random_budget`."""
        target = self.random.mean(0)[np.flatnonzero(self.budgets == random_budget)[0]]
        reached = np.flatnonzero(self.strategy.mean(0) >= target)
        return int(self.budgets[reached[0]]) if reached.size else None


def compare(pool: Truth, fresh: Truth, plan: Plan, random_states: Sequence[int]) -> Comparison:
    """Replay `plan` and random asking for each random state."""
    blind = Plan("random", plan.budget, plan.batch, plan.first)
    runs = [[replay(pool, fresh, p, state) for state in random_states] for p in (plan, blind)]
    clever, chance = (np.stack([r.accuracy for r in one]) for one in runs)
    return Comparison(runs[0][0].budgets, clever, chance)


def share_found(asked: npt.NDArray[np.integer], class_id: npt.NDArray[np.integer], wanted: int) -> float:
    """Share of the seeds of class `wanted` in the pool that are among the `asked` rows."""
    total = int((class_id == wanted).sum())
    return float((class_id[asked] == wanted).sum() / total) if total else float("nan")


def run(folder: Path) -> Generator[Progress, None, JobResult]:
    """Job: replay on ``embedding.npz`` with ``truth.npz`` (seed, class_id).

    Half of the seeds (by `random_state`) is the pool, the other half is never asked. Parameters:
    `strategy`, `budget`, `batch`, `n_states`. Values: budgets, mean curves, answers needed, and the
    share of each class found among the first fifth asked.
    """
    from napari_seedlab.files import load_arrays, read_json

    request = JobRequest.from_json(read_json(folder / "request.json"))
    params = request.params
    known = _with_truth(load_arrays(folder / "embedding.npz"), load_arrays(folder / "truth.npz"))
    order = np.random.default_rng(request.random_state).permutation(len(known.class_id))
    half = len(order) // 2
    pool, fresh = (Truth(known.vectors[o], known.class_id[o]) for o in (order[:half], order[half:]))
    budget = min(int(params.get("budget", 120)), half)
    batch = int(params.get("batch", 10))
    plans = [Plan(s, budget, batch) for s in (str(params.get("strategy", "default")), "random")]
    states = range(int(params.get("n_states", 4)))
    runs: list[list[Replay]] = [[], []]
    for state in states:
        for i, plan in enumerate(plans):
            yield Progress(2 * state + i, 2 * len(states), f"replaying {plan.strategy}")
            runs[i].append(replay(pool, fresh, plan, request.random_state + state))
    clever, chance = (np.stack([r.accuracy for r in one]) for one in runs)
    both = Comparison(runs[0][0].budgets, clever, chance)
    first = max(1, half // 5)
    found = {
        str(c): float(np.mean([share_found(r.asked[:first], pool.class_id, int(c)) for r in runs[0]]))
        for c in np.unique(pool.class_id)
    }
    return JobResult(
        {
            "budgets": both.budgets.tolist(),
            "strategy": both.strategy.mean(0).tolist(),
            "random": both.random.mean(0).tolist(),
            "needed": both.needed(int(both.budgets[-1])),
            "found_in_first_fifth": found,
        }
    )


def _with_truth(table: dict[str, Any], truth: dict[str, Any]) -> Truth:
    known = dict(zip(truth["seed"].tolist(), truth["class_id"].tolist(), strict=True))
    rows = [i for i, s in enumerate(table["seed"].tolist()) if s in known]
    if len(rows) < 20:
        raise InputError("truth table", f"names {len(rows)} seeds of the project", "Give at least 20")
    ids = [known[int(table["seed"][i])] for i in rows]
    return Truth(np.asarray(table["vector"])[rows], np.asarray(ids, np.int32))
