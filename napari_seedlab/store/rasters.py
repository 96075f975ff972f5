"""Region rasters: the split as it was published, and a copy that follows the repairs.

The copy shares the files of the original (hard links); Zarr writes a changed chunk as a new file, so
the original stays. The copy is a cache: :func:`replay` brings it up to date from the patches.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import select, update

from napari_seedlab.core import ProjectDamaged, ProjectError
from napari_seedlab.files import link_tree, open_zarr, sync_tree
from napari_seedlab.files.atomic import write_failed
from napari_seedlab.store import journal, schema
from napari_seedlab.store.folder import within

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import numpy.typing as npt

    from napari_seedlab.store.blobs import Blobs
    from napari_seedlab.store.database import Database
    from napari_seedlab.store.folder import Folder


def edited_path(base: Path) -> Path:
    """Where the repaired copy of a raster lies."""
    return base.with_name(f"{base.stem}-edited.zarr")


def make_edited(base: Path) -> Path:
    """The repaired copy; made from `base` when it is not there."""
    target = edited_path(base)
    if not target.is_dir():
        temporary = base.with_name(f".{base.stem}.{os.getpid()}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        link_tree(base, temporary)
        try:
            os.rename(temporary, target)
        except OSError as error:
            raise ProjectError(target.name, f"could not be made ({error})", "Free some space") from error
    return target


def read_box(path: Path, box: Iterable[int]) -> npt.NDArray[np.int32]:
    """Region ids of a box z0, y0, x0, z1, y1, x1."""
    try:
        return np.asarray(open_zarr(path)[_slices(box)], np.int32)
    except (ValueError, RuntimeError, OSError) as error:
        raise ProjectDamaged(path.name, f"has a damaged chunk ({error})", "Open the project again") from error


def _slices(box: Iterable[int]) -> tuple[slice, ...]:
    low_high = [int(v) for v in box]
    return tuple(slice(a, b) for a, b in zip(low_high[:3], low_high[3:], strict=True))


def replay(path: Path, patches: Iterable[tuple[str, bool]], blobs: Blobs) -> int:
    """Write patches (blob, forward) into the raster at `path` in order; their number.

    Doing it twice gives the same raster.
    """
    array: Any = None
    count = 0
    for sha256, forward in patches:
        array = open_zarr(path, "r+") if array is None else array
        patch = blobs.get(sha256)
        where = _slices(patch["box"])
        values = np.array(array[where], order="C")
        np.put(values, patch["index"], patch["new"] if forward else patch["old"])
        try:
            array[where] = values
        except OSError as error:
            raise write_failed(path, error) from error
        count += 1
    return count


class RegionRasters:
    """The rasters of a project, kept in step with its journal."""

    def __init__(self, folder: Folder, database: Database, blobs: Blobs) -> None:
        self._folder, self._database, self._blobs = folder, database, blobs
        self._applied: dict[str, int] = {}  # by base: newest event that the repaired copy shows

    def _row(self, scan: int) -> Any:
        with self._database.reading() as connection:
            return connection.execute(select(schema.rasters).where(schema.rasters.c.scan == scan)).first()

    def path(self, scan: int, newest: int) -> Path | None:
        """The raster as of event `newest`; patches that it lacks are written into it first."""
        row = self._row(scan)
        if row is None:
            return None
        base = within(self._folder.regions, row.base)
        edited = edited_path(base)
        if not self._database.read_only:
            since = self._applied.get(row.base, row.applied) if edited.is_dir() else row.split
            if since < newest:
                self._replay(scan, base, since)
            self._applied[row.base] = newest
        return edited if edited.is_dir() else base

    def _replay(self, scan: int, base: Path, since: int) -> None:
        with self._database.reading() as connection:
            patches = journal.patches(connection, scan, since)
        if patches:
            replay(make_edited(base), patches, self._blobs)

    def discard(self, scan: int) -> None:
        """Throw the repaired copy away."""
        row = self._row(scan)
        if row is not None:
            shutil.rmtree(edited_path(within(self._folder.regions, row.base)), ignore_errors=True)
            self._applied.pop(row.base, None)

    def settle(self) -> None:
        """Make the copies durable, then remember up to which event they go."""
        if not self._applied:
            return
        for base in self._applied:
            edited = edited_path(self._folder.regions / base)
            if edited.is_dir():
                sync_tree(edited)
        table = schema.rasters
        with self._database.transaction() as connection:
            for base, applied in self._applied.items():
                connection.execute(update(table).where(table.c.base == base).values(applied=applied))
