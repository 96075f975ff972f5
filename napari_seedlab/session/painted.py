"""Defects that somebody painted: voxels that teach an anomaly map what odd looks like."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_seedlab import files
from napari_seedlab.core import TISSUE_SCHEME, ClassScheme, SeedlabError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import numpy.typing as npt

    from napari_seedlab.core import RegionTable
    from napari_seedlab.session.session import Session
    from napari_seedlab.store import Project
    from napari_seedlab.store.records import Stroke

DEFECT_NAMES = frozenset({"crack", "defect", "hole", "inclusion", "mould", "tunnel"})


FORMER = ClassScheme("tissue", TISSUE_SCHEME.classes[:3])  # the default before there was one for defects


def add_defect_class(project: Project) -> tuple[str, ...]:
    """Give a project that has the former default tissues the class of defects too; says so in one line.

    A project whose classes were chosen keeps them, and so does one in which the id meant something else.
    """
    if project.read_only or project.scheme("tissue") != FORMER:
        return ()
    try:
        project.set_scheme(TISSUE_SCHEME)
    except SeedlabError:
        return ()
    return (f"Tissue {TISSUE_SCHEME.classes[-1].name} was added, to paint what makes a seed odd.",)


def defect_ids(tissues: ClassScheme) -> tuple[int, ...]:
    """Ids of the tissue classes whose painted voxels count as defects, by their names."""
    return tuple(c.id for c in tissues if c.name.casefold() in DEFECT_NAMES)


def painted_voxels(
    strokes: Iterable[Stroke], shape: tuple[int, ...], class_ids: tuple[int, ...]
) -> npt.NDArray[np.int32]:
    """Voxels (m, 3) whose last stroke, of all slices in the order of painting, is of one of the classes."""
    places, classes = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for stroke in strokes:
        columns = np.insert(stroke.points.astype(np.int64), stroke.axis, stroke.index, axis=1)
        places.append(np.ravel_multi_index(tuple(columns.T), shape))
        classes.append(stroke.classes.astype(np.int64))
    newest = np.concatenate(places)[::-1]
    voxels, first = np.unique(newest, return_index=True)
    kept = voxels[np.isin(np.concatenate(classes)[::-1][first], class_ids)]
    return np.stack(np.unravel_index(kept, shape), 1).astype(np.int32)


def write_painted(session: Session, project: Project, folder: Path, pool: str) -> list[int]:
    """Write ``painted-<scan>.npz`` (voxel (m, 3) int32) for each scan of a pool that has painted defects.

    Returns the seeds in which a defect is painted, in order.
    """
    wanted, seeds = defect_ids(session.tissues), set()
    for scan in session.scans_of(pool):
        voxels = painted_voxels(project.strokes(scan.id), scan.facts.region_shape, wanted)
        if len(voxels):
            files.save_arrays(folder / f"painted-{scan.id}.npz", voxel=voxels)
            table, source = session.regions(scan.id), session.regions_source(scan.id)
            if table is not None and source is not None:
                seeds.update(painted_seeds(voxels, table, files.open_array(source)))
    return sorted(seeds)


def painted_seeds(voxels: npt.NDArray[np.int32], table: RegionTable, raster: files.LazyArray) -> list[int]:
    """Seeds that have any of the voxels (m, 3) inside; `raster` (z, y, x) holds the ids of their regions."""
    found = []
    lowest, highest = voxels.min(axis=0), voxels.max(axis=0)
    is_near = ((table.box[:, :3] <= highest) & (table.box[:, 3:] > lowest)).all(1)
    for row in np.flatnonzero(is_near):
        low, high = table.box[row, :3], table.box[row, 3:]
        near = voxels[((voxels >= low) & (voxels < high)).all(1)]
        if len(near):
            cut = raster[tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))]
            if (cut[tuple((near - low).T)] == table.region[row]).any():
                found.append(int(table.seed[row]))
    return found
