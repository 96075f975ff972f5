"""Projects of many seeds without any computation: scans, regions, vectors, maps and thumbnails are drawn."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from napari_seedlab import files
from napari_seedlab.core import LabelState, Modality, RegionTable, ScanFacts, Suggestion
from napari_seedlab.imaging.features import descriptor_names
from napari_seedlab.session.results import region_keys
from napari_seedlab.session.thumbnails import VERSION
from napari_seedlab.store import Project

VOXEL_UM = 40.0
N_GROUPS = 8
THUMB_PX = 40


def grid(side: tuple[int, int], cell: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Volume uint8 and regions int32 of `side` rows and columns of ellipsoids, one in each cell (z, y, x)."""
    z, y, x = (np.linspace(-1, 1, n) for n in cell)
    far = np.sqrt(z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2)
    seed = far < 0.85
    grey = np.where(seed, 170 - 60 * far, 30).astype(np.uint8)
    ids = np.arange(1, side[0] * side[1] + 1, dtype=np.int32).reshape(side)
    shade = (0.7 + 0.3 * (ids * 7919 % 97) / 97).astype(np.float32)
    wide = np.kron(shade, np.ones(cell[1:], np.float32))
    volume = (np.tile(grey, (1, *side)) * wide[None]).astype(np.uint8)
    regions = np.where(np.tile(seed, (1, *side)), np.kron(ids, np.ones(cell[1:], np.int32))[None], 0)
    return volume, regions.astype(np.int32)


def table_of(scan: int, side: tuple[int, int], cell: tuple[int, int, int], first: int) -> RegionTable:
    """The regions of :func:`grid`, ids from `first` on."""
    n = side[0] * side[1]
    row, column = np.divmod(np.arange(n), side[1])
    low = np.column_stack([np.zeros(n), row * cell[1], column * cell[2]])
    ids = np.arange(first, first + n)
    box = np.concatenate([low, low + cell], 1)
    return RegionTable(
        scan, ids.astype(np.int32), np.zeros(n, np.int64), box.astype(np.int32),
        low + (np.asarray(cell) - 1) / 2, np.full(n, int(np.prod(cell) / 2), np.int64),
    )  # fmt: skip


def make(
    path: Path, n_scans: int, side: tuple[int, int], cell: tuple[int, int, int], n_labels: int = 0
) -> Path:
    """Write the project `path` with everything that an opened one shows.

    Parameters
    ----------
    path : Path
        Folder that ends with ``.seedlab``; the voxels lie beside it.
    n_scans : int
        CT scans, all alike.
    side : (rows, columns)
        Seeds of each.
    cell : (z, y, x)
        Voxels of each seed.
    n_labels : int
        Seeds that are labelled, the first ones, in turns.
    """
    volume, regions = grid(side, cell)
    n, project, first = side[0] * side[1], Project.create(path), 1
    tables = []
    for number in range(1, n_scans + 1):
        raw = path.parent / f"{path.stem}-{number}.raw"
        volume.tofile(raw)
        size = (VOXEL_UM,) * 3
        facts = ScanFacts(
            raw.stem, Modality.CT, volume.shape, ("z", "y", "x"), "uint8", size, None, str(raw),
            raw.stat().st_size, raw.stat().st_mtime_ns,
        )  # fmt: skip
        source = files.ArraySource(str(raw), "raw", volume.shape, ("z", "y", "x"), "|u1", size=volume.nbytes)
        scan = project.add_scan(facts, source, "ada")
        target = path.parent / f"regions-{number}.zarr"
        stored = files.create_zarr(target, regions.shape, (64, 256, 256), np.int32)
        stored[...] = np.where(regions > 0, regions + (first - 1), 0)
        tables.append(project.add_split(scan.id, {}, table_of(scan.id, side, cell, first), target, "ada"))
        first += n
    _put_results(project, tables, path.parent)
    seeds = np.concatenate([t.seed for t in tables]).tolist()
    for seed in seeds[:n_labels]:
        project.label((seed,), LabelState.LABELLED, 1 + seed % 3, "ada")
    asked = [Suggestion(f"s{s}", s, 1.0, "random", "drawn at random", 0.01) for s in seeds[n_labels:][:10]]
    place = {"queue": [asdict(s) for s in asked], "current_seed": asked[0].seed, "wishes": {}}
    project.set_state("place", place)
    project.set_state("scan", next(t.scan for t in tables if asked[0].seed in t.seed))
    project.close()
    return path


def _put_results(project: Project, tables: list[RegionTable], folder: Path) -> None:
    """Vectors in groups, their map, predictions, and a thumbnail of each seed."""
    rng = np.random.default_rng(0)
    seeds = np.concatenate([t.seed for t in tables])
    keys = np.concatenate([region_keys(t.scan, t.box, t.centroid, t.n_voxels) for t in tables])
    group = rng.integers(0, N_GROUPS, len(seeds))
    width = len(descriptor_names("ct"))
    centres = rng.normal(0, 1.5, (N_GROUPS, width))
    vectors = (centres[group] + rng.normal(size=(len(seeds), width))).astype(np.float32)
    project.put_arrays("embedding-ct", seed=seeds, vector=vectors, key=keys)
    middles = rng.normal(0, 6, (N_GROUPS, 2))
    xy = (middles[group] + rng.normal(size=(len(seeds), 2)) * 1.5).astype(np.float32)
    project.put_arrays(
        "layout-ct", seed=seeds, xy=xy, cluster=group.astype(np.int32), method=np.asarray("umap")
    )
    p = rng.dirichlet(np.ones(4), len(seeds)).astype(np.float32)
    project.put_arrays("head-ct", seed=seeds, p=p, model=np.asarray("head-0"))
    tree = folder / "thumbs.zarr"
    pixels = files.create_zarr(
        tree, (len(seeds), 3 * THUMB_PX, THUMB_PX), (64, 3 * THUMB_PX, THUMB_PX), np.uint8
    )
    y, x = np.mgrid[-1 : 1 : THUMB_PX * 1j, -1 : 1 : THUMB_PX * 1j]
    disc = np.tile(np.hypot(x, y) < 0.85, (3, 1))
    for start in range(0, len(seeds), 4096):
        part = slice(start, min(start + 4096, len(seeds)))
        pixels[part] = np.where(disc, (80 + 20 * group[part]).astype(np.uint8)[:, None, None], 0).astype(
            np.uint8
        )
    kept = project.put_tree("thumbs-ct-pixels", tree)
    order = np.argsort(seeds)
    project.put_arrays(
        "thumbs-ct", seed=seeds[order], key=keys[order], spectrum=np.zeros((len(seeds), 0), np.float32),
        cell_um=np.asarray(VOXEL_UM), is_volume=np.asarray(True), pixels=np.asarray(Path(kept.path).name),
        version=np.asarray(VERSION),
    )  # fmt: skip
