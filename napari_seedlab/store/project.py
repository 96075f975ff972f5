"""A project: everything about one set of seeds, in a folder that survives kills and power cuts.

Every method is synchronous; one thread at a time may use a project. A method that writes returns
after the durable commit, so what it returned cannot be lost.
"""

from __future__ import annotations

import json
import logging
import os
import uuid
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import select

from napari_seedlab.core import (
    GRAIN_SCHEME,
    TISSUE_SCHEME,
    Event,
    EventKind,
    InputError,
    RegionTable,
    Scan,
)
from napari_seedlab.files import ArraySource, link_tree, publish_tree, tree_hash
from napari_seedlab.store import journal, opening, payloads, projection, queries, rasters, restoring, schema
from napari_seedlab.store.answers import Answers
from napari_seedlab.store.audit import find_problems
from napari_seedlab.store.blobs import Blobs
from napari_seedlab.store.contents import Contents
from napari_seedlab.store.history import History
from napari_seedlab.store.lock import user_name
from napari_seedlab.store.registry import Registry
from napari_seedlab.store.seed_columns import SeedColumns
from napari_seedlab.store.strokes import StrokeBook

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt

    from napari_seedlab.core import ClassScheme, ModelCard, ScanFacts, Seed
    from napari_seedlab.store.lock import Holder
    from napari_seedlab.store.records import Stroke

logger = logging.getLogger(__name__)


class Project:
    """An open project folder; made by :meth:`create`, :meth:`open` or :meth:`create_from`.

    Attributes
    ----------
    path : Path
        The folder.
    read_only : bool
        Whether writing is refused.
    holder : Holder or None
        Who writes the project: we, or in a read-only one the other process.
    uuid : str
        Of the project, for ever.
    notes : tuple of str
        What was found and done while opening, one line each.
    put_arrays, get_arrays, put_tree, tree_source : methods
        Named caches that can be computed again (see :class:`Registry`).
    set_state, get_state : methods
        Where the user stands.
    model_path, next_model_number, next_region_id : methods
        Verified files of models; ids that are never given twice.
    job_folder, job_folders, drop_job : methods
        Folders of background computations.
    stored_source, changed_sources, blob_paths, attach : methods
        Files of the project (see :class:`Contents`).
    labels, label_facts, label, label_many : methods
        What was said about seeds (see :class:`Answers`).
    seed_columns, add_seed_table : methods
        What tables told of seeds (see :class:`SeedColumns`).
    history, undo, redo, edit_of : methods
        Edits that were done and can be taken back, also after a restart (see :class:`History`).
    """

    def __init__(self, opened: opening.Opened) -> None:
        self._opened, self._folder, self._database = opened, opened.folder, opened.database
        self.path, self.read_only = opened.folder.root, opened.lock is None
        self.holder: Holder | None = opened.holder
        self.notes = tuple(opened.notes)
        self._blobs = Blobs(self._folder.blobs)
        self._rasters = rasters.RegionRasters(self._folder, self._database, self._blobs)
        self._registry = Registry(self._folder, self._database)
        self._strokes = StrokeBook(self._database, self._blobs)
        registry = self._registry
        self.model_path = registry.model_path
        self.put_arrays, self.get_arrays = registry.put_arrays, registry.get_arrays
        self.put_tree, self.tree_source = registry.put_tree, registry.tree_source
        self.set_state, self.get_state = registry.set_state, registry.get_state
        self.job_folder, self.job_folders = registry.job_folder, registry.job_folders
        self.drop_job = registry.drop_job
        self.next_region_id, self.next_model_number = registry.next_region_id, registry.next_model_number
        contents = Contents(self._folder, self._database, self._blobs)
        self.stored_source, self.changed_sources = contents.stored_source, contents.changed_sources
        self.blob_paths, self.attach = contents.blob_paths, contents.attach
        answers = Answers(self._database, self.append)
        self.labels, self.label_facts = answers.labels, answers.label_facts
        self.label, self.label_many = answers.label, answers.label_many
        columns = SeedColumns(self._database, self._blobs, self.append)
        self.seed_columns, self.add_seed_table = columns.seed_columns, columns.add_seed_table
        history = History(self._database, self.append, self._bring_up)
        self.history, self.undo, self.redo = history.history, history.undo, history.redo
        self.edit_of = history.edit_of
        self._closed = False
        with self._database.reading() as connection:
            self._newest = journal.head(connection)[0]
            self.uuid = str(connection.scalar(select(schema.meta.c.value).where(schema.meta.c.key == "uuid")))

    # -- opening and closing --------------------------------------------------------------------
    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        grain: ClassScheme = GRAIN_SCHEME,
        tissue: ClassScheme = TISSUE_SCHEME,
    ) -> Project:
        """Make a project folder and open it for writing.

        Parameters
        ----------
        path : path-like
            Folder that does not exist yet, usually named ``NAME.seedlab``; closed to other users.
        grain, tissue : ClassScheme
            The classes of seeds and of voxels.

        Raises
        ------
        ProjectError
            The folder exists or cannot be made; then nothing is left behind.
        """
        target = Path(os.path.abspath(path))
        with opening.new_folder(target) as (folder, database), database.transaction() as connection:
            for scheme in (grain, tissue):
                payload = payloads.scheme(connection, scheme)
                by = user_name(), cls.now()
                projection.record(connection, EventKind.SCHEME, payload, by, Blobs(folder.blobs))
        return cls.open(target)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        read_only: bool = False,
        wait: bool = False,
        take_over: bool = False,
    ) -> Project:
        """Open a project folder.

        Parameters
        ----------
        path : path-like
            The folder.
        read_only : bool
            Never write; works beside a writer.
        wait : bool
            Wait until another writer is done, instead of raising.
        take_over : bool
            On a network drive, ignore the lock of a host that is gone.

        Raises
        ------
        ProjectLocked
            Somebody else writes it; the line says who.
        ProjectDamaged
            The database is not what was written.
        ProjectError
            There is no project, or it cannot be written.
        """
        opened = opening.enter(Path(os.path.abspath(path)), read_only, wait, take_over)
        try:
            project = cls(opened)
            if not read_only:
                opening.sweep_unused(opened.folder, opened.database)
        except BaseException:
            opening.leave(opened, None, 0)
            raise
        return project

    @classmethod
    def create_from(
        cls,
        path: str | os.PathLike[str],
        events: Iterable[Event],
        blobs: str | os.PathLike[str] | None = None,
        region_rasters: Mapping[int, Path] | None = None,
        project_uuid: str = "",
        attached: Path | None = None,
    ) -> Project:
        """Make a project from the events of another one.

        Parameters
        ----------
        path, events
            Folder that does not exist yet; the whole journal, whose chain is verified and kept.
        blobs : path-like, optional
            Folder with the blobs that the events name (see :meth:`blob_paths`).
        region_rasters : mapping of int to Path, optional
            Zarr folder with the present region raster per scan; copied.
        project_uuid : str
            Id of the project; a new one when empty.
        attached : Path, optional
            Folder with the models, caches, scan copies and place that :meth:`attach` listed; copied.

        Raises
        ------
        ProjectDamaged
            The chain is broken, an event cannot be used or a blob is missing; nothing is left behind.
        """
        target = Path(os.path.abspath(path))
        with opening.new_folder(target, project_uuid) as (folder, database):
            source = None if blobs is None else Path(blobs)
            restoring.fill(folder, database, events, source, region_rasters or {})
            if attached is not None:
                restoring.take_along(folder, database, attached)
        return cls.open(target)

    def close(self) -> None:
        """Settle the caches, copy the database if due, give the lock back; may be called twice."""
        if self._closed:
            return
        self._closed = True
        self._registry.close()
        settle = None if self.read_only or self._database.broken else self._rasters.settle
        opening.leave(self._opened, settle, self._newest)

    def __enter__(self) -> Project:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # -- journal --------------------------------------------------------------------------------
    @staticmethod
    def now() -> str:
        """The present time in UTC, ISO 8601."""
        return datetime.now(UTC).isoformat(timespec="milliseconds")

    def append(self, kind: EventKind, payload: Mapping[str, Any], annotator: str = "") -> Event:
        """Write one event and what it changes in one commit; durable on return.

        Parameters
        ----------
        kind : EventKind
            What it changes.
        payload : mapping
            Plain JSON, as the methods for each kind write it.
        annotator : str
            Who; empty means the name of the OS user.
        """
        by = annotator or user_name(), self.now()
        with self._database.transaction() as connection:
            event = projection.record(connection, kind, payload, by, self._blobs)
        self._newest = event.sequence
        return event

    def events(self, since: int = 0) -> list[Event]:
        """Events after number `since`, oldest first."""
        with self._database.reading() as connection:
            return journal.read(connection, since)

    def verify(self) -> list[str]:
        """What is wrong with the chain of events, one line each; empty when nothing."""
        with self._database.reading() as connection:
            return journal.problems(connection)

    def check(self, deep: bool = False) -> list[str]:
        """Verify every hash in the folder; one line per problem, empty when all is well.

        Parameters
        ----------
        deep : bool
            Also replay the whole journal and compare the result with the present state.
        """
        return find_problems(self._folder, self._database, self._blobs, deep)

    def rebuild(self) -> None:
        """Draw the present state anew from the journal."""
        with self._database.transaction() as connection:
            projection.rebuild(connection, self._blobs)
        self._rasters = rasters.RegionRasters(self._folder, self._database, self._blobs)

    @property
    def slowest_commit(self) -> float:
        """Seconds of the slowest commit since opening."""
        return self._database.slowest_commit

    # -- scans and classes ----------------------------------------------------------------------
    def add_scan(
        self, facts: ScanFacts, source: ArraySource, annotator: str = "", cache: Path | None = None
    ) -> Scan:
        """Take a scan into the project.

        Parameters
        ----------
        facts : ScanFacts
            What is known of it.
        source : ArraySource
            Where its voxels lie.
        annotator : str
            Who added it.
        cache : Path, optional
            Zarr folder with decoded voxels; where it exists it is moved into the project and
            becomes the source.
        """
        with self._database.reading() as connection:
            number = projection.next_number(connection, "scan")
        stored = source.to_json()
        if cache is not None and cache.is_dir():
            publish_tree(cache, self._folder.scans / f"{number}.zarr")
            stored["path"] = f"scans/{number}.zarr"
            stored["sha256"] = stored["sha256"] or tree_hash(self._folder.scans / f"{number}.zarr")
        raw = json.loads(json.dumps(asdict(facts)))
        self.append(EventKind.SCAN, {"scan": number, "facts": raw, "source": stored}, annotator)
        return Scan(number, facts)

    def scans(self) -> list[Scan]:
        """All scans by id."""
        with self._database.reading() as connection:
            return queries.scans(connection)

    def scan_source(self, scan: int) -> ArraySource:
        """Where the voxels of a scan lie; InputError for an unknown scan."""
        return self._registry.located(self.stored_source(scan).to_json())

    def scheme(self, kind: str) -> ClassScheme:
        """The classes of ``grain`` or ``tissue``."""
        with self._database.reading() as connection:
            found = queries.scheme(connection, kind)
        if found is None:
            raise InputError(f"class scheme {kind!r}", "is not in this project", "Use grain or tissue")
        return found

    def set_scheme(self, scheme: ClassScheme, annotator: str = "") -> Event:
        """Set the classes of a kind; ids keep their meaning for ever.

        Raises
        ------
        InputError
            A class that labels use would go, or an id that once meant another class would return.
        """
        with self._database.reading() as connection:
            payload = payloads.scheme(connection, scheme)
        return self.append(EventKind.SCHEME, payload, annotator)

    # -- regions and seeds ------------------------------------------------------------------------
    def regions(self, scan: int) -> RegionTable:
        """Regions of a scan, ordered by id; empty before it is split."""
        with self._database.reading() as connection:
            return queries.regions(connection, scan)

    def seeds(self) -> dict[int, Seed]:
        """All seeds by id, archived ones and aliases included."""
        with self._database.reading() as connection:
            return queries.seeds(connection)

    def add_split(
        self,
        scan: int,
        recipe: Mapping[str, Any],
        table: RegionTable,
        raster: str | os.PathLike[str],
        annotator: str = "",
    ) -> RegionTable:
        """Take the regions of a scan over from a computation.

        Parameters
        ----------
        scan : int
            Scan id.
        recipe : mapping
            How they were computed; plain JSON.
        table : RegionTable
            Its `seed` column holds the seed that a region was matched with, or 0 for a new one.
        raster : path-like
            Zarr folder of region ids, int32, of the shape of the scan; it is moved into the project.
        annotator : str
            Who asked for it.

        Returns
        -------
        RegionTable
            With a seed in every row. Seeds that no region shows any more are archived with
            their labels; archived ones that were matched are back.

        Raises
        ------
        InputError
            Table or raster do not fit the scan, or ids are used twice.
        """
        with self._database.reading() as connection:
            payloads.require_raster(Path(raster), table, queries.region_shape(connection, scan))
            table, change = payloads.link_split(connection, scan, table)
        blob = self._blobs.put(**table.columns())
        name = f"scan-{scan}-{uuid.uuid4().hex[:8]}.zarr"
        publish_tree(raster, self._folder.regions / name)
        place = {"name": name, "hash": tree_hash(self._folder.regions / name)}
        payload = {"scan": scan, "recipe": dict(recipe), "table": blob, "raster": place, **change}
        self.append(EventKind.SPLIT, payload, annotator)
        return table

    def repair(
        self,
        scan: int,
        op: str,
        box: Sequence[int],
        new: npt.NDArray[np.int32],
        annotator: str = "",
    ) -> Event:
        """Change regions by hand: merge, split, delete or redraw.

        Parameters
        ----------
        scan : int
            Scan id.
        op : str
            ``merge``, ``split`` or ``delete``: the word for the history.
        box : six int
            z0, y0, x0, z1, y1, x1, half-open; holds every region that changes as a whole.
        new : int32 array of the box
            Region ids afterwards, 0 = none. New ids come from :meth:`next_region_id`.
        annotator : str
            Who.

        Raises
        ------
        InputError
            The edit changes nothing, cuts a region at the border of the box or uses an unknown id.
        """
        source = self.regions_source(scan)
        if source is None:
            raise InputError(f"scan {scan}", "is not split into regions yet", "Split it first")
        old = rasters.read_box(Path(source.path), box)
        with self._database.reading() as connection:
            given = payloads.repair_input(connection, scan, box, old, new)
        payload = payloads.repair(given, op, self._blobs)
        event = self.append(EventKind.REPAIR, payload, annotator)
        self._rasters.path(scan, self._newest)
        return event

    def regions_source(self, scan: int) -> ArraySource | None:
        """The region raster of a scan, repairs included; None before it is split."""
        path = self._rasters.path(scan, self._newest)
        if path is None:
            return None
        with self._database.reading() as connection:
            shape = queries.region_shape(connection, scan)
        return ArraySource(str(path), "zarr", shape, ("z", "y", "x"), "<i4")

    def raster_snapshot(self, scan: int, folder: Path) -> ArraySource:
        """The region raster of a scan as it is now, frozen in `folder`: repairs do not reach it.

        Parameters
        ----------
        scan : int
            A scan that is split; else InputError.
        folder : Path
            Of a job; ``raster-<scan>.zarr`` is made there (hard links: no voxel is copied).
        """
        source = self.regions_source(scan)
        if source is None:
            raise InputError(f"scan {scan}", "is not split into regions yet", "Split it first")
        target = Path(folder) / f"raster-{scan}.zarr"
        link_tree(source.path, target)
        return replace(source, path=str(target))

    def _bring_up(self, scan: int) -> None:
        self._rasters.path(scan, self._newest)

    def rebuild_regions(self, scan: int) -> None:
        """Make the repaired raster anew from the split and the patches."""
        self._rasters.discard(scan)
        self._bring_up(scan)

    # -- strokes ---------------------------------------------------------------------------------------
    def stroke(
        self,
        scan: int,
        axis: int,
        index: int,
        points: npt.ArrayLike,
        classes: npt.ArrayLike,
        annotator: str = "",
    ) -> Event:
        """Keep one edit of voxel labels.

        Parameters
        ----------
        scan, axis, index : int
            The slice: scan id, axis it cuts across (0 = z), position in voxels.
        points : (m, 2) array of int
            Painted pixels of the slice, row and column.
        classes : (m,) array of int
            Per pixel: -1 unknown, 0 background, or a tissue class.
        annotator : str
            Who.
        """
        where = np.asarray(points, np.int32).reshape(-1, 2)
        what = np.asarray(classes, np.int8).reshape(-1)
        with self._database.reading() as connection:
            payloads.require_stroke(connection, (scan, axis, index), where, what)
        blob = self._blobs.put(points=where, classes=what)
        payload = {"scan": scan, "axis": axis, "position": index, "blob": blob, "n": len(where)}
        return self.append(EventKind.STROKE, payload, annotator)

    def strokes(self, scan: int) -> list[Stroke]:
        """The strokes on a scan, oldest first; those taken back are left out."""
        return self._strokes.on_scan(scan)

    # -- models, caches, place, jobs ----------------------------------------------------------------
    def register_model(
        self, card: ModelCard, files: Mapping[str, str | os.PathLike[str]], annotator: str = ""
    ) -> ModelCard:
        """Copy a trained model's files into the project and note it; not active yet.

        Parameters
        ----------
        card : ModelCard
            What is known of it; its id may have been registered before and is then replaced.
        files : mapping of str to path-like
            Weights by the name that :meth:`model_path` will be asked for.
        annotator : str
            Who started the training.
        """
        payload = self._registry.publish_model(card, {k: Path(v) for k, v in files.items()})
        self.append(EventKind.MODEL, payload, annotator)
        return replace(card, active=False)

    def models(self, kind: str | None = None) -> list[ModelCard]:
        """Model cards, oldest first."""
        with self._database.reading() as connection:
            return queries.models(connection, kind)

    def activate(self, model_id: str, annotator: str = "") -> Event:
        """Show the predictions of a model; others of its task and pool step back."""
        if model_id not in {card.id for card in self.models()}:
            raise InputError(f"model {model_id}", "is not in this project", "Choose a listed one")
        return self.append(EventKind.MODEL, {"activate": model_id}, annotator)
