"""A seed of a colour picture, in the colours of the photo."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_seedlab.imaging.cuts import CUT_MARGIN, DIMMED

if TYPE_CHECKING:
    from napari_seedlab.ui.views import ArrayLike

MARGIN = 0.25  # of a seed's longer edge, shown around it: a sprout is no part of the region
Window = tuple[slice, slice]
Colours = npt.NDArray[np.uint8]


def window_around(box: npt.NDArray[np.integer], shape: tuple[int, ...], margin: float = MARGIN) -> Window:
    """Rows and columns of a seed's box (z, y, x, z, y, x) and of a margin, inside of a picture (y, x)."""
    (y0, x0), (y1, x1) = box[1:3].tolist(), box[4:6].tolist()
    pad = max(2, round(margin * max(y1 - y0, x1 - x0)))
    return slice(max(y0 - pad, 0), min(y1 + pad, shape[0])), slice(max(x0 - pad, 0), min(x1 + pad, shape[1]))


def n_values(box: npt.NDArray[np.integer], shape: tuple[int, ...]) -> int:
    """How many numbers of three colours showing a seed takes."""
    rows, columns = window_around(box, shape)
    return 3 * int(rows.stop - rows.start) * int(columns.stop - columns.start)


def in_colour(image: ArrayLike, window: Window, inside: npt.NDArray[np.bool_]) -> Colours:
    """What a photo (3, y, x) shows there, (rows, columns, 3), as bright as the seed's own pixels allow."""
    colours = np.stack([np.asarray(image[i][window], np.float32) for i in range(3)], axis=-1)
    white = float(np.percentile(colours[inside], 99.5)) if inside.any() else float(colours.max())
    return np.asarray(np.clip(colours / max(white, 1.0), 0, 1) * 255, np.uint8)


def for_card(image: ArrayLike, regions: ArrayLike, region: int, box: npt.NDArray[np.integer]) -> Colours:
    """A seed in the middle of a square (n, n, 3), what is around it dimmed."""
    window = window_around(box, regions.shape[1:], CUT_MARGIN)
    inside = np.asarray(regions[(0, *window)]) == region
    shown = in_colour(image, window, inside) * np.where(inside, 1.0, DIMMED)[..., None]
    edge = max(inside.shape)
    top, left = ((edge - n) // 2 for n in inside.shape)
    out = np.zeros((edge, edge, 3), np.uint8)
    out[top : top + inside.shape[0], left : left + inside.shape[1]] = shown
    return out
