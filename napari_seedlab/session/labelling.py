"""The queue of suggestions and the answers: shown at once, ticked after the commit."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_seedlab.core import (
    ASKS_AGAIN,
    CHANCE,
    InputError,
    Label,
    LabelState,
    NotReady,
    Suggestion,
    one_line,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    import numpy.typing as npt

    from napari_seedlab.core import Event
    from napari_seedlab.session.desk import Task
    from napari_seedlab.session.session import Session
    from napari_seedlab.store import Project

    Answers = tuple[tuple[int, ...], LabelState, int]  # about these seeds, a state and a class

N_AHEAD = 5  # open suggestions at which the next batch is drawn, so that the card never stays empty
N_BACK = 10  # answered ones that stay in the queue to go back to
N_ENOUGH = 20  # answers from which on the mixture is drawn, also where no typical seed was asked
ASKABLE = (LabelState.NONE, LabelState.CONFLICT)  # states that a suggestion may still ask about
ASKED_BY = ("margin_kmeans", "k_center", "anomaly", "disagreement")  # what the user may wish for
OLD_WISHES = {"margin": "margin_kmeans", "novelty": "k_center"}  # their names in earlier versions
WORDS = {"unsure": LabelState.UNSURE, "not_whole": LabelState.NOT_WHOLE}


class Labelling:
    """What is asked, where the user stands in it, and what was answered.

    Attributes
    ----------
    queue : tuple of Suggestion
        The batch under way, in the order in which it is asked.
    current_seed : int or None
        Seed on the card; a suggested one, or any other that was clicked.
    pending : int
        Answers that are shown but not durable yet.
    wishes : dict of str to str
        By pool, the strategy that the user chose; without one the session chooses.
    again : frozenset of int
        Seeds of the batch that are labelled, and are asked about once more.
    spreads : frozenset of str
        Pools in which labels spread to look-alikes, see :mod:`napari_seedlab.learn.spreading`.
    n_drawn : int
        Batches that came since the project was opened: the next is another draw, also without new answers.
    failed : str
        Why the last commit failed; while set, nothing can be answered.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.queue: tuple[Suggestion, ...] = ()
        self.current_seed: int | None = None
        self.pending = 0
        self.n_drawn = 0
        self.failed = ""
        self.wishes: dict[str, str] = {}
        self.again: frozenset[int] = frozenset()
        self.spreads: frozenset[str] = frozenset()
        self._left: frozenset[int] = frozenset()  # of the queue: left on the card for the next one
        self._unsaved: dict[int, tuple[Answers, ...]] = {}
        self._n_unsaved = 0
        self._drawing: set[str] = set()  # pools whose next batch is on its way

    # -- what is asked ------------------------------------------------------------------------
    @property
    def current(self) -> Suggestion | None:
        """The suggestion on the card, or None where the user chose the seed."""
        return next((s for s in self.queue if s.seed == self.current_seed), None)

    @property
    def n_left(self) -> int:
        """Suggestions of the batch without an answer."""
        return sum(self._is_open(s.seed) for s in self.queue)

    def strategy(self, pool: str) -> str:
        """As wished; else typical seeds until some were answered, then the default mixture."""
        session = self._session
        if pool in self.wishes:
            return self.wishes[pool]
        said = [s for s, label in session.labels.items() if label.state not in ASKABLE]
        tables = [t for scan in session.scans_of(pool) if (t := session.regions(scan.id)) is not None]
        is_here = (
            np.isin(said, np.concatenate([t.seed for t in tables])) if tables else np.zeros(len(said), bool)
        )
        if is_here.sum() >= N_ENOUGH:
            return "default"
        answered = np.asarray(said, np.int64)[is_here].tolist()
        typical = any(session.label_origin(s)[2] == "typiclust" for s in answered)
        return "default" if typical else "typiclust"

    def can_ask_by_disagreement(self, pool: str) -> bool:
        """Whether two methods scored a seed that may still be asked about."""
        apart, known = self._session.opinions.disagreement(pool), self._session.embeddings.get(pool)
        if apart is None or known is None:
            return False
        return any(s in known.row and not self._answered(s) for s in apart.seeds.tolist())

    def ask_by(self, strategy: str) -> Task:
        """Ask by a strategy from now on, at once; ``default`` lets the session choose again.

        Raises
        ------
        NotReady
            Methods shall disagree, and fewer than two were run.
        """
        session, pool = self._session, self._session.pool
        if strategy == "disagreement":
            session.opinions.refuse_one_opinion(pool)
        wish = {} if strategy == "default" else {pool: strategy}
        self.wishes = {k: v for k, v in self.wishes.items() if k != pool} | wish
        self._show(None)
        return session.draw(pool=pool)

    def spread_labels(self, on: bool, pool: str | None = None) -> Task | None:
        """Let labels spread to look-alikes of a pool from now on, or no longer; the model is fitted anew."""
        pool = pool or self._session.pool
        self.spreads = self.spreads | {pool} if on else self.spreads - {pool}
        self._remember()
        return self._session.refit(pool)

    def places(self, pool: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Seeds (n,) of a pool and where each lies (n, 4): scan, then its centre (z, y, x) in voxels."""
        session = self._session
        tables = [t for s in session.scans_of(pool) if (t := session.regions(s.id)) is not None]
        found: dict[int, tuple[float, ...]] = {}
        for table in tables:
            for seed, centre in zip(table.seed.tolist(), table.centroid.tolist(), strict=True):
                found.setdefault(seed, (table.scan, *centre))
        rows = np.asarray(list(found.values()), np.float64).reshape(-1, 4)
        return np.fromiter(found, np.int64), rows

    def offer(self, drawn: Sequence[Suggestion], pool: str, ahead: bool = False) -> None:
        """Take a batch over, `ahead` behind what is left of the one before; the seed on the card stays."""
        if not drawn:
            return
        with self._session.lock:
            self.n_drawn += 1
            back = [s.seed for s in self.queue if not self._is_open(s.seed)][-N_BACK:]
            kept = tuple(s for s in self.queue if self._is_open(s.seed) or s.seed in back) if ahead else ()
            again = frozenset(s.seed for s in drawn if s.strategy in ASKS_AGAIN)
            self.again = again | self.again if ahead else again
            known = {s.seed for s in kept}
            fresh = tuple(s for s in drawn if self._is_open(s.seed) and s.seed not in known)
            self.queue = (*kept, *fresh)
            self._left &= known
            is_over = self.current_seed is None or not self._is_open(self.current_seed)
            seed = next((s.seed for s in self.queue if self._is_open(s.seed)), None) if is_over else None
            if is_over:
                self.current_seed = seed
        self._session.queue_changed.emit()
        if is_over:
            self._session.current_changed.emit(seed)
        self._remember()

    def passed_over(self) -> tuple[Suggestion, ...]:
        """Suggestions that chance drew and that were skipped on the card, without an answer since."""
        left = [s for s in self.queue if s.seed in self._left]
        return tuple(s for s in left if s.strategy in CHANCE and self._is_open(s.seed))

    def _n_passed(self) -> int:
        """Suggestions of the queue before the first that is open."""
        return next((i for i, s in enumerate(self.queue) if self._is_open(s.seed)), len(self.queue))

    def anomalies_found(self, pool: str) -> None:
        """Ask about the oddest seeds first, as long as nothing was answered."""
        if not any(label.state is not LabelState.NONE for label in self._session.labels.values()):
            self._show(None)
            self._session.draw(strategy="anomaly", pool=pool)

    def look_at(self, seed: int | None) -> None:
        """Put any seed on the card."""
        if seed != self.current_seed:
            self._show(seed)

    def step(self, by: int) -> None:
        """Go to the next (+1) or previous (-1) suggestion without answering."""
        if not self.queue:
            return
        seeds = [s.seed for s in self.queue]
        if by > 0 and self.current_seed in seeds:
            with self._session.lock:
                self._left |= {self.current_seed}
        here = seeds.index(self.current_seed) if self.current_seed in seeds else self._n_passed() - (by > 0)
        self._show(seeds[(here + by) % len(seeds)])
        self._remember()

    def _show(self, seed: int | None) -> None:
        self.current_seed = seed
        self._session.current_changed.emit(seed)

    def _answered(self, seed: int) -> bool:
        return self._session.label(seed).state not in ASKABLE

    def _is_open(self, seed: int) -> bool:
        """Whether a suggestion may ask about a seed: not answered, or asked about once more."""
        return seed in self.again or not self._answered(seed)

    # -- what is answered ---------------------------------------------------------------------
    def answer(self, said: int | str | None, seeds: Iterable[int] | None = None) -> None:
        """Answer about seeds (default: the one on the card) and go on to the next.

        Parameters
        ----------
        said : int, str or None
            Class id, ``unsure``, ``not_whole``, or None to clear.
        seeds : iterable of int, optional
            Seeds that the answer is about, in one event. One about a single seed carries why it was asked;
            one about many does not: nobody looked at each of them.

        Raises
        ------
        ProjectError
            The project is read-only, or the last answer could not be saved.
        InputError
            Unknown class or seed.
        NotReady
            No seed is shown.
        """
        on_card = seeds is None
        chosen = self._chosen(seeds)
        state, class_id = self._parse(said)
        self._session.refuse_if_blocked()
        self._commit(((chosen, state, class_id),), is_looked_at=len(chosen) == 1)
        self.again = self.again.difference(chosen)
        if on_card or self.current_seed in chosen:
            self._advance(chosen)

    def accept_all(self, seeds: Iterable[int]) -> int:
        """Answer as predicted about seeds without an answer, in one event; returns about how many.

        What a person said stays. Nobody looked at each of them, so the answers carry no suggestion.

        Raises
        ------
        NotReady
            All of them are answered, or none has a prediction.
        """
        chosen = [s for s in self._chosen(seeds) if self._session.label(s).state is LabelState.NONE]
        if not chosen:
            raise NotReady("the prediction", "is for seeds without an answer", "Clear their answers first")
        by_class: dict[int, list[int]] = {}
        for seed, class_id in self._predicted(chosen).items():
            by_class.setdefault(class_id, []).append(seed)
        if not by_class:
            raise NotReady("the prediction", "is not there yet for these seeds", "Press a class key instead")
        self._session.refuse_if_blocked()
        answers = tuple((tuple(s), LabelState.LABELLED, c) for c, s in sorted(by_class.items()))
        self._commit(answers, is_looked_at=False)
        answered = {s for some, _, _ in answers for s in some}
        self.again = self.again - answered
        if self.current_seed in answered:
            self._advance(answered)
        return len(answered)

    def accept(self) -> None:
        """Answer with the predicted class of the seed on the card."""
        seed = self.current_seed
        predicted = {} if seed is None else self._predicted((seed,))
        if seed not in predicted:
            raise NotReady("the prediction", "is not there yet for this seed", "Press a class key instead")
        self.answer(predicted[seed])

    def _predicted(self, seeds: Iterable[int]) -> dict[int, int]:
        """Class predicted for seeds; those without one, or with one that is not offered, are left out."""
        predictions, offered = self._session.predictions, {c.id for c in self._session.scheme.active}
        if predictions is None:
            return {}
        row, best = predictions.row, predictions.best.tolist()
        return {s: best[row[s]] for s in seeds if s in row and best[row[s]] in offered}

    def _chosen(self, seeds: Iterable[int] | None) -> tuple[int, ...]:
        if seeds is None:
            if self.current_seed is None:
                raise NotReady("labelling", "no seed is shown", "Click a seed or press N")
            return (self.current_seed,)
        chosen = tuple(dict.fromkeys(int(s) for s in seeds))
        if not chosen:
            raise NotReady("labelling", "no seed is selected", "Select at least one")
        unknown = [s for s in chosen if s not in self._session.seeds]
        if unknown:
            raise InputError(f"seed {unknown[0]}", "is not in this project", "Check the seed ids")
        return chosen

    def _parse(self, said: int | str | None) -> tuple[LabelState, int]:
        if said is None:
            return LabelState.NONE, 0
        if isinstance(said, str):
            return WORDS[said], 0
        return LabelState.LABELLED, self._session.scheme.by_id(said).id

    def _commit(self, answers: tuple[Answers, ...], is_looked_at: bool) -> None:
        """Show answers, then save them; why seeds were asked only where somebody looked at each."""
        session = self._session
        seeds = {s for chosen, _, _ in answers for s in chosen} if is_looked_at else set()
        predicted = session.predictions
        asked = {s.seed: asdict(s) for s in self.queue if s.seed in seeds}
        shown = {} if predicted is None else {s: predicted.of(s) for s in asked}
        for fact in asked.values():
            fact["shown_model"] = "" if predicted is None else predicted.model_id
        with session.lock:
            self._n_unsaved += 1
            ticket = self._n_unsaved
            self._unsaved[ticket] = answers
            self.pending = len(self._unsaved)
            session.set_labels({s: Label(s, state, c) for chosen, state, c in answers for s in chosen})
        session.pending_changed.emit(self.pending)

        def save(project: Project) -> None:
            if self.failed:  # an earlier answer was not saved: this one is not either
                self._not_saved(ticket, self.failed, project)
                return
            try:
                if len(answers) == 1:
                    event = project.label(*answers[0], session.annotator, asked, shown)
                else:
                    event = project.label_many(answers, session.annotator, asked, shown)
            except Exception as error:  # whatever the reason, the user must know
                self._not_saved(ticket, one_line(error), project)
                return
            self._saved(ticket, event, project)

        session.desk.do(save)

    def _saved(self, ticket: int, event: Event, project: Project) -> None:
        with self._session.lock:
            seeds = [s for chosen, _, _ in self._unsaved.pop(ticket) for s in chosen]
            self.pending = len(self._unsaved)
        self._keep_facts(event)
        self._session.pending_changed.emit(self.pending)
        self._session.saved.emit(event)
        for pool in self._session.pools_of(seeds):
            self._session.refit(pool)

    def _not_saved(self, ticket: int, cause: str, project: Project) -> None:
        is_first, self.failed = not self.failed, cause
        with self._session.lock:
            self._unsaved.pop(ticket, None)
            self.pending = len(self._unsaved)
        self._session.reload_labels(project)
        self._session.pending_changed.emit(self.pending)
        if is_first:
            self._session.message.emit("error", f"Not saved: {cause}")

    def overlay(self, labels: dict[int, Label]) -> dict[int, Label]:
        """Lay the answers that are not committed yet over those that are."""
        for seeds, state, class_id in (a for answers in list(self._unsaved.values()) for a in answers):
            labels.update({s: Label(s, state, class_id) for s in seeds})
        return labels

    def _advance(self, answered: Collection[int]) -> None:
        """On to the next open suggestion; the next batch is drawn before this one ends.

        Where the card shows none of the `answered` seeds, a batch that came this moment has moved it on.
        """
        with self._session.lock:
            seeds = [s.seed for s in self.queue]
            here = seeds.index(self.current_seed) if self.current_seed in seeds else -1
            start = here + (here < 0 or self.current_seed in answered)
            left = [s for s in seeds[start:] + seeds[:start] if self._is_open(s)]
            self.current_seed = left[0] if left else None
        self._session.current_changed.emit(left[0] if left else None)
        if len(left) <= N_AHEAD:
            self._draw_ahead(self._session.pool)
        self._remember()

    def _draw_ahead(self, pool: str) -> None:
        if pool not in self._drawing:
            self._drawing.add(pool)
            task = self._session.draw(pool=pool, ahead=True)
            task.future.add_done_callback(lambda _: self._drawing.discard(pool))

    # -- the same place after a restart -------------------------------------------------------
    def _remember(self) -> None:
        if self._session.read_only:
            return
        place = {
            "queue": [asdict(s) for s in self.queue],
            "current_seed": self.current_seed,
            "wishes": self.wishes,
            "again": sorted(self.again),
            "left": sorted(self._left),
            "spreads": sorted(self.spreads),
        }
        self._session.desk.do(lambda project: project.set_state("place", place))

    def restore(self, place: dict[str, Any] | None) -> None:
        """Take up the place that was remembered; one that cannot be read is left out."""
        known = self._session.seeds
        try:
            queue = tuple(Suggestion(**entry) for entry in (place or {})["queue"])
            seed = (place or {})["current_seed"]
        except (KeyError, TypeError):
            return
        wishes = (place or {}).get("wishes")
        pairs = wishes.items() if isinstance(wishes, dict) else ()
        told = {pool: OLD_WISHES.get(wish, wish) for pool, wish in pairs if isinstance(wish, str)}
        self.wishes = {pool: wish for pool, wish in told.items() if wish in ASKED_BY}
        self.queue = tuple(s for s in queue if s.seed in known)
        again, left, spreads = ((place or {}).get(key) for key in ("again", "left", "spreads"))
        self.again = frozenset(again if isinstance(again, list) else ()) & {s.seed for s in self.queue}
        self._left = frozenset(left if isinstance(left, list) else ()) & {s.seed for s in self.queue}
        self.spreads = frozenset(str(p) for p in (spreads if isinstance(spreads, list) else ()))
        self.current_seed = seed if seed in known else None

    def _keep_facts(self, event: Event) -> None:
        """Keep what is known about the newest answer of each seed."""
        asked = event.payload.get("suggestion") or {}
        new = {
            int(s): {
                "sequence": event.sequence,
                "annotator": event.annotator,
                "utc": event.utc,
                "suggestion": asked.get(str(s)) or asked.get(s),
            }
            for s in event.payload["seeds"]
        }
        self._session.facts = {**self._session.facts, **new}
