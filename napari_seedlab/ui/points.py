"""Many points into pixels, and which of them lie inside a line that was drawn: plain arrays, no window."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Xy = npt.NDArray[np.floating[Any]]
Rgb = tuple[int, int, int]

MOST_SMOOTH = 5000  # points with smooth rims; beyond it they are too many for rims to be seen
RADII = ((500, 4.2), (MOST_SMOOTH, 3.2), (100_000, 1.6))  # points in view, pixels
LEAST_RADIUS = 1.0
REACH_PX = 12  # around the picture; points up to half as far outside of it still touch it


def inside_polygon(points: Xy, polygon: Xy) -> npt.NDArray[np.bool_]:
    """Which of the (n, 2) `points` lie in the (m, 2) `polygon`, by the even-odd rule.

    Points are sorted along y once, so that each edge looks at those beside it only.
    """
    inside = np.zeros(len(points), bool)
    near = np.flatnonzero(((points >= polygon.min(0)) & (points <= polygon.max(0))).all(1))
    order = near[np.argsort(points[near, 1], kind="stable")]
    x, y = points[order, 0], points[order, 1]
    is_in = np.zeros(len(order), bool)
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, 0), strict=True):
        if y0 == y1:
            continue
        first, last = np.searchsorted(
            y, (min(y0, y1), max(y0, y1))
        )  # y of the lower end counts, not of the upper
        beside = slice(int(first), int(last))
        is_in[beside] ^= x[beside] < (x1 - x0) * (y[beside] - y0) / (y1 - y0) + x0
    inside[order] = is_in
    return inside


def stamp(radius: float) -> list[tuple[int, int, float]]:
    """Pixels of a disc as (down, right, coverage)."""
    reach = int(np.ceil(radius))
    cells = [(y, x, radius + 0.5 - float(np.hypot(y, x))) for y in range(-reach, reach + 1)
             for x in range(-reach, reach + 1)]  # fmt: skip
    return [(y, x, min(1.0, cover)) for y, x, cover in cells if cover > 0.05]


def radius_for(n: float) -> float:
    """Radius in pixels of a point among `n` in view."""
    return next((radius for most, radius in RADII if n <= most), LEAST_RADIUS)


def packed(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    """Colours (n, 3) as the (n,) words of ``QImage.Format_RGB32``."""
    wide = rgb.astype(np.uint32)
    return np.asarray(0xFF000000 | wide[:, 0] << 16 | wide[:, 1] << 8 | wide[:, 2], np.uint32)


def raster(
    at: Xy, colours: npt.NDArray[np.uint32], size: tuple[int, int], background: Rgb, radius: float
) -> npt.NDArray[np.uint32]:
    """Draw discs, later ones over earlier ones.

    Parameters
    ----------
    at : (n, 2) float
        Pixels x, y; those outside the picture are left out.
    colours : (n,) uint32
        See :func:`packed`.
    size : (height, width)
        Of the picture in pixels.
    background : tuple of int
        Red, green, blue.
    radius : float
        Of the discs in pixels; at most half of ``REACH_PX``.

    Returns
    -------
    (height, width) uint32
    """
    height, width = size
    wide = width + 2 * REACH_PX
    padded = np.full((height + 2 * REACH_PX, wide), packed(np.asarray([background], np.uint8))[0], np.uint32)
    x, y = np.rint(at[:, 0]), np.rint(at[:, 1])
    seen = (
        (x > -REACH_PX / 2) & (x < width + REACH_PX / 2) & (y > -REACH_PX / 2) & (y < height + REACH_PX / 2)
    )
    if not seen.all():
        x, y, colours = x[seen], y[seen], colours[seen]
    first = (y.astype(np.int32) + REACH_PX) * wide + x.astype(np.int32) + REACH_PX
    flat = padded.reshape(-1)
    for down, right, cover in stamp(radius):
        cells = first + (down * wide + right)
        if cover >= 1 or len(first) > MOST_SMOOTH:
            flat[cells] = colours
        else:
            flat[cells] = _mixed(flat[cells], colours, cover)
    return np.ascontiguousarray(padded[REACH_PX:-REACH_PX, REACH_PX:-REACH_PX])


def dot(picture: npt.NDArray[np.uint32], at: Xy, rgb: Rgb) -> None:
    """Put a dot of two by two pixels on a (height, width) picture at each of (n, 2) places x, y."""
    height, width = picture.shape
    word = packed(np.asarray([rgb], np.uint8))[0]
    x, y = np.floor(at[:, 0]).astype(np.int64), np.floor(at[:, 1]).astype(np.int64)
    seen = (x >= 0) & (x < width - 1) & (y >= 0) & (y < height - 1)
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        picture[y[seen] + down, x[seen] + right] = word


def _mixed(
    under: npt.NDArray[np.uint32], over: npt.NDArray[np.uint32], cover: float
) -> npt.NDArray[np.uint32]:
    """Words of `over` laid over `under` with an opacity of 0-1."""
    a, b = (np.ascontiguousarray(words).view(np.uint8).astype(np.float32) for words in (under, over))
    return np.asarray(a + (b - a) * cover, np.uint8).view(np.uint32)
