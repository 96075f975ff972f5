"""Mending a split by hand: merge, split by clicks, delete; each one event that can be undone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_seedlab.core import InputError, NotReady
from napari_seedlab.files import open_array

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy.typing as npt

    from napari_seedlab.core import RegionTable
    from napari_seedlab.imaging.repair import RegionPatch
    from napari_seedlab.session.desk import Task
    from napari_seedlab.session.session import Session
    from napari_seedlab.store import Project

    Patcher = Callable[[npt.NDArray[Any], tuple[int, int, int], Project], RegionPatch]


NEAR_VOXELS = 3  # half of the widest gap between boxes that are merged


def merge(session: Session, seeds: Iterable[int], scan: int) -> Task:
    """Make one seed of several; the lowest id survives."""
    regions = _regions(session, scan, seeds)
    if len(regions) < 2:
        raise InputError("merge", f"{len(regions)} seed is selected", "Select two or more that touch")
    if not _are_neighbours(_table(session, scan), regions):
        raise InputError("merge", "the selected seeds do not touch", "Select seeds that lie side by side")

    def patch(crop: npt.NDArray[Any], origin: tuple[int, int, int], project: Project) -> RegionPatch:
        from napari_seedlab.imaging.repair import merge_regions

        return merge_regions(crop, regions, origin)

    return _repair(session, scan, "merge", regions, patch)


def delete(session: Session, seeds: Iterable[int], scan: int) -> Task:
    """Take regions away that are no seed; their seeds are archived."""
    regions = _regions(session, scan, seeds)
    if not regions:
        raise InputError("delete", "no seed is selected", "Select one")

    def patch(crop: npt.NDArray[Any], origin: tuple[int, int, int], project: Project) -> RegionPatch:
        from napari_seedlab.imaging.repair import RegionPatch

        index = np.flatnonzero(np.isin(crop, regions))
        old = crop.reshape(-1)[index].astype(np.int32)
        box = np.concatenate([origin, np.add(origin, crop.shape)]).astype(np.int32)
        return RegionPatch(box, index, old, np.zeros(len(index), np.int32))

    return _repair(session, scan, "delete", regions, patch)


def split(session: Session, seed: int, points: Sequence[Sequence[float]], scan: int) -> Task:
    """Cut one seed between two or more clicks, given in voxels of the scan (z, y, x)."""
    regions = _regions(session, scan, [seed])
    if not regions:
        raise InputError(f"seed {seed}", "is not in this scan", "Click a seed of the scan that is shown")
    spacing = session.scans[scan].facts.scale_um

    def patch(crop: npt.NDArray[Any], origin: tuple[int, int, int], project: Project) -> RegionPatch:
        from napari_seedlab.imaging.repair import split_region

        n = len(points) - 1
        first = project.next_region_id(n)
        return split_region(crop, regions[0], points, range(first, first + n), origin, spacing)

    return _repair(session, scan, "split", regions, patch)


def _regions(session: Session, scan: int, seeds: Iterable[int]) -> list[int]:
    table = _table(session, scan)
    wanted = np.asarray(sorted(set(seeds)), np.int64)
    return [int(r) for r in table.region[np.isin(table.seed, wanted)]]


def _are_neighbours(table: RegionTable, regions: list[int]) -> bool:
    """Whether the boxes, a little larger, hang together: a crack may part what belongs together."""
    boxes = table.box[np.isin(table.region, regions)]
    low, high = boxes[:, :3] - NEAR_VOXELS, boxes[:, 3:] + NEAR_VOXELS
    meets = np.asarray(((low[:, None] < high[None]) & (low[None] < high[:, None])).all(2))
    reached = np.zeros(len(boxes), bool)
    reached[0] = True
    for _ in boxes:
        reached = np.asarray(meets[reached].any(0))
    return bool(reached.all())


def _table(session: Session, scan: int) -> RegionTable:
    table = session.regions(scan)
    if table is None:
        raise NotReady("the scan", "is not split into seeds yet", "Split it first")
    return table


def _repair(session: Session, scan: int, op: str, regions: list[int], patch: Patcher) -> Task:
    """Patch the hull of the regions' boxes, durably, and tell everybody."""
    session.refuse_if_blocked()

    def work(project: Project) -> dict[str, Any]:
        source = project.regions_source(scan)
        if source is None:
            raise NotReady("the scan", "is not split into seeds yet", "Split it first")
        table = project.regions(scan)
        boxes = table.box[np.isin(table.region, regions)]
        low, high = boxes[:, :3].min(0), boxes[:, 3:].max(0)
        crop = open_array(source)[tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))]
        z, y, x = (int(v) for v in low)
        change = patch(crop, (z, y, x), project)
        event = project.repair(scan, op, change.box.tolist(), change.applied(crop), session.annotator)
        session.reload_regions(project, scan)
        session.saved.emit(event)
        session.after_split(scan)
        return {"event": event.uuid, "n_seeds": len(project.regions(scan))}

    return session.desk.do_task(op, work)
