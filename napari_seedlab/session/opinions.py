"""The anomaly scores of every method that was run, and which of them are shown."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_seedlab.core import InputError, NotReady
from napari_seedlab.session.results import AnomalyScores, Disagreement, disagreement_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_seedlab.core import ModelCard
    from napari_seedlab.files import ArraySource
    from napari_seedlab.session.session import Session
    from napari_seedlab.store import Project

METHOD_NAMES = {  # in a sentence
    "fcdd": "pasted defects",
    "vae": "the autoencoder",
    "distance": "feature distance",
    "spectra": "the spectra around",
    "rx": "the spectra overall",
    "local_rx": "the spectra near by",
}
PLACE = "opinions"  # what the project remembers under this name: per pool its methods, the shown one first


class Opinions:
    """What each method says, by pool; all values are replaced, never edited, under the session's lock.

    Attributes
    ----------
    shown : dict of str to AnomalyScores
        By pool, the scores that the window shows. A cube that is not split shows the heat of the method
        that was run on it last.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._found: dict[str, dict[str, AnomalyScores]] = {}  # by pool, the shown one first
        self._apart: dict[str, Disagreement | None] = {}
        self.shown: dict[str, AnomalyScores] = {}

    def of(self, pool: str) -> tuple[AnomalyScores, ...]:
        """The scores of a pool by every method that has some, in a fixed order."""
        found = self._found.get(pool, {})
        return tuple(found[method] for method in sorted(found) if len(found[method].seeds))

    def chosen(self, pool: str) -> str:
        """The method that was run or chosen last; empty before the first."""
        return next(iter(self._found.get(pool, {})), "")

    def disagreement(self, pool: str) -> Disagreement | None:
        """How far the methods are apart; None where fewer than two have scores."""
        return self._apart.get(pool)

    def refuse_one_opinion(self, pool: str) -> None:
        """Raise NotReady where there is nothing that could disagree."""
        if self.disagreement(pool) is None:
            n = len(self.of(pool))
            scored = f"{n} method{'' if n == 1 else 's'} scored the {pool} seeds, two are needed"
            raise NotReady("disagreement", scored, "Find odd ones by another method first")

    def take(self, project: Project, pool: str, found: AnomalyScores) -> None:
        """Keep and show what a job found; pixels alone leave what the method said of seeds."""
        before = self._found.get(pool, {}).get(found.method)
        if len(found.seeds) or before is None:
            project.put_arrays(
                f"anomaly-{pool}-{found.method}",
                seed=found.seeds,
                score=found.score,
                scale=np.asarray(found.scale),
                model=np.asarray(found.model_id),
            )
        heat = {**(before.heat if before is not None else {}), **found.heat}
        kept = found if before is None or len(found.seeds) else before
        self._put_first(pool, replace(kept, heat=heat))
        self._recount(pool)
        self._remember(project)

    def show(self, method: str, pool: str) -> bool:
        """Show the scores of a method; False where it has none."""
        with self._session.lock:  # no newer scores come in between
            found = self._found.get(pool, {}).get(method)
            if found is None or not (len(found.seeds) or found.heat):
                return False
            self._put_first(pool, found)
        if not self._session.read_only:
            self._session.desk.do(self._remember)
        self._session.anomaly_changed.emit()
        return True

    def show_model(self, card: ModelCard) -> dict[str, str]:
        """Show the scores of a model.

        Raises
        ------
        InputError
            A later model of the same method took their place.
        """
        pool = str(card.config.get("pool"))
        found = self._found.get(pool, {}).get(card.kind)
        if found is None or _number(found.model_id) > _number(card.id):  # an older one: it found pixels alone
            cause = "has no scores any more" if found is None else f"gave way to {found.model_id}"
            raise InputError(card.id, cause, "Press Find odd ones")
        self.show(card.kind, pool)
        return {"model": card.id}

    def load(self, project: Project, pool: str, methods: tuple[str, ...]) -> None:
        """Read the scores of a pool; those of a project from before methods were kept apart too."""
        found = {}
        for method in methods:
            named = (f"anomaly-{pool}-{method}", f"anomaly-{pool}")
            for scores in (_read(project, name) for name in named):
                if scores is not None and scores.method == method:
                    found[method] = replace(scores, heat=self._heat(project, pool, scores))
                    break
        order = [m for m in (project.get_state(PLACE) or {}).get(pool, ()) if m in found]
        with self._session.lock:
            self._found = {**self._found, pool: {m: found[m] for m in (*order, *found)}}
            self._reshow(pool)
        self._recount(pool)

    def _heat(self, project: Project, pool: str, scores: AnomalyScores) -> dict[int, ArraySource]:
        heat = {}
        old = _read(project, f"anomaly-{pool}")
        is_old = old is not None and old.method == scores.method
        for scan in self._session.scans_of(pool):
            source = project.tree_source(f"heat-{scan.id}-{scores.method}")
            source = source or (project.tree_source(f"heat-{scan.id}") if is_old else None)
            if source is not None:
                heat[scan.id] = source
        return heat

    def _put_first(self, pool: str, found: AnomalyScores) -> None:
        with self._session.lock:
            others = _without(self._found.get(pool, {}), found.method)
            self._found = {**self._found, pool: {found.method: found, **others}}
            self._reshow(pool)

    def _recount(self, pool: str) -> None:
        """Rank all seeds anew, which takes long where they are many; on the desk's thread."""
        apart = disagreement_of(self.of(pool))
        with self._session.lock:
            self._apart = {**self._apart, pool: apart}

    def _reshow(self, pool: str) -> None:
        """Show the first method that has scores of seeds, and the heat of those that were run on pixels."""
        found = list(self._found[pool].values())
        if not found:
            return
        first = next((each for each in found if len(each.seeds)), found[0])
        heat = dict(first.heat)
        for each in reversed(found):
            heat |= {s: t for s, t in each.heat.items() if s not in heat or self._is_unsplit(s)}
        heat = {s: t for s, t in heat.items() if s in first.heat or self._is_unsplit(s)}
        self.shown = {**self.shown, pool: replace(first, heat=heat)}

    def _is_unsplit(self, scan: int) -> bool:
        return self._session.regions(scan) is None

    def _remember(self, project: Project) -> None:
        project.set_state(PLACE, {pool: list(found) for pool, found in self._found.items()})


def _number(model_id: str) -> int:
    """How many models of its kind came before, and one."""
    number = model_id.rpartition("-")[2]
    return int(number) if number.isdigit() else 0


def _without(found: Mapping[str, AnomalyScores], method: str) -> dict[str, AnomalyScores]:
    return {key: value for key, value in found.items() if key != method}


def _read(project: Project, name: str) -> AnomalyScores | None:
    a = project.get_arrays(name)
    if a is None:
        return None
    low, high = map(float, a["scale"])
    return AnomalyScores(a["seed"], a["score"], (low, high), str(a["model"]))
