"""A scripted person who works through a tray with the means of the app, and how long that takes her."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_seedlab.imaging.groups import strangeness
from napari_seedlab.learn.clusters import cluster
from napari_seedlab.learn.head import pool_scaler, scaled
from napari_seedlab.learn.round import Answers, RoundSettings, labelling_round

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_seedlab.learn.head import Floats, Head, Ints
    from napari_seedlab.learn.round import RoundResult

N_TYPICAL_FIRST = 20  # answers until which the session asks for typical seeds


@dataclass(frozen=True)
class Costs:
    """Seconds of what a person does: a look, a key, a drag; and how many thumbnails one look takes in."""

    look_s: float = 1.0
    key_s: float = 0.3
    drag_s: float = 2.0
    n_per_look: int = 1

    def one_by_one(self, n: int) -> float:
        """Seconds of looking at `n` seeds and pressing a key for each."""
        return n * (self.look_s + self.key_s)


@dataclass(frozen=True)
class Plan:
    """How she goes about it.

    Attributes
    ----------
    n_groups : int
        Groups that are labelled as a whole at first; 0 = none.
    n_peeked : int
        Members of a group that are looked at before: those nearest another group, who come first in the
        gallery. Where they are not of one class, the group is left to the suggestions.
    budget_s : float
        She ends when this is spent, whatever the model says.
    n_calm, n_wrong : int
        She trusts the model once it had predicted the last `n_calm` answers but for `n_wrong`, although it
        asks about what it knows least; 0 = never.
    p0 : float
        Predictions below it are looked at before the others are accepted.
    batch : int
        Suggestions drawn at a time.
    """

    n_groups: int = 0
    n_peeked: int = 6
    budget_s: float = np.inf
    n_calm: int = 20
    n_wrong: int = 1
    p0: float = 0.7
    batch: int = 10


@dataclass
class Day:
    """What she did and what came of it.

    Attributes
    ----------
    n_looked, n_looks, n_keys, n_drags : int
        Seeds seen, looks taken, keys pressed, drags made.
    n_answered, n_in_bulk : int
        Seeds that she answered one by one, and in groups.
    accuracy : float
        Share of all seeds whose final class is right: her answers, and predictions for the others.
    recall : dict of int to float
        The same by true class.
    """

    costs: Costs
    n_looked: int = 0
    n_looks: int = 0
    n_keys: int = 0
    n_drags: int = 0
    n_answered: int = 0
    n_in_bulk: int = 0
    accuracy: float = 0.0
    recall: dict[int, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """What it took."""
        c = self.costs
        return self.n_looks * c.look_s + self.n_keys * c.key_s + self.n_drags * c.drag_s

    def look(self, n: int) -> None:
        """Look at `n` thumbnails that stand together."""
        self.n_looked += n
        self.n_looks += -(-n // self.costs.n_per_look)

    def answer(self, n: int) -> None:
        """Look at `n` suggested seeds, one after the other, and press a key for each."""
        self.n_looked += n
        self.n_looks += n
        self.n_keys += n
        self.n_answered += n


def rounds(
    vectors: Floats,
    truth: Ints,
    class_ids: Sequence[int],
    random_state: int,
    batch: int = 10,
    answers: Answers | None = None,
    prior: Head | None = None,
) -> Iterator[tuple[Answers, RoundResult]]:
    """Labelling rounds as the session draws them, each suggestion answered with the truth; without end.

    Parameters
    ----------
    vectors : (n, d) float
        Embedding of all seeds.
    truth : (n,) int
        Class id of each.
    class_ids : sequence of int
        Order of the probability columns.
    random_state : int
        Of the draws and the folds.
    batch : int
        Suggestions drawn at a time.
    answers : Answers, optional
        Given before; their seeds are rows.
    prior : Head, optional
        See :func:`~napari_seedlab.learn.round.labelling_round`.

    Yields
    ------
    (Answers, RoundResult)
        What was known, and what the model says then; the last when there is nothing left to ask.
    """
    seeds, known = np.arange(len(truth)), answers or Answers.none()
    while True:
        n_asked = int(np.isfinite(known.inclusion_p).sum())
        strategy = "typiclust" if n_asked == 0 and len(known.seed) < N_TYPICAL_FIRST else "default"
        settings = RoundSettings(
            tuple(int(c) for c in class_ids), n=batch, strategy=strategy, random_state=random_state
        )
        result = labelling_round(seeds, vectors, known, settings, prior=prior)
        yield known, result
        if not result.suggestions:
            return
        rows = np.asarray([s.seed for s in result.suggestions], np.int64)
        drawn = np.asarray([s.inclusion_p for s in result.suggestions])
        known = more(known, rows, truth[rows], drawn)


def more(known: Answers, rows: Ints, said: Ints, drawn: Floats | None = None) -> Answers:
    """Answers and further ones; `drawn` is the chance of each draw, NaN for seeds that nobody suggested."""
    p = np.full(len(rows), np.nan) if drawn is None else drawn
    return Answers(
        np.concatenate([known.seed, np.asarray(rows, np.int64)]),
        np.concatenate([known.class_id, np.asarray(said, np.int32)]),
        np.concatenate([known.inclusion_p, p]),
    )


def work_through(
    vectors: Floats, truth: Ints, class_ids: Sequence[int], plan: Plan, costs: Costs, random_state: int
) -> Day:
    """Label a tray: groups as a whole, suggestions until the model is right, then accept what it says.

    Parameters
    ----------
    vectors : (n, d) float
        Embedding of all seeds.
    truth : (n,) int
        Class id of each: what she sees when she looks at one. She knows nothing else.
    class_ids : sequence of int
        The classes.
    plan : Plan
        How she goes about it.
    costs : Costs
        How long each thing takes.
    random_state : int
        Of draws, folds and groups.
    """
    day = Day(costs)
    known = _groups(day, vectors, truth, plan, random_state) if plan.n_groups else Answers.none()
    known, p = _suggestions(day, vectors, truth, class_ids, plan, known, random_state)
    final = np.asarray(class_ids)[p.argmax(1)]
    final[known.seed] = known.class_id
    _doubtful(day, p, known, truth, plan, final)
    day.n_keys += 1  # the others are accepted at once
    day.accuracy = float((final == truth).mean())
    day.recall = {int(c): float((final == truth)[truth == c].mean()) for c in np.unique(truth)}
    return day


def _groups(day: Day, vectors: Floats, truth: Ints, plan: Plan, random_state: int) -> Answers:
    """Look at the strangest members of each group; drag the group onto a class where they are of one."""
    x = scaled(vectors, *pool_scaler(vectors)).astype(np.float32)
    group, known = cluster(x, plan.n_groups, random_state), Answers.none()
    for number in np.unique(group):
        own = np.flatnonzero(group == number)
        strange = strangeness(x[own], x[group != number])
        peeked = own[np.argsort(-strange, kind="stable")[: plan.n_peeked]]
        if day.seconds >= plan.budget_s:
            break
        day.look(len(peeked))
        if len(np.unique(truth[peeked])) == 1:
            day.n_drags += 1
            day.n_in_bulk += len(own)
            known = more(known, own, np.full(len(own), truth[peeked[0]]))
        else:
            day.n_keys += len(peeked)
            day.n_answered += len(peeked)
            known = more(known, peeked, truth[peeked])
    return known


def _suggestions(
    day: Day,
    vectors: Floats,
    truth: Ints,
    class_ids: Sequence[int],
    plan: Plan,
    known: Answers,
    random_state: int,
) -> tuple[Answers, npt.NDArray[np.floating]]:
    """Answer suggestions until the model has been right for a while; what is known, and predicted, then."""
    p = np.full((len(truth), len(class_ids)), 1 / len(class_ids), np.float32)
    ids, n_before, right = np.asarray(class_ids), len(known.seed), []
    for answers, result in rounds(vectors, truth, class_ids, random_state, plan.batch, known):
        new = answers.seed[n_before:]
        if n_before:
            right += (ids[p[new].argmax(1)] == truth[new]).tolist()
        p = p if result.probabilities is None else result.probabilities
        day.answer(len(answers.seed) - n_before)
        known, n_before = answers, len(answers.seed)
        is_calm = 0 < plan.n_calm <= len(right) and sum(right[-plan.n_calm :]) >= plan.n_calm - plan.n_wrong
        if is_calm or day.seconds + day.costs.one_by_one(plan.batch) > plan.budget_s:
            break
    return known, p


def _doubtful(
    day: Day,
    p: npt.NDArray[np.floating],
    known: Answers,
    truth: Ints,
    plan: Plan,
    final: npt.NDArray[np.integer],
) -> None:
    """Look at the predictions below p0, the least certain first, and answer those; `final` is changed."""
    left = np.setdiff1d(np.flatnonzero(p.max(1) < plan.p0), known.seed)
    for row in left[np.argsort(p[left].max(1), kind="stable")].tolist():
        if day.seconds + day.costs.one_by_one(1) + day.costs.key_s > plan.budget_s:
            return
        day.answer(1)
        final[row] = truth[row]
