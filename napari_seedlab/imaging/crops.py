"""Seeds cut out of a scan onto one small cube each, and the way back to the scan's voxels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from napari_seedlab.core import RegionTable

    Float = npt.NDArray[np.float32]
    Mask = npt.NDArray[np.bool_]


GAP = 3  # cells that a crack or tunnel is half as wide as, at most


class Raster(Protocol):
    """What crops are read from: a numpy array, or a lazy one that slices into numpy."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""

    def __getitem__(self, key: Any, /) -> Any:
        """The voxels of a tuple of slices."""


class SeedCut(NamedTuple):
    """One seed on a grid of its own.

    Attributes
    ----------
    crop : (size, size, size) or (channel, size, size) float32
        Grey values, neighbours included; voxels are averaged where cells are larger than voxels.
    mask : (size, size, size) or (size, size) bool
        Whether a cell lies at least half inside the region, in voxels with a value.
    n_unknown : int
        Voxels of the region with NaN or infinite values.
    """

    crop: Float
    mask: Mask
    n_unknown: int


@dataclass(frozen=True)
class _Window:
    """A grid of cells (z, y, x) over a box of a scan, equally many along each axis or one along z.

    `step` is the edge of a cell in voxels along z, y, x; `low` and `high` bound the voxels that
    the cells touch, clipped to the scan; `start` is the centre of the first cell in voxels.
    """

    cells: tuple[int, int, int]
    step: tuple[float, float, float]
    start: tuple[float, float, float]
    low: tuple[int, int, int]
    high: tuple[int, int, int]

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        z, y, x = (slice(a, b) for a, b in zip(self.low, self.high, strict=True))
        return z, y, x

    def weights(self) -> list[Float]:
        """Interpolation weights (cells, voxels) from the voxels of the window, one matrix per axis."""
        axes = zip(self.cells, self.start, self.step, self.low, self.high, strict=True)
        return [
            _hat(start + np.arange(n) * step, np.arange(low, high, dtype=np.float64), step)
            for n, start, step, low, high in axes
        ]


def _window(
    box: npt.ArrayLike,
    shape: tuple[int, ...],
    cells: tuple[int, int, int],
    margin: float,
    voxel_size_um: tuple[float, ...],
) -> _Window:
    """The window whose cells are cubes in µm, centred on `box`; `margin` cells around its longest edge.

    With one cell along z they are squares, whatever the depth of a voxel.
    """
    bounds = np.asarray(box, np.float64).reshape(2, 3)
    scale = np.asarray(voxel_size_um, np.float64)
    is_plane = cells[0] == 1
    edge = ((bounds[1] - bounds[0]) * scale)[1 if is_plane else 0 :]  # µm
    step = edge.max() / (cells[-1] - 2 * margin) / scale  # (3,) voxels per cell
    if is_plane:
        step[0] = 1.0
    centre = bounds.mean(0) - 0.5  # voxel centres lie at integers
    start = centre - step * (np.asarray(cells) - 1) / 2
    reach = np.maximum(step, 1.0)
    low = np.maximum(np.floor(start - reach).astype(int), 0)
    high = np.minimum(np.ceil(start + step * (np.asarray(cells) - 1) + reach).astype(int) + 1, shape)
    return _Window(cells, *(tuple(v.tolist()) for v in (step, start, low, high)))


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


def _resample(values: Float, known: Mask, weights: list[Float]) -> Float:
    """Voxels (z, y, x) → cells; each is the mean of the known voxels around it."""
    if known.all():
        return _apply(values, weights)
    share = _apply(known.astype(np.float32), weights)
    total = _apply(np.where(known, values, np.float32(0)), weights)
    return np.asarray(total / np.maximum(share, 1e-6), np.float32)


def read_grey(image: Raster, slices: tuple[slice, slice, slice], plane: bool) -> Float:
    """Voxels as float32; a cube (band, y, x) over a plane of regions is averaged over its bands."""
    if plane and image.shape[0] > 1:
        bands = np.asarray(image[(slice(None), *slices[1:])], np.float32)
        return np.asarray(bands.mean(0, keepdims=True))
    return np.asarray(image[slices], np.float32)


def _cut(image: Raster, regions: Raster, region_id: int, window: _Window) -> SeedCut:
    grey = read_grey(image, window.slices, regions.shape[0] == 1)
    inside = np.asarray(regions[window.slices]) == region_id
    known, weights = np.isfinite(grey), window.weights()
    mask = _apply((inside & known).astype(np.float32), weights) > 0.5
    return SeedCut(_resample(grey, known, weights), mask, int((inside & ~known).sum()))


def seed_crop(
    image: Raster, regions: Raster, region_id: int, box: npt.ArrayLike, size: int = 32, margin: float = 2
) -> SeedCut:
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
    SeedCut
    """
    return _cut(image, regions, region_id, _window(box, regions.shape, (size,) * 3, margin, (1.0, 1.0, 1.0)))


def seed_crops(
    image: Raster,
    regions: Raster,
    table: RegionTable,
    size: int = 32,
    margin: float = 2,
    voxel_size_um: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Iterator[SeedCut]:
    """Cut out every region of a table, one after the other, as :func:`seed_crop` does.

    Cells are cubes in µm where `voxel_size_um` (z, y, x) is given.
    """
    for region_id, box in zip(table.region.tolist(), table.box, strict=True):
        yield _cut(image, regions, region_id, _window(box, regions.shape, (size,) * 3, margin, voxel_size_um))


def seed_planes(
    image: Raster,
    regions: Raster,
    table: RegionTable,
    size: int = 64,
    margin: float = 2,
    voxel_size_um: tuple[float, float, float] = (1.0, 1.0, 1.0),
    view: Callable[[Float], Float] | None = None,
) -> Iterator[SeedCut]:
    """Cut every region of a table out of a plane, onto a square grid with all channels.

    Parameters
    ----------
    image : (channel, y, x) array or lazy array
        Grey values, colours or bands of any number type.
    regions : (1, y, x) array or lazy array of int
        Region ids.
    table : RegionTable
        Which regions, and their boxes in voxels.
    size : int
        Cells along each edge of the grid.
    margin : float
        Cells between the longest edge of the box and the grid's edges.
    voxel_size_um : (3,) float
        Cells are squares in µm; the first number does not matter.
    view : callable, optional
        Turns the pixels (channel, y, x) of a box into others of any number of channels.

    Yields
    ------
    SeedCut
        Its crop is (channel, size, size), its mask (size, size). A pixel without a value in one channel
        has none at all.
    """
    for region_id, box in zip(table.region.tolist(), table.box, strict=True):
        window = _window(box, regions.shape, (1, size, size), margin, voxel_size_um)
        pixels = np.asarray(image[(slice(None), *window.slices[1:])], np.float32)
        inside = np.asarray(regions[window.slices])[0] == region_id
        known, weights = np.asarray(np.isfinite(pixels).all(0)), window.weights()
        if not known.all():
            pixels[:, ~known] = 0
        seen = pixels if view is None else view(pixels)
        crop = np.stack([_resample(plane[None], known[None], weights)[0] for plane in seen])
        mask = _apply((inside & known)[None].astype(np.float32), weights)[0] > 0.5
        yield SeedCut(crop, mask, int((inside & ~known).sum()))


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


def with_gaps(crop: Float, mask: Mask) -> Mask:
    """Cells (z, y, x) of a seed, and the dark ones of cracks and tunnels that open to the outside.

    A split leaves such gaps out of the region. They are what a closing by ``GAP`` cells adds, where it is
    nearer to the air of the crop than to the seed: a bright neighbour is none.
    """
    from scipy.ndimage import binary_closing, binary_fill_holes

    if not mask.any():
        return mask
    shut = binary_fill_holes(binary_closing(np.pad(mask, GAP + 1), iterations=GAP))
    inner = (slice(GAP + 1, -GAP - 1),) * mask.ndim
    dark = crop < (np.percentile(crop, 2) + np.median(crop[mask])) / 2
    return np.asarray(mask | (shut[inner] & dark))


def cells_of(
    voxels: npt.NDArray[np.integer],
    box: npt.ArrayLike,
    cells: tuple[int, ...],
    margin: float = 2,
    voxel_size_um: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Mask:
    """Cells of a :class:`SeedCut` that voxels of the scan lie in, or that lie in one of them.

    Parameters
    ----------
    voxels : (m, 3) int
        Places z, y, x inside the box.
    box, margin, voxel_size_um
        As the crop was cut.
    cells : (3,) or (2,) int
        Shape of the seed's mask.

    Returns
    -------
    mask : (*cells) bool
    """
    grid = (1, cells[0], cells[1]) if len(cells) == 2 else (cells[0], cells[1], cells[2])
    low, high = np.asarray(box, np.int64).reshape(2, 3)
    window = _window(box, tuple(high.tolist()), grid, margin, voxel_size_um)
    start, step = np.asarray(window.start), np.asarray(window.step)
    block = np.zeros(high - low + 2, np.bool_)  # with an empty rim, which cells outside the box fall on
    block[tuple((voxels - low + 1).T)] = True
    nearest = [
        np.clip(np.round(start[a] + step[a] * np.arange(n)) - low[a] + 1, 0, block.shape[a] - 1).astype(int)
        for a, n in enumerate(grid)
    ]
    out: Mask = block[np.ix_(*nearest)]
    places = np.round((voxels - start) / step).astype(np.int64)
    out[tuple(places[((places >= 0) & (places < grid)).all(1)].T)] = True
    return out.reshape(cells)


def uncrop(
    heat: Float,
    box: npt.ArrayLike,
    margin: float = 2,
    voxel_size_um: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Float:
    """Values of the cells of a :class:`SeedCut` at the voxels of the box, by linear interpolation.

    Parameters
    ----------
    heat : (size, size, size) or (size, size) float32
        One value per cell.
    box, margin, voxel_size_um
        As the crop was cut.

    Returns
    -------
    (z1 − z0, y1 − y0, x1 − x0) float32
        Set what lies outside the region to 0 with the region raster.
    """
    bounds = np.asarray(box, np.int64).reshape(2, 3)
    values = np.asarray(heat[None] if heat.ndim == 2 else heat, np.float32)
    window = _window(box, tuple(bounds[1].tolist()), values.shape, margin, voxel_size_um)
    weights = [
        _hat((np.arange(low, high) - start) / step, np.arange(n, dtype=np.float64), 1.0)
        for low, high, start, step, n in zip(*bounds, window.start, window.step, window.cells, strict=True)
    ]
    return _apply(values, weights)
