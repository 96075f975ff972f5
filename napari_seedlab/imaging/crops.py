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

CUT_MARGIN = 0.1  # of a seed's longest edge, shown around it on a card
DIMMED = 0.4  # brightness of what lies outside the seed on a card
CUT_CELLS = 160  # pixels along the longest axis of a cut in the seed's own axes
SKEWED = 0.05  # skewness below which a shape counts as symmetrical along an axis
POSE_VOXELS = 500_000  # a larger seed is measured on a coarser grid


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


def _read(image: Raster, slices: tuple[slice, slice, slice], plane: bool) -> Float:
    """Voxels as float32; a cube (band, y, x) over a plane of regions is averaged over its bands."""
    if plane and image.shape[0] > 1:
        bands = np.asarray(image[(slice(None), *slices[1:])], np.float32)
        return np.asarray(bands.mean(0, keepdims=True))
    return np.asarray(image[slices], np.float32)


def _cut(image: Raster, regions: Raster, region_id: int, window: _Window) -> SeedCut:
    grey = _read(image, window.slices, regions.shape[0] == 1)
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


@dataclass(frozen=True)
class Pose:
    """How a seed lies in its block, so that it can be shown the same way however it lies in the tray.

    Attributes
    ----------
    centre : (3,) float64
        Mean position of its voxels, z, y, x in µm from the centre of the block's first voxel.
    axes : (3, 3) float64
        Unit vectors z, y, x of the longest, the middle and the shortest principal axis, one per row.
    low, high : (3,) float64
        How far the seed reaches from its centre along each of them, in µm.
    voxel_size_um : (3,) float64
        Edges of a voxel along z, y, x.
    """

    centre: npt.NDArray[np.float64]
    axes: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    voxel_size_um: npt.NDArray[np.float64]

    @property
    def cell_um(self) -> float:
        """Edge of a pixel of :func:`cut_across`: the longest axis has ``CUT_CELLS``, margins included."""
        return float((self.high - self.low).max()) * (1 + 2 * CUT_MARGIN) / CUT_CELLS


def seed_block(
    image: Raster,
    regions: Raster,
    region_id: int,
    box: npt.ArrayLike,
    voxel_size_um: tuple[float, ...] = (1.0, 1.0, 1.0),
) -> tuple[npt.NDArray[Any], Mask, tuple[int, int, int]]:
    """The voxels around a seed, with the margin that :func:`own_cuts` shows however it is turned.

    Parameters
    ----------
    image, regions, region_id, box
        As for :func:`seed_crop`.
    voxel_size_um : (3,) float
        Edges of a voxel along z, y, x.

    Returns
    -------
    grey : (z, y, x) array
        In the scan's number type; float32 where bands are averaged. No NaN.
    inside : (z, y, x) bool
        Voxels of the seed.
    low : (3,) int
        Voxel of the scan at the block's first corner.
    """
    bounds, size = np.asarray(box, np.int64).reshape(2, 3), np.asarray(voxel_size_um, np.float64)
    diagonal = float(np.linalg.norm((bounds[1] - bounds[0]) * size))
    pad = np.ceil(CUT_MARGIN * diagonal / size).astype(int) + 1
    low, high = np.maximum(bounds[0] - pad, 0), np.minimum(bounds[1] + pad, regions.shape)
    slices = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
    is_cube = regions.shape[0] == 1 and image.shape[0] > 1
    grey = _read(image, slices, True) if is_cube else np.asarray(image[slices])
    inside = np.asarray(regions[slices]) == region_id
    z, y, x = (int(v) for v in low)
    return np.nan_to_num(grey) if grey.dtype.kind == "f" else grey, inside, (z, y, x)


def seed_pose(
    grey: npt.NDArray[Any], inside: Mask, voxel_size_um: tuple[float, ...] = (1.0, 1.0, 1.0)
) -> Pose:
    """Principal axes of a seed: eigenvectors of the covariance of its voxels' positions in µm.

    Each axis points to where the third moment of the positions along it is positive: the seed's longer
    tail. Where the shape is symmetrical (skewness below ``SKEWED``) the third moment weighted by the grey
    values decides. All three signs are the seed's own, so that a turned seed keeps its cuts; the three
    need not be right-handed, so that pictures may be mirrored.

    Parameters
    ----------
    grey : (z, y, x) array
        Grey values of the block.
    inside : (z, y, x) bool
        Voxels of the seed, at least one; above ``POSE_VOXELS`` every second, third... along each axis
        is taken.
    voxel_size_um : (3,) float
        Edges of a voxel along z, y, x.

    Raises
    ------
    ValueError
        No voxel is inside.
    """
    step = max(1, int(np.ceil((np.count_nonzero(inside) / POSE_VOXELS) ** (1 / 3))))
    where = np.argwhere(inside[::step, ::step, ::step]) * step if inside.any() else np.zeros((0, 3), int)
    if not len(where):
        raise ValueError("no voxel is inside")
    size = np.asarray(voxel_size_um, np.float64)
    centre = (where * size).mean(0)
    offsets = where * size - centre  # (n, 3) µm
    _, vectors = np.linalg.eigh(offsets.T @ offsets / len(where))  # ascending
    axes = vectors.T[::-1]
    along = offsets @ axes.T  # (n, 3) µm
    weights = stretched(grey[tuple(where.T)], grey[tuple(where.T)])
    signs = np.asarray([_direction(t, weights) for t in along.T])
    along, axes = along * signs, axes * signs[:, None]
    half = size.min() / 2
    return Pose(centre, axes, along.min(0) - half, along.max(0) + half, size)


def _direction(along: npt.NDArray[np.float64], weights: Float) -> float:
    """1 or -1: the sign that makes the third moment along an axis positive."""
    cubed = along**3
    spread = float((along**2).mean()) ** 1.5
    moment = float(cubed.mean())
    if abs(moment) < SKEWED * spread:
        moment = float((cubed * weights).mean())
    return -1.0 if moment < 0 else 1.0


def cut_across(values: npt.NDArray[Any], pose: Pose, axis: int, at_um: float = 0.0) -> Float:
    """Values on a plane across one principal axis, trilinear between voxels, 0 outside the block.

    Parameters
    ----------
    values : (z, y, x) array
        Of the block of the seed.
    pose : Pose
        Where the seed lies in that block.
    axis : int
        The axis that the plane cuts: 2, the shortest, shows the longest against the middle one; 1 the
        longest against the shortest; 0 the middle against the shortest.
    at_um : float
        Where it cuts, in µm from the centre.

    Returns
    -------
    (rows, columns) float32
        Pixels are squares of ``pose.cell_um``; the longer axis runs to the right, the other one down.
    """
    from scipy.ndimage import map_coordinates

    right, down = (a for a in range(3) if a != axis)
    columns, rows = (_cells(pose, a) for a in (right, down))  # µm along each
    places = (
        (pose.centre + at_um * pose.axes[axis])[:, None, None]
        + pose.axes[right][:, None, None] * columns[None, None, :]
        + pose.axes[down][:, None, None] * rows[None, :, None]
    )  # (3, rows, columns) µm
    voxels = places / pose.voxel_size_um[:, None, None]
    if values.shape[0] == 1:  # a plane repeats along its normal
        voxels[0] = 0.0
    source = values.astype(np.uint8) if values.dtype == bool else values
    return np.asarray(map_coordinates(source, voxels, np.float32, order=1, mode="constant"), np.float32)


def _cells(pose: Pose, axis: int) -> npt.NDArray[np.float64]:
    """Pixel centres along a principal axis in µm, the seed with its margin in their middle."""
    margin = CUT_MARGIN * float((pose.high - pose.low).max())
    low, high = pose.low[axis] - margin, pose.high[axis] + margin
    n = max(1, round(float(high - low) / pose.cell_um))
    return np.asarray((low + high) / 2 + (np.arange(n) - (n - 1) / 2) * pose.cell_um)


def own_cuts(
    grey: npt.NDArray[Any], inside: Mask, pose: Pose, at_um: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> tuple[npt.NDArray[np.uint8], ...]:
    """Cuts through a seed's centroid across its shortest, middle and longest axis, for the eye.

    Parameters
    ----------
    grey, inside, pose
        As for :func:`seed_pose`.
    at_um : (3,) float
        Where each axis is cut instead, longest first, in µm from the centroid.

    Returns
    -------
    lengthwise, edge_on, across : (rows, columns) uint8
        Stretched between the seed's 0.5 and 99.5 percentiles, surroundings dimmed and fading; one scale
        for the three. Only the first for a plane.
    """
    known = grey[inside]
    cuts = []
    for axis in (2,) if grey.shape[0] == 1 else (2, 1, 0):
        shown = stretched(cut_across(grey, pose, axis, at_um[axis]), known)
        own = cut_across(inside, pose, axis, at_um[axis]) > 0.5
        cuts.append((shown * _halo(own) * 255).astype(np.uint8))
    return tuple(cuts)


def _halo(own: Mask) -> Float:
    """1 on the seed; around it from ``DIMMED`` down to 0 at the end of the margin, where the block ends."""
    from scipy.ndimage import distance_transform_edt

    if not own.any():
        return np.zeros(own.shape, np.float32)
    margin = CUT_MARGIN / (1 + 2 * CUT_MARGIN) * CUT_CELLS
    far = distance_transform_edt(~own)
    return np.where(own, 1.0, DIMMED * np.clip(1 - far / margin, 0, 1)).astype(np.float32)


def stretched(values: npt.NDArray[Any], known: npt.NDArray[Any]) -> Float:
    """Values from 0 to 1 between the 0.5 and 99.5 percentiles of `known` (at least one value)."""
    step = max(1, known.size // POSE_VOXELS)
    black, white = np.percentile(known.ravel()[::step], (0.5, 99.5))
    return np.asarray(np.clip((values - black) / max(float(white - black), 1e-6), 0, 1), np.float32)


def isolated(grey: npt.NDArray[Any], inside: Mask, longest: int = 192) -> tuple[npt.NDArray[Any], int]:
    """A seed alone: its grey values, 0 outside, averaged so that no edge has more than `longest` voxels.

    Returns
    -------
    voxels : (z, y, x) array
        The block's dtype; each holds the mean of a cube of `step`³ voxels, those beyond the block's end
        counted as 0.
    step : int
    """
    alone = np.where(inside, grey, grey.dtype.type(0))
    step = max(1, int(np.ceil(max(alone.shape) / longest)))
    if step == 1:
        return alone, 1
    padded = np.pad(alone, [(0, -n % step) for n in alone.shape])
    z, y, x = (n // step for n in padded.shape)
    blocks = padded.reshape(z, step, y, step, x, step)
    return blocks.mean((1, 3, 5), dtype=np.float32).astype(alone.dtype), step
