"""Defects that somebody painted: voxels that teach an anomaly map what odd looks like."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_seedlab import files

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import numpy.typing as npt

    from napari_seedlab.core import ClassScheme
    from napari_seedlab.session.session import Session
    from napari_seedlab.store import Project
    from napari_seedlab.store.records import Stroke

DEFECT_NAMES = frozenset({"crack", "defect", "hole", "inclusion", "mould", "tunnel"})


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


def write_painted(session: Session, project: Project, folder: Path, pool: str) -> None:
    """Write ``painted-<scan>.npz`` (voxel (m, 3) int32) for each scan of a pool that has painted defects."""
    wanted = defect_ids(session.tissues)
    for scan in session.scans_of(pool):
        voxels = painted_voxels(project.strokes(scan.id), scan.facts.region_shape, wanted)
        if len(voxels):
            files.save_arrays(folder / f"painted-{scan.id}.npz", voxel=voxels)
