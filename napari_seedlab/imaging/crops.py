"""Seeds cut out of a scan onto one small cube each, and the way back to the scan's voxels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from napari_seedlab.core import RegionTable

    Float = npt.NDArray[np.float32]
    Mask = npt.NDArray[np.bool_]

CUT_MARGIN = 0.1  # of a seed's longest edge, shown around it on a card
DIMMED = 0.4  # brightness of what lies outside the seed on a card


class Raster(Protocol):
    """What crops are read from: a numpy array, or a lazy one that slices into numpy."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""

    def __getitem__(self, key: Any, /) -> Any:
        """The voxels of a tuple of slices."""


@dataclass(frozen=True)
class _Window:
    """A cube of `size`³ cells over a box of a scan.

    `step` is the edge of a cell in voxels along z, y, x; `low` and `high` bound the voxels that
    the cells touch, clipped to the scan; `start` is the centre of the first cell in voxels.
    """

    size: int
    step: tuple[float, float, float]
    start: tuple[float, float, float]
    low: tuple[int, int, int]
    high: tuple[int, int, int]

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        z, y, x = (slice(a, b) for a, b in zip(self.low, self.high, strict=True))
        return z, y, x


def _window(
    box: npt.ArrayLike, shape: tuple[int, ...], size: int, margin: float, voxel_size_um: tuple[float, ...]
) -> _Window:
    """The window whose cells are cubes in µm, centred on `box`; `margin` cells around its longest edge."""
    bounds = np.asarray(box, np.float64).reshape(2, 3)
    scale = np.asarray(voxel_size_um, np.float64)
    edge = (bounds[1] - bounds[0]) * scale  # (3,) µm
    step = edge.max() / (size - 2 * margin) / scale  # (3,) voxels per cell
    centre = bounds.mean(0) - 0.5  # voxel centres lie at integers
    start = centre - step * (size - 1) / 2
    reach = np.maximum(step, 1.0)
    low = np.maximum(np.floor(start - reach).astype(int), 0)
    high = np.minimum(np.ceil(start + step * (size - 1) + reach).astype(int) + 1, shape)
    return _Window(size, *(tuple(v.tolist()) for v in (step, start, low, high)))


def _hat(targets: npt.NDArray[np.floating], sources: npt.NDArray[np.floating], width: float) -> Float:
    """Rows of linear interpolation weights (targets, sources): a triangle of half-width max(1, `width`).

    At `width` ≤ 1 source voxel this is linear interpolation; above, the wider triangle averages the
    voxels between two targets (no aliasing). Targets outside take the nearest source.
    """
    if len(sources) == 1:  # a plane repeats along its normal
        return np.ones((len(targets), 1), np.float32)
    inside = np.clip(targets, sources[0], sources[-1])
    weights = np.maximum(1.0 - np.abs(inside[:, None] - sources[None]) / max(1.0, width), 0.0)
    return np.asarray(weights / weights.sum(1, keepdims=True), np.float32)


def _apply(block: Float, weights: list[Float]) -> Float:
    """Separable resampling of (z, y, x): one matrix per axis."""
    along_x = block @ weights[2].T  # (z, y, X)
    along_y = weights[1] @ along_x  # (z, Y, X)
    n_z, n_y, n_x = along_y.shape
    cells = np.asarray(weights[0] @ along_y.reshape(n_z, n_y * n_x))  # (Z, Y · X)
    return cells.reshape(-1, n_y, n_x)  # (Z, Y, X)


def _resample(block: Float, window: _Window) -> Float:
    """Voxels of the window's block (z, y, x) → cells (size, size, size)."""
    cells = np.arange(window.size)
    weights = [
        _hat(start + cells * step, np.arange(low, high, dtype=np.float64), step)
        for start, step, low, high in zip(window.start, window.step, window.low, window.high, strict=True)
    ]
    return _apply(block, weights)


def _read(image: Raster, slices: tuple[slice, slice, slice], plane: bool) -> Float:
    """Voxels as float32; a cube (band, y, x) over a plane of regions is averaged over its bands."""
    if plane and image.shape[0] > 1:
        bands = np.asarray(image[(slice(None), *slices[1:])], np.float32)
        return np.asarray(bands.mean(0, keepdims=True))
    return np.asarray(image[slices], np.float32)


def _cut(image: Raster, regions: Raster, region_id: int, window: _Window) -> tuple[Float, Mask]:
    grey = _read(image, window.slices, regions.shape[0] == 1)
    inside = np.asarray(regions[window.slices]) == region_id
    crop = _resample(np.nan_to_num(grey), window)
    return crop, _resample(inside.astype(np.float32), window) > 0.5


def seed_crop(
    image: Raster, regions: Raster, region_id: int, box: npt.ArrayLike, size: int = 32, margin: float = 2
) -> tuple[Float, Mask]:
    """Cut one seed out of a scan onto a cube with equal cells along all axes.

    Parameters
    ----------
    image : (z, y, x) or (band, y, x) array or lazy array
        Grey values of any number type; bands are averaged when `regions` is one plane.
    regions : (z, y, x) array or lazy array of int
        Region ids; (1, y, x) for a plane, which then repeats along z.
    region_id : int
        The region to cut out.
    box : (6,) int
        Half-open box z0, y0, x0, z1, y1, x1 in voxels.
    size : int
        Cells along each edge of the cube.
    margin : float
        Cells between the longest edge of the box and the cube's faces.

    Returns
    -------
    crop : (size, size, size) float32
        Grey values, neighbours included; voxels are averaged where cells are larger than voxels.
    mask : (size, size, size) bool
        Whether a cell lies at least half inside the region.
    """
    return _cut(image, regions, region_id, _window(box, regions.shape, size, margin, (1.0, 1.0, 1.0)))


def seed_crops(
    image: Raster,
    regions: Raster,
    table: RegionTable,
    size: int = 32,
    margin: float = 2,
    voxel_size_um: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Iterator[tuple[Float, Mask]]:
    """Cut out every region of a table, one after the other, as :func:`seed_crop` does.

    Cells are cubes in µm where `voxel_size_um` (z, y, x) is given.
    """
    for region_id, box in zip(table.region.tolist(), table.box, strict=True):
        yield _cut(image, regions, region_id, _window(box, regions.shape, size, margin, voxel_size_um))


def normalise_crop(crop: Float, mask: Mask) -> Float:
    """Grey values relative to the seed itself: (v − median) / std over its cells, 0 outside.

    Brightness and contrast of the scan drop out; a seed without contrast gives zeros.
    """
    inside = crop[mask]
    if inside.size == 0:
        return np.zeros(crop.shape, np.float32)
    spread = float(inside.std())
    scaled = (crop - np.float32(np.median(inside))) / np.float32(spread if spread > 1e-6 else 1.0)
    return np.where(mask, scaled, np.float32(0)).astype(np.float32)


def with_mask(crop: Float, mask: Mask) -> Float:
    """Stack a normalised crop and its mask as channels: (2, size, size, size) float32."""
    return np.stack([normalise_crop(crop, mask), mask.astype(np.float32)])


def uncrop(
    heat: Float,
    box: npt.ArrayLike,
    margin: float = 2,
    voxel_size_um: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Float:
    """Values of the cells of :func:`seed_crop` at the voxels of the box, by linear interpolation.

    Parameters
    ----------
    heat : (size, size, size) float32
        One value per cell.
    box, margin, voxel_size_um
        As the crop was cut.

    Returns
    -------
    (z1 − z0, y1 − y0, x1 − x0) float32
        Set what lies outside the region to 0 with the region raster.
    """
    bounds = np.asarray(box, np.int64).reshape(2, 3)
    window = _window(box, tuple(bounds[1].tolist()), heat.shape[0], margin, voxel_size_um)
    cells = np.arange(heat.shape[0], dtype=np.float64)
    weights = [
        _hat(
            (np.arange(bounds[0, axis], bounds[1, axis]) - window.start[axis]) / window.step[axis], cells, 1.0
        )
        for axis in range(3)
    ]
    return _apply(np.asarray(heat, np.float32), weights)


def three_cuts(
    image: Raster, regions: Raster, region_id: int, box: npt.ArrayLike
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Three cuts through a seed's centroid for its card: squares of one size and one scale.

    Returns
    -------
    yx, zx, zy : (n, n) uint8
        Cuts at the centroid's z, y and x, stretched between the seed's 0.5 and 99.5 percentiles;
        surroundings are dimmed. Three times the same picture for a plane.
    """
    bounds = np.asarray(box, np.int64).reshape(2, 3)
    pad = max(2, round(CUT_MARGIN * int((bounds[1] - bounds[0]).max())))
    low, high = np.maximum(bounds[0] - pad, 0), np.minimum(bounds[1] + pad, regions.shape)
    slices = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
    grey = np.nan_to_num(_read(image, slices, regions.shape[0] == 1))
    inside = np.asarray(regions[slices]) == region_id
    if not inside.any():
        inside = np.ones_like(inside)
    black, white = np.percentile(grey[inside], (0.5, 99.5))
    shown = np.clip((grey - black) / max(float(white - black), 1e-6), 0, 1) * np.where(
        inside, 255, 255 * DIMMED
    )
    z, y, x = (round(float(v)) for v in np.argwhere(inside).mean(0))
    planes = (shown[z],) * 3 if shown.shape[0] == 1 else (shown[z], shown[:, y], shown[:, :, x])
    edge = max(shown.shape)
    yx, zx, zy = (_square(plane.astype(np.uint8), edge) for plane in planes)
    return yx, zx, zy


def _square(plane: npt.NDArray[np.uint8], edge: int) -> npt.NDArray[np.uint8]:
    """`plane` in the middle of an (edge, edge) square of black."""
    out = np.zeros((edge, edge), np.uint8)
    top, left = ((edge - n) // 2 for n in plane.shape)
    out[top : top + plane.shape[0], left : left + plane.shape[1]] = plane
    return out
