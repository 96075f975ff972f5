"""Blemishes put into pictures of seeds, so that a network learns without labels to see what is unlike a seed.

After CutPaste (Li, Sohn, Yoon & Pfister, CVPR 2021): a network that tells pictures with something put into
them from those without sees faults that it never met. What is put in is of many kinds and of any size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from napari_seedlab.models.layers import AVERAGE, MAX_POOL

if TYPE_CHECKING:
    from collections.abc import Callable

AIR = -4.0  # in the units of a crop, where 0 is a usual seed
LEAST_CELLS = 20  # of a seed, and of its inside
TINT = 0.3  # of colours or bands
SHARES = (0.01, 0.12)  # of a seed that a spot covers


@dataclass(frozen=True)
class Sketch:
    """One seed that gets a blemish.

    Attributes
    ----------
    light, mask, inner : (*cells) float
        Brightness, share that is seed, share that lies two or three cells below the surface.
    places : (d, *cells) float
        Of the cells, from a random point of the seed along random axes; a crop is 2 wide.
    low : float
        A brightness between that of air and that of a seed.
    rng : numpy.random.Generator
    """

    light: Tensor
    mask: Tensor
    inner: Tensor
    places: Tensor
    low: float
    rng: np.random.Generator

    @property
    def cell(self) -> float:
        """Width of a cell."""
        return float(2 / self.light.shape[-1])

    def within(self, distance: Tensor) -> Tensor:
        """1 where a distance to an edge is negative, 0 where it is positive, soft in between."""
        return torch.sigmoid(-2 * distance / (self.cell * self.rng.uniform(0.3, 1.2)))

    def spot(self) -> Tensor:
        """How far cells lie outside an ellipsoid around the point (*cells)."""
        n = self.light.ndim
        share = float(np.exp(self.rng.uniform(*np.log(SHARES))))
        ball = 4.19 if n == 3 else 3.14
        radius = (share * float(self.mask.sum()) / ball) ** (1 / n) * self.cell
        half = np.exp(self.rng.normal(0, 0.3, n))
        half = torch.from_numpy((half / half.prod() ** (1 / n)).astype(np.float32)).view(n, *[1] * n)
        return (self.places / half).square().sum(0).sqrt() - radius

    def filled(self, share: Tensor) -> Tensor:
        """The light where that share of every cell is of the low brightness."""
        return torch.lerp(self.light, torch.full_like(self.light, self.low), share)


def _hole(s: Sketch) -> Tensor:
    return s.filled(s.within(s.spot()))


def _dense(s: Sketch) -> Tensor:
    return s.light + s.within(s.spot()) * float(s.rng.uniform(1, 4))


def _crack(s: Sketch) -> Tensor:
    far, bend = s.rng.uniform(0.25, 0.8), s.rng.uniform(-0.6, 0.6)
    across = s.places[1:].square().sum(0)
    off = (s.places[0] - bend * across).abs() - s.rng.uniform(0.4, 1.0) * s.cell
    return s.filled(s.within(off) * s.within(across.sqrt() - far))


def _tunnel(s: Sketch) -> Tensor:
    bend, width = s.rng.uniform(-0.8, 0.8), s.rng.uniform(0.8, 2.0) * s.cell
    off = (s.places[1] - bend * s.places[0].square()).square() + s.places[2:].square().sum(0)
    return s.filled(s.within(off.sqrt() - width) * s.within(s.places[0] - s.rng.uniform(0, 0.3)))


def _shrunken(s: Sketch) -> Tensor:
    """The inside drawn together, with a gap below the surface."""
    n, size = s.light.ndim, s.light.shape[-1]
    by = np.full(n, s.rng.uniform(0.72, 0.95))
    if s.rng.random() < 0.3:
        by[s.rng.integers(n)] = 1.0
    shape = (-1, *[1] * n)
    factor = torch.from_numpy(by.astype(np.float32)).view(shape)
    shift = torch.from_numpy(((1 - by) * s.rng.uniform(-0.5, 0.5, n)).astype(np.float32)).view(shape)
    where = ((_places(size, n) - shift) / factor).flip(0).movedim(0, -1)[None]
    both = torch.stack((s.light * s.inner, s.inner))[None]
    body, share = functional.grid_sample(both, where, align_corners=False)[0]
    drawn = torch.lerp(torch.full_like(s.light, s.low), body / share.clamp(min=0.2), share * s.inner)
    return torch.lerp(s.light, drawn, s.inner)


def _emptied(s: Sketch) -> Tensor:
    return s.filled(s.inner * float(s.rng.uniform(0.25, 1)))


def _part(s: Sketch) -> Tensor:
    """One side brighter or darker."""
    by = float(s.rng.uniform(0.5, 2) * s.rng.choice([-1, 1]))
    return s.light + by * torch.sigmoid(s.places[0] / (s.cell * s.rng.uniform(0.5, 4)))


def _smooth(s: Sketch) -> Tensor:
    average = AVERAGE[s.light.ndim]
    both = torch.stack((s.light * s.mask, s.mask))[None]
    for _ in range(int(s.rng.integers(2, 6))):
        both = average(both, 3, stride=1, padding=1)
    blurred = both[0, 0] / both[0, 1].clamp(min=0.05)
    return torch.lerp(s.light, blurred, float(s.rng.uniform(0.6, 1)) * s.mask)


def _rough(s: Sketch) -> Tensor:
    far = s.spot()
    noise = torch.from_numpy(s.rng.standard_normal(s.light.shape, np.float32))[None, None]
    grain = AVERAGE[s.light.ndim](noise, 3, stride=1, padding=1)[0, 0] * 3 ** (s.light.ndim / 2)
    return s.light + s.within(far - s.rng.uniform(0, 0.3)) * grain * float(s.rng.uniform(0.6, 2))


def _cut(s: Sketch) -> Tensor:
    """Light that is NaN where a side is missing."""
    return s.light.masked_fill(s.places[0] > s.rng.uniform(-0.1, 0.3), torch.nan)


KINDS: tuple[Callable[[Sketch], Tensor], ...] = (
    _hole,
    _dense,
    _crack,
    _tunnel,
    _shrunken,
    _emptied,
    _part,
    _smooth,
    _rough,
    _cut,
)
ANYWHERE = {_crack, _tunnel, _part, _rough, _cut}  # the others begin below the surface


def blemished(
    crops: Tensor, masks: Tensor, chosen: Any, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Put one blemish of a random kind, and a random colour, into each of the chosen seeds.

    Parameters
    ----------
    crops : (n, c, *cells) float
        As of :class:`napari_seedlab.learn.canonical.Canonical`.
    masks : (n, 1, *cells) float
        Share of each cell that is seed.
    chosen : (n,) bool
        Which seeds get one.
    rng : numpy.random.Generator
        Where kind, place and size come from.

    Returns
    -------
    crops, masks : as given
    change : (n,) float
        Mean change of the brightness over a seed; 0 where none was put in.
    """
    shown, left, change = crops.clone(), masks.clone(), torch.zeros(len(crops))
    for i in np.flatnonzero(chosen).tolist():
        light, mask = crops[i, 0], masks[i, 0]
        if int((mask > 0.5).sum()) < LEAST_CELLS:
            continue
        kind = KINDS[int(rng.integers(len(KINDS)))]
        drawn = kind(_sketch(light, mask, kind in ANYWHERE, rng))
        is_there = ~drawn.isnan() & (mask > 0.25)
        left[i, 0] = mask * ~drawn.isnan()
        shown[i] = crops[i] * is_there
        shown[i, 0] = drawn.nan_to_num() * is_there
        if crops.shape[1] > 1:  # of another colour
            share = (shown[i, 0] - light).abs().clamp(max=1)
            shown[i, 1:] += TINT * share * is_there * smooth_curves(rng, 1, crops.shape[1] - 1, light.ndim)[0]
        change[i] = ((shown[i, 0] - light).abs() * mask).sum() / mask.sum()
    return shown, left, change


def smooth_curves(rng: np.random.Generator, n: int, c: int, n_dims: int) -> Tensor:
    """A smooth random curve over c bands for each of n seeds, sd about 1, (n, c, 1, …)."""
    waves = np.cos(np.pi * np.arange(5)[:, None] * (np.arange(c) + 0.5) / c)  # (5, c)
    curve = (rng.standard_normal((n, 5)) @ waves).astype(np.float32) / 2
    return torch.from_numpy(curve).view(n, c, *[1] * n_dims)


def _sketch(light: Tensor, mask: Tensor, is_anywhere: bool, rng: np.random.Generator) -> Sketch:
    """The seed seen from a random point in it, along random axes."""
    n, size = light.ndim, light.shape[-1]
    top, inner = MAX_POOL[n](3, stride=1, padding=1), mask[None, None]
    for _ in range(int(rng.integers(2, 4))):
        inner = -top(-inner)
    inner = inner[0, 0] if int((inner > 0.5).sum()) >= LEAST_CELLS else mask
    cells = _places(size, n)
    within = cells[:, (mask if is_anywhere else inner) > 0.5]
    point = within[:, int(rng.integers(within.shape[1]))]
    axes = torch.linalg.qr(torch.from_numpy(rng.standard_normal((n, n)).astype(np.float32)))[0]
    places = torch.tensordot(axes, cells - point.view(-1, *[1] * n), 1)
    return Sketch(light, mask, inner, places, float(rng.uniform(AIR, -1.5)), rng)


@cache
def _places(size: int, n_dims: int) -> Tensor:
    """Centres of all cells (d, *cells) in -1..1."""
    steps = (torch.arange(size) + 0.5) * (2 / size) - 1
    return torch.stack(torch.meshgrid(*[steps] * n_dims, indexing="ij"))
