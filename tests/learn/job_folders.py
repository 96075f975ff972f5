"""Job folders for tests: a scan and its regions as raw files, tables, labels and a request."""

from __future__ import annotations

import numpy as np

from napari_seedlab import files
from napari_seedlab.core import JobRequest, RegionTable


def raw_source(path, array):
    """Write `array` as raw bytes; return its description as JSON."""
    array.tofile(path)
    return files.ArraySource(
        str(path), "raw", array.shape, ("z", "y", "x"), np.dtype(array.dtype).newbyteorder("<").str
    ).to_json()


def table_of(regions, scan=1):
    """The region table of a raster whose ids are also the seed ids."""
    from scipy.ndimage import find_objects

    rows = [(i + 1, box) for i, box in enumerate(find_objects(regions)) if box is not None]
    boxes = [[s.start for s in box] + [s.stop for s in box] for _, box in rows]
    masks = [regions[box] == i for i, box in rows]
    return RegionTable(
        scan,
        np.array([i for i, _ in rows], np.int32),
        np.array([i for i, _ in rows], np.int64),
        np.array(boxes, np.int32),
        np.array([np.argwhere(m).mean(0) + b[:3] for m, b in zip(masks, boxes, strict=True)]),
        np.array([m.sum() for m in masks], np.int64),
    )


def write_job(folder, function, volume, regions, labels=None, random_state=0, modality="ct", **params):
    """Fill `folder` for a job over one scan; return it."""
    folder.mkdir(parents=True, exist_ok=True)
    files.save_arrays(folder / "regions-1.npz", **table_of(regions).columns())
    if labels is not None:
        seeds = np.array(list(labels), np.int64)
        files.save_arrays(
            folder / "labels.npz",
            seed=seeds,
            class_id=np.array(list(labels.values()), np.int32),
            sequence=np.arange(len(seeds)),
            inclusion_p=np.ones(len(seeds)),
        )
    scan = {
        "scan": 1,
        "modality": modality,
        "voxel_size_um": [1.0, 1.0, 1.0],
        "table": "regions-1.npz",
        "image": raw_source(folder / "image.raw", volume),
        "regions": raw_source(folder / "regions.raw", regions.astype(np.int32)),
    }
    request = JobRequest("test", function, {"scans": [scan], **params}, random_state=random_state)
    files.write_json(folder / "request.json", request.to_json())
    return folder


def finish(job):
    """Run a job to its end: its reports and its result."""
    reports = []
    while True:
        try:
            reports.append(next(job))
        except StopIteration as end:
            return reports, end.value


def sheet(crops, masks):
    """Grains (n, 1, z, y, x) side by side as one scan: volume (z, y, x) float32 and regions int32 from 1."""
    volume = np.concatenate(list(crops[:, 0]), axis=2)
    regions = np.concatenate([np.where(m, i + 1, 0) for i, m in enumerate(masks)], axis=2)
    return np.ascontiguousarray(volume, np.float32), np.ascontiguousarray(regions, np.int32)
