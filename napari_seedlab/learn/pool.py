"""The seeds that an anomaly network learns from: crops, masks, and how they are shown to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from scipy.ndimage import uniform_filter

from napari_seedlab.core import InputError
from napari_seedlab.learn import pasting

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    Float = npt.NDArray[np.float32]
    Mask = npt.NDArray[np.bool_]

LEAST_SPREAD = 1e-3  # of the unit of a scan: below it a channel counts as constant
CORE = 0.3  # share of a seed's cells, the deepest ones, whose median is its level in a volume
REACH = 0.4  # of the edge of a crop: the box around a cell whose share of seed tells how deep it lies


class Crops(Protocol):
    """Crops (n, c, *cells) of floats: an array, or what cuts them when they are asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths (n, c, *cells)."""

    def __len__(self) -> int:
        """How many."""

    def __iter__(self) -> Iterator[Any]:
        """One after the other."""

    def __getitem__(self, rows: Any, /) -> Any:
        """A crop, or those of an array of rows."""


class Pool:
    """Seeds on grids of cells (z, y, x) or (y, x), in the grey units of their scan.

    Parameters
    ----------
    crops : (n, c, *cells) float
        1 = a usual seed, 0 outside the seed; in volumes 0 = air.
    masks : (n, *cells) bool

    Attributes
    ----------
    spread : (c,) float32
        Usual standard deviation of each channel inside a seed.
    normal : (n, *cells) bool
        Cells that may teach what is normal: those of the masks, where nobody knows better.
    odd : dict of int to (*cells) bool
        Rows that people know to be odd, with the cells of their defects; none where nobody knows where.
    """

    n_stem = 0  # channels to which a network brings those of the crops first; 0 = it does not
    is_fine = False  # whether the heat needs the full resolution of the crops

    def __init__(self, crops: Crops, masks: Mask) -> None:
        self.crops, self.masks = crops, masks
        self.spread = usual_spread(crops, masks)
        self.normal = masks
        self.odd: dict[int, Mask] = {}
        self._depths: dict[int, Float] = {}

    def __len__(self) -> int:
        return len(self.crops)

    @property
    def n_channels(self) -> int:
        """Channels that a network sees."""
        return int(self.crops.shape[1])

    @property
    def n_dims(self) -> int:
        """2 for planes, 3 for volumes."""
        return self.masks.ndim - 1

    def pasted(self, rng: np.random.Generator, i: int) -> tuple[Float, Mask]:
        """Crop (c, *cells) of a seed with made-up defects, and where they are (*cells)."""
        return pasting.paste(rng, self.crops[i].astype(np.float32), self.masks[i], self._depth(i))

    def _depth(self, i: int) -> Float:
        """The :func:`~napari_seedlab.learn.pasting.depth_map` of a seed, computed once."""
        if i not in self._depths:
            self._depths[i] = pasting.depth_map(self.masks[i])
        return self._depths[i]

    def forget_depths(self) -> None:
        """Free what was computed for :meth:`pasted`."""
        self._depths.clear()

    def shown(self, crops: npt.NDArray[np.floating], masks: Mask) -> torch.Tensor:
        """What a network gets of crops in the pool's units: :func:`network_input`."""
        return network_input(crops, masks, self.spread)

    def require_contrast(self) -> None:
        """Refuse seeds that nothing can be learnt from.

        Raises
        ------
        InputError
            No seed has structure inside, or all seeds are the same.
        """
        if (self.spread <= LEAST_SPREAD).all():
            raise InputError("the seeds", "have one grey value each", "Check the scan and its split")
        if len(self) > 1 and all(np.array_equal(crop, self.crops[0]) for crop in self.crops[1:]):
            raise InputError("the seeds", f"are {len(self)} times the same", "Check the scan and its split")


def usual_spread(crops: Crops, masks: Mask) -> Float:
    """Median over seeds of the standard deviation of each channel inside, at least 0.001: (c,)."""
    inside = [c[:, m].astype(np.float32).std(1) for c, m in zip(crops, masks, strict=True) if m.any()]
    usual = np.median(inside, 0) if inside else np.ones(crops.shape[1])
    return np.maximum(usual, LEAST_SPREAD).astype(np.float32)


def network_input(crops: npt.NDArray[np.floating], masks: Mask, spread: npt.ArrayLike) -> torch.Tensor:
    """Values relative to each seed's :func:`level`, in units of `spread`, 0 outside: (n, c, *cells) float32.

    The spread (c,) is one for all seeds: a defect must not shrink its own contrast. A channel without any
    stays 0, or a made-up defect would be all that there is in it.
    """
    usual = np.asarray(spread, np.float32)[:, None]
    unit = np.where(usual > LEAST_SPREAD, usual, np.float32(np.inf))
    out = np.zeros(crops.shape, np.float32)
    for i, (crop, mask) in enumerate(zip(crops, masks, strict=True)):
        inside = crop[:, mask].astype(np.float32)
        if inside.size:
            out[i][:, mask] = (inside - level(inside, mask)) / unit
    return torch.from_numpy(out)


def level(inside: Float, mask: Mask) -> Float:
    """Usual value (c, 1) of a seed, of its cells `inside` (c, n): their median, in a volume that of the core.

    A gap all round the embryo is a quarter of the cells of a volume: beside the median of all of them a sound
    embryo looks dense.
    """
    core = inside[:, is_deep(mask)] if mask.ndim == 3 else inside
    return np.asarray(np.median(core, 1, keepdims=True), np.float32)


def is_deep(mask: Mask) -> Mask:
    """Which cells of a seed (n,) are its deepest ones, by how much of a box around them is seed."""
    width = max(1, round(REACH * mask.shape[0]))
    depth = uniform_filter(mask.astype(np.float32), width, mode="constant")[mask]
    n_shallow = int(len(depth) * (1 - CORE))
    return np.asarray(depth >= np.partition(depth, n_shallow)[n_shallow])
