"""Anomaly networks on hyperspectral cubes: on the seeds of split ones, on tiles of those that are not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_seedlab import files
from napari_seedlab.core import InputError, JobResult, NotReady, Progress
from napari_seedlab.imaging.crops import uncrop
from napari_seedlab.learn import crops_io, training
from napari_seedlab.learn.heat import CHUNK, LEAST_TOP, normal_members, publish
from napari_seedlab.learn.known import known_odd
from napari_seedlab.learn.pixels import smoothed
from napari_seedlab.learn.refits import FitSettings, Method, fit_all
from napari_seedlab.learn.rx import Background, background_steps
from napari_seedlab.learn.spectra import (
    Components,
    SpectraPool,
    merged,
    scene_region,
    seed_region,
    usual_pixels,
)
from napari_seedlab.learn.tiles import PARTS, Tiles, project_steps

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from napari_seedlab.core import JobRequest

    Float = npt.NDArray[np.float32]
    Mask = npt.NDArray[np.bool_]
    Looked = Sequence[tuple[files.LazyArray, Mask | None]]

SMOOTHING = 0.5  # sigma in pixels, of the map of a scene; an odd thing is rarely one pixel
LEAST_EDGE = 8  # pixels of a scene along each axis
MAX_PIXELS = 4096**2  # of all scenes together; each takes about 130 bytes of memory


@dataclass(frozen=True)
class CubeSettings(FitSettings):
    """What a method needs to know of cubes."""

    n_components: int = 32  # of the spectra that the network sees, at most


def fit_cubes(
    folder: Path, request: JobRequest, method: Method, settings: CubeSettings
) -> Generator[Progress, None, JobResult]:
    """Learn what is normal in the cubes of a job folder, score and write as its method does.

    Also writes ``pixels-<scan>.npz`` (``score`` (y, x) float32, 0 where nothing was looked at).

    Raises
    ------
    InputError
        Some cubes are split and some are not, they do not have the same bands, or all spectra are alike.
    NotReady
        Fewer than 8 seeds of a split cube may be normal, or a scene is smaller than 8 × 8 pixels.
    """
    training.use_threads()
    entries = request.params["scans"]
    is_split = [entry.get("regions") is not None for entry in entries]
    if any(is_split) and not all(is_split):
        cause = "is not split into seeds and others are"
        raise InputError(f"scan {entries[is_split.index(False)]['scan']}", cause, "Split all or none of them")
    fit = _fit_seeds if all(is_split) else _fit_scenes
    return (yield from fit(folder, request, method, settings.sized("cube")))


def _fit_seeds(
    folder: Path, request: JobRequest, method: Method, settings: CubeSettings
) -> Generator[Progress, None, JobResult]:
    scans = crops_io.read_scans(folder, request.params, ("hsi",))
    crops_io.check_alike(scans)
    looked = [
        (scan.image, np.isin(scan.regions[0:1][0], scan.table.region[scan.table.seed > 0])) for scan in scans
    ]
    background = yield from _background(looked)
    components = Components.of(background, settings.n_components)
    seeds = yield from crops_io.cut_channels(
        scans, settings.size, lambda scan: lambda crop, mask: crop * mask, components, len(components.basis)
    )
    labels = crops_io.read_labels(folder)
    pool = SpectraPool(seeds.crops, seeds.masks, components.brightness, seed_region)
    pool.odd = yield from known_odd(folder, scans, seeds, labels, settings.normal_class)
    members = normal_members(seeds, pool.odd)
    found, told = yield from fit_all(folder, pool, members, method, settings, request.random_state)
    told["notes"] = list(background.notes)
    result = yield from publish(folder, scans, seeds, found, told)
    names = [f"{method.kind}.safetensors", *result.files]
    for scan in scans:
        names.append(f"pixels-{scan.scan}.npz")
        files.save_arrays(folder / names[-1], score=_seed_pixels(scan, seeds, found.heat))
    return JobResult(result.values, tuple(names))


def _background(looked: Looked) -> Generator[Progress, None, Background]:
    """Mean and covariance of the pixels of all cubes."""
    counts = sorted({int(cube.shape[0]) for cube, _ in looked})
    if len(counts) > 1:
        cause = f"have {' and '.join(str(n) for n in counts)} bands"
        raise InputError("the cubes", cause, "Put cubes of other bands into a project of their own")
    parts: list[Background] = []
    for number, (cube, mask) in enumerate(looked):
        steps = background_steps(cube, mask)
        while True:
            try:
                share = next(steps)
            except StopIteration as end:
                parts.append(end.value)
                break
            yield Progress(round(PARTS * (number + share)), PARTS * len(looked), "Measuring spectra")
    return merged(parts)


def _seed_pixels(scan: crops_io.ScanInput, seeds: crops_io.SeedCrops, heat: npt.NDArray[np.float16]) -> Float:
    """Heat of the seeds of a scan at its pixels (y, x), 0 elsewhere."""
    out = np.zeros(scan.regions.shape[1:], np.float32)
    for i in np.flatnonzero(seeds.scans == scan.scan).tolist():
        box = seeds.boxes[i]
        rows, columns = slice(*box[1::3].tolist()), slice(*box[2::3].tolist())
        inside = scan.regions[0:1, rows, columns][0] == seeds.regions[i]
        full = uncrop(heat[i].astype(np.float32), box, crops_io.MARGIN, scan.voxel_size_um)[0]
        out[rows, columns][inside] = full[inside]
    return out


def _fit_scenes(
    folder: Path, request: JobRequest, method: Method, settings: CubeSettings
) -> Generator[Progress, None, JobResult]:
    entries = request.params["scans"]
    cubes = [files.open_array(files.ArraySource.from_json(entry["image"])) for entry in entries]
    _check_sizes(entries, cubes)
    background = yield from _background([(cube, None) for cube in cubes])
    components = Components.of(background, settings.n_components)
    scenes, known = yield from project_steps(cubes, components)
    tiles = Tiles(scenes, known, settings.size)
    pool = SpectraPool(tiles, tiles.masks, components.brightness, scene_region)
    pool.normal = usual_pixels(tiles, tiles.masks)
    members = np.flatnonzero(tiles.masks.any((1, 2)))
    found, told = yield from fit_all(folder, pool, members, method, settings, request.random_state)
    told["notes"] = list(background.notes)
    maps = [smoothed(m, m > 0, SMOOTHING) for m in tiles.stitched(found.heat)]
    return _publish_scenes(folder, entries, maps, told, f"{method.kind}.safetensors")


def _check_sizes(entries: Sequence[Mapping[str, Any]], cubes: Sequence[files.LazyArray]) -> None:
    """Refuse scenes that are too small to learn from, or too large for memory."""
    for entry, cube in zip(entries, cubes, strict=True):
        if min(cube.shape[1:]) < LEAST_EDGE:
            cause = f"has {cube.shape[1]} × {cube.shape[2]} pixels, {LEAST_EDGE} × {LEAST_EDGE} are needed"
            raise NotReady(f"scan {entry['scan']}", cause, "Choose a larger cube")
    n_pixels = sum(cube.shape[1] * cube.shape[2] for cube in cubes)
    if n_pixels > MAX_PIXELS:
        cause = f"{n_pixels:,} pixels are more than the {MAX_PIXELS:,} that a network of scenes takes"
        names = " and ".join(f"scan {entry['scan']}" for entry in entries)
        raise InputError(names, cause, "Use spectra or rx")


def _publish_scenes(
    folder: Path,
    entries: Sequence[Mapping[str, Any]],
    maps: Sequence[Float],
    told: Mapping[str, Any],
    weights: str,
) -> JobResult:
    """Write heat and pixel scores of scenes without seeds; the median pixel scores 1."""
    known = np.concatenate([m[m > 0] for m in maps])
    unit = max(float(np.median(known)), 1e-6) if known.size else 1.0
    top = max(LEAST_TOP, float(np.quantile(known, 0.98)) / unit) if known.size else LEAST_TOP
    files.save_arrays(folder / "scores.npz", seed=np.zeros(0, np.int64), score=np.zeros(0, np.float32))
    names = [weights, "scores.npz"]
    for entry, values in zip(entries, maps, strict=True):
        names += [f"heat-{entry['scan']}.zarr", f"pixels-{entry['scan']}.npz"]
        shown = np.clip(values * (255 / (unit * top)), 1, 255).astype(np.uint8)
        shown[values == 0] = 0
        target = folder / names[-2]
        part = target.with_name(target.name + ".tmp")
        chunks = (1, CHUNK, CHUNK)
        files.create_zarr(part, (1, *shown.shape), chunks, np.uint8, 0, {"scale": [0.0, top]})[0] = shown
        files.publish_tree(part, target)
        files.save_arrays(folder / names[-1], score=np.asarray(values / unit, np.float32))
    facts = {
        "scale": [0.0, top], "n_seeds": 0, "scores_min": 0.0, "scores_max": 0.0,
        "data_hash": crops_io.data_hash(folder),
    }  # fmt: skip
    return JobResult({**facts, **told}, tuple(names))
