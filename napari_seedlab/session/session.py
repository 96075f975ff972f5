"""The session: what every button, key and command calls; works with no window."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_seedlab.core import (
    EventKind,
    InputError,
    JobState,
    JobStatus,
    NotReady,
    ProjectError,
    Settings,
)
from napari_seedlab.session import anomaly, caches, making, painted, repair, sheets, steps
from napari_seedlab.session.about import About, Neighbour
from napari_seedlab.session.classes import Classes
from napari_seedlab.session.clusters import Clusters
from napari_seedlab.session.desk import Desk, Task
from napari_seedlab.session.encoders import Encoders
from napari_seedlab.session.figures import Figures
from napari_seedlab.session.kept import Kept
from napari_seedlab.session.labelling import Labelling
from napari_seedlab.session.leftover import Leftovers
from napari_seedlab.session.metadata import Metadata
from napari_seedlab.session.net_checks import NetChecks
from napari_seedlab.session.opinions import Opinions
from napari_seedlab.session.origin import Origin
from napari_seedlab.session.replay import Replaying
from napari_seedlab.session.state import SessionState
from napari_seedlab.session.strokes import Strokes
from napari_seedlab.session.thumbnails import Thumbnails
from napari_seedlab.session.trainings import Trainings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from napari_seedlab.core import Event
    from napari_seedlab.jobs import Runner
    from napari_seedlab.store import Project


class Session(SessionState):
    """One open project and everything that can be done with it.

    Actions return at once, with a :class:`Task` where somebody may want to wait; what there is, and the
    signals that tell what changed, are those of :class:`SessionState`.
    """

    def __init__(self, project: Project, runner: Runner, settings: Settings | None = None) -> None:
        super().__init__()
        self.settings = settings or Settings()
        self.path, self.read_only = Path(project.path), bool(project.read_only)
        self.holder = project.holder
        self.name = self.path.name.removesuffix(".seedlab")
        self.annotator = self.settings.annotator or _os_user()
        self.follow_up = False  # whether a split is followed by map and suggestions on its own
        self._following: dict[str, Task] = {}  # the newest step towards the map of a pool after a split
        self.opinions, self._kept = Opinions(self), Kept(self)
        self.encoders = Encoders(self)
        self.labelling, self.origin = Labelling(self), Origin(self)
        self.strokes = Strokes(self)
        self.thumbnails = Thumbnails(self)
        self.clusters, self.classes = Clusters(self), Classes(self)
        self.figures, self.metadata = Figures(self), Metadata(self)
        self._about, self.replay = About(self), Replaying(self)
        self.desk = Desk(project, runner, self.settings.random_state)
        self.desk.status.connect(self._status)
        self.desk.failed.connect(self._error)
        self.trainings, self.net_checks = Trainings(self), NetChecks(self)
        self._leftovers = Leftovers(self)
        try:
            self.desk.do(self._load).result()
        except BaseException:
            self.desk.close()
            raise

    # -- opening ------------------------------------------------------------------------------
    @classmethod
    def create(
        cls, path: Path | str, runner: Runner | None = None, settings: Settings | None = None
    ) -> Session:
        """Make a new project folder and open it."""
        from napari_seedlab.store import Project

        return cls(Project.create(Path(path)), runner or _inline(), settings)

    @classmethod
    def open(
        cls,
        path: Path | str,
        runner: Runner | None = None,
        settings: Settings | None = None,
        read_only: bool = False,
    ) -> Session:
        """Open a project folder; ProjectLocked when somebody else writes it."""
        from napari_seedlab.store import Project

        return cls(Project.open(Path(path), read_only=read_only), runner or _inline(), settings)

    def _load(self, project: Project) -> None:
        self.notes = (*project.notes, *project.changed_sources(), *painted.add_defect_class(project))
        self.scheme, self.tissues = project.scheme("grain"), project.scheme("tissue")
        self.reload_scans(project)
        for scan in self.scans:
            self._load_regions(project, scan)
        self.seeds, self.labels, self.facts = project.seeds(), project.labels(), project.label_facts()
        self.metadata.load(project)
        self.models = tuple(project.models())
        for pool in {str(s.facts.modality) for s in self.scans.values()}:
            caches.load_pool(self, project, pool)
        self.labelling.restore(project.get_state("place"))
        place = project.get_state("scan")
        self.current_scan = place if place in self.scans else next(iter(self.scans), None)
        self.origin.load(project)
        if not self.read_only:
            self._leftovers.look(project)

    def history_of(self, seed: int) -> Task:
        """See :meth:`About.history_of`."""
        return self._about.history_of(seed)

    def nearest_labelled(self, seed: int, n: int = 4) -> tuple[Neighbour, ...]:
        """See :meth:`About.nearest_labelled`."""
        return self._about.nearest_labelled(seed, n)

    # -- scans and seeds ----------------------------------------------------------------------
    def import_scan(self, path: Path | str, modality: str | None = None, name: str | None = None) -> Task:
        """Add a file as a scan."""
        return self.desk.start(steps.import_step(self, str(Path(path).absolute()), modality, name))

    def import_folder(
        self, path: Path | str, name: str | None = None, truth_from_folders: bool = False
    ) -> Task:
        """Add a folder of pictures with one seed each as one scan; see :mod:`.sheets`."""
        whole = str(Path(path).absolute())
        return self.desk.start(sheets.import_folder_step(self, whole, name, truth_from_folders))

    def show_scan(self, scan: int) -> None:
        """Make a scan the current one."""
        if scan != self.current_scan and scan in self.scans:
            self.current_scan = scan
            if not self.read_only:
                self.desk.do(lambda project: project.set_state("scan", scan))
            self.current_scan_changed.emit(scan)
            for changed in (self.layout_changed, self.predictions_changed, self.anomaly_changed):
                changed.emit()

    def split(self, scan: int | None = None, recipe: Mapping[str, Any] | None = None) -> Task:
        """Split a scan into seeds; settings that the recipe leaves out are found by themselves.

        Where the project was started from another one, those are its settings that the recipe leaves out.
        """
        chosen = self._scan(scan)
        return self.desk.start(
            steps.split_step(self, chosen, self.origin.recipe(chosen) | dict(recipe or {}))
        )

    def _scan(self, scan: int | None) -> int:
        chosen = scan if scan is not None else self.current_scan
        if chosen is None or chosen not in self.scans:
            raise NotReady(
                "the project", f"has no scan {'' if scan is None else scan}".rstrip(), "Open one first"
            )
        return chosen

    def after_split(self, scan: int) -> None:
        """Map the seeds and draw the first suggestions, where the window wants it."""
        if self.follow_up:
            pool = str(self.scans[scan].facts.modality)
            self._following[pool] = self.embed(pool).then(lambda _: self._map_and_draw(pool))

    def maps_by_itself(self, pool: str) -> bool:
        """Whether a split is being followed by the map, also between two of its jobs."""
        task = self._following.get(pool)
        return task is not None and not task.future.done()

    def _map_and_draw(self, pool: str) -> None:
        if pool in self.nets:
            self.desk.start(steps.predict_step(self, pool, self.nets[pool].model_id))
        if pool in self.layouts and len(self.layouts[pool].seeds):
            task = self.make_map("place", pool=pool)  # known points stay until somebody asks for a new map
        else:
            task = self.make_map("pca", pool=pool).then(lambda _: self.make_map("umap", pool=pool))
        self._following[pool] = task
        if not self.labelling.n_left:
            self.draw(pool=pool)

    def embed(self, pool: str | None = None) -> Task:
        """Compute vectors of new and edited seeds."""
        return self.encoders.embed(pool or self.pool)

    def make_map(self, method: str = "umap", n_clusters: int | None = None, pool: str | None = None) -> Task:
        """Lay the seeds out in two dimensions (umap, tsne, pca; place leaves known ones) and cluster them."""
        return self.desk.start(steps.map_step(self, pool or self.pool, method, n_clusters))

    # -- labelling ----------------------------------------------------------------------------
    def draw(
        self, n: int = steps.BATCH, strategy: str | None = None, pool: str | None = None, ahead: bool = False
    ) -> Task:
        """Draw the next batch of suggestions (and refit the head on the way).

        It takes the place of the one under way; drawn `ahead`, it is asked after what is left of that one.
        """
        pool = pool or self.pool
        return self.desk.start(steps.round_step(self, pool, n, strategy, ahead))

    def refit(self, pool: str | None = None) -> Task | None:
        """Refit the live head of a pool after an answer, where there is something to fit."""
        pool = pool or self.pool
        if pool not in self.embeddings:
            return None
        return self.desk.start(steps.round_step(self, pool, 0, "default"))

    def answer(self, said: int | str | None, seeds: Iterable[int] | None = None) -> None:
        """See :meth:`Labelling.answer`."""
        self.labelling.answer(said, seeds)

    def accept(self) -> None:
        """Answer with the predicted class."""
        self.labelling.accept()

    def skip(self) -> None:
        """Go to the next suggestion without answering."""
        self.labelling.step(+1)

    def previous(self) -> None:
        """Go back to the suggestion before."""
        self.labelling.step(-1)

    def look_at(self, seed: int | None) -> None:
        """Put any seed on the card."""
        self.labelling.look_at(seed)

    def undo(self) -> Task:
        """Take the newest own edit back."""
        self.refuse_if_blocked()
        return self.desk.do_task(
            "undo", lambda project: self._take_back(project, project.undo(self.annotator))
        )

    def redo(self) -> Task:
        """Do the edit that was taken back last once more."""
        self.refuse_if_blocked()
        return self.desk.do_task(
            "redo", lambda project: self._take_back(project, project.redo(self.annotator))
        )

    def _take_back(self, project: Project, event: Event | None) -> dict[str, Any]:
        if event is None:
            self.message.emit("info", "Nothing left to take back or to do again.")
            return {"event": None, "seeds": []}
        changed = []
        for scan in self.scans:
            before = self._tables.get(scan)
            self._load_regions(project, scan)
            if self._tables.get(scan) is not before:
                changed.append(scan)
        self.seeds = project.seeds()
        self.metadata.load(project)
        seeds = self.reload_labels(project)
        for scan in changed:
            self.regions_changed.emit(scan)
            self.after_split(scan)
        self.saved.emit(event)
        self.strokes_changed.emit(-1, -1, -1)
        self.refit()
        edit = project.edit_of(event)
        what = edit.payload["op"] if edit.kind is EventKind.REPAIR else str(edit.kind)
        return {"event": event.uuid, "seeds": sorted(seeds), "what": what}

    def select(self, seeds: Iterable[int], origin: str) -> None:
        """Select seeds; `origin` names who did, so that it does not answer itself."""
        chosen = frozenset(int(s) for s in seeds)
        if chosen != self.selection:
            self.selection = chosen
            self.selection_changed.emit(chosen, origin)

    # -- learning -----------------------------------------------------------------------------
    def train(self, model: str = "net", settings: Mapping[str, Any] | None = None) -> Task:
        """Train ``head`` (live, at once) or ``net`` (background); an interrupted network is resumed."""
        if self.blocked_because:
            why = self.blocked_because.rstrip(".")
            raise NotReady("training", f"{why[:1].lower()}{why[1:]}", "")
        if model == "head":
            return self.draw(n=0, strategy="default")
        return self.trainings.train(settings or {})

    def find_odd(
        self,
        settings: Mapping[str, Any] | None = None,
        method: str = "",
        normal_class: int = 0,
        teachers: Iterable[int] | None = None,
    ) -> Task:
        """Score every seed by oddness, without labels, and show where; see :mod:`.anomaly`.

        Seeds labelled as another class than `normal_class` (0: the first of the scheme) teach nothing.
        With `teachers` only these seeds teach: to evaluate a method with what is known to be normal.
        """
        only = None if teachers is None else sorted(teachers)
        return self.trainings.find_odd(settings or {}, method, normal_class, only)

    def activate(self, model_id: str) -> Task:
        """Show the predictions of a model, or the scores of one that looks for odd seeds.

        Raises
        ------
        NotReady
            A network that is not proven better than chance.
        """
        card = next((c for c in self.models if c.id == model_id), None)
        if card is not None and card.metrics.get("is_chance"):
            cause = f"is not proven better than chance by {card.metrics['n_labels']} answers"
            raise NotReady(f"model {model_id}", cause, "Check the labels, or label more and train again")
        if card is not None and card.kind in anomaly.METHODS:
            return self.desk.do_task("activate", lambda _: self.opinions.show_model(card))

        def work(project: Project) -> dict[str, Any]:
            project.activate(model_id)
            self.reload_models(project)
            self.predictions_changed.emit()
            return {"model": model_id}

        return self.desk.do_task("activate", work)

    def cancel(self, job_id: str) -> None:
        """Stop a job at its next step."""
        self.desk.cancel(job_id)

    # -- strokes ------------------------------------------------------------------------------
    def stroke(self, scan: int, axis: int, index: int, points: Any, class_id: int) -> None:
        """See :meth:`Strokes.add`."""
        self.strokes.add(scan, axis, index, points, class_id)

    def predict_slice(self, scan: int, axis: int, index: int) -> Task:
        """Predict the tissues of one slice from its strokes."""
        return self.desk.start(steps.slice_step(self, scan, axis, index))

    # -- repairs and export -------------------------------------------------------------------
    def merge(self, seeds: Iterable[int], scan: int | None = None) -> Task:
        """Make one seed of several; the lowest id survives."""
        return repair.merge(self, seeds, self._scan(scan))

    def split_seed(self, seed: int, points: Sequence[Sequence[float]], scan: int | None = None) -> Task:
        """Cut a seed between clicks (z, y, x) in voxels."""
        return repair.split(self, seed, points, self._scan(scan))

    def delete(self, seeds: Iterable[int], scan: int | None = None) -> Task:
        """Take regions away that are no seed."""
        return repair.delete(self, seeds, self._scan(scan))

    def export(self, to: Path | str) -> Task:
        """Write tables, label volumes and a manifest into a new folder."""
        if Path(to).absolute().is_relative_to(self.path):
            raise InputError(str(to), "lies inside the project", "Choose a folder beside it")
        return self.desk.start(making.export_step(self, Path(to).absolute()))

    def refuse_if_blocked(self) -> None:
        """Raise where nothing may be written, or where the last answer could not be."""
        if self.read_only:
            raise ProjectError(self.name, "is open read-only here", "Close the other window")
        if self.labelling.failed:
            cause = f"not saved: {self.labelling.failed}"
            raise ProjectError(self.name, cause, "Free the disk, then open the project again")

    # -- jobs ---------------------------------------------------------------------------------
    def _status(self, status: JobStatus) -> None:
        with self.lock:
            others = {k: v for k, v in self.jobs.items() if k != status.id}
            is_over = status.state.is_final and not status.error
            self.jobs = others if is_over else {**others, status.id: status}
        self.job_changed.emit(status)
        if status.state is JobState.CANCELLED and status.id.split("-")[0] in ("net", "own", *anomaly.METHODS):
            self.message.emit("info", "The training was cancelled; the models are as before.")

    def _error(self, line: str) -> None:
        self.message.emit("error", line)

    def close(self, finish_in_background: bool = False) -> None:
        """Stop or hand over the jobs, let commits finish, close the project."""
        keep = [r.id for r in self.desk.active if finish_in_background and r.lane == "background"]
        self._leftovers.close()
        self.desk.close(tuple(keep))

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _os_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _inline() -> Runner:
    from napari_seedlab.jobs import InlineRunner

    return InlineRunner()
