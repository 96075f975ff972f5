"""What is known about one seed beside its present answer: all that was ever said, and what it is like."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_seedlab.core import EventKind, LabelState
from napari_seedlab.core.event import answers_of
from napari_seedlab.imaging.scaling import pool_scaler, scaled

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from napari_seedlab.core import Event
    from napari_seedlab.session.desk import Task
    from napari_seedlab.session.results import Embedding
    from napari_seedlab.session.session import Session
    from napari_seedlab.store import Project

BLOCK = 4096  # labelled seeds compared at a time


@dataclass(frozen=True)
class Answer:
    """One answer about a seed, as the journal has it.

    Attributes
    ----------
    seed : int
        Whom it was about; another id than the asked one where that seed was merged into it.
    sequence : int
        Of its event.
    utc, annotator : str
        When, ISO 8601, and who.
    state : LabelState
        ``none`` took the label off.
    class_id : int
        0 unless the state is ``labelled``.
    reason : str
        Why the seed was asked about, in words; empty where it was chosen by hand.
    undone : bool
        Whether the answer was taken back since, and not done again.
    """

    seed: int
    sequence: int
    utc: str
    annotator: str
    state: LabelState
    class_id: int
    reason: str
    undone: bool = False


@dataclass(frozen=True)
class Neighbour:
    """A labelled seed and its distance (see :meth:`About.nearest_labelled`)."""

    seed: int
    class_id: int
    distance: float


class About:
    """Answers the questions of the Inspect dock.

    Parameters
    ----------
    session : Session
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._read_up_to = 0  # the journal is read once; afterwards only what is new
        self._answers: defaultdict[int, list[Answer]] = defaultdict(list)
        self._edit_of: dict[int, tuple[int, bool]] = {}  # undo event: the edit, whether it is done again
        self._undone: set[int] = set()
        self._scaler: tuple[Embedding, npt.NDArray[np.float64], npt.NDArray[np.float64]] | None = None

    def history_of(self, seed: int) -> Task:
        """Every answer about a seed, newest first, those taken back included.

        Returns
        -------
        Task
            Its values are ``{"seed": int, "answers": tuple of Answer}``; answers about seeds that were
            merged into this one belong to it.
        """

        def work(project: Project) -> dict[str, Any]:
            for event in project.events(self._read_up_to):
                self._take_in(event)
            found = [self._now(answer) for s in self._ids_of(seed) for answer in self._answers.get(s, ())]
            return {"seed": seed, "answers": tuple(sorted(found, key=lambda a: -a.sequence))}

        return self._session.desk.do_task("history", work)

    def _take_in(self, event: Event) -> None:
        self._read_up_to = event.sequence
        if event.kind is EventKind.LABEL:
            asked: Mapping[str, Any] = event.payload.get("suggestion") or {}
            for seed, state, class_id in answers_of(event.payload):
                reason = str((asked.get(str(seed)) or {}).get("reason", ""))
                said = LabelState(state), int(class_id), reason
                answer = Answer(int(seed), event.sequence, event.utc, event.annotator, *said)
                self._answers[answer.seed].append(answer)
        elif event.kind is EventKind.UNDO:
            target = int(event.payload["undoes"])
            edit, is_done = self._edit_of.get(target, (target, True))
            self._edit_of[event.sequence] = edit, not is_done
            (self._undone.add if is_done else self._undone.discard)(edit)

    def _now(self, answer: Answer) -> Answer:
        is_undone = answer.sequence in self._undone
        return Answer(**{**vars(answer), "undone": True}) if is_undone else answer

    def _ids_of(self, seed: int) -> set[int]:
        """The seed and those merged into it, directly or by way of another."""
        ids, n = {seed}, 0
        while len(ids) > n:
            n = len(ids)
            ids |= {s.id for s in self._session.seeds.values() if s.alias_of in ids}
        return ids

    def nearest_labelled(self, seed: int, n: int = 4) -> tuple[Neighbour, ...]:
        """Labelled seeds of the same pool that are most like a seed, nearest first.

        Takes tens of ms for 50,000 seeds: call it beside the event loop.

        Parameters
        ----------
        seed : int
            Whose neighbours.
        n : int
            At most so many.

        Returns
        -------
        tuple of Neighbour
            The distance is the root mean square difference of the standardised vectors (in standard
            deviations of the pool, clipped at ±6 as for the live model). Empty before there are vectors
            or labels.
        """
        session = self._session
        pools = session.pools_of((seed,)) & session.embeddings.keys()
        if not pools:
            return ()
        known = session.embeddings[session.pool if session.pool in pools else min(pools)]
        labels = {s: x.class_id for s, x in session.labels.items() if x.state is LabelState.LABELLED}
        others = np.asarray([s for s in labels if s != seed and s in known.row], np.int64)
        if seed not in known.row or not len(others):
            return ()
        far = self._distances(known, seed, others)
        order = np.lexsort((others, far))[:n]
        return tuple(Neighbour(int(others[i]), labels[int(others[i])], float(far[i])) for i in order)

    def _distances(
        self, known: Embedding, seed: int, others: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        if self._scaler is None or self._scaler[0] is not known:
            self._scaler = known, *pool_scaler(known.vectors, known.widths)
        _, *scaler = self._scaler
        here = scaled(known.vectors[known.row[seed]], *scaler)
        rows = np.asarray([known.row[int(s)] for s in others])
        blocks = (rows[i : i + BLOCK] for i in range(0, len(rows), BLOCK))
        squares = [np.square(scaled(known.vectors[b], *scaler) - here).mean(1) for b in blocks]
        return np.asarray(np.sqrt(np.concatenate(squares)))
