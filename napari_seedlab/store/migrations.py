"""Steps from one version of the database to the next, each a numbered function.

An older project is copied first, then all steps run in one transaction.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import func, insert, inspect, select

from napari_seedlab.core import ProjectDamaged, ProjectError
from napari_seedlab.store import schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from napari_seedlab.store.database import Database


def to_1(connection: Connection) -> None:
    """Create the first tables."""
    schema.metadata.create_all(connection)


def to_2(connection: Connection) -> None:
    """Make room for what tables tell of seeds."""
    schema.seed_columns.create(connection, checkfirst=True)


MIGRATIONS: tuple[Callable[[Connection], None], ...] = (to_1, to_2)
OLDEST_READ = 1  # format that can be read without a step, since it lacks only what may be empty


def version_of(connection: Connection) -> int:
    """Number of the last step that the database has seen, 0 for an empty one."""
    if not inspect(connection).has_table(schema.versions.name):
        return 0
    return int(connection.scalar(select(func.max(schema.versions.c.version))) or 0)


def migrate(
    database: Database,
    copy_first: Callable[[int], object],
    steps: tuple[Callable[[Connection], None], ...] = MIGRATIONS,
) -> int:
    """Bring the database to the newest version; returns the version it had.

    Parameters
    ----------
    database : Database
        Open for writing.
    copy_first : callable
        Called with the old version before an existing database is changed.
    steps : tuple of callables
        The functions, first to last.
    """
    with database.reading() as connection:
        before = version_of(connection)
    refuse_newer(before, database.name, len(steps))
    if before == len(steps):
        return before
    if before:
        copy_first(before)
    with database.transaction() as connection:
        for number, step in enumerate(steps[before:], before + 1):
            step(connection)
            utc = datetime.now(UTC).isoformat(timespec="seconds")
            connection.execute(insert(schema.versions).values(version=number, utc=utc))
    return before


def refuse_newer(version: int, name: str, newest: int = len(MIGRATIONS)) -> None:
    """Raise ProjectError when a newer program wrote the project."""
    if version > newest:
        cause = f"was written by a newer version (format {version}, this one knows {newest})"
        raise ProjectError(name, cause, "Install the newest napari-seedlab")


def require_current(connection: Connection, name: str) -> None:
    """Raise unless the database can be read as it is; who writes brings it to the newest format."""
    version = version_of(connection)
    refuse_newer(version, name)
    if version == 0:
        raise ProjectDamaged(name, "its database holds no tables", "Restore it from a backup")
    if version < OLDEST_READ:
        raise ProjectError(name, f"has the older format {version}", "Open it once for writing")
