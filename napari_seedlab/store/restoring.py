"""Filling a new project folder from the events of another one."""

from __future__ import annotations

import shutil
from types import SimpleNamespace
from typing import TYPE_CHECKING

from sqlalchemy import select, update

from napari_seedlab.core import ProjectDamaged
from napari_seedlab.files import publish_tree, tree_hash
from napari_seedlab.store import journal, projection, schema
from napari_seedlab.store.blobs import SHA256, Blobs

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


def _adopt_raster(connection: Connection, folder: Folder, scan: int, source: Path) -> None:
    """Take the present raster of a scan over; it shows all repairs already."""
    table = schema.rasters
    row = connection.execute(select(table).where(table.c.scan == scan)).first()
    if row is None:
        return
    temporary = folder.regions / f".scan-{scan}.tmp"
    shutil.copytree(source, temporary)
    publish_tree(temporary, folder.regions / row.base)
    values = {"hash": tree_hash(folder.regions / row.base), "applied": journal.head(connection)[0]}
    connection.execute(update(table).where(table.c.scan == scan).values(**values))
