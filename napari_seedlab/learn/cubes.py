"""Odd pixels and odd seeds of hyperspectral cubes, by their spectra alone; nothing is trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_seedlab import files
from napari_seedlab.core import InputError, JobResult, NotReady, Progress, RegionTable
from napari_seedlab.learn import crops_io
from napari_seedlab.learn.heat import CHUNK, LEAST_TOP, MIN_NORMAL
from napari_seedlab.learn.pixels import odd_pixels
from napari_seedlab.learn.rx import global_rx

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    import numpy.typing as npt

    from napari_seedlab.learn.rx import ScoreMap, Sliceable

    Float = npt.NDArray[np.float32]
    Ids = npt.NDArray[np.int32]

DETECTORS: dict[str, Callable[[Sliceable, npt.NDArray[np.bool_] | None], ScoreMap]] = {
    "spectra": odd_pixels,
    "rx": global_rx,
}
TOP = 0.01  # share of a seed's oddest pixels that make its score


@dataclass(frozen=True)
class _Scored:
    """What was found in one scan; `regions` (y, x) is 0 where nothing is looked at in a split one."""

    scan: int
    table: RegionTable
    regions: Ids
    pixels: Float
    scores: Float  # of the table's rows
    is_split: bool


def run(folder: Path) -> Generator[Progress, None, JobResult]:
    """Job: score the pixels of cubes and the seeds on them.

    Reads ``request.json`` (params ``scans``, ``detector`` = ``spectra`` or ``rx``) and region tables. In a
    split scan only seeds are looked at, in one that is not every pixel. Writes ``scores.npz`` (seed int64,
    score float32 in units of the median seed), ``heat-<scan>.zarr`` (uint8 (1, y, x) on one colour scale)
    and ``pixels-<scan>.npz`` (``score`` (y, x) float32 in the detector's own unit).

    Raises
    ------
    NotReady
        Fewer than 8 seeds.
    InputError
        All spectra are alike.
    """
    folder = Path(folder)
    request = crops_io.read_request(folder)
    detector = DETECTORS[request.params["detector"]]
    found: list[_Scored] = []
    notes: list[str] = []
    entries = request.params["scans"]
    for number, entry in enumerate(entries):
        yield Progress(number, len(entries), "Comparing spectra")
        one, told = _scored(folder, entry, detector)
        found.append(one)
        notes += told
    n_seeds = sum(len(one.table) for one in found)
    if n_seeds < MIN_NORMAL and any(one.is_split for one in found):
        raise NotReady("anomaly map", f"{n_seeds} seeds are there, {MIN_NORMAL} are needed", "Split more")
    return _publish(folder, found, notes, request.params["detector"])


def _scored(
    folder: Path, entry: Mapping[str, Any], detector: Callable[..., ScoreMap]
) -> tuple[_Scored, tuple[str, ...]]:
    cube = files.open_array(files.ArraySource.from_json(entry["image"]))
    table = RegionTable.from_columns(files.load_arrays(folder / entry["table"]))
    table = crops_io.rows(table, table.seed > 0)
    regions, is_split = np.zeros(cube.shape[1:], np.int32), entry.get("regions") is not None
    if is_split:
        raster = files.open_array(files.ArraySource.from_json(entry["regions"]))[0]
        regions = np.where(np.isin(raster, table.region), raster, 0).astype(np.int32)
    scores = np.zeros(len(table), np.float32)
    if is_split and not len(table):
        return _Scored(
            int(entry["scan"]), table, regions, np.zeros(regions.shape, np.float32), scores, True
        ), ()
    pixels, notes = detector(cube, regions > 0 if is_split else None)
    for i, (region, box) in enumerate(zip(table.region.tolist(), table.box, strict=True)):
        cut = (slice(box[1], box[4]), slice(box[2], box[5]))
        own = np.sort(pixels[cut][regions[cut] == region])
        scores[i] = own[-max(1, round(TOP * len(own))) :].mean() if len(own) else 0
    return _Scored(int(entry["scan"]), table, regions, pixels, scores, is_split), notes


def _publish(folder: Path, found: list[_Scored], notes: list[str], detector: str) -> JobResult:
    raw = np.concatenate([one.scores if one.is_split else one.pixels.ravel() for one in found])
    if not np.isfinite(raw).all() or float(np.ptp(raw)) <= 0:
        raise InputError("the cubes", "show no difference between their spectra", "Check the scan")
    unit = max(float(np.median(raw)), 1e-12)
    ids = np.unique(np.concatenate([one.table.seed for one in found]))
    best = np.zeros(len(ids), np.float32)
    for one in found:
        np.maximum.at(best, np.searchsorted(ids, one.table.seed), one.scores / unit)
    files.save_arrays(folder / "scores.npz", seed=ids, score=best)
    top = max(LEAST_TOP, float(np.quantile(raw, 0.98)) / unit)
    names = ["scores.npz"]
    for one in found:
        heat = np.clip(one.pixels * (255 / (unit * top)), 1, 255).astype(np.uint8)
        if one.is_split:
            heat[one.regions == 0] = 0
        target = folder / f"heat-{one.scan}.zarr"
        part = target.with_name(target.name + ".tmp")
        files.create_zarr(part, (1, *heat.shape), (1, CHUNK, CHUNK), np.uint8, 0, {"scale": [0.0, top]})[
            0
        ] = heat
        files.publish_tree(part, target)
        files.save_arrays(folder / f"pixels-{one.scan}.npz", score=one.pixels)
        names += [target.name, f"pixels-{one.scan}.npz"]
    values = {
        "method": detector, "scale": [0.0, top], "n_seeds": len(ids), "notes": list(dict.fromkeys(notes)),
        "scores_min": float(best.min(initial=0)), "scores_max": float(best.max(initial=0)),
        "data_hash": crops_io.data_hash(folder),
    }  # fmt: skip
    return JobResult(values, tuple(names))
