"""A batch as one picture beside the scan: the crops in rows, each with its seed and class."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from napari_seedlab.core import ClassScheme, Scan
    from napari_seedlab.session.net_checks import Batch

GAP = 0.05  # of the width of the scan, between it and the picture


@dataclass(frozen=True)
class BatchPicture:
    """Crops side by side.

    Attributes
    ----------
    values : (channel, y, x) or (z, y, x) float32
        Planes have their channels along the first axis; volumes have them side by side in each tile.
    corners : (n, 2) float64
        Upper left cell y, x of each tile.
    texts, colors : list of str
        Seed and class of each, and the colour of the class.
    axes : tuple of str
        Names of the axes of `values`.
    """

    values: npt.NDArray[np.float32]
    corners: npt.NDArray[np.float64]
    texts: list[str]
    colors: list[str]
    axes: tuple[str, str, str]


def batch_picture(batch: Batch, scheme: ClassScheme) -> BatchPicture:
    """Lay the crops of a batch out in rows, as square as they go."""
    values, size = batch.values, batch.values.shape[-1]
    is_volume = values.ndim == 5
    n, n_channels = values.shape[:2]
    if is_volume:  # (n, c, z, y, x) → tiles (n, z, y, c · x)
        tiles = values.transpose(0, 2, 3, 1, 4).reshape(n, size, size, n_channels * size)
    else:
        tiles = values
    n_columns = max(1, ceil(sqrt(n * tiles.shape[2] / tiles.shape[3])))
    n_rows = ceil(n / n_columns)
    height, width = tiles.shape[2:]
    picture = np.zeros((tiles.shape[1], n_rows * height, n_columns * width), np.float32)
    rows, columns = np.divmod(np.arange(n), n_columns)
    for tile, y, x in zip(tiles, (rows * height).tolist(), (columns * width).tolist(), strict=True):
        picture[:, y : y + height, x : x + width] = tile
    known = {c.id: c for c in scheme}
    said = [known.get(int(c)) for c in batch.class_ids]
    return BatchPicture(
        picture,
        np.column_stack([rows * height, columns * width]).astype(np.float64),
        [f"{s} {c.name if c else '?'}" for s, c in zip(batch.seeds.tolist(), said, strict=True)],
        [c.color if c else "#ffffff" for c in said],
        ("z", "y", "x") if is_volume else ("channel", "y", "x"),
    )


def place_beside(picture: BatchPicture, scan: Scan) -> dict[str, Any]:
    """Scale and translation (3,) that put the picture to the right of a scan, as high as it is."""
    facts = scan.facts
    depth, height, width = facts.view_shape
    scale = np.asarray((1.0, *facts.scale_um[1:]) if facts.has_bands else facts.scale_um, np.float64)
    cell = height * scale[1] / picture.values.shape[1]
    first = depth * scale[0] / picture.values.shape[0] if picture.axes[0] == "z" else scale[0]
    left = width * scale[2] * (1 + GAP)
    return {"scale": (first, cell, cell), "translate": (0.0, cell / 2, left)}


def batch_text(batch: Batch) -> str:
    """The tensor in words: its axes and what it goes from and to."""
    n, n_channels, *cells = batch.values.shape
    lengths = (
        f"{n} seeds × {n_channels} channels × {' × '.join(map(str, cells))} ({', '.join(batch.axes[2:])})"
    )
    inside = f"values {batch.low:.2f} to {batch.high:.2f}, the last channel is the mask"
    gib = batch.memory_gib
    room = f"{gib:.1f} GiB" if gib >= 1 else f"{1024 * gib:.1f} MiB"
    return f"{lengths}; {inside}. The crops of all labels take {room}."
