"""Odd pixels and odd seeds of hyperspectral cubes, by their spectra alone; nothing is trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_seedlab import files
from napari_seedlab.core import InputError, JobResult, NotReady, Progress, RegionTable
from napari_seedlab.learn import crops_io
from napari_seedlab.learn.blocks import within
from napari_seedlab.learn.heat import CHUNK, LEAST_TOP, MIN_NORMAL
from napari_seedlab.learn.pixels import odd_pixel_steps
from napari_seedlab.learn.rx import global_rx_steps, local_rx_steps

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    import numpy.typing as npt

    from napari_seedlab.learn.blocks import Mask
    from napari_seedlab.learn.rx import ScoreMap

    Float = npt.NDArray[np.float32]
    Ids = npt.NDArray[np.int32]

DETECTORS = ("spectra", "rx", "local_rx")
WINDOWS = (11, 31)  # guard and neighbourhood of a whole scene in pixels, for things up to 11 pixels wide
N_COMPONENTS = 10  # in which neighbours are compared
TOP = 0.01  # share of a seed's oddest pixels that make its score
PARTS = 1000  # that progress is told in


@dataclass(frozen=True)
class _Look:
    """What is looked at in one scan; `regions` (y, x) is 0 where nothing is looked at in a split one."""

    scan: int
    cube: files.LazyArray
    table: RegionTable
    regions: Ids
    is_split: bool

    @property
    def mask(self) -> Mask | None:
        """Pixels that are looked at; None for all."""
        return self.regions > 0 if self.is_split else None


@dataclass(frozen=True)
class _Scored:
    """What was found in one scan."""

    look: _Look
    pixels: Float
    scores: Float  # of the table's rows


def run(folder: Path) -> Generator[Progress, None, JobResult]:
    """Job: score the pixels of cubes and the seeds on them.

    Reads ``request.json`` (params ``scans``, ``detector`` = one of :data:`DETECTORS`) and region tables. In
    a split scan only seeds are looked at, in one that is not every pixel. Writes ``scores.npz`` (seed
    int64, score float32 in units of the median seed), ``heat-<scan>.zarr`` (uint8 (1, y, x) on one colour
    scale) and ``pixels-<scan>.npz`` (``score`` (y, x) float32 in the detector's own unit).

    Raises
    ------
    NotReady
        Fewer than 8 seeds.
    InputError
        All spectra are alike, or regions do not lie on the pixels of their cube.
    """
    folder = Path(folder)
    request = crops_io.read_request(folder)
    detector = request.params["detector"]
    entries = request.params["scans"]
    looks = [_look(folder, entry) for entry in entries]
    n_seeds = sum(len(look.table) for look in looks)
    if n_seeds < MIN_NORMAL and any(look.is_split for look in looks):
        there = "1 seed is" if n_seeds == 1 else f"{n_seeds} seeds are"
        raise NotReady("anomaly map", f"{there} there, {MIN_NORMAL} are needed", "Open a scan of more seeds")
    found: list[_Scored] = []
    notes: list[str] = []
    for number, look in enumerate(looks):
        one, told = yield from _told(_score_steps(look, detector), number, len(looks))
        found.append(one)
        notes += told
    return _publish(folder, found, notes, detector)


def _look(folder: Path, entry: Mapping[str, Any]) -> _Look:
    scan, cube = int(entry["scan"]), files.open_array(files.ArraySource.from_json(entry["image"]))
    table = RegionTable.from_columns(files.load_arrays(folder / entry["table"]))
    table = crops_io.rows(table, table.seed > 0)
    if entry.get("regions") is None:
        return _Look(scan, cube, table, np.zeros(cube.shape[1:], np.int32), False)
    raster = files.open_array(files.ArraySource.from_json(entry["regions"]))
    if raster.shape[1:] != cube.shape[1:]:
        cause = f"lie on {raster.shape[1:]} pixels, its cube has {cube.shape[1:]}"
        raise InputError(f"regions of scan {scan}", cause, "Split the scan again")
    outside = (table.box[:, 1:3] < 0).any(axis=1) | (table.box[:, 4:] > cube.shape[1:]).any(axis=1)
    if outside.any():
        cause = f"lies outside its scan of {cube.shape[1]} × {cube.shape[2]} pixels"
        raise InputError(f"seed {table.seed[outside][0]}", cause, "Split the scan again")
    plane = raster[0]
    return _Look(scan, cube, table, np.where(np.isin(plane, table.region), plane, 0).astype(np.int32), True)


def _told(
    steps: Generator[float, None, tuple[_Scored, tuple[str, ...]]], number: int, n: int
) -> Generator[Progress, None, tuple[_Scored, tuple[str, ...]]]:
    """The steps of scan `number` of `n` as progress."""
    steps = within(steps, number / n, (number + 1) / n)
    while True:
        try:
            share = next(steps)
        except StopIteration as end:
            result: tuple[_Scored, tuple[str, ...]] = end.value
            return result
        yield Progress(round(PARTS * share), PARTS, "Comparing spectra")


def _score_steps(look: _Look, detector: str) -> Generator[float, None, tuple[_Scored, tuple[str, ...]]]:
    scores, table = np.zeros(len(look.table), np.float32), look.table
    if look.is_split and not len(table):
        return _Scored(look, np.zeros(look.regions.shape, np.float32), scores), ()
    pixels, notes = yield from _detector_steps(look, detector)
    for i, (region, box) in enumerate(zip(table.region.tolist(), table.box, strict=True)):
        cut = (slice(box[1], box[4]), slice(box[2], box[5]))
        own = np.sort(pixels[cut][look.regions[cut] == region])
        scores[i] = own[-max(1, round(TOP * len(own))) :].mean() if len(own) else 0
    return _Scored(look, pixels, scores), notes


def _detector_steps(look: _Look, detector: str) -> Generator[float, None, ScoreMap]:
    if detector == "rx":
        return (yield from global_rx_steps(look.cube, look.mask))
    if detector == "local_rx":
        inner, outer = windows_of(look.table) if look.is_split else WINDOWS
        return (yield from local_rx_steps(look.cube, inner, outer, N_COMPONENTS, look.mask))
    return (yield from odd_pixel_steps(look.cube, look.mask))


def windows_of(table: RegionTable) -> tuple[int, int]:
    """Edges in pixels, odd, of guard and neighbourhood for seeds: as wide as one seed, and as five.

    A seed that is odd as a whole has then only other seeds for neighbours at its middle.
    """
    width = max(1.0, float(np.median(np.sqrt(table.n_voxels * 4 / np.pi))))
    inner = 2 * round(width / 2) + 1
    return inner, 2 * round(5 * width / 2) + 1


def _publish(folder: Path, found: list[_Scored], notes: list[str], detector: str) -> JobResult:
    raw = np.concatenate([one.scores if one.look.is_split else one.pixels.ravel() for one in found])
    raw = raw[raw != 0]  # pixels without a value have no score
    if not np.isfinite(raw).all() or not len(raw) or float(np.ptp(raw)) <= 0:
        raise InputError("the cubes", "show no difference between their spectra", "Check the scan")
    unit = max(float(np.median(raw)), 1e-12)
    ids = np.unique(np.concatenate([one.look.table.seed for one in found]))
    best = np.zeros(len(ids), np.float32)
    for one in found:
        np.maximum.at(best, np.searchsorted(ids, one.look.table.seed), one.scores / unit)
    files.save_arrays(folder / "scores.npz", seed=ids, score=best)
    top = max(LEAST_TOP, float(np.quantile(raw, 0.98)) / unit)
    names = ["scores.npz"]
    for one in found:
        heat = np.clip(one.pixels * (255 / (unit * top)), 1, 255).astype(np.uint8)
        heat[one.look.regions == 0 if one.look.is_split else one.pixels == 0] = 0
        scan = one.look.scan
        target = folder / f"heat-{scan}.zarr"
        part = target.with_name(target.name + ".tmp")
        chunks = (1, CHUNK, CHUNK)
        stored = files.create_zarr(part, (1, *heat.shape), chunks, np.uint8, 0, {"scale": [0.0, top]})
        stored[0] = heat
        files.publish_tree(part, target)
        files.save_arrays(folder / f"pixels-{scan}.npz", score=one.pixels)
        names += [target.name, f"pixels-{scan}.npz"]
    values = {
        "method": detector, "scale": [0.0, top], "n_seeds": len(ids), "notes": list(dict.fromkeys(notes)),
        "scores_min": float(best.min(initial=0)), "scores_max": float(best.max(initial=0)),
        "data_hash": crops_io.data_hash(folder),
    }  # fmt: skip
    return JobResult(values, tuple(names))
