"""Making project folders, entering them, and finding out what is wrong with them."""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import tempfile
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import insert, select

from napari_seedlab.core import ProjectDamaged, ProjectError, SeedlabError
from napari_seedlab.files import is_network, publish_tree
from napari_seedlab.files.atomic import write_failed
from napari_seedlab.store import journal, schema
from napari_seedlab.store.database import Database
from napari_seedlab.store.folder import Folder
from napari_seedlab.store.lock import Holder, WriterLock, read_holder
from napari_seedlab.store.migrations import migrate, require_current

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

logger = logging.getLogger(__name__)
KEEP_SNAPSHOTS = 3
SNAPSHOT_AFTER = 100  # events


@dataclass
class Opened:
    """A project folder that was entered; `notes` tell what was done on the way, one line each."""

    folder: Folder
    database: Database
    lock: WriterLock | None
    holder: Holder | None
    notes: list[str] = field(default_factory=list)
    scratch: Path | None = None


@contextmanager
def new_folder(path: Path, project_uuid: str = "") -> Iterator[tuple[Folder, Database]]:
    """A project folder under construction; it gets its name when the block ends well, or vanishes."""
    if path.exists() or path.is_symlink():
        raise ProjectError(path.name, "exists already", "Choose another name, or open it")
    temporary = path.with_name(f".{path.name[:80]}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        try:
            temporary.mkdir(mode=0o700)
            folder = Folder(temporary)
            folder.make()
            os.close(os.open(folder.database, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except OSError as error:
            raise write_failed(path, error) from error
        database = Database(folder.database, path.name)
        try:
            migrate(database, copy_first=lambda version: None)
            with database.transaction() as connection:
                value = project_uuid or str(uuid.uuid4())
                connection.execute(insert(schema.meta).values(key="uuid", value=value))
            yield folder, database
        finally:
            database.close()
        publish_tree(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def enter(path: Path, read_only: bool, wait: bool, take_over: bool) -> Opened:
    """Lock (unless `read_only`), open, migrate and verify a project folder."""
    folder = Folder(path)
    _require_project(folder)
    if read_only:
        return _enter_reading(folder)
    shared = is_network(path)
    lock = WriterLock.take(folder.lock, folder.name, wait, shared, take_over)
    database = None
    try:
        database = Database(folder.database, folder.name, extra_sync=shared)
        migrate(database, lambda version: _snapshot(folder, database, f"before-format-{version + 1}"))
        _require_sound(folder, database)
        folder.make()
    except BaseException:
        if database is not None:
            database.close()
        lock.release()
        raise
    opened = Opened(folder, database, lock, read_holder(folder.lock))
    if shared:
        opened.notes.append(f"{folder.name} lies on a network drive: saving is slower, one window at a time.")
    if lock.was_unclean:
        opened.notes.append(f"{folder.name} was not closed last time; everything that was saved is there.")
    folder.sweep()
    return opened


def leave(opened: Opened, settle: Callable[[], None] | None, sequence: int) -> None:
    """Settle the caches and copy the database if due (unless `settle` is None); give everything back."""
    try:
        if settle is not None:
            settle()
            snapshot_if_due(opened.folder, opened.database, sequence)
    except (SeedlabError, OSError) as error:
        logger.warning("closing %s: %s", opened.folder.name, error)
    finally:
        opened.database.close()
        if opened.lock is not None:
            opened.lock.release()
        if opened.scratch is not None:
            shutil.rmtree(opened.scratch, ignore_errors=True)


def _require_project(folder: Folder) -> None:
    remedy = "Choose the folder of a project"
    if not folder.root.is_dir():
        cause = "is a file, not a project folder" if folder.root.exists() else "is not there"
        raise ProjectError(folder.name, cause, remedy)
    if not folder.database.is_file():
        raise ProjectError(folder.name, f"holds no project ({folder.database.name} is missing)", remedy)


def _enter_reading(folder: Folder) -> Opened:
    """Open without writing; what a killed writer left half done is settled in a copy."""
    holder = read_holder(folder.lock)
    rollback = folder.database.with_name(folder.database.name + "-journal")
    scratch = None
    path = folder.database
    try:
        if rollback.exists() and rollback.stat().st_size and not _is_held(folder.lock):
            scratch = Path(tempfile.mkdtemp(prefix="seedlab-"))
            path = scratch / folder.database.name
            shutil.copyfile(folder.database, path)
            shutil.copyfile(rollback, scratch / rollback.name)
            Database(path, folder.name).close()
        database = Database(path, folder.name, read_only=True)
        try:
            with database.reading() as connection:
                require_current(connection, folder.name)
            _require_sound(folder, database)
        except BaseException:
            database.close()
            raise
    except BaseException:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
        raise
    return Opened(folder, database, None, holder, scratch=scratch)


def _is_held(lock: Path) -> bool:
    import fcntl

    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _require_sound(folder: Folder, database: Database) -> None:
    """Raise ProjectDamaged when the file's structure or the chain of events is broken."""
    line = database.quick_check()
    if not line:
        with database.reading() as connection:
            line = next(iter(journal.problems(connection)), "").rstrip(".")
    if line:
        raise ProjectDamaged(folder.name, f"its database is damaged ({line})", snapshot_remedy(folder))


def snapshot_remedy(folder: Folder) -> str:
    """What to do about a damaged database."""
    found = sorted(folder.snapshots.glob("*.sqlite"), key=lambda p: p.stat().st_mtime_ns)
    return f"Restore snapshots/{found[-1].name}" if found else "Restore it from a backup"


def _snapshot(folder: Folder, database: Database, name: str) -> Path:
    """Copy the database durably to ``snapshots/<name>.sqlite``."""
    folder.snapshots.mkdir(mode=0o700, exist_ok=True)
    target = folder.snapshots / f"{name}.sqlite"
    temporary = folder.snapshots / f".{name}.{os.getpid()}.tmp"
    temporary.unlink(missing_ok=True)
    try:
        database.copy_to(temporary)
        os.chmod(temporary, 0o600)
        descriptor = os.open(temporary, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, target)
    except OSError as error:
        raise write_failed(target, error) from error
    finally:
        temporary.unlink(missing_ok=True)
    return target


def snapshot_if_due(folder: Folder, database: Database, sequence: int) -> Path | None:
    """Copy the database when enough was written since the last copy; keeps the newest three."""
    found = sorted(folder.snapshots.glob("events-*.sqlite"))
    last = int(found[-1].stem.split("-")[1]) if found else 0
    if sequence - last < SNAPSHOT_AFTER:
        return None
    made = _snapshot(folder, database, f"events-{sequence:09d}")
    for old in found[: max(0, len(found) + 1 - KEEP_SNAPSHOTS)]:
        old.unlink(missing_ok=True)
    return made


def sweep_unused(folder: Folder, database: Database) -> int:
    """Remove rasters, caches and scan copies that no row names (a writer was killed, or they are old)."""
    with database.reading() as connection:
        bases = set(connection.execute(select(schema.rasters.c.base)).scalars())
        caches = set(connection.execute(select(schema.arrays.c.file)).scalars())
        models = set(connection.execute(select(schema.models.c.folder)).scalars())
        sources = [json.loads(t)["path"] for t in connection.execute(select(schema.scans.c.source)).scalars()]
    used = {
        folder.regions: bases | {f"{b.removesuffix('.zarr')}-edited.zarr" for b in bases},
        folder.arrays: caches,
        folder.models: models,
        folder.scans: {Path(p).name for p in sources},
    }
    removed = 0
    for place, names in used.items():
        for path in place.iterdir():
            if path.name not in names:
                removed += 1
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    return removed
