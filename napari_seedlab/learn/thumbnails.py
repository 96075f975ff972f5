"""Job: a small picture of every seed of a pool, and of cubes its mean spectrum."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_seedlab import files
from napari_seedlab.core import JobResult, Progress
from napari_seedlab.imaging.cuts import CUT_MARGIN
from napari_seedlab.imaging.thumbnails import (
    EDGE,
    N_BANDS,
    PAGE,
    common_cell,
    mean_spectrum,
    plane_thumb,
    volume_thumb,
)
from napari_seedlab.learn.crops_io import read_request, read_scans
from napari_seedlab.learn.embedding import ScanView, seed_boxes

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence
    from pathlib import Path

    Thumb = npt.NDArray[np.uint8]
    Spectrum = npt.NDArray[np.float32]

ROWS = 512  # seeds that are read from disk together
STEP = 16  # seeds between two reports
LEVEL_PLANES = 12  # that the grey values of black and white are taken from
MOST_VOXELS = 2**27  # a larger box, such as a bed that was never split, stays black
SOLID = (0.5, 99.8)  # percentiles of a volume's seeds that are black and white
MOST_WHITE = 0.6  # above the median, of what black is below it: a few dense strangers dim no other seed
LINES, SLABS = 64, 16  # of a plane that black and white are taken from: so many lines, at so many places
BAND = (1.0, 99.0)  # percentiles of a band that are black and full colour
PICTURE = (0.5, 50.0, 99.5)  # of the seeds' pixels in a picture: black, usual, and white
MOST_LIGHT = 2.5  # of what black is below the median of a picture's seeds: glare leaves no dark seed black


def volume_limits(scan: ScanView) -> tuple[float, float]:
    """Grey values of black and white that suit the seeds of a volume."""
    solid = []
    depth = scan.regions.shape[0]
    for z in np.unique(np.linspace(0, depth - 1, min(LEVEL_PLANES, depth)).astype(int)).tolist():
        inside = np.asarray(scan.regions[z : z + 1]) > 0
        if inside.any():
            solid.append(np.asarray(scan.image[z : z + 1], np.float32)[inside])
    if not solid:
        return 0.0, 1.0
    black, middle, white = _percentiles(np.concatenate(solid), (SOLID[0], 50.0, SOLID[1]))
    return black, min(white, middle + MOST_WHITE * (middle - black))


def plane_limits(scan: ScanView, bands: Sequence[int]) -> npt.NDArray[np.float64]:
    """Values of black and full colour per band (c, 2) that suit the seeds of a scan in one plane.

    Those of a picture are taken inside the seeds; its colours share one range from zero, so that their
    balance stays as it is. The bands of a cube are stretched over the whole plane.
    """
    if scan.modality != "image":
        planes = (np.asarray(scan.image[b], np.float32) for b in bands)
        return np.asarray([_percentiles(plane, BAND) for plane in planes], np.float64)
    seen = _inside(scan, bands)
    if len(bands) == 3:
        seen = [np.concatenate(seen)] * 3
    limits = []
    for values in seen:
        black, middle, white = _percentiles(values, PICTURE)
        black = 0.0 if len(bands) == 3 else black
        light = black + MOST_LIGHT * (middle - black)
        limits.append((black, min(white, light) if middle > black else white))
    return np.asarray(limits, np.float64)


def _inside(scan: ScanView, bands: Sequence[int]) -> list[npt.NDArray[np.float32]]:
    """Some of the seeds' pixels in each band; where no seed is met, of all."""
    height = scan.regions.shape[1]
    n_slabs = min(SLABS, -(-height // LINES))
    starts = np.linspace(0, max(0, height - LINES), n_slabs).astype(int).tolist()
    places = [slice(y, min(y + LINES, height)) for y in starts]
    own = [np.asarray(scan.regions[0:1, place])[0] > 0 for place in places]
    is_met = any(mask.any() for mask in own)

    def of_band(band: int) -> npt.NDArray[np.float32]:
        slabs = [np.asarray(scan.image[band, place], np.float32) for place in places]
        return np.concatenate([v[m] if is_met else v.ravel() for v, m in zip(slabs, own, strict=True)])

    return [of_band(b) for b in bands]


def _percentiles(values: npt.NDArray[np.float32], shares: tuple[float, ...]) -> tuple[float, ...]:
    """Percentiles of the finite values, the last at least above the first."""
    known = values[np.isfinite(values)]
    if not known.size:
        return (*(0.0 for _ in shares[1:]), 1.0)
    found = [float(v) for v in np.percentile(known[:: max(1, known.size // 2_000_000)], shares)]
    return tuple(found) if found[-1] > found[0] else (*found[:-1], found[0] + 1.0)


def thumbs_of(
    scan: ScanView, bands: Sequence[int], cell_um: float
) -> Iterator[tuple[int, Thumb, Spectrum | None]]:
    """Yield (seed id, (3, 40, 40) uint8, spectrum or None) of the seeds of a scan.

    Parameters
    ----------
    scan : ScanView
        What to read.
    bands : sequence of int
        One or three planes that a scan in one plane is shown by; unused for a volume.
    cell_um : float
        Edge of a pixel.
    """
    flat = scan.regions.shape[0] == 1
    boxes = scan.table.box.astype(np.int64)
    fits = np.flatnonzero((boxes[:, 3:] - boxes[:, :3]).prod(1) <= MOST_VOXELS)
    if not flat:
        grey = volume_limits(scan)
        for row, image, raster in seed_boxes(scan, fits):
            own = raster == scan.table.region[row]
            yield int(scan.table.seed[row]), volume_thumb(image, own, scan.scale_um, cell_um, grey), None
        return
    view, limits = replace(scan, table=_widened(scan)), plane_limits(scan, bands)
    for row, image, raster in seed_boxes(view, fits):
        own = raster[0] == scan.table.region[row]
        picture = plane_thumb(image[list(bands)], own, scan.scale_um[1:], cell_um, limits)
        spectrum = mean_spectrum(image, own) if scan.modality == "hsi" else None
        yield int(scan.table.seed[row]), picture, spectrum


def _widened(scan: ScanView) -> Any:
    """The region table with a margin around each box, within the scan."""
    box = scan.table.box.astype(np.int64)
    pad = np.maximum(2, np.ceil(CUT_MARGIN * (box[:, 3:] - box[:, :3]).max(1)))[:, None].astype(np.int64)
    pad = pad * np.asarray([0, 1, 1])
    low, high = np.maximum(box[:, :3] - pad, 0), np.minimum(box[:, 3:] + pad, scan.regions.shape)
    return replace(scan.table, box=np.concatenate([low, high], 1).astype(np.int32))


def run(folder: Path) -> Generator[Progress, None, JobResult]:
    """Job: thumbnails of the seeds of some scans of one modality.

    Parameters in the request: ``scans`` (see the job protocol), each with ``bands``, the planes that a flat
    scan is shown by; ``cell_um``, the edge of a pixel (None: such that all but the largest seeds fit);
    ``known``, the source of an earlier ``thumbs.zarr``, with ``known.npz``: seed (m,), row (m,) of it and
    spectrum (m, b) of the seeds that keep their picture. ``keys.npz``: seed, key of the others.

    Writes ``thumbs.zarr`` (n, 120, 40) uint8, the three cuts or colours below each other, in the order of
    ``thumbs.npz``: seed (n,) int64 ascending, spectrum (n, b) float32 (b = 0 but for cubes), cell_um.
    """
    request = read_request(folder)
    params = request.params
    yield Progress(0, 0, "opening the scans")
    inputs = read_scans(folder, params) if params["scans"] else []  # another job may have drawn them all
    bands = {int(e["scan"]): tuple(e["bands"]) for e in params["scans"]}
    views = [ScanView(s.modality, s.image, s.regions, s.table, s.voxel_size_um) for s in inputs]
    total = sum(len(v.table) for v in views)
    cell = float(params.get("cell_um") or _common_cell(views))
    found: dict[int, tuple[Thumb, Spectrum | None]] = {}
    for scan, view in zip(inputs, views, strict=True):
        for n, (seed, thumb, spectrum) in enumerate(thumbs_of(view, bands[scan.scan], cell)):
            found.setdefault(seed, (thumb, spectrum))
            if n % STEP == 0:
                yield Progress(len(found), total, "drawing thumbnails")
    yield Progress(total, total, "writing thumbnails")
    n_all = _write(folder, params, found, cell)
    return JobResult({"n_seeds": n_all, "n_new": len(found)}, ("thumbs.npz", "thumbs.zarr"))


def _common_cell(views: Sequence[ScanView]) -> float:
    """Of the scan whose seeds need the largest pixels."""
    return max((common_cell(v.table.box, v.scale_um) for v in views), default=1.0)


def _write(
    folder: Path,
    params: Mapping[str, Any],
    found: Mapping[int, tuple[Thumb, Spectrum | None]],
    cell_um: float,
) -> int:
    """Lay new thumbnails among the known ones, by seed; returns how many there are."""
    known: dict[str, npt.NDArray[Any]] = {}
    source = params.get("known")
    if source:
        known = files.load_arrays(folder / "known.npz")
    row_of = dict(zip(known["seed"].tolist(), known["row"].tolist(), strict=True)) if known else {}
    seeds = np.asarray(sorted(row_of.keys() | found.keys()), np.int64)
    spectra = [s for _, s in found.values() if s is not None]
    width = len(spectra[0]) if spectra else known["spectrum"].shape[1] if known else 0
    spectrum = np.full((len(seeds), min(width, N_BANDS)), np.nan, np.float32)
    old = files.open_array(files.ArraySource.from_json(source)) if source else None
    out = files.create_zarr(
        folder / "thumbs.zarr", (len(seeds), 3 * EDGE, EDGE), (PAGE, 3 * EDGE, EDGE), "u1"
    )
    place = {s: i for i, s in enumerate(known["seed"].tolist())} if known else {}
    for start in range(0, len(seeds), ROWS):
        page = np.zeros((min(ROWS, len(seeds) - start), 3 * EDGE, EDGE), np.uint8)
        for i, seed in enumerate(seeds[start : start + ROWS].tolist()):
            if seed in found:
                picture, values = found[seed]
                page[i] = picture.reshape(3 * EDGE, EDGE)
            else:
                assert old is not None
                page[i], values = old[row_of[seed] : row_of[seed] + 1][0], known["spectrum"][place[seed]]
            if values is not None and len(values) == spectrum.shape[1]:
                spectrum[start + i] = values
        out[start : start + len(page)] = page
    files.save_arrays(folder / "thumbs.npz", seed=seeds, spectrum=spectrum, cell_um=np.asarray(cell_um))
    return len(seeds)
