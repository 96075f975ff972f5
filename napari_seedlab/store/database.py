"""One connection to the project's SQLite file, set up so that a commit is on disk when it returns.

journal_mode TRUNCATE and synchronous FULL: no acknowledged commit was lost in 250 simulated power
cuts, and WAL has a corruption bug in the SQLite versions that most Pythons carry. Network drives
get synchronous EXTRA. Nothing is memory-mapped.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import quote

from sqlalchemy import create_engine, exc
from sqlalchemy.pool import StaticPool

from napari_seedlab.core import ProjectDamaged, ProjectError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection

logger = logging.getLogger(__name__)
BUSY_SECONDS = 5.0
DAMAGE = ("not a database", "malformed", "no such table", "no such column", "corrupt")


class Database:
    """The connection; used by one thread at a time.

    Parameters
    ----------
    path : Path
        SQLite file, which must exist.
    name : str
        Project name for messages.
    read_only : bool
        Never write, not even to repair.
    extra_sync : bool
        For network drives.
    """

    def __init__(self, path: Path, name: str, read_only: bool = False, extra_sync: bool = False) -> None:
        self.path, self.name, self.read_only = path, name, read_only
        self.broken = ""
        self.slowest_commit = 0.0
        self._extra_sync = extra_sync
        self._file = self._identity()
        self._engine = create_engine(
            "sqlite://", creator=self._connect, poolclass=StaticPool, isolation_level="AUTOCOMMIT"
        )
        try:
            self._connection = self._engine.connect()
        except (exc.DBAPIError, sqlite3.Error) as error:
            self._engine.dispose()
            raise self.explain(error) from error

    def _connect(self) -> sqlite3.Connection:
        address = f"file:{quote(str(self.path))}?mode={'ro' if self.read_only else 'rw'}"
        connection = sqlite3.connect(
            address, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        level = "EXTRA" if self._extra_sync else "FULL"
        pragmas = ["mmap_size=0", "cell_size_check=ON", "trusted_schema=OFF"]
        if self.read_only:
            pragmas.append("query_only=ON")
        else:
            pragmas += ["journal_mode=TRUNCATE", f"synchronous={level}"]
        try:
            for pragma in pragmas:
                connection.execute(f"PRAGMA {pragma}").fetchall()
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _identity(self) -> tuple[int, int]:
        try:
            facts = os.stat(self.path)
        except OSError as error:
            cause = f"its database {self.path.name} cannot be opened ({error.strerror})"
            raise ProjectError(self.name, cause, "Choose a project folder") from error
        if facts.st_size == 0 and self.read_only:
            raise ProjectDamaged(self.name, "its database is empty", "Restore it from a backup")
        return facts.st_dev, facts.st_ino

    def explain(self, error: Exception) -> ProjectError:
        """The one line for an error of the database."""
        text = str(getattr(error, "orig", None) or error)
        if any(word in text for word in DAMAGE):
            return ProjectDamaged(
                self.name, f"its database is damaged ({text})", "Restore it from a snapshot"
            )
        if "I/O error" in text and not self.read_only:
            self.broken = text
        remedy = "Free some space on this drive; nothing that was saved is lost"
        if "full" not in text:
            remedy = "Nothing that was saved is lost; check the drive, then open the project again"
        return ProjectError(self.name, f"could not be written or read ({text})", remedy)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """The connection, errors told in one line."""
        try:
            yield self._connection
        except (exc.DBAPIError, sqlite3.Error) as error:
            raise self.explain(error) from error

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """All or nothing, and on disk when the block ends.

        Raises
        ------
        ProjectError
            Nothing of the block was kept. After an I/O error the database refuses to write until it
            is opened again, since a failed fsync cannot be repeated.
        """
        self._refuse_if_unsafe()
        try:
            self._connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield self._connection
            start = time.perf_counter()
            self._connection.exec_driver_sql("COMMIT")
            self.slowest_commit = max(self.slowest_commit, time.perf_counter() - start)
        except (exc.DBAPIError, sqlite3.Error) as error:
            self._roll_back()
            raise self.explain(error) from error
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        with suppress(exc.DBAPIError, sqlite3.Error):
            self._connection.exec_driver_sql("ROLLBACK")

    def _refuse_if_unsafe(self) -> None:
        if self.read_only:
            raise ProjectError(self.name, "is open read-only", "Open it for writing")
        if self.broken:
            cause = f"is not written any more after an error ({self.broken})"
            raise ProjectError(self.name, cause, "Check the drive, then open the project again")
        try:
            facts = os.stat(self.path)
        except OSError:
            facts = None
        if facts is None or (facts.st_dev, facts.st_ino) != self._file:
            cause = "its folder was moved, removed or unmounted while it was open"
            raise ProjectError(self.name, cause, "Put it back, then open the project again")

    def quick_check(self) -> str:
        """What SQLite finds wrong with the file's structure; empty when nothing."""
        with self.reading() as connection:
            rows = connection.exec_driver_sql("PRAGMA quick_check(1)").scalars().all()
        line = str(rows[0]) if rows else "no answer"
        return "" if line == "ok" else " ".join(line.split())

    def copy_to(self, target: Path) -> None:
        """Write a consistent copy to the new file `target`."""
        with self.reading() as connection:
            connection.exec_driver_sql("VACUUM INTO ?", (str(target),))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
        self._engine.dispose()
