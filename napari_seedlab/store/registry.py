"""Models, caches, the user's place and job folders of a project."""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import tempfile
import uuid
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select

from napari_seedlab.core import InputError, ProjectDamaged, ProjectError, canonical_json
from napari_seedlab.files import (
    ArraySource,
    file_hash,
    load_arrays,
    open_zarr,
    publish_tree,
    save_arrays,
    tree_hash,
    write_json,
)
from napari_seedlab.files.atomic import write_failed
from napari_seedlab.store import projection, schema
from napari_seedlab.store.folder import plain_name, within

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from napari_seedlab.core import ModelCard
    from napari_seedlab.store.database import Database
    from napari_seedlab.store.folder import Folder

logger = logging.getLogger(__name__)
LAST_REGION = 2**31 - 1
STRIDE = 2**20  # region ids reserved for one split


class Registry:
    """What a project keeps beside its journal."""

    def __init__(self, folder: Folder, database: Database) -> None:
        self._folder, self._database = folder, database
        self._state = self._read_state()
        self._scratch: Path | None = None  # job folders of a project that is only read

    def _refuse_if_read_only(self) -> None:
        if self._database.read_only:
            raise ProjectError(self._folder.name, "is open read-only", "Open it for writing")

    def close(self) -> None:
        """Remove the job folders of a project that is only read."""
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None

    # -- models ---------------------------------------------------------------------------------
    def publish_model(self, card: ModelCard, files: Mapping[str, Path]) -> dict[str, Any]:
        """Copy a model's files to their place; the payload of its event."""
        self._refuse_if_read_only()
        name = f"{plain_name(card.id)}-{uuid.uuid4().hex[:8]}"
        temporary = self._folder.models / f".{name}.{os.getpid()}.tmp"
        try:
            temporary.mkdir(mode=0o700)
            for target, source in files.items():
                shutil.copyfile(source, temporary / plain_name(target))
            plain = json.loads(canonical_json({**asdict(card), "active": False}))
            write_json(temporary / "card.json", plain)
            hashes = {target: file_hash(temporary / target) for target in files}
            publish_tree(temporary, self._folder.models / name)
        except OSError as error:
            raise write_failed(self._folder.models / name, error) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return {"card": plain, "files": hashes, "folder": name}

    def model_path(self, model_id: str, name: str) -> Path:
        """A file of a model, verified."""
        table = schema.models
        with self._database.reading() as connection:
            row = connection.execute(select(table).where(table.c.id == model_id)).first()
        hashes = {} if row is None else json.loads(row.files)
        if row is None or name not in hashes:
            raise InputError(f"model {model_id}", f"has no file {name}", "Choose a listed model")
        path = within(within(self._folder.models, row.folder), name)
        if not path.is_file() or file_hash(path) != hashes[name]:
            cause = "is not what was written" if path.is_file() else "is missing"
            raise ProjectDamaged(f"models/{row.folder}/{name}", cause, "Train the model again")
        return path

    # -- ids ------------------------------------------------------------------------------------
    def next_region_id(self, count: int = STRIDE) -> int:
        """Reserve up to `count` region ids; the first of them. No other call will ever give these ids."""
        with self._database.transaction() as connection:
            first = projection.next_number(connection, "region")
            room = LAST_REGION - first
            reserved = min(count, max(room // 1024, 64))
            if reserved > room:
                raise ProjectError(self._folder.name, "has no region ids left", "Start a new project")
            projection.raise_number(connection, "region", first + reserved)
        return first

    def next_model_number(self, kind: str) -> int:
        """A number for the id of a new model; never given twice."""
        with self._database.transaction() as connection:
            number = projection.next_number(connection, f"model-{kind}")
            projection.raise_number(connection, f"model-{kind}", number + 1)
        return number

    # -- caches ---------------------------------------------------------------------------------
    def put_arrays(self, name: str, **arrays: npt.ArrayLike) -> None:
        """Write an archive, then let its row point to it."""
        self._refuse_if_read_only()
        file = f"{plain_name(name)}-{secrets.token_hex(4)}.npz"
        save_arrays(self._folder.arrays / file, **arrays)
        self._point(name, file, file_hash(self._folder.arrays / file), None)

    def put_tree(self, name: str, tree: Path) -> ArraySource:
        """Move a Zarr folder in, then let its row point to it."""
        self._refuse_if_read_only()
        array = open_zarr(tree)
        file = f"{plain_name(name)}-{secrets.token_hex(4)}.zarr"
        axes = ("z", "y", "x")[-array.ndim :]
        source = ArraySource(f"arrays/{file}", "zarr", tuple(array.shape), axes, array.dtype.str)
        publish_tree(tree, self._folder.arrays / file)
        self._point(name, file, tree_hash(self._folder.arrays / file), source)
        return self.located(source.to_json())

    def _point(self, name: str, file: str, digest: str, source: ArraySource | None) -> None:
        table = schema.arrays
        text = "" if source is None else canonical_json(source.to_json())
        with self._database.transaction() as connection:
            old = connection.scalar(select(table.c.file).where(table.c.name == name))
            connection.execute(delete(table).where(table.c.name == name))
            connection.execute(insert(table).values(name=name, file=file, hash=digest, source=text))
        if old is not None and old.endswith(".npz"):  # a Zarr folder may still be shown; it goes at opening
            with suppress(OSError):
                (self._folder.arrays / old).unlink()

    def get_arrays(self, name: str) -> dict[str, npt.NDArray[Any]] | None:
        """The archive of a name, None when there is none or it is damaged."""
        row = self._array_row(name)
        if row is None or row.source:
            return None
        path = within(self._folder.arrays, row.file)
        try:
            if file_hash(path) == row.hash:
                return load_arrays(path)
            logger.warning("%s: is not what was written. It will be computed again.", row.file)
        except (OSError, ProjectDamaged) as error:
            logger.warning("%s: cannot be read (%s). It will be computed again.", row.file, error)
        return None

    def tree_source(self, name: str) -> ArraySource | None:
        """Where the Zarr folder of a name lies, None when there is none."""
        row = self._array_row(name)
        if row is None or not row.source or not within(self._folder.arrays, row.file).is_dir():
            return None
        return self.located(json.loads(row.source))

    def _array_row(self, name: str) -> Any:
        table = schema.arrays
        with self._database.reading() as connection:
            return connection.execute(select(table).where(table.c.name == name)).first()

    def located(self, source: Mapping[str, Any]) -> ArraySource:
        """A stored source with its path made absolute."""
        return ArraySource.from_json({**source, "path": str(self._folder.root / source["path"])})

    # -- place ----------------------------------------------------------------------------------
    def _read_state(self) -> dict[str, Any]:
        try:
            value = json.loads(self._folder.state.read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}

    def set_state(self, key: str, value: Any) -> None:
        """Remember where the user stands: survives a kill, may be lost in a power cut (not synced)."""
        self._refuse_if_read_only()
        self._state[key] = json.loads(json.dumps(value))
        temporary = self._folder.root / f".state.{os.getpid()}.tmp"
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                json.dump(self._state, stream)
            os.replace(temporary, self._folder.state)
        except OSError as error:
            logger.warning("the place was not remembered: %s", error)

    def get_state(self, key: str) -> Any:
        """What was remembered, or None."""
        return self._state.get(key)

    # -- jobs -----------------------------------------------------------------------------------
    def job_folder(self, job_id: str) -> Path:
        """The folder of a job, made when missing; a private temporary one when the project is only read."""
        path = self._jobs() / plain_name(job_id)
        try:
            path.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise write_failed(path, error) from error
        return path

    def _jobs(self) -> Path:
        if not self._database.read_only:
            return self._folder.jobs
        if self._scratch is None:
            self._scratch = Path(tempfile.mkdtemp(prefix="seedlab-jobs-"))
        return self._scratch

    def job_folders(self) -> list[Path]:
        """All job folders, oldest first."""
        found = [p for p in self._folder.jobs.iterdir() if p.is_dir() and not p.name.startswith(".")]
        return sorted(found, key=lambda p: (p.stat().st_ctime_ns, p.name))

    def drop_job(self, job_id: str) -> None:
        """Remove a job's folder."""
        path = self._jobs() / plain_name(job_id)
        if not path.exists():
            self._refuse_if_read_only()
        shutil.rmtree(path, ignore_errors=True)
