"""Filling a new project folder from the events of another one."""

from __future__ import annotations

import json
import secrets
import shutil
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from napari_seedlab.core import ProjectDamaged, Suggestion, canonical_json
from napari_seedlab.files import (
    ArraySource,
    file_hash,
    open_zarr,
    publish_tree,
    read_json,
    tree_hash,
    write_json,
)
from napari_seedlab.store import journal, projection, queries, schema, seed_columns
from napari_seedlab.store.blobs import SHA256, Blobs
from napari_seedlab.store.folder import is_inside, plain_name, within

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from sqlalchemy import Connection

    from napari_seedlab.core import Event
    from napari_seedlab.store.database import Database
    from napari_seedlab.store.folder import Folder


def fill(
    folder: Folder,
    database: Database,
    events: Iterable[Event],
    blobs: Path | None,
    rasters: Mapping[int, Path],
) -> None:
    """Write verified events, their blobs and region rasters into an empty project."""
    store = Blobs(folder.blobs)
    for path in sorted(blobs.glob("*.npz")) if blobs is not None else ():
        if SHA256.fullmatch(path.stem):
            shutil.copyfile(path, store.path(path.stem))
    with database.transaction() as connection:
        _add_verified(connection, events)
        projection.rebuild(connection, store)
        with projection.usable("the journal"):
            _look_through(connection)
        for scan, source in rasters.items():
            _adopt_raster(connection, folder, scan, source)


def _add_verified(connection: Connection, events: Iterable[Event]) -> None:
    sequence, prev_hash = 0, journal.START
    for event in events:
        text = journal.payload_text(event.payload)
        row = SimpleNamespace(
            sequence=event.sequence, uuid=event.uuid, utc=event.utc, annotator=event.annotator,
            kind=str(event.kind), payload=text, prev_hash=event.prev_hash, hash=event.hash,
        )  # fmt: skip
        wrong = journal.link_problems(row, sequence, prev_hash)
        if wrong:
            raise ProjectDamaged("events", wrong[0].rstrip("."), "Export the project again")
        journal.add(connection, event, text)
        sequence, prev_hash = event.sequence, event.hash


def _look_through(connection: Connection) -> None:
    """Read everything once as a session will, so that what cannot be used is told now."""
    for scan in queries.scans(connection):
        ArraySource.from_json(queries.source(connection, scan.id) or {})
        queries.regions(connection, scan.id)
    for kind in ("grain", "tissue"):
        if queries.scheme(connection, kind) is None:
            raise ProjectDamaged("the journal", f"says nothing of the {kind} classes", projection.RESTORE)
    for read in (
        queries.seeds,
        seed_columns.read,
        queries.labels,
        queries.label_facts,
        queries.models,
        queries.history,
    ):
        read(connection)


def _adopt_raster(connection: Connection, folder: Folder, scan: int, source: Path) -> None:
    """Take the present raster of a scan over; it shows all repairs already."""
    table = schema.rasters
    row = connection.execute(select(table).where(table.c.scan == scan)).first()
    if row is None:
        return
    target = _free(within(folder.regions, row.base))
    temporary = folder.regions / f".scan-{scan}.tmp"
    shutil.copytree(source, temporary)
    publish_tree(temporary, target)
    values = {"hash": tree_hash(target), "applied": journal.head(connection)[0]}
    connection.execute(update(table).where(table.c.scan == scan).values(**values))


def _free(target: Path) -> Path:
    if target.exists() or target.is_symlink():
        raise ProjectDamaged(f"{target.parent.name}/{target.name}", "is named twice", projection.RESTORE)
    return target


def take_along(folder: Folder, database: Database, attached: Path) -> None:
    """Copy models, caches, scan copies and the place from the attachments of an export.

    Parameters
    ----------
    folder, database
        Of the new project, filled already.
    attached : Path
        Files named as :meth:`Contents.attach` says; those that the journal does not know are left.
    """
    with database.transaction() as connection, projection.usable("the export"):
        for row in connection.execute(select(schema.models)).all():
            names = ("card.json", *json.loads(row.files))
            _copy_files(within(attached / "models", row.folder), within(folder.models, row.folder), names)
        for text in connection.execute(select(schema.scans.c.source)).scalars().all():
            name = is_inside(json.loads(text)["path"])
            if name and (attached / "scans" / name).is_dir():
                _copy_tree(within(attached / "scans", name), within(folder.scans, name))
        for path in sorted((attached / "arrays").glob("*")):
            _adopt_array(connection, folder, path)
    state = sound_state(attached / folder.state.name)
    if state:
        write_json(folder.state, state)


def _copy_files(source: Path, target: Path, names: Iterable[str]) -> None:
    if not source.is_dir():
        return
    _free(target).mkdir(mode=0o700)
    for name in names:
        if (path := within(source, name)).is_file():
            shutil.copyfile(path, within(target, name))


def _copy_tree(source: Path, target: Path) -> None:
    shutil.copytree(source, _free(target))


def _adopt_array(connection: Connection, folder: Folder, path: Path) -> None:
    """Take one cache over: an archive, or a Zarr folder such as a heatmap."""
    name = plain_name(path.stem)
    file = f"{name}-{secrets.token_hex(4)}{path.suffix}"
    target, source = _free(within(folder.arrays, file)), ""
    if path.suffix == ".zarr":
        _copy_tree(path, target)
        array = open_zarr(target)
        axes = ("z", "y", "x")[-array.ndim :]
        stated = ArraySource(f"arrays/{file}", "zarr", tuple(array.shape), axes, array.dtype.str)
        source = canonical_json(stated.to_json())
    elif path.suffix == ".npz":
        shutil.copyfile(path, target)
    else:
        return
    digest = tree_hash(target) if source else file_hash(target)
    connection.execute(insert(schema.arrays).values(name=name, file=file, hash=digest, source=source))


def sound_state(path: Path) -> dict[str, Any]:
    """What of a remembered place can be taken up; empty when nothing."""
    try:
        value = read_json(path)
        known = {int(Suggestion(**entry).seed) for entry in value["place"]["queue"]}
        known.add(value["place"]["current_seed"])
        return {key: value[key] for key in ("place", "scan") if key in value}
    except (ProjectDamaged, LookupError, TypeError, ValueError):
        return {}
