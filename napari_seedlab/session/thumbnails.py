"""The small picture of every seed: asked for when seeds are new, read in pages."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_seedlab import files
from napari_seedlab.core import Modality
from napari_seedlab.imaging.thumbnails import PAGE
from napari_seedlab.io.hsi_view import colour_bands
from napari_seedlab.session.desk import Step
from napari_seedlab.session.results import region_keys
from napari_seedlab.session.steps import scan_params

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari_seedlab.core import JobRequest, JobResult, RegionTable, Scan
    from napari_seedlab.session.desk import Task
    from napari_seedlab.session.session import Session
    from napari_seedlab.store import Project

VERSION = 2  # of how they are drawn
SHAPE = (3, 40, 40)  # three cuts of a volume; red, green, blue of a picture or cube


@dataclass(frozen=True)
class ThumbTable:
    """Whose thumbnails there are.

    Attributes
    ----------
    seeds : (n,) int64
        Ascending.
    key : (n,) int64
        Tells whether a region changed since (see :func:`region_keys`).
    spectrum : (n, b) float32
        Mean spectrum in at most 32 steps; b = 0 but for cubes.
    cell_um : float
        Edge of a pixel of all but the largest seeds.
    is_volume : bool
        Whether the three planes are cuts, not colours.
    source : ArraySource
        (n, 120, 40) uint8: the three planes below each other.
    """

    seeds: npt.NDArray[np.int64]
    key: npt.NDArray[np.int64]
    spectrum: npt.NDArray[np.float32]
    cell_um: float
    is_volume: bool
    source: files.ArraySource

    @cached_property
    def row(self) -> Mapping[int, int]:
        """Row of each seed."""
        return {s: i for i, s in enumerate(self.seeds.tolist())}

    @cached_property
    def _pixels(self) -> files.LazyArray:
        return files.open_array(self.source)

    def page(self, number: int) -> npt.NDArray[np.uint8]:
        """Thumbnails `number` · 64 and following, at most 64: (m, 3, 40, 40) uint8; reads from disk."""
        part = np.asarray(self._pixels[number * PAGE : (number + 1) * PAGE])
        return part.reshape(-1, *SHAPE)


class Thumbnails:
    """The thumbnails of each pool; tables are replaced, never edited.

    Parameters
    ----------
    session : Session
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.tables: dict[str, ThumbTable] = {}
        session.embedding_changed.connect(self._seeds_came)

    def find(self, seed: int) -> tuple[ThumbTable, int] | None:
        """Table and row of a seed, of the current pool where several show it; None without a thumbnail."""
        tables, pool = self.tables, self._session.pool
        for name in sorted(tables, key=lambda p: p != pool):
            row = tables[name].row.get(seed)
            if row is not None:
                return tables[name], row
        return None

    def spectrum(self, seed: int) -> npt.NDArray[np.float32] | None:
        """Mean spectrum of a seed in at most 32 steps; None where no cube shows it."""
        found = self.find(seed)
        if found is None or not found[0].spectrum.shape[1]:
            return None
        values = found[0].spectrum[found[1]]
        return values if np.isfinite(values).all() else None

    def ask(self, pool: str) -> Task | None:
        """Draw the thumbnails of new and edited seeds; None where there are none, or nothing may be written.

        Seeds whose thumbnail is there keep it.
        """
        if self._session.read_only or not self._lacks(pool):
            return None
        return self._session.desk.start(_step(self._session, self, pool))

    def _seeds_came(self, pool: str) -> None:
        if self._session.follow_up:
            self.ask(pool)

    def _lacks(self, pool: str) -> bool:
        session = self._session
        tables = (session.regions(scan.id) for scan in session.scans_of(pool))
        return bool(_new_seeds([t for t in tables if t is not None], self.tables.get(pool)))

    def load(self, project: Project, pool: str) -> None:
        """Find the thumbnails that a project keeps."""
        stored, source = project.get_arrays(f"thumbs-{pool}"), project.tree_source(f"thumbs-{pool}-pixels")
        if stored is None or source is None or source.shape != (len(stored["seed"]), 3 * SHAPE[1], SHAPE[2]):
            return
        if str(stored.get("pixels")) != Path(source.path).name:
            return  # only one of the two was written: they are drawn anew
        is_ours = int(stored.get("version", 1)) == VERSION
        key = stored["key"] if is_ours else np.zeros_like(stored["key"])  # shown until they are drawn anew
        table = ThumbTable(
            stored["seed"], key, stored["spectrum"], float(stored["cell_um"]),
            bool(stored["is_volume"]), source,
        )  # fmt: skip
        self.tables = {**self.tables, pool: table}


def _keys(tables: Iterable[RegionTable]) -> dict[int, tuple[int, int]]:
    """Key and scan of each seed, of the first scan that shows it."""
    found: dict[int, tuple[int, int]] = {}
    for table in tables:
        keys = region_keys(table.scan, table.box, table.centroid, table.n_voxels)
        for seed, key in zip(table.seed.tolist(), keys.tolist(), strict=True):
            found.setdefault(seed, (key, table.scan))
    return found


def _new_seeds(tables: Iterable[RegionTable], known: ThumbTable | None) -> dict[int, int]:
    """Seeds without a thumbnail of their present region, and the scan to draw them from."""
    have = {} if known is None else dict(zip(known.seeds.tolist(), known.key.tolist(), strict=True))
    return {seed: scan for seed, (key, scan) in _keys(tables).items() if have.get(seed) != key}


def _step(session: Session, thumbnails: Thumbnails, pool: str) -> Step:
    """Thumbnails of the seeds that are new or were edited since."""

    def prepare(project: Project, folder: Path) -> dict[str, Any]:
        entries, known = scan_params(session, project, folder, pool), thumbnails.tables.get(pool)
        tables = {entry["scan"]: project.regions(entry["scan"]) for entry in entries}
        key_of, new = _keys(tables.values()), _new_seeds(tables.values(), known)
        for entry in entries:
            table = tables[entry["scan"]]
            rows = np.asarray([new.get(s) == table.scan for s in table.seed.tolist()], bool)
            columns = {k: (v if k == "scan" else v[rows]) for k, v in table.columns().items()}
            files.save_arrays(folder / entry["table"], **columns)
            entry["bands"] = _bands(session.scans[entry["scan"]])
            entry["n"] = int(rows.sum())
        kept = sorted(key_of.keys() - new.keys())
        at = np.asarray([] if known is None else [known.row[s] for s in kept], np.int64)
        spectrum = np.zeros((0, 0), np.float32) if known is None else known.spectrum[at]
        files.save_arrays(folder / "known.npz", seed=np.asarray(kept, np.int64), row=at, spectrum=spectrum)
        keys = [key_of[s][0] for s in key_of]
        files.save_arrays(
            folder / "keys.npz", seed=np.asarray(list(key_of), np.int64), key=np.asarray(keys, np.int64)
        )
        return {
            "scans": [e for e in entries if e["n"]],
            "cell_um": None if known is None else known.cell_um,
            "known": None if known is None or not kept else known.source.to_json(),
        }

    def adopt(project: Project, folder: Path, request: JobRequest, result: JobResult) -> dict[str, Any]:
        out, keys = files.load_arrays(folder / "thumbs.npz"), files.load_arrays(folder / "keys.npz")
        key_of = dict(zip(keys["seed"].tolist(), keys["key"].tolist(), strict=True))
        is_volume = all(s.facts.region_shape[0] > 1 for s in session.scans_of(pool))
        pixels = project.put_tree(f"thumbs-{pool}-pixels", folder / "thumbs.zarr")
        project.put_arrays(
            f"thumbs-{pool}",
            seed=out["seed"],
            key=np.asarray([key_of[s] for s in out["seed"].tolist()], np.int64),
            spectrum=out["spectrum"],
            cell_um=out["cell_um"],
            is_volume=np.asarray(is_volume),
            pixels=np.asarray(Path(pixels.path).name),
            version=np.asarray(VERSION),
        )
        thumbnails.load(project, pool)
        session.thumbnails_changed.emit(pool)
        return dict(result.values)

    return Step(
        "thumbs", "napari_seedlab.learn.thumbnails:run", prepare, adopt,
        lane="background", latest_only=True, about=pool,
    )  # fmt: skip


def _bands(scan: Scan) -> list[int]:
    """Planes that a flat scan is shown by: its colours, three bands of a cube, or its one plane."""
    if scan.facts.is_colour:
        return [0, 1, 2]
    if scan.facts.modality is Modality.HSI:
        return list(colour_bands(scan.facts.shape[0], scan.facts.wavelengths_nm))
    return [0]
