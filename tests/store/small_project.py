"""A small project with one scan of box-shaped regions, for the tests of the store."""

from pathlib import Path

import numpy as np

from napari_seedlab.core import Modality, RegionTable, ScanFacts
from napari_seedlab.files import ArraySource, create_zarr
from napari_seedlab.store import Project

SHAPE = (4, 24, 24)
AXES = ("z", "y", "x")
GRID = 4  # regions along y and x, 6 voxels apart and 5 long


def facts(name="tray", modality=Modality.CT, shape=SHAPE):
    axes = ("band", "y", "x") if modality is Modality.HSI else AXES
    return ScanFacts(name, modality, shape, axes, "uint8", (50.0, 50.0, 50.0), None, "/data/a.raw", 9, 9)


def add_scan(project, **changes):
    known = facts(**changes)
    return project.add_scan(known, ArraySource("/data/a.raw", "raw", known.shape, AXES, "|u1"), "ann")


def measure(raster):
    """Region ids, boxes, centroids and sizes by plain numpy."""
    ids = [int(i) for i in np.unique(raster) if i]
    places = [np.argwhere(raster == i) for i in ids]
    box = np.asarray([[*p.min(0), *(p.max(0) + 1)] for p in places], np.int32).reshape(-1, 6)
    centroid = np.asarray([p.mean(0) for p in places]).reshape(-1, 3)
    return np.asarray(ids, np.int32), box, centroid, np.asarray([len(p) for p in places], np.int64)


def table_of(scan, raster, seed=None):
    ids, box, centroid, n_voxels = measure(raster)
    seeds = np.zeros(len(ids), np.int64) if seed is None else np.asarray(seed, np.int64)
    return RegionTable(scan, ids, seeds, box, centroid, n_voxels)


def grid_raster(first, shape=SHAPE, n=GRID * GRID):
    raster = np.zeros(shape, np.int32)
    for i in range(n):
        y, x = divmod(i, GRID)
        raster[0:3, y * 6 : y * 6 + 5, x * 6 : x * 6 + 5] = first + i
    return raster


def publish_split(project, scan, raster, seed=None, folder=None):
    """Write `raster` as a job would and take it over."""
    path = Path(folder or project.job_folder("split")) / "regions.zarr"
    create_zarr(path, raster.shape, (2, 12, 12), np.int32)[...] = raster
    return project.add_split(scan, {"h": 1}, table_of(scan, raster, seed), path, "ann")


def small_project(path):
    """Sixteen seeds, ids 1 to 16, in scan 1."""
    project = Project.create(path)
    scan = add_scan(project).id
    publish_split(project, scan, grid_raster(project.next_region_id()))
    return project


def raster_of(project, scan=1):
    from napari_seedlab.files import open_array

    return np.asarray(open_array(project.regions_source(scan)))


def state_of(project):
    """All that a user can see of seeds, labels, regions, strokes and history."""
    scans = [scan.id for scan in project.scans()]
    tables = {s: {k: v.tolist() for k, v in project.regions(s).columns().items()} for s in scans}
    strokes = {
        s: [(k.sequence, k.points.tolist(), k.classes.tolist()) for k in project.strokes(s)] for s in scans
    }
    done, undone = project.history()
    return {
        "seeds": project.seeds(),
        "labels": project.labels(),
        "facts": project.label_facts(),
        "regions": tables,
        "strokes": strokes,
        "history": ([e.sequence for e in done], [e.sequence for e in undone]),
        "rasters": {s: raster_of(project, s).tolist() for s in scans if project.regions_source(s)},
    }


def merge(project, scan, kept, absorbed, annotator="ann"):
    """Merge two regions; returns the event."""
    return redraw(project, scan, "merge", [kept, absorbed], lambda raster: np.where(
        raster == absorbed, kept, raster), annotator)  # fmt: skip


def split(project, scan, region, annotator="ann", share=2):
    """Cut a region along x; the first 1/`share` of its length becomes a new region."""
    new = project.next_region_id(64)

    def cut(raster):
        xs = np.unique(np.nonzero(raster == region)[2])
        out = raster.copy()
        front = out[:, :, xs[0] : xs[0] + max(1, len(xs) // share)]
        front[front == region] = new
        return out

    return redraw(project, scan, "split", [region], cut, annotator)


def redraw(project, scan, op, regions, change, annotator="ann"):
    table = project.regions(scan)
    boxes = table.box[np.isin(table.region, regions)]
    low, high = boxes[:, :3].min(0), boxes[:, 3:].max(0)
    crop = raster_of(project, scan)[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    return project.repair(scan, op, (*low, *high), change(crop), annotator)
