"""Names inside a project folder; nothing else in the product knows them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from napari_seedlab.core import InputError, ProjectDamaged
from napari_seedlab.files import sweep_temporaries

FOLDERS = ("blobs", "regions", "arrays", "models", "scans", "jobs", "snapshots")
SCANS = "scans/"  # start of the path of a scan that the project holds itself
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")


@dataclass(frozen=True)
class Folder:
    """Where things lie below `root`."""

    root: Path

    @property
    def name(self) -> str:
        """Name that messages show."""
        return self.root.name

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.root / "project.sqlite"

    @property
    def lock(self) -> Path:
        """Held by the one writer."""
        return self.root / "lock"

    @property
    def state(self) -> Path:
        """Where the user stands; may be lost."""
        return self.root / "state.json"

    @property
    def blobs(self) -> Path:
        """Patches and tables, named by their sha256."""
        return self.root / "blobs"

    @property
    def regions(self) -> Path:
        """Region rasters."""
        return self.root / "regions"

    @property
    def arrays(self) -> Path:
        """Caches that can be computed again."""
        return self.root / "arrays"

    @property
    def models(self) -> Path:
        """One folder per model."""
        return self.root / "models"

    @property
    def scans(self) -> Path:
        """Decoded copies of compressed scans."""
        return self.root / "scans"

    @property
    def jobs(self) -> Path:
        """One folder per background computation."""
        return self.root / "jobs"

    @property
    def snapshots(self) -> Path:
        """Copies of the database."""
        return self.root / "snapshots"

    def make(self) -> None:
        """Create the folders, closed to others."""
        for name in FOLDERS:
            path = self.root / name
            path.mkdir(mode=0o700, exist_ok=True)

    def sweep(self) -> int:
        """Remove the temporary files of killed writers; jobs look after their own."""
        kept = (self.root, *(self.root / name for name in FOLDERS if name != "jobs"))
        return sum(len(sweep_temporaries(path)) for path in kept if path.is_dir())

    def inside(self, path: str | os.PathLike[str]) -> bool:
        """Whether `path` lies below the root, links followed."""
        return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self.root))


def plain_name(name: str) -> str:
    """Return `name` if it can be part of a file name, else raise InputError."""
    if not NAME.fullmatch(name):
        raise InputError(f"name {name[:40]!r}", "cannot be a file name", "Use letters, digits, dot, dash")
    return name


def is_inside(path: str) -> str:
    """Name below ``scans`` of a scan that the project holds itself; empty for a linked one."""
    return "" if os.path.isabs(path) else path.removeprefix(SCANS)


def within(place: Path, name: object) -> Path:
    """The path of `name` in `place`, for a name that a journal or a table states.

    Raises
    ------
    ProjectDamaged
        It could lead out of `place`.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        cause = f"is named in {place.name}, but cannot be a file name"
        raise ProjectDamaged(f"{str(name)[:40]!r}", cause, "Restore it from its origin")
    return place / name
