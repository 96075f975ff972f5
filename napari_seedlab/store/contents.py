"""The files of a project: frozen copies for a job, what an export takes along, linked scans that changed."""

from __future__ import annotations

import json
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
        """What the events do not say and :meth:`Project.create_from` takes back.

        Parameters
        ----------
        folder : Path
            What may be replaced meanwhile is frozen there (hard links).

        Returns
        -------
        dict of str to str
            Name → path: ``blobs/…``, ``models/…``, ``arrays/<name>.npz`` or ``.zarr``, ``scans/…`` and
            ``state.json``. What is missing or was replaced meanwhile is left out.
        """
        frozen = {}
        for name, path in self._replaceable().items():
            if not path.exists():
                continue
            target = folder / name
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                link_tree(path, target) if path.is_dir() else link_file(path, target)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise write_failed(target, error) from error
            frozen[name] = str(target)
        return frozen | {name: str(path) for name, path in self._immutable().items() if path.exists()}

    def _immutable(self) -> dict[str, Path]:
        """What is never written again and never goes: blobs and copies of scans."""
        with self._database.reading() as connection:
            texts = list(connection.execute(select(schema.scans.c.source)).scalars())
        copies = filter(None, (is_inside(json.loads(text)["path"]) for text in texts))
        found = {f"{SCANS}{name}": within(self._folder.scans, name) for name in copies}
        return found | {f"blobs/{sha}.npz": path for sha, path in self.blob_paths().items()}

    def _replaceable(self) -> dict[str, Path]:
        place = self._folder
        with self._database.reading() as connection:
            models = list(connection.execute(select(schema.models.c.folder)).scalars())
            arrays = connection.execute(select(schema.arrays.c.name, schema.arrays.c.file)).all()
        found = {f"models/{name}": within(place.models, name) for name in models}
        found |= {f"arrays/{n}{Path(file).suffix}": within(place.arrays, file) for n, file in arrays}
        return found | {place.state.name: place.state}
