"""What is read from disk for showing; every function here runs beside the event loop."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_seedlab import files
from napari_seedlab.core import Modality

if TYPE_CHECKING:
    from napari_seedlab.core import Scan
    from napari_seedlab.imaging.cuts import Pose
    from napari_seedlab.session.session import Session
    from napari_seedlab.ui.views import ArrayLike

MOST_VOXELS = 2**27  # of a box around one seed: larger ones, such as a bed that was never split, stay unread
FAINT = 0.05  # heat of the shared scale below which no colour is seen
IN_MEMORY = 256 * 2**20  # bytes; a smaller raster is held whole, so that a slice costs nothing


Heated = tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]  # a picture, and the heat on it


@dataclass(frozen=True)
class SeedBlock:
    """The voxels around one seed: grey values and whether they are the seed's, (z, y, x) each.

    `low` is the scan's voxel at the first corner, `size_um` the edges of a voxel.
    """

    scan: Scan
    grey: npt.NDArray[Any]
    inside: npt.NDArray[np.bool_]
    low: tuple[int, int, int]
    size_um: tuple[float, float, float]


@dataclass(frozen=True)
class Portrait:
    """What the Inspect dock draws of a seed.

    Attributes
    ----------
    seed : int
        Whose it is.
    cuts : tuple of (rows, columns) or (rows, columns, 3) uint8
        Lengthwise, edge on, across, in the seed's own axes; one for a plane, in colour and as it lies for a
        photo, none where no scan shows it.
    cell_um : float or None
        Edge of their pixels; None where the voxel size is unknown.
    odd : (picture, heat) or None
        Cut through the oddest voxel, uint8, or the photo, and the heat there, float32, 0-1 of the scale of
        all seeds.
    spectrum : (x, y) or None
        See :func:`read_spectrum`.
    """

    seed: int
    cuts: tuple[npt.NDArray[np.uint8], ...] = ()
    cell_um: float | None = None
    odd: Heated | None = None
    spectrum: tuple[npt.NDArray[Any], npt.NDArray[Any]] | None = None


@dataclass(frozen=True)
class SeedAlone:
    """A seed without its surroundings, and where it lies in the world of the viewer."""

    seed: int
    voxels: npt.NDArray[Any]
    limits: tuple[float, float]
    place: dict[str, Any]


@dataclass(frozen=True)
class OpenedScan:
    """A scan ready for the viewer: its voxels, grey limits, colours, regions.

    Of a colour picture `image` is the mean of the colours, (1, y, x), in which thresholds are looked for.
    """

    scan: Scan
    image: ArrayLike
    limits: tuple[float, float]
    composite: npt.NDArray[np.uint8] | None
    regions: ArrayLike | None


def warm_layers() -> None:
    """Make a layer of each kind and forget it: for the first, napari loads pandas, scipy and tables of units.

    On the thread of the widgets this takes 0.7 s.
    """
    from napari.layers import Image, Labels

    voxels = np.zeros((1, 1, 1), np.uint8)
    units = ("um", "um", "um")
    Image(voxels, contrast_limits=(0, 1), multiscale=False, units=units)
    Labels(voxels, multiscale=False, units=units)


def read_scan(session: Session, scan: int) -> OpenedScan:
    """Open a scan of the session, with what its first picture needs."""
    known = session.scans[scan]
    if known.facts.is_colour:
        return _colour_picture(session, known)
    image = open_for_viewing(session.scan_source(scan))
    picture = (
        _false_colours(session.scan_source(scan), known.facts.wavelengths_nm)
        if known.facts.modality is Modality.HSI
        else None
    )
    return OpenedScan(known, image, grey_limits(image), picture, read_regions(session, scan))


@lru_cache(maxsize=2)
def _false_colours(
    source: files.ArraySource, wavelengths_nm: tuple[float, ...] | None
) -> npt.NDArray[np.uint8]:
    """Picture (y, x, 3) of a cube, made once for the viewer and all cards."""
    from napari_seedlab.io.hsi_view import composite

    return composite(source, wavelengths_nm)


def _colour_picture(session: Session, scan: Scan) -> OpenedScan:
    """Its colours at once, and their mean (1, y, x) in the file's own levels, for thresholds."""
    bands = files.open_array(session.scan_source(scan.id))
    planes = [bands[i] for i in range(3)]
    colours = np.stack([_in_bytes(plane) for plane in planes], axis=-1)
    total = np.add.reduce(planes, axis=0, dtype=np.uint32)
    mean = np.asarray(total[np.newaxis] // 3, planes[0].dtype)
    return OpenedScan(scan, mean, grey_limits(mean), colours, read_regions(session, scan.id))


def _in_bytes(band: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Integers of 16 bits as their upper byte."""
    return band if band.dtype == np.uint8 else np.asarray(band >> 8, np.uint8)


def read_regions(session: Session, scan: int) -> ArrayLike | None:
    """Region raster of a scan, held in memory where it is small; None before it is split."""
    source = session.regions_source(scan)
    return None if source is None else in_memory(source)


def in_memory(source: files.ArraySource) -> ArrayLike:
    """The whole array where it is small, else a lazy one."""
    array = files.open_array(source)
    return array[...] if array.nbytes <= IN_MEMORY else array


def open_for_viewing(source: files.ArraySource) -> ArrayLike:
    """Raw layouts read slices straight from the file; compressed chunks come through dask."""
    return files.as_dask(source) if source.layout == "zarr" else files.open_array(source)


def grey_limits(image: ArrayLike) -> tuple[float, float]:
    """Grey values between which the middle slice lies, but for 0.1 % at either end."""
    plane = np.asarray(image[image.shape[0] // 2], np.float32)
    finite = plane[np.isfinite(plane)]
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(finite, (0.1, 99.9)))
    return (low, high) if high > low else (low, low + 1.0)


def automatic_threshold(image: ArrayLike, scan: Scan, recipe: dict[str, Any]) -> float:
    """The grey value that a split with this recipe would take, found on every fourth plane at most."""
    from napari_seedlab.imaging.split import SplitRecipe, foreground_threshold

    if scan.facts.has_bands and not scan.facts.is_colour:
        block = np.asarray(image[image.shape[0] // 2])[None]
    else:
        step = max(1, image.shape[0] // 64)
        block = np.asarray(image[::step])
    return float(foreground_threshold(block, SplitRecipe(**recipe)))


def read_cuts(session: Session, seed: int) -> tuple[npt.NDArray[Any], ...] | None:
    """Three orthogonal cuts of a seed for its card, one in colour of a photo or a cube.

    None when no scan shows it, or when its region is too large to be held whole.
    """
    from napari_seedlab.imaging.cuts import three_cuts
    from napari_seedlab.ui import photos

    place = session.place_of(seed)
    if place is None:
        return None
    scan, row = place
    table, source = session.regions(scan), session.regions_source(scan)
    if table is None or source is None:
        return None
    facts = session.scans[scan].facts
    if facts.is_colour and photos.n_values(table.box[row], facts.region_shape[1:]) > MOST_VOXELS:
        return None
    image, regions = files.open_array(session.scan_source(scan)), files.open_array(source)
    if facts.is_colour:
        return (photos.for_card(image, regions, int(table.region[row]), table.box[row]),)
    if facts.modality is Modality.HSI:
        planes = np.moveaxis(_false_colours(session.scan_source(scan), facts.wavelengths_nm), -1, 0)
        return (photos.for_card(planes, regions, int(table.region[row]), table.box[row]),)
    cuts = three_cuts(image, regions, int(table.region[row]), table.box[row])
    return cuts[:1] if facts.region_shape[0] == 1 else cuts


def read_spectrum(session: Session, seed: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]] | None:
    """Mean spectrum of a seed as (wavelengths in nm or band numbers, values); None for other scans."""
    place = session.place_of(seed)
    if place is None or session.scans[place[0]].facts.modality is not Modality.HSI:
        return None
    scan, row = place
    table, source = session.regions(scan), session.regions_source(scan)
    if table is None or source is None:
        return None
    _, y0, x0, _, y1, x1 = (int(v) for v in table.box[row])
    cut = (slice(y0, y1), slice(x0, x1))
    inside = files.open_array(source)[(0, *cut)] == table.region[row]
    block = files.open_array(session.scan_source(scan))[(slice(None), *cut)]
    nm = session.scans[scan].facts.wavelengths_nm
    axis = np.asarray(nm if nm else range(block.shape[0]), np.float64)
    return axis, np.asarray(block[:, inside], np.float64).mean(1)


def read_block(session: Session, seed: int) -> SeedBlock | None:
    """The voxels around a seed; None when no scan shows it, or when it is too large to be held whole."""
    from napari_seedlab.imaging.cuts import seed_block

    place = session.place_of(seed)
    if place is None:
        return None
    scan, row = session.scans[place[0]], place[1]
    table, source = session.regions(scan.id), session.regions_source(scan.id)
    if table is None or source is None:
        return None
    if np.prod(np.diff(table.box[row].reshape(2, 3).astype(np.int64), axis=0)) > MOST_VOXELS:
        return None
    image, regions = files.open_array(session.scan_source(scan.id)), files.open_array(source)
    size = scan.facts.scale_um
    grey, inside, low = seed_block(image, regions, int(table.region[row]), table.box[row], size)
    return SeedBlock(scan, grey, inside, low, size) if inside.any() else None


def read_portrait(session: Session, seed: int) -> Portrait:
    """Cuts of a seed in its own axes, where it is odd, and its spectrum: what there is of these."""
    from napari_seedlab.imaging.cuts import own_cuts, seed_pose

    place = session.place_of(seed)
    if place is not None and session.scans[place[0]].facts.is_colour:
        return _read_photo(session, seed, *place)
    block = read_block(session, seed)
    if block is None:
        return Portrait(seed)
    pose = seed_pose(block.grey, block.inside, block.size_um)
    cuts = own_cuts(block.grey, block.inside, pose)
    cell_um = pose.cell_um if block.scan.facts.voxel_size_um else None
    return Portrait(seed, cuts, cell_um, read_odd(session, block, pose), read_spectrum(session, seed))


def _read_photo(session: Session, seed: int, scan: int, row: int) -> Portrait:
    """A seed as its photo shows it, and the heat on it."""
    from napari_seedlab.ui import photos

    facts, table, source = session.scans[scan].facts, session.regions(scan), session.regions_source(scan)
    if table is None or source is None:
        return Portrait(seed)
    if photos.n_values(table.box[row], facts.region_shape[1:]) > MOST_VOXELS:
        return Portrait(seed)
    window = photos.window_around(table.box[row], facts.region_shape[1:])
    inside = files.open_array(source)[(0, *window)] == table.region[row]
    picture = photos.in_colour(files.open_array(session.scan_source(scan)), window, inside)
    heat = _read_heat(session, session.scans[scan], (slice(0, 1), *window), inside[np.newaxis])
    odd = None if heat is None else (picture, heat[0])
    return Portrait(seed, (picture,), facts.scale_um[2] if facts.voxel_size_um else None, odd)


def read_odd(session: Session, block: SeedBlock, pose: Pose) -> Heated | None:
    """The cut through the oddest voxel of a seed, grey and heat; None without a heatmap.

    Of the three cuts in its own axes it is the one nearest to the centroid; through the centroid itself
    where no heat is to be seen.
    """
    from napari_seedlab.imaging.cuts import cut_across, own_cuts

    ends = zip(block.low, block.grey.shape, strict=True)
    heat = _read_heat(session, block.scan, tuple(slice(a, a + n) for a, n in ends), block.inside)
    if heat is None:
        return None
    top = np.asarray(np.unravel_index(int(heat.argmax()), heat.shape)) * pose.voxel_size_um
    offset = (top - pose.centre) @ pose.axes.T * (heat.max() >= FAINT)
    is_plane = block.grey.shape[0] == 1
    axis = 2 if is_plane else 2 - int(np.argmin((np.abs(offset) / (pose.high - pose.low))[::-1]))
    long, middle, short = offset.tolist()
    grey = own_cuts(block.grey, block.inside, pose, (long, middle, short))[2 - axis]
    return grey, cut_across(heat, pose, axis, float(offset[axis]))


def _read_heat(
    session: Session, scan: Scan, where: tuple[slice, ...], inside: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float32] | None:
    """The heat of a seed in a part of its scan, 0-1 of the scale of all seeds; None without a heatmap."""
    found = session.anomaly
    source = None if found is None else found.heat.get(scan.id)
    if found is None or source is None:
        return None
    raster = files.open_array(source)
    if tuple(raster.shape) != scan.facts.region_shape:
        return None
    stored = np.asarray(raster[where], np.float32)
    low, high = (0.0, 255.0) if raster.dtype == np.uint8 else found.scale
    heat = np.clip((stored - low) / max(high - low, 1e-6), 0, 1)
    return np.asarray(np.where(inside, heat, 0), np.float32)


def read_alone(session: Session, seed: int) -> SeedAlone | None:
    """A seed alone for a layer in its place; None when no scan shows it."""
    from napari_seedlab.imaging.cuts import isolated

    block = read_block(session, seed)
    if block is None:
        return None
    voxels, step = isolated(block.grey, block.inside)
    size, low = np.asarray(block.size_um), np.asarray(block.low)
    length = "um" if block.scan.facts.voxel_size_um else "pixel"
    place = {
        "scale": tuple((size * step).tolist()),
        "translate": tuple(((low + (step - 1) / 2) * size).tolist()),  # of the first cube's centre
        "units": (length,) * 3,
        "axis_labels": block.scan.facts.axes,
    }
    black, white = (float(v) for v in np.percentile(block.grey[block.inside], (0.5, 99.5)))
    return SeedAlone(seed, voxels, (black, max(white, black + 1e-6)), place)
