"""A small convolutional encoder of seeds, planes or volumes, whose vector is read at every depth."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_seedlab.models.layers import AVERAGE, BATCH_NORM, CONV

if TYPE_CHECKING:
    from collections.abc import Sequence

TINY = 1e-6
N_POOLED = 4  # statistics of each channel


@dataclass(frozen=True)
class SeedEncoderConfig:
    """Sizes of the network."""

    n_dims: int = 3  # or 2
    n_inputs: int = 1  # channels beside the mask
    widths: tuple[int, ...] = (32, 64, 128)  # channels of the stages; each halves the resolution
    n_vector: int = 32  # numbers that are learnt on top of what is pooled
    n_mixed: int = 192  # hidden numbers between the two
    band_step: int = 0  # bands between which differences of the spectrum are told; 0: no spectrum is told
    shells: tuple[int, ...] = ()  # cells below the surface at which shells begin; their light is told


class SeedEncoder(nn.Module):
    """Crops (n, c, *cells) and their masks (n, 1, *cells) → vectors (n, n_columns).

    Channels are pooled inside the seed only, at the input and after every stage: mean, standard deviation,
    maximum, and mean of the core less that of the whole. What few labels need (how bright, how mottled, is
    there one odd spot) is linear in these at some depth. The vector is what is learnt from all of it, and
    as it is the brightness in shells below the surface, or the spectrum: what a few answers tell by first.
    """

    def __init__(self, config: SeedEncoderConfig) -> None:
        super().__init__()
        self.config = config
        channels = (config.n_inputs + 1, *config.widths)
        self.stages = nn.ModuleList(
            _stage(config.n_dims, a, b, is_first=i == 0) for i, (a, b) in enumerate(pairwise(channels))
        )
        n_shells = 6 * len(config.shells) - 1 if config.shells else 0
        n_spectrum = 3 * config.n_inputs - 1 - config.band_step if config.band_step else 0
        self.n_plain = n_shells + n_spectrum  # columns that are not learnt
        self.n_columns = config.n_vector + self.n_plain
        n_pooled = self.n_plain + N_POOLED * (config.n_inputs + sum(config.widths))
        self.norm = nn.BatchNorm1d(n_pooled)
        self.mix = nn.Sequential(nn.Linear(n_pooled, config.n_mixed), nn.ReLU())
        self.vector = nn.Linear(n_pooled + config.n_mixed, config.n_vector)

    def forward(self, crops: Tensor, masks: Tensor, views: Sequence[tuple[int, ...]] = ((),)) -> Tensor:
        """Vectors (n, n_columns) of a batch: n_vector learnt numbers, then the plain ones.

        Parameters
        ----------
        crops : (n, c, *cells) float
            0 outside the seed.
        masks : (n, 1, *cells) float
            Share of each cell that is seed.
        views : sequence of tuple of int
            Axes of the crops that are mirrored; what is pooled of several views is averaged.
        """
        pooled = self.pooled(crops, masks, views)
        normed = self.norm(pooled)
        learnt: Tensor = self.vector(torch.cat((normed, self.mix(normed)), 1))
        return torch.cat((learnt.float(), pooled[:, : self.n_plain]), 1)

    def pooled(self, crops: Tensor, masks: Tensor, views: Sequence[tuple[int, ...]] = ((),)) -> Tensor:
        """Statistics inside the seed at every depth (n, n_pooled) float32."""
        halved = AVERAGE[self.config.n_dims](masks, 2)  # (n, 1, *cells / 2)
        core = halved * _smoothed(halved).square()
        whole = functional.interpolate(core, scale_factor=2.0)  # (n, 1, *cells)
        with torch.autocast(crops.device.type, enabled=False):  # grey values need more than bfloat16
            found = _statistics(crops.float(), torch.cat((masks, whole), 1))
            shells = _shells(crops[:, :1].float(), masks.float(), self.config.shells)
        weights = torch.cat((halved, core), 1)  # (n, 2, *cells / 2)
        maps = torch.cat((crops, masks), 1)  # (n, c + 1, *cells)
        deeper = [self._deeper(maps.flip(v) if v else maps, weights.flip(v) if v else weights) for v in views]
        return torch.cat((shells, self._spectrum(found), found, sum(deeper[1:], deeper[0]) / len(views)), 1)

    def _spectrum(self, found: Tensor) -> Tensor:
        """Mean and sd of every input channel, and steps of the mean between bands (n, n_spectrum)."""
        c, step = self.config.n_inputs, self.config.band_step
        if not step:
            return found[:, :0]
        bands = found[:, 1:c]  # the first channel is brightness
        return torch.cat((found[:, : 2 * c], bands[:, step:] - bands[:, :-step]), 1)

    def _deeper(self, maps: Tensor, weights: Tensor) -> Tensor:
        """Statistics after every stage (n, 4 · Σ w)."""
        found = []
        for depth, stage in enumerate(self.stages):
            weights = weights if depth == 0 else AVERAGE[self.config.n_dims](weights, 2)
            maps = stage(maps)  # (n, w, *cells / 2ᵏ)
            found.append(_statistics(maps, weights))
        return torch.cat(found, 1)


def _stage(n_dims: int, n_in: int, n_out: int, is_first: bool) -> nn.Sequential:
    """Half the resolution, then once more at it; the first stage sees the most cells and has one layer."""
    layers = _layer(n_dims, n_in, n_out, 2)
    return nn.Sequential(*layers, *([] if is_first else _layer(n_dims, n_out, n_out, 1)))


def _layer(n_dims: int, n_in: int, n_out: int, stride: int) -> list[nn.Module]:
    convolution = CONV[n_dims](n_in, n_out, 3, stride=stride, padding=1, bias=False)
    return [convolution, BATCH_NORM[n_dims](n_out), nn.ReLU()]


def _statistics(maps: Tensor, weights: Tensor) -> Tensor:
    """Mean, sd, maximum, and core less all of each channel (n, w, *cells): (n, 4 w).

    `weights` (n, 2, *cells) say how much of a cell is seed, and how much of it lies in the core.
    """
    values, inside = _rows(maps), _rows(weights.float())  # (n, cells, w), (n, cells, 2)
    shares = inside / inside.sum(1, keepdim=True).clamp(min=TINY)
    columns = shares.to(values.dtype).transpose(1, 2)  # (n, 2, cells)
    means = (columns @ values).float()  # (n, 2, w)
    squares = (columns[:, :1] @ (values * values)).float()  # (n, 1, w)
    spread = (squares[:, 0] - means[:, 0] * means[:, 0]).clamp(min=TINY).sqrt()
    top = _most(values * (inside[..., :1] > 0.5)).float()
    return torch.cat((means[:, 0], spread, top, means[:, 1] - means[:, 0]), 1)


def _most(values: Tensor) -> Tensor:
    """Maximum over cells of (n, cells, w): halves against each other, far faster on a CPU than `amax`."""
    while values.shape[1] % 2 == 0:
        values = torch.maximum(*values.chunk(2, 1))
    return values.amax(1)


def _eroded(masks: Tensor) -> Tensor:
    """Least of each cell (n, 1, *cells) and its neighbours, those across corners included."""
    for axis in range(2, masks.ndim):
        n = masks.shape[axis]
        pair = torch.minimum(masks.narrow(axis, 0, n - 1), masks.narrow(axis, 1, n - 1))
        before = torch.cat((masks.narrow(axis, 0, 1), pair), axis)
        masks = torch.minimum(before, torch.cat((pair, masks.narrow(axis, n - 1, 1)), axis))
    return masks


def _shells(light: Tensor, masks: Tensor, begin: tuple[int, ...]) -> Tensor:
    """Mean, sd, least and most of the smoothed light (n, 1, *cells) in shells, and steps: (n, 6 k − 1)."""
    if not begin:
        return light.new_zeros(len(light), 0)
    average = AVERAGE[light.ndim - 2]
    share = average(masks, 3, stride=1, padding=1).clamp(min=0.05)
    smooth = (average(light * masks, 3, stride=1, padding=1) / share).flatten(1)  # (n, cells)
    eroded = [masks]
    while len(eroded) <= begin[-1]:
        eroded.append(_eroded(eroded[-1]))
    outer = [eroded[depth].flatten(1) for depth in begin]
    inner = [*outer[1:], torch.zeros_like(outer[0])]
    found, means = [], []
    for shell in (a - b for a, b in zip(outer, inner, strict=True)):
        size = shell.sum(1).clamp(min=TINY)
        mean = (smooth * shell).sum(1) / size
        spread = ((smooth - mean[:, None]).square() * shell).sum(1) / size
        within, is_there = shell > 0.5, (shell > 0.5).any(1)
        low = torch.where(is_there, smooth.masked_fill(~within, torch.inf).amin(1), mean)
        high = torch.where(is_there, smooth.masked_fill(~within, -torch.inf).amax(1), mean)
        found += [mean, spread.clamp(min=TINY).sqrt(), low, high]
        means.append(mean)
    level = torch.stack(means, 1)  # (n, shells)
    steps = torch.cat((level - level[:, -2:-1], level.diff(dim=1)), 1)
    return torch.cat((torch.stack(found, 1), steps), 1)


def _rows(maps: Tensor) -> Tensor:
    """Maps (n, w, *cells) as (n, cells, w): no copy where channels lie last already."""
    return maps.movedim(1, -1).flatten(1, -2)


def _smoothed(masks: Tensor) -> Tensor:
    """Share of seed in a cube a third of the crop wide around each cell: high where all around is seed."""
    n_dims = masks.ndim - 2
    width = max(3, masks.shape[-1] // 3 // 2 * 2 + 1)
    for axis in range(n_dims):
        kernel = [width if a == axis else 1 for a in range(n_dims)]
        masks = AVERAGE[n_dims](masks, kernel, stride=1, padding=[k // 2 for k in kernel])
    return masks
