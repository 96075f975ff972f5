"""Honest figures of the live model: asked for after each batch, kept with the project, acted upon."""

from __future__ import annotations

import itertools
import json
import uuid
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_seedlab import files
from napari_seedlab.core import EventKind, InputError, LabelState, NotReady, Suggestion, answers_of
from napari_seedlab.session.desk import Step
from napari_seedlab.session.labelling import ASKABLE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    import numpy.typing as npt

    from napari_seedlab.core import Event, JobRequest, JobResult, Label
    from napari_seedlab.session.desk import Task
    from napari_seedlab.session.session import Session
    from napari_seedlab.store import Project

PLACE = "figures"  # what the project remembers under this name: per pool the p0 that was chosen
N_CHECK = 30  # clicks of an honest check
N_UNSURE = 20  # seeds that are queued at a time
LEAST_PER_CLASS = 2  # answers that two classes need
NEVER: tuple[int, Mapping[str, Any]] = (0, {})  # of an answer that no event tells of
NOT_YET = 2**62  # place in the journal of an answer that has not come
PAUSE_S = 60.0  # a longer time between two answers is no work


@dataclass(frozen=True)
class Report:
    """The newest figures of a pool.

    Attributes
    ----------
    values : mapping
        What :func:`napari_seedlab.learn.figures.run` returned, and `seconds`, `n_actions`.
    seeds : (n,) int64
        Seeds of the pool, with `predicted` (column), `p` (largest probability) and `is_far` (n,).
    answered : (m,) int64
        Labelled seeds, with `said` and `told` (columns by people and by a model without that answer).
    class_ids : tuple of int
        Of the columns.
    """

    values: Mapping[str, Any]
    seeds: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int32]
    p: npt.NDArray[np.float32]
    is_far: npt.NDArray[np.bool_]
    answered: npt.NDArray[np.int64]
    said: npt.NDArray[np.int32]
    told: npt.NDArray[np.int32]
    class_ids: tuple[int, ...]

    @classmethod
    def of(cls, values: Mapping[str, Any], a: Mapping[str, Any], class_ids: tuple[int, ...]) -> Report:
        """The report of the arrays that the job wrote."""
        of_answers = a["answered"], a["said"], a["told"]
        return cls(values, a["seed"], a["predicted"], a["p"], a["is_far"], *of_answers, class_ids)

    def cell(self, said: int, told: int) -> frozenset[int]:
        """Labelled seeds of one cell of the confusion matrix, by columns."""
        return frozenset(self.answered[(self.said == said) & (self.told == told)].tolist())

    def rejected(self, p0: float) -> npt.NDArray[np.bool_]:
        """Seeds (n,) whose prediction should not be used: unsure, or unlike anything labelled."""
        return np.asarray((self.p < p0) | self.is_far)


@dataclass
class _Journal:
    """What the journal says about drawing and about time, read once and then followed."""

    read_up_to: int = 0
    events: list[Event] = field(default_factory=list)
    undone: set[int] = field(default_factory=set)
    edit_of: dict[int, tuple[int, bool]] = field(default_factory=dict)

    def follow(self, project: Project) -> None:
        """Take in what is new."""
        for event in project.events(self.read_up_to):
            self.read_up_to = event.sequence
            if event.kind is EventKind.LABEL:
                self.events.append(event)
            elif event.kind is EventKind.UNDO:
                target = int(event.payload["undoes"])
                edit, is_done = self.edit_of.get(target, (target, True))
                self.edit_of[event.sequence] = edit, not is_done
                (self.undone.add if is_done else self.undone.discard)(edit)

    def first_answers(self) -> dict[int, tuple[int, Mapping[str, Any]]]:
        """Of each seed the first class, or *unsure*, that was said, and how it came to be asked.

        As (sequence, facts).

        A seed that chance drew stays drawn when its answer is corrected later; else the corrections would
        leave the sample, which are the seeds that the model gets wrong.
        """
        found: dict[int, tuple[int, Mapping[str, Any]]] = {}
        for event in self.events:
            if event.sequence in self.undone:
                continue
            asked: Mapping[str, Any] = event.payload.get("suggestion") or {}
            for seed, state, _ in answers_of(event.payload):
                if LabelState(state) not in (LabelState.LABELLED, LabelState.UNSURE):
                    continue
                found.setdefault(seed, (event.sequence, asked.get(str(seed)) or {}))
        return found

    def spent(self) -> tuple[float, int]:
        """Seconds of work and number of answers; pauses of more than a minute are no work."""
        times: dict[str, list[datetime]] = {}
        for event in self.events:
            times.setdefault(event.annotator, []).append(_time(event.utc))
        gaps = [(b - a).total_seconds() for one in times.values() for a, b in itertools.pairwise(one)]
        return sum(g for g in gaps if 0 < g <= PAUSE_S), len(self.events)


def _time(utc: str) -> datetime:
    from datetime import datetime

    return datetime.fromisoformat(utc)


class Figures:
    """The figures of each pool; values are replaced, never edited.

    Parameters
    ----------
    session : Session

    Attributes
    ----------
    reports : dict of str to Report
        By pool, the newest.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._journal = _Journal()
        self._chosen: dict[str, float] = {}
        self._asked_at: dict[str, int] = {}  # answers of the pool when the figures were asked for last
        self._check: frozenset[int] = frozenset()  # seeds of the honest check under way
        self.reports: dict[str, Report] = {}
        session.queue_changed.connect(self._batch_came)
        session.saved.connect(self._answer_saved)

    # -- what is known ------------------------------------------------------------------------
    def of(self, pool: str | None = None) -> Report | None:
        """The newest figures of a pool (the current one by default)."""
        return self.reports.get(pool or self._session.pool)

    def p0(self, pool: str | None = None) -> float:
        """Threshold below which a prediction is not used: as the user chose, else as the answers tell."""
        pool = pool or self._session.pool
        report = self.reports.get(pool)
        default = 0.0 if report is None else float(report.values["reject"]["chosen"])
        return self._chosen.get(pool, default)

    def rejected(self, pool: str | None = None) -> frozenset[int]:
        """Seeds without an answer whose prediction should not be used."""
        report = self.of(pool)
        if report is None:
            return frozenset()
        label = self._session.label
        seeds = report.seeds[report.rejected(self.p0(pool))].tolist()
        return frozenset(s for s in seeds if label(s).state in ASKABLE)

    def has_open(self, pool: str | None = None) -> bool:
        """Whether a seed of the pool is left to ask about."""
        seeds, label = self._session.seeds_of(pool or self._session.pool), self._session.label
        is_few = len(self._session.labels) < len(seeds)
        return is_few or any(label(s).state in ASKABLE for s in seeds)

    def used_or_not(self) -> dict[int, bool]:
        """Of every seed that has figures, whether its prediction is rejected, for the export."""
        told: dict[int, bool] = {}
        for pool, report in sorted(self.reports.items()):
            rejected = report.rejected(self.p0(pool)).tolist()
            told |= dict(zip(report.seeds.tolist(), rejected, strict=True))
        return told

    def lacks(self, pool: str | None = None) -> str:
        """What is missing for figures, in one line; empty where nothing is."""
        session, pool = self._session, pool or self._session.pool
        if pool not in session.embeddings:
            if session.seeds_of(pool):
                return "The seeds are not described yet: figures come after."
            return "Open a scan and split it into seeds first."
        counts = Counter(x.class_id for x in self._labelled(pool))
        n_ready = sum(n >= LEAST_PER_CLASS for n in counts.values())
        return "" if n_ready > 1 else "Label two seeds each of two classes first: press K and a class key."

    def load(self, project: Project, pool: str) -> None:
        """Read the figures of a pool as they were."""
        a = project.get_arrays(f"figures-{pool}")
        if a is not None:
            values = json.loads(str(a["values"]))
            self.reports[pool] = Report.of(values, a, tuple(int(c) for c in a["class_ids"]))
            self._asked_at[pool] = int(values["n_labels"])
        chosen = project.get_state(PLACE)
        if isinstance(chosen, dict):
            self._chosen = {str(k): float(v) for k, v in chosen.items()}

    # -- asking -------------------------------------------------------------------------------
    def ask(self, pool: str | None = None) -> Task:
        """Compute the figures anew; the newest request counts.

        Raises
        ------
        NotReady
            Two classes do not have two answers each yet.
        """
        pool = pool or self._session.pool
        if why := self.lacks(pool):
            raise NotReady("the figures", "there is nothing to count yet", why.rstrip("."))
        self._asked_at[pool] = len(self._labelled(pool))
        return self._session.desk.start(figures_step(self._session, pool, self._journal))

    def _labelled(self, pool: str) -> list[Label]:
        known = self._session.embeddings.get(pool)
        labels = self._session.labels.values()
        if known is None:
            return []
        return [x for x in labels if x.state is LabelState.LABELLED and x.seed in known.row]

    def n_new(self, pool: str | None = None) -> int:
        """Labels that the newest figures do not count yet."""
        pool = pool or self._session.pool
        report = self.reports.get(pool)
        return len(self._labelled(pool)) - (0 if report is None else int(report.values["n_labels"]))

    def _batch_came(self) -> None:
        """A batch was drawn: those before are answered, so there may be something new to count."""
        session = self._session
        if not session.follow_up or session.read_only:
            return
        pool = session.pool
        if not self.lacks(pool) and len(self._labelled(pool)) != self._asked_at.get(pool):
            self.ask(pool)

    def check_place(self) -> tuple[int, int]:
        """(which click of the honest check comes next, how many there are); (0, 0) without one."""
        drawn = self._drawn_for_check()
        n_open = sum(self._session.label(s).state in ASKABLE for s in drawn)
        return (len(drawn) - n_open + 1, len(drawn)) if n_open else (0, 0)

    def _drawn_for_check(self) -> frozenset[int]:
        """Also after a restart, when only the queue tells."""
        queued = (s.seed for s in self._session.labelling.queue if s.strategy == "check")
        return self._check or frozenset(s for s in queued if self._session.label(s).state in ASKABLE)

    def _answer_saved(self, event: Event) -> None:
        """Count when the last answer of a check, or of all, is in; the newest check is told then."""
        session = self._session
        if not session.follow_up or session.read_only:
            return
        if not self._check:
            self._check = self._drawn_for_check()
        if self._check and self.check_place()[1] == 0:
            self._check = frozenset()
            if not self.lacks():
                self.ask().then(self._tell_check)
        elif session.labelling.n_left == 0:
            self._batch_came()

    def _tell_check(self, values: dict[str, Any]) -> None:
        text = values["accuracy"]["text"]
        whom = "of the seeds that can be told" if values["untold"]["text"] else "of all seeds"
        whom = "" if values["is_counted"] else f" {whom}"
        told = f"{text}" if text.startswith("too few") else f"right about {text}{whom}"
        self._session.message.emit("success", f"The honest check is done: {told}. See Train, Figures.")

    def take(self, project: Project, pool: str, report: Report, arrays: Mapping[str, Any]) -> None:
        """Keep and show what a job found; on the desk's thread."""
        self.reports = {**self.reports, pool: report}
        project.put_arrays(
            f"figures-{pool}",
            **arrays,
            class_ids=np.asarray(report.class_ids, np.int64),
            values=np.asarray(json.dumps(report.values)),
        )
        self._session.figures_changed.emit(pool)

    # -- acting -------------------------------------------------------------------------------
    def check(self, n: int = N_CHECK, pool: str | None = None) -> Task:
        """Ask about `n` seeds drawn by chance within each predicted class, at once."""
        if n < 1:
            raise InputError("honest check", f"of {n} seeds tells nothing", f"Ask for {N_CHECK}")
        self._session.look_at(None)
        return self._session.draw(n, "check", pool).then(self._check_drawn)

    def _check_drawn(self, values: dict[str, Any]) -> None:
        self._check = frozenset(s.seed for s in values["suggestions"])
        if not self._check:
            self._session.message.emit("info", "Every seed is answered: nothing is left for an honest check.")

    def choose_p0(self, p0: float, pool: str | None = None) -> None:
        """Choose the threshold of a pool, and remember it."""
        if not 0.0 <= p0 <= 1.0:
            raise InputError("p0", f"is {p0:g}, no probability", "Choose 0 to 1")
        self._chosen = {**self._chosen, pool or self._session.pool: round(float(p0), 4)}
        if not self._session.read_only:
            chosen = dict(self._chosen)
            self._session.desk.do(lambda project: project.set_state(PLACE, chosen))

    def label_unsure(self, n: int = N_UNSURE, pool: str | None = None) -> Task:
        """Queue rejected seeds, the least sure first.

        Raises
        ------
        NotReady
            No prediction is rejected.
        """
        session, pool = self._session, pool or self._session.pool
        report, wanted = self.of(pool), self.rejected(pool)
        if report is None or not wanted:
            raise NotReady("unsure seeds", "there are none", "Raise the least certainty in the Figures page")
        rows = [i for i in np.argsort(report.p, kind="stable").tolist() if int(report.seeds[i]) in wanted]
        model = session.heads.get(pool)
        model_id = "" if model is None else model.model_id
        drawn = [_unsure(report, i, model_id, session) for i in rows[:n]]
        session.look_at(None)

        def work(project: Project) -> dict[str, Any]:
            session.labelling.offer(drawn, pool)
            return {"n_suggestions": len(drawn)}

        return session.desk.do_task("unsure", work)


def _unsure(report: Report, row: int, model_id: str, session: Session) -> Suggestion:
    p, seed = float(report.p[row]), int(report.seeds[row])
    name = session.scheme.by_id(report.class_ids[int(report.predicted[row])]).name
    reason = f"unsure of itself: {name} at only {100 * p:.0f} %"
    if report.is_far[row]:
        reason = f"unlike anything labelled: taken for {name} ({100 * p:.0f} %)"
    return Suggestion(str(uuid.uuid4()), seed, 1.0 - p, "least_confidence", reason, 1.0, model_id)


def figures_step(session: Session, pool: str, journal: _Journal) -> Step:
    """Count what the answers say about the live model."""

    def prepare(project: Project, folder: Path) -> dict[str, Any]:
        known, taught = session.embeddings[pool], [c.id for c in session.scheme.active]
        use = np.asarray([_counts(session.label(s), taught) for s in known.seeds.tolist()], bool)
        columns = known.columns()
        columns |= {name: columns[name][use] for name in ("seed", "vector")}
        files.save_arrays(folder / "embedding.npz", **columns)
        journal.follow(project)
        there = set(known.seeds[use].tolist())
        rows = [x for x in session.labels.values() if x.state is LabelState.LABELLED and x.seed in there]
        first = journal.first_answers()
        asked = {s: first.get(s, NEVER) for s, x in session.labels.items() if x.state is LabelState.UNSURE}
        asked |= {s.seed: (NOT_YET, asdict(s)) for s in session.labelling.passed_over()}
        untold = {seed: facts for seed, facts in asked.items() if seed in there}
        _write_answers(folder, [(x.seed, x.class_id) for x in rows], first, untold)
        write_groups(session, folder, pool)
        session.origin.write(project, folder, pool)
        return {
            "class_ids": taught,
            "class_names": [c.name for c in session.scheme.active],
            "pool": pool,
            "spent": journal.spent(),
            "semi_supervised": pool in session.labelling.spreads,
        }

    def adopt(project: Project, folder: Path, request: JobRequest, result: JobResult) -> dict[str, Any]:
        seconds, n_actions = request.params["spent"]
        values = {**result.values, "seconds": float(seconds), "n_actions": int(n_actions)}
        if session.desk.is_newest(f"figures {pool}", request):
            arrays = files.load_arrays(folder / "figures.npz")
            class_ids = tuple(int(c) for c in request.params["class_ids"])
            session.figures.take(project, pool, Report.of(values, arrays, class_ids), arrays)
        return values

    function = "napari_seedlab.learn.figures:run"
    return Step("figures", function, prepare, adopt, latest_only=True, about=pool)


def _counts(label: Label, taught: list[int]) -> bool:
    """Whether a seed belongs to what the model is about: a whole one, of no class that is hidden."""
    if label.state is LabelState.LABELLED:
        return label.class_id in taught
    return label.state is not LabelState.NOT_WHOLE


def _write_answers(
    folder: Path,
    rows: list[tuple[int, int]],
    first: Mapping[int, tuple[int, Mapping[str, Any]]],
    untold: Mapping[int, tuple[int, Mapping[str, Any]]],
) -> None:
    """``labels.npz`` with the present class of each seed, and how it came to be asked at first.

    ``untold.npz`` with the same of seeds that were asked about and got no class.
    """
    keys: dict[str, int] = {}
    _write_asked(folder / "labels.npz", rows, first, keys)
    _write_asked(folder / "untold.npz", [(seed, 0) for seed in untold], untold, keys)


def _write_asked(
    path: Path,
    rows: list[tuple[int, int]],
    first: Mapping[int, tuple[int, Mapping[str, Any]]],
    keys: dict[str, int],
) -> None:
    """Seeds with how they came to be asked; `keys` number the batches."""
    facts = [first.get(seed, NEVER) for seed, _ in rows]
    batch = []
    for _, asked in facts:
        key = f"{asked.get('model_id', '')} {asked['strategy'] == 'check'}" if asked else ""
        batch.append(keys.setdefault(key, len(keys)) if asked else -1)
    files.save_arrays(
        path,
        seed=np.asarray([seed for seed, _ in rows], np.int64),
        class_id=np.asarray([c for _, c in rows], np.int32),
        sequence=np.asarray([sequence for sequence, _ in facts], np.int64),
        inclusion_p=np.asarray([float(asked.get("inclusion_p", 0.0)) for _, asked in facts], np.float64),
        strategy=np.asarray([str(asked.get("strategy", "")) for _, asked in facts], "U16"),
        batch=np.asarray(batch, np.int64),
    )


def write_groups(session: Session, folder: Path, pool: str) -> None:
    """``groups.npz``: the first scan and the lot of each seed; −1 without a lot."""
    lots = sorted({s.lot for s in session.seeds.values() if s.lot})
    number = {lot: i for i, lot in enumerate(lots)}
    scan_of: dict[int, int] = {}
    for scan in session.scans_of(pool):
        table = session.regions(scan.id)
        for seed in () if table is None else table.seed.tolist():
            scan_of.setdefault(seed, scan.id)
    lot = [number.get(session.seeds[s].lot, -1) if s in session.seeds else -1 for s in scan_of]
    files.save_arrays(
        folder / "groups.npz",
        seed=np.fromiter(scan_of, np.int64),
        scan=np.fromiter(scan_of.values(), np.int64),
        lot=np.asarray(lot, np.int64),
    )
