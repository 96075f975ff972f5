"""The job that finds the seeds of a scan and pairs them with those of an earlier split."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_seedlab.core import InputError, JobRequest, JobResult, Progress, RegionTable

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

Array = npt.NDArray[Any]
CHUNK = (64, 128, 128)
BLOCK_VOXELS = 1 << 22  # read or written between two reports of progress


def run(folder: Path) -> Generator[Progress, None, JobResult]:
    """Job: split the scan of a request into regions.

    Parameters
    ----------
    folder : Path
        Job folder. Parameters of its request: ``image`` (ArraySource), ``recipe`` (SplitRecipe), ``scan``,
        ``first_region``; optionally ``voxel_size_um`` (three numbers, used when the recipe has
        no spacing) and ``old_regions`` (ArraySource), to which ``regions.npz`` (the old RegionTable) belongs.

    Returns
    -------
    JobResult
        Files ``regions.zarr`` (int32 raster of region ids from ``first_region``; (1, y, x) where the image
        has bands) and ``regions-new.npz`` (RegionTable columns; seed = the old seed of the matching region,
        or 0). Values ``n_seeds``, ``n_matched``, ``threshold``, ``seed_radius`` and ``recipe``.

    Yields
    ------
    Progress
        Several times a second. Closing the generator removes what was not finished.
    """
    from napari_seedlab.files import ArraySource, open_array, read_json, save_arrays
    from napari_seedlab.imaging.regions import region_table
    from napari_seedlab.imaging.split import SplitRecipe, split_steps

    request = JobRequest.from_json(read_json(folder / "request.json"))
    params = request.params
    source = ArraySource.from_json(params["image"])
    has_bands = source.axes[0] == "band"
    recipe = SplitRecipe.from_json(params["recipe"])
    used = _with_spacing(recipe, params.get("voxel_size_um"), has_bands)
    image = yield from foreground_image(open_array(source), has_bands)
    found = yield from _part(split_steps(image, used), 0.15, 0.85)
    del image
    labels = found.labels
    first = int(params["first_region"])
    table = region_table(int(params["scan"]), labels, first)
    yield Progress(85, 100, "writing")
    yield from _write_regions(folder / "regions.zarr", labels, first)
    if params.get("old_regions"):
        table = yield from _with_old_seeds(folder, params, table, labels, first)
    save_arrays(folder / "regions-new.npz", **table.columns())
    values = {
        "n_seeds": found.n,
        "n_matched": int(np.count_nonzero(table.seed)),
        "threshold": found.threshold,
        "seed_radius": found.seed_radius,
        "recipe": recipe.to_json(),
    }
    yield Progress(100, 100, f"{found.n} seeds")
    return JobResult(values, ("regions.zarr", "regions-new.npz"))


def foreground_image(array: Any, has_bands: bool) -> Generator[Progress, None, Array]:
    """Read the grey values that seeds are found in.

    Parameters
    ----------
    array : (z, y, x) or (band, y, x) array
        Lazy or in memory.
    has_bands : bool
        Then the mean over the bands is taken, one band after the other.

    Returns
    -------
    (z, y, x) array
        Native byte order, double precision made single; z = 1 where there are bands.
    """
    if len(array.shape) != 3:
        raise InputError("scan", f"has {len(array.shape)} axes", "Open it as (z, y, x) or (band, y, x)")
    n_z, n_y, n_x = array.shape
    if has_bands:
        total = np.zeros((1, n_y, n_x))
        for band in range(n_z):
            total[0] += array[band]
            yield Progress(15 * (band + 1) // n_z, 100, "reading bands")
        mean: Array = (total / max(n_z, 1)).astype(np.float32)
        return mean
    dtype = np.dtype(array.dtype).newbyteorder("=")
    out = np.empty(array.shape, np.float32 if dtype == np.float64 else dtype)
    chunks = getattr(array, "chunks", None) or (1, n_y, n_x)
    step = max(int(chunks[0]), BLOCK_VOXELS // max(1, n_y * n_x))
    for z in range(0, n_z, step):
        out[z : z + step] = array[z : z + step]
        yield Progress(15 * min(z + step, n_z) // n_z, 100, "reading")
    return out


def _with_spacing(recipe: Any, voxel_size_um: Any, has_bands: bool) -> Any:
    if voxel_size_um is None or recipe.spacing != (1.0, 1.0, 1.0):
        return recipe
    edges = [float(v) for v in voxel_size_um]
    if has_bands:
        edges[0] = min(edges[1:])
    least = min(edges)
    return replace(recipe, spacing=(edges[0] / least, edges[1] / least, edges[2] / least))


def _part(steps: Generator[Progress, None, Any], first: float, last: float) -> Generator[Progress, None, Any]:
    """Run `steps` as the stretch `first` to `last` of the whole job."""
    try:
        while True:
            step = next(steps)
            share = first + (last - first) * step.done / max(step.total, 1)
            yield Progress(round(100 * share), 100, step.message)
    except StopIteration as end:
        return end.value
    finally:
        steps.close()


def _write_regions(path: Path, labels: Array, first: int) -> Generator[Progress, None, None]:
    """Write the raster with region ids beside its final name, and rename it when it is whole."""
    from napari_seedlab.files import create_zarr, publish_tree

    partial = path.with_name(path.name + ".part")
    try:
        raster = create_zarr(partial, labels.shape, CHUNK, np.int32)
        n_z, n_y, n_x = labels.shape
        rows = CHUNK[1] * max(1, BLOCK_VOXELS // (CHUNK[0] * CHUNK[1] * n_x))
        for z in range(0, n_z, CHUNK[0]):
            for y in range(0, n_y, rows):
                part = labels[z : z + CHUNK[0], y : y + rows]
                raster[z : z + CHUNK[0], y : y + rows] = np.where(part > 0, part + np.int32(first - 1), 0)
                yield Progress(85 + 10 * z // n_z, 100, "writing")
        publish_tree(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _with_old_seeds(
    folder: Path, params: Mapping[str, Any], table: RegionTable, labels: Array, first: int
) -> Generator[Progress, None, RegionTable]:
    from napari_seedlab.files import ArraySource, load_arrays, open_array
    from napari_seedlab.imaging.regions import match_regions

    yield Progress(96, 100, "matching the earlier seeds")
    old = open_array(ArraySource.from_json(params["old_regions"]))
    old_table = RegionTable.from_columns(load_arrays(folder / "regions.npz"))
    seed_of = dict(zip(old_table.region.tolist(), old_table.seed.tolist(), strict=True))
    pairs = match_regions(old, labels)
    seeds = [seed_of.get(pairs.get(k - first + 1, 0), 0) for k in table.region.tolist()]
    return replace(table, seed=np.asarray(seeds, np.int64))
