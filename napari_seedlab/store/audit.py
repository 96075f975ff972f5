"""Verifying everything in a project folder."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, inspect, select
from sqlalchemy.pool import StaticPool

from napari_seedlab.core import ProjectDamaged, one_line
from napari_seedlab.files import file_changed, file_hash, tree_hash
from napari_seedlab.store import journal, projection, schema
from napari_seedlab.store.folder import is_inside, within
from napari_seedlab.store.migrations import MIGRATIONS, version_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from sqlalchemy import Connection

    from napari_seedlab.store.blobs import Blobs
    from napari_seedlab.store.database import Database
    from napari_seedlab.store.folder import Folder

RESTORE = "Restore the project from a copy or an export"
NOT_STATE = ("hash", "applied")  # of rasters: they depend on the files, not on the journal


def find_problems(folder: Folder, database: Database, blobs: Blobs, deep: bool) -> list[str]:
    """One line per problem, empty when every hash and the chain are right."""
    line = database.quick_check()
    if line:
        return [f"{database.path.name}: its structure is damaged ({line}). {RESTORE}."]
    with database.reading() as connection:
        found = [
            *(f"{line} {RESTORE}." for line in journal.problems(connection)),
            *filter(None, (blobs.problem(sha) for sha in journal.blob_names(connection))),
            *_raster_problems(connection, folder),
            *_file_problems(connection, folder),
            *_state_problem(folder.state),
            *_scan_problems(connection, folder),
        ]
        if deep and not found:
            found += list(_replay_problems(connection, blobs))
    return found


def _raster_problems(connection: Connection, folder: Folder) -> Iterator[str]:
    for row in connection.execute(select(schema.rasters)):
        yield from _tree_problem(within(folder.regions, row.base), row.hash, "Split the scan again")


def _file_problems(connection: Connection, folder: Folder) -> Iterator[str]:
    for row in connection.execute(select(schema.models)):
        yield from _card_problem(within(within(folder.models, row.folder), "card.json"), row.card)
        for name, digest in json.loads(row.files).items():
            path = within(within(folder.models, row.folder), name)
            yield from _file_problem(path, digest, "Train the model again")
    for row in connection.execute(select(schema.arrays)):
        check = _tree_problem if row.source else _file_problem
        yield from check(within(folder.arrays, row.file), row.hash, "It can be computed again")


def _card_problem(path: Path, card: str) -> Iterator[str]:
    """The card beside the files of a model, against the one that the journal gave."""
    name = f"{path.parent.name}/{path.name}"
    if not path.is_file():
        yield f"{name}: is missing. Train the model again."
    elif _json_of(path) != json.loads(card):
        yield f"{name}: is not what was written. Train the model again."


def _state_problem(path: Path) -> Iterator[str]:
    """Where the user stood; no journal knows it, so that only its form is looked at."""
    if path.exists() and not isinstance(_json_of(path), dict):
        yield f"{path.name}: is not what was written. Delete it: it only says what was shown last."


def _json_of(path: Path) -> Any:
    """What a JSON file holds; None when it cannot be read."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def _scan_problems(connection: Connection, folder: Folder) -> Iterator[str]:
    """Copies in the project, and files outside that it is linked to, where their hash was noted."""
    for row in connection.execute(select(schema.scans)):
        source, facts = json.loads(row.source), json.loads(row.facts)
        name, digest = is_inside(source["path"]), source["sha256"]
        if name:
            if digest:
                yield from _tree_problem(within(folder.scans, name), digest, "Import the scan again")
        elif digest:
            yield from _linked_problem(row.id, facts, digest)


def _linked_problem(scan: int, facts: Mapping[str, Any], digest: str) -> Iterator[str]:
    path, size = facts["source_path"], facts["source_size"]
    changed = file_changed(path, size, facts["source_mtime_ns"])
    if not changed or "written again" in changed:  # the same bytes may be written again
        try:
            changed = "" if file_hash(path) == digest else f"{changed or _differs(path)}"
        except OSError as error:
            changed = f"{one_line(path)}: cannot be read ({error.strerror})."
    if changed:
        yield f"scan {scan}: {changed} Put the file back or import it again."


def _differs(path: str) -> str:
    return f"{one_line(path.rpartition('/')[2])}: is not what was imported (hash differs)."


def _file_problem(path: Path, digest: str, remedy: str) -> Iterator[str]:
    if not path.is_file():
        yield f"{path.parent.name}/{path.name}: is missing. {remedy}."
    elif file_hash(path) != digest:
        yield f"{path.parent.name}/{path.name}: is not what was written (hash differs). {remedy}."


def _tree_problem(path: Path, digest: str, remedy: str) -> Iterator[str]:
    if not path.is_dir():
        yield f"{path.parent.name}/{path.name}: is missing. {remedy}."
    elif tree_hash(path) != digest:
        yield f"{path.parent.name}/{path.name}: is not what was written (hash differs). {remedy}."


def _replay_problems(connection: Connection, blobs: Blobs) -> Iterator[str]:
    """Replay the journal in memory and compare every table that is drawn from it."""
    engine = create_engine("sqlite://", poolclass=StaticPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as memory:
        target, source = memory.connection.driver_connection, connection.connection.driver_connection
        if not isinstance(source, sqlite3.Connection) or not isinstance(target, sqlite3.Connection):
            return
        source.backup(target)
        memory.exec_driver_sql("BEGIN")
        try:
            for step in MIGRATIONS[version_of(memory) :]:  # of a project that was opened for reading alone
                step(memory)
            projection.rebuild(memory, blobs)
        except ProjectDamaged as error:
            yield str(error)
            return
        known = set(inspect(connection).get_table_names())
        for table in schema.DRAWN:
            if table.name in known and table_rows(connection, table) != table_rows(memory, table):
                yield f"table {table.name}: is not what the journal amounts to. Rebuild the project."
    engine.dispose()


def table_rows(connection: Connection, table: Any) -> list[tuple[Any, ...]]:
    """All rows of a drawn table in a fixed order."""
    columns = [c for c in table.c if not (table is schema.rasters and c.name in NOT_STATE)]
    return sorted((tuple(row) for row in connection.execute(select(*columns))), key=repr)
