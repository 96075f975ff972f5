"""Pictures of single seeds: where the seed is in each, and how many of them lie on one sheet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_seedlab.core import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Mask = npt.NDArray[np.bool_]

MAX_EDGE = 1024  # pixels of a picture on a sheet
MAX_SHEET = 2**25  # pixels of a sheet: its seeds are coloured anew within 50 ms
GAP = 4  # pixels of background around each picture
FRAME = 2  # pixels that tell the background, and that the seed is taken to leave free
CORNER = 0.06  # of the edges: squares that even a seed that fills its picture leaves free
EVEN = 0.9  # share of the frame that looks like the corners from which all of it is background
MOSTLY = 0.6  # share from which the background may be curved
COMMON = 0.9  # share of the pictures that get one factor
SHARE = (0.02, 0.98)  # of the picture that a clear object covers
CLEAR = 3.0  # times the spread of the background by which its grey value differs, at least
ALONG = 0.1  # of the frame that an object covers at most, where another is nearly as large
TINTED = 15.0  # of 255, by which the hue of a part of the object differs from the background's, at least
PEER = 0.25  # of the pixels of the largest object, from which another is one by itself
LOBE, NECK = (
    0.8,
    0.7,
)  # of the greatest depth: depth of another middle in one outline, and of what lies between
COARSE = 256  # pixels along which such middles are looked for
N_BINS = 256


@dataclass(frozen=True)
class Sheet:
    """A regular grid of tiles, filled row by row.

    Attributes
    ----------
    n : int
        Tiles in use.
    tile : (int, int)
        Rows and columns of one tile, in pixels.
    columns : int
        Tiles in a row of the sheet.
    """

    n: int
    tile: tuple[int, int]
    columns: int

    @property
    def rows(self) -> int:
        """Rows of tiles."""
        return -(-self.n // self.columns)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the sheet, in pixels."""
        return self.rows * self.tile[0], self.columns * self.tile[1]

    def corner(self, index: int) -> tuple[int, int]:
        """First row and column of a tile."""
        return index // self.columns * self.tile[0], index % self.columns * self.tile[1]

    def tile_at(self, y: float, x: float) -> int | None:
        """The tile that holds a pixel, None outside of those in use."""
        row, column = int(y // self.tile[0]), int(x // self.tile[1])
        index = row * self.columns + column
        return index if 0 <= column < self.columns and 0 <= index < self.n else None


def longest_edge(n: int) -> int:
    """Pixels along the longer edge of each of `n` pictures, at most.

    Raises
    ------
    InputError
        There would be too few left to see a seed.
    """
    limit = min(MAX_EDGE, int((MAX_SHEET / n) ** 0.5) - 2 * GAP)
    if limit < 8 * GAP:
        cause = f"would hold {n:,} pictures, each on {max(limit, 0)} pixels"
        raise InputError("sheet", cause, "Import smaller folders")
    return limit


def plan_sheet(sizes: Sequence[tuple[int, int]]) -> tuple[Sheet, list[int]]:
    """The sheet for pictures of these sizes, and by how much each is averaged down.

    All pictures get one factor, so that their seeds can be compared by size; one that is still too large
    then gets a multiple of it.

    Parameters
    ----------
    sizes : sequence of (rows, columns)
        In pixels, one per picture.

    Returns
    -------
    sheet : Sheet
    factors : list of int
        1 where a picture stays as it is.
    """
    if not sizes:
        raise InputError("sheet", "has no picture", "Choose a folder with pictures")
    edges, limit = np.asarray(sizes).max(axis=1), longest_edge(len(sizes))
    common = max(1, -(-int(np.quantile(edges, COMMON, method="higher")) // limit))
    factors = [common * max(1, -(-int(edge) // (common * limit))) for edge in edges]
    height = max(-(-h // f) for (h, _), f in zip(sizes, factors, strict=True)) + 2 * GAP
    width = max(-(-w // f) for (_, w), f in zip(sizes, factors, strict=True)) + 2 * GAP
    columns = max(1, min(len(sizes), round((len(sizes) * height / width) ** 0.5)))
    return Sheet(len(sizes), (height, width), columns), factors


def averaged(picture: npt.NDArray[Any], factor: int) -> npt.NDArray[Any]:
    """A picture (c, y, x) averaged down by a whole factor; what is left over at its end is repeated."""
    if factor == 1:
        return picture
    c, h, w = picture.shape
    rows, columns = -h % factor, -w % factor
    padded = np.pad(picture, ((0, 0), (0, rows), (0, columns)), mode="edge")
    blocks = padded.reshape(c, (h + rows) // factor, factor, (w + columns) // factor, factor)
    return np.asarray(np.rint(blocks.mean(axis=(2, 4), dtype=np.float32)), picture.dtype)


def background(picture: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Colour (c,) of the corners of a picture (c, y, x): the median."""
    corners = [
        picture[:, y, x].reshape(len(picture), -1)
        for y in _ends(picture.shape[1])
        for x in _ends(picture.shape[2])
    ]
    return np.asarray(np.median(np.concatenate(corners, axis=1), axis=1), picture.dtype)


def _ends(n: int) -> tuple[slice, slice]:
    width = max(1, round(CORNER * n))
    return slice(0, width), slice(n - width, n)


def find_object(picture: npt.NDArray[Any]) -> tuple[Mask, int]:
    """The largest object in a picture, told by its distance from the background.

    The background is a smooth surface through those pixels of the frame that look like the corners: even
    a seed that fills its picture leaves these free, and light may fall unevenly. The threshold on the
    distance is Otsu's (1979); the largest component that does not lie along the frame is taken, holes filled.
    What is bright beside a dark seed, and of another hue than the background, such as a sprout, is added
    where it touches.

    Parameters
    ----------
    picture : (c, y, x) array of unsigned integers
        One band, or red, green and blue.

    Returns
    -------
    mask : (y, x) bool
        Never empty: all but a frame of 2 pixels where no object is clear.
    n_objects : int
        How many there seem to be: 0 where none is clear. Those of less than a quarter of the largest are
        specks or parts; an outline with two middles, such as that of two seeds that touch, counts as two.
    """
    from scipy import ndimage

    values = picture.astype(np.float32)
    if min(values.shape[1:]) <= 4 * FRAME:
        return whole(values.shape[1:]), 0
    surface, spread = _surface(values, background(picture))
    far = _length(values - surface)
    labels, n = ndimage.label(far > max(_otsu(far), CLEAR * spread))
    if n:
        sizes = _sizes(labels, n)
        mask = _filled(labels == 1 + int(sizes.argmax()))
        if SHARE[0] <= float(mask.mean()) <= SHARE[1]:
            outline = _with_tinted(mask, values, background(picture))
            return outline, max(_n_apart(labels, sizes), _n_middles(outline))
    return whole(far.shape), 0


def _sizes(labels: npt.NDArray[np.int32], n: int) -> npt.NDArray[np.int64]:
    """Pixels of n components; a patch of light along the frame counts only where nothing else is as large."""
    sizes = np.bincount(labels.reshape(-1), minlength=n + 1)[1:]
    frame = ~whole(labels.shape)
    along = np.bincount(labels[frame], minlength=n + 1)[1:] > ALONG * frame.sum()
    free = np.where(along, 0, sizes)
    return free if free.max() >= PEER * sizes.max() else sizes


def _n_apart(labels: npt.NDArray[np.int32], sizes: npt.NDArray[np.int64]) -> int:
    """Components that are nearly as large as the largest; one in a corner or along the frame is light."""
    along = np.bincount(labels[(frame := ~whole(labels.shape))], minlength=len(sizes) + 1)[1:]
    is_peer = (sizes >= PEER * sizes.max()) & (along <= ALONG / 2 * frame.sum())
    for y in _ends(labels.shape[0]):
        for x in _ends(labels.shape[1]):
            at = np.unique(labels[y, x])
            is_peer[at[at > 0] - 1] = False
    return int(is_peer.sum())


def _n_middles(mask: Mask) -> int:
    """Places far inside an outline that no way as far inside leads between."""
    from scipy import ndimage

    step = -(-max(mask.shape) // COARSE)
    depth = ndimage.distance_transform_edt(np.pad(mask[::step, ::step], 1))
    top = max(float(depth.max()), 1.0)
    labels, n = ndimage.label(depth > NECK * top)
    deepest = np.asarray(ndimage.maximum(depth, labels, np.arange(1, n + 1)))
    return max(1, int((deepest >= LOBE * top).sum()))


def _with_tinted(mask: Mask, values: npt.NDArray[np.float32], colour: npt.NDArray[Any]) -> Mask:
    """The object with what touches it and differs from the background (c,) in hue, in pictures of colours."""
    from scipy import ndimage

    if len(values) < 3:
        return mask
    hue, level = values - values.mean(axis=0), colour.astype(np.float32)
    surface, spread = _surface(hue, level - level.mean())
    far = ndimage.gaussian_filter(_length(hue - surface), 1.0)
    outside = far[~ndimage.binary_dilation(mask, iterations=2)]
    depth = 1.0 if values.max() < 256 else 257.0
    least = max(_otsu(outside) if len(outside) else 0.0, CLEAR * spread, TINTED * depth)
    labels, _ = ndimage.label(mask | (far > least))
    found = ndimage.binary_opening(_filled(labels == labels[mask][0]))
    beyond = found & ~ndimage.binary_dilation(mask, iterations=2)  # nearer it is the edge itself, blurred
    grown = mask | np.asarray(found & ndimage.binary_dilation(beyond, iterations=3), np.bool_)
    return grown if float(grown.mean()) <= SHARE[1] else mask


def _filled(mask: Mask) -> Mask:
    from scipy import ndimage

    return np.asarray(ndimage.binary_fill_holes(mask), np.bool_)


def _surface(
    values: npt.NDArray[np.float32], colour: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.float32], float]:
    """Background (c, y, x) under a picture and the spread of the frame around it."""
    _, height, width = values.shape
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    frame = ~whole((height, width))
    edge = values[:, frame]
    away = _length(edge - colour.astype(np.float32)[:, None])
    like = away <= max(_otsu(away), 1.0)
    terms = [np.ones_like(y), y, x]
    if float(like.mean()) > EVEN:
        like[:] = True
    if float(like.mean()) >= MOSTLY:
        terms += [y * y, x * y, x * x]
    design = np.stack(terms, axis=-1)
    for _ in range(2):
        fit, *_ = np.linalg.lstsq(design[frame][like], edge[:, like].T, rcond=None)
        rest = _length(edge - (design[frame] @ fit).T)
        spread = float(np.quantile(rest[like], 0.75))
        like &= rest <= 2 * CLEAR * max(spread, 1.0)
    surface = np.moveaxis(design @ fit, -1, 0)
    return np.asarray(surface, np.float32), spread


def _length(difference: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Euclidean length over the bands."""
    return np.asarray(np.sqrt(np.square(difference).sum(axis=0)), np.float32)


def whole(shape: tuple[int, ...]) -> Mask:
    """All of a picture (y, x) but its frame; all of it where it is no larger than that."""
    mask = np.zeros(shape, np.bool_)
    y, x = (FRAME if n > 2 * FRAME else 0 for n in shape)
    mask[y : shape[0] - y, x : shape[1] - x] = True
    return mask


def _otsu(values: npt.NDArray[np.float32]) -> float:
    """The value that parts `values` into two groups with the least variance within."""
    high = float(values.max())
    if high <= 0:
        return 0.0
    counts, edges = np.histogram(values, N_BINS, (0.0, high))
    centres = (edges[1:] + edges[:-1]) / 2
    n_low, sum_low = np.cumsum(counts), np.cumsum(counts * centres)
    n_high, sum_high = n_low[-1] - n_low, sum_low[-1] - sum_low
    apart = sum_low / np.maximum(n_low, 1) - sum_high / np.maximum(n_high, 1)
    between = n_low * n_high * np.square(apart)
    return float(edges[1 + int(between.argmax())])
