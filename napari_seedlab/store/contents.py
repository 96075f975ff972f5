"""The files of a project: frozen copies for a job, what an export takes along, linked scans that changed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select

from napari_seedlab.core import InputError
from napari_seedlab.files import ArraySource, file_changed, link_file, link_tree
from napari_seedlab.files.atomic import write_failed
from napari_seedlab.store import journal, queries, schema
from napari_seedlab.store.folder import SCANS, is_inside, within

if TYPE_CHECKING:
    from napari_seedlab.store.blobs import Blobs
    from napari_seedlab.store.database import Database
    from napari_seedlab.store.folder import Folder


class Contents:
    """Reads what lies in a project folder.

    Parameters
    ----------
    folder, database, blobs
        Of the project.
    """

    def __init__(self, folder: Folder, database: Database, blobs: Blobs) -> None:
        self._folder, self._database, self._blobs = folder, database, blobs

    def stored_source(self, scan: int) -> ArraySource:
        """Where the voxels of a scan lie; relative to the project for a copy that it holds itself."""
        with self._database.reading() as connection:
            value = queries.source(connection, scan)
        if value is None:
            raise InputError(f"scan {scan}", "is not in this project", "Check the scan ids")
        return ArraySource.from_json(value)

    def changed_sources(self) -> list[str]:
        """One line per linked scan whose file is gone, or has another size or time than when it was added."""
        with self._database.reading() as connection:
            rows = connection.execute(select(schema.scans).order_by(schema.scans.c.id)).all()
        found = []
        for row in rows:
            if not is_inside(json.loads(row.source)["path"]):
                facts = queries.facts_of(row.facts)
                found.append(file_changed(facts.source_path, facts.source_size, facts.source_mtime_ns))
        return [line for line in found if line]

    def blob_paths(self) -> dict[str, Path]:
        """File of every blob that the events name, by its sha256."""
        with self._database.reading() as connection:
            return {sha: self._blobs.path(sha) for sha in journal.blob_names(connection)}

    def attach(self, folder: Path) -> dict[str, str]:
        """Freeze in `folder` what the events do not say and :meth:`Project.create_from` takes back.

        Returns
        -------
        dict of str to str
            Name → path: ``blobs/…``, ``models/…``, ``arrays/<name>.npz`` or ``.zarr``, ``scans/…`` and
            ``state.json``. What is missing or was replaced meanwhile is left out.
        """
        frozen = {}
        for name, path in self._all().items():
            target = folder / name
            os.makedirs(target.parent, exist_ok=True)
            if path.is_dir():
                link_tree(path, target)
                frozen[name] = str(target)
            elif path.is_file():
                try:
                    link_file(path, target)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    raise write_failed(target, error) from error
                frozen[name] = str(target)
        return frozen

    def _all(self) -> dict[str, Path]:
        place = self._folder
        found = {f"blobs/{sha}.npz": path for sha, path in self.blob_paths().items()}
        with self._database.reading() as connection:
            models = list(connection.execute(select(schema.models.c.folder)).scalars())
            arrays = connection.execute(select(schema.arrays.c.name, schema.arrays.c.file)).all()
            texts = list(connection.execute(select(schema.scans.c.source)).scalars())
        found |= {f"models/{name}": within(place.models, name) for name in models}
        found |= {f"arrays/{n}{Path(file).suffix}": within(place.arrays, file) for n, file in arrays}
        copies = filter(None, (is_inside(json.loads(text)["path"]) for text in texts))
        found |= {f"{SCANS}{name}": within(place.scans, name) for name in copies}
        return found | {place.state.name: place.state}
